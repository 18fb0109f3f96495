/**
 * P1 under kill -9: of the relay over the embedded log, of the relay over Redis, of redis-server
 * itself. Writers type without pause, readers watch; the kill comes at a random moment. Afterwards
 * nothing that a writer got acknowledged (its echo) or a reader saw may be missing, the stored offsets
 * must be contiguous and no edit stored twice, and the same writers go on where they were.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import type { DocumentId } from '../../core/document-id.ts'
import { createEmbeddedLog } from '../../server/log/lmdb/embedded-log.ts'
import type { Log } from '../../server/log/log.ts'
import { createRedisLog } from '../../server/log/redis/redis-log.ts'
import { RawClient } from '../support/raw-client.ts'
import { type RedisServer, startRedisServer } from '../support/redis-server.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { silentLogger } from '../support/silent-logger.ts'
import { until } from '../support/wait.ts'

const documents = 4
const windowMax = 20
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
const random = mulberry32(seed)

/** Compactions run all the time, so that kills hit them too. */
const busyCompaction = {
  COMPACTION_TAIL_COUNT_MAX: '150',
  COMPACTION_TAIL_BYTES_MAX: '4096',
  COMPACTION_INTERVAL_MS: '0',
  LOG_LEVEL: 'info',
}

/** Types one character at a time, at most `windowMax` ahead of what the server has acknowledged. */
class Writer {
  readonly doc = new Y.Doc()
  readonly id: DocumentId
  /** Clock up to which the server has said that it is durable: by an echo, or by its version. */
  acked = 0
  private client: RawClient | null = null

  constructor(id: DocumentId) {
    this.id = id
    this.doc.on('update', (update: Uint8Array, origin: unknown) => {
      if (origin === null) this.client?.sendUpdate(update)
    })
  }

  get clock(): number {
    return Y.getState(this.doc.store, this.doc.clientID)
  }

  async connect(relay: RelayProcess): Promise<void> {
    this.client = await RawClient.connect(`${relay.webSocketUrl}/${this.id}?echo=true`, {
      doc: this.doc,
      onVersion: (version) => {
        this.acked = Math.max(this.acked, version.get(this.doc.clientID) ?? 0)
      },
      onUpdate: (update) => {
        const clock = Y.parseUpdateMeta(update).to.get(this.doc.clientID)
        if (clock !== undefined) this.acked = Math.max(this.acked, clock)
        this.type()
      },
    })
    await until('the writer is synced', () => this.client?.synced === true)
    // What was resent may have become durable before the answer to step 1 and has no echo of its own; the
    // echo of a later edit speaks for it.
    this.insert()
  }

  disconnect(): void {
    this.client?.close()
    this.client = null
  }

  private type(): void {
    while (this.client !== null && this.client.closeCode === null && this.clock < this.acked + windowMax)
      this.insert()
  }

  private insert(): void {
    const text = this.doc.getText('t')
    text.insert(Math.floor(random() * (text.length + 1)), String.fromCharCode(97 + (this.clock % 26)))
  }
}

class Trials {
  readonly writers = Array.from(
    { length: documents },
    (_, i) => new Writer(`fault/${seed}-${i}` as DocumentId),
  )
  private readers: RawClient[] = []

  async connect(relay: RelayProcess): Promise<void> {
    this.readers = []
    for (const writer of this.writers) {
      this.readers.push(await RawClient.connect(`${relay.webSocketUrl}/${writer.id}`))
      await writer.connect(relay)
    }
  }

  /** What was promised so far, per document; closes every connection. */
  promised(): number[] {
    const clocks = this.writers.map((writer, i) => {
      const seen = Y.getState(this.readers[i]!.doc.store, writer.doc.clientID)
      return Math.max(writer.acked, seen)
    })
    for (const writer of this.writers) writer.disconnect()
    for (const reader of this.readers) reader.close()
    return clocks
  }

  async progress(updates: number): Promise<void> {
    const goals = this.writers.map((writer) => writer.acked + updates)
    await until('writers get on', () => this.writers.every((writer, i) => writer.acked >= goals[i]!))
  }

  /** Reads the log itself. */
  async verify(log: Log, promised: readonly number[]): Promise<void> {
    for (const [i, writer] of this.writers.entries()) {
      const { snapshot, tail, offset } = await log.load(writer.id)
      const first = (snapshot?.offset ?? 0) + 1
      expect(tail.map((entry) => entry.offset)).toEqual(tail.map((_, k) => first + k))
      expect(offset).toBe(first + tail.length - 1)
      const doc = new Y.Doc()
      if (snapshot !== null) Y.applyUpdate(doc, snapshot.bytes)
      for (const { update } of tail) {
        const { from } = Y.parseUpdateMeta(update)
        const start = from.get(writer.doc.clientID)
        if (start !== undefined)
          expect(start, 'an edit is stored twice').toBe(Y.getState(doc.store, writer.doc.clientID))
        Y.applyUpdate(doc, update)
      }
      const stored = Y.getState(doc.store, writer.doc.clientID)
      expect(stored, `lost of ${writer.id}, seed ${seed}`).toBeGreaterThanOrEqual(promised[i]!)
    }
  }

  async converge(relay: RelayProcess): Promise<void> {
    for (const writer of this.writers) {
      const reader = await RawClient.connect(`${relay.webSocketUrl}/${writer.id}`)
      await until(
        'all of it comes back',
        () => Y.getState(reader.doc.store, writer.doc.clientID) >= writer.acked,
      )
      reader.close()
    }
  }
}

describe(`the relay is killed at random moments (seed ${seed})`, () => {
  let redis: RedisServer
  beforeAll(async () => {
    redis = await startRedisServer({ appendonly: 'yes', appendfsync: 'everysec' })
  })
  afterAll(async () => {
    await redis.stop()
  })

  test.each(['embedded', 'redis'] as const)(
    'over the %s log, 40 times',
    { timeout: 300_000 },
    async (kind) => {
      const folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
      const environment = {
        ...busyCompaction,
        DATA_DIR: folder,
        ...(kind === 'redis' ? { REDIS_URL: redis.url } : {}),
      }
      const trials = new Trials()
      let relay = await startRelay(environment)
      let compactions = 0
      for (let trial = 0; trial < 40; trial++) {
        await trials.connect(relay)
        await trials.progress(1 + Math.floor(random() * 150))
        // A relay killed early takes its count along, so now and then one lives until it has compacted.
        if (trial % 8 === 0) await until('a compaction', async () => (await compactionsDone(relay)) > 0)
        compactions += await compactionsDone(relay)
        await relay.kill9()
        const promised = trials.promised()
        const log =
          kind === 'embedded'
            ? createEmbeddedLog({ directory: folder, logger: silentLogger })
            : createRedisLog({ url: redis.url, logger: silentLogger })
        await log.start()
        await trials.verify(log, promised)
        await log.close()
        relay = await startRelay(environment)
      }
      expect(compactions, 'compactions under load').toBeGreaterThan(0)
      await trials.connect(relay)
      await trials.converge(relay)
      trials.promised()
      expect(await relay.stop()).toBe(0)
      rmSync(folder, { recursive: true })
    },
  )
})

describe(`redis-server is killed at random moments (seed ${seed})`, () => {
  // With everysec Redis may hold a write back for up to 2 s while the disk is slow, so that level promises less;
  // test/server/log/redis/kill.test.ts holds it to that.
  test('with appendfsync always, 30 times', { timeout: 300_000 }, async () => {
    const redis = await startRedisServer({ appendonly: 'yes', appendfsync: 'always' })
    const relay = await startRelay({ ...busyCompaction, REDIS_URL: redis.url })
    const trials = new Trials()
    for (let trial = 0; trial < 30; trial++) {
      await trials.connect(relay)
      await trials.progress(1 + Math.floor(random() * 150))
      await redis.kill9()
      // What reaches anybody after the kill must have been durable before it.
      await new Promise((resolve) => setImmediate(resolve))
      const promised = trials.promised()
      await redis.restart()
      const log = createRedisLog({ url: redis.url, logger: silentLogger })
      await log.start()
      await trials.verify(log, promised)
      await log.close()
      await until('the relay has recovered', async () => (await fetch(`${relay.url}/readyz`)).ok)
    }
    await trials.connect(relay)
    await trials.converge(relay)
    trials.promised()
    expect(await relay.stop()).toBe(0)
    await redis.stop()
  })
})

async function compactionsDone(relay: RelayProcess): Promise<number> {
  const text = await (await fetch(`${relay.url}/metrics`)).text()
  expect(text).not.toMatch(/compactions_total{result="failed"} [1-9]/)
  return Number(/compactions_total{result="done"} (\d+)/.exec(text)?.[1] ?? 0)
}

/** Source: mulberry32 by Tommy Ettinger, public domain. */
function mulberry32(start: number): () => number {
  let state = start
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/**
 * Coming back at the tidemark.v1 door: what was missed is all that it costs, whatever has become of the log meanwhile;
 * nothing is missing between the catch-up and what follows; and what belongs to an ended lineage stays out.
 */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import type { Offset } from '../../../core/offset.ts'
import type { Have } from '../../../core/protocol/tidemark-v1/messages.ts'
import { metric } from '../../support/metric.ts'
import { startRedisServer } from '../../support/redis-server.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { type OpenOptions, type Replica, refusalOf, TidemarkClient } from '../../support/tidemark-client.ts'
import { until } from '../../support/wait.ts'

const tailCountMax = 1_000
let folder: string
let relay: RelayProcess
const opened: { close(): void }[] = []

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  relay = await startRelay({
    DATA_DIR: folder,
    COMPACTION_TAIL_COUNT_MAX: String(tailCountMax),
    COMPACTION_TAIL_BYTES_MAX: String(16 * 1024 * 1024),
    COMPACTION_INTERVAL_MS: '0',
  })
})
afterEach(() => {
  for (const one of opened.splice(0)) one.close()
})
afterAll(async () => {
  expect(await relay.stop()).toBe(0)
  rmSync(folder, { recursive: true })
})

async function connect(): Promise<TidemarkClient> {
  const client = await TidemarkClient.connect(relay.webSocketUrl)
  opened.push(client)
  return client
}

const compactions = (): Promise<number> =>
  metric(relay.url, 'compactions_total{result="done"}').catch(() => 0)

/** A replica that comes back with what it has, and what that cost. */
async function comeBack(
  document: string,
  away: { readonly doc: Y.Doc },
  have: Partial<Have>,
): Promise<{ readonly replica: Replica; readonly bytes: number }> {
  const client = await connect()
  const before = client.receivedBytes
  const replica = await client.join(document, { doc: away.doc, have })
  return { replica, bytes: client.receivedBytes - before }
}

describe('a replica that missed 100 edits of a document of 1 MB', () => {
  const document = 'b/large'
  const documentBytes = 1024 * 1024
  let writer: Replica
  let first: Have
  let firstState: Uint8Array

  beforeAll(async () => {
    const client = await TidemarkClient.connect(relay.webSocketUrl)
    writer = await client.join(document)
    await writer.write(randomBytes(documentBytes / 2).toString('hex'))
    first = writer.have
    firstState = Y.encodeStateAsUpdate(writer.doc)
    for (let i = 0; i < 100; i++) writer.push(writer.type(`${i % 10}`))
    await writer.settled()
  })
  const replicaOf = (state: Uint8Array): { doc: Y.Doc } => {
    const doc = new Y.Doc()
    Y.applyUpdate(doc, state)
    return { doc }
  }
  /** As it was before the edits. */
  const away = (): { doc: Y.Doc } => replicaOf(firstState)

  test('gets them by its offset, at under 1 % of its bytes', async () => {
    const { replica, bytes } = await comeBack(document, away(), first)
    expect(replica.opened).toMatchObject({ offset: 101, catchUp: { kind: 'entries', offset: 2 } })
    expect(replica.opened!.catchUp).toHaveProperty('updates.length', 100)
    expect(bytes).toBeLessThan(documentBytes / 100)
  })

  test('gets nothing when it has everything', async () => {
    const { replica, bytes } = await comeBack(
      document,
      replicaOf(Y.encodeStateAsUpdate(writer.doc)),
      writer.have,
    )
    expect(replica.opened!.catchUp).toEqual({ kind: 'nothing' })
    expect(bytes).toBeLessThan(100)
  })

  test.each<[string, Partial<Have>]>([
    ['that it does not know', { offset: 0 as Offset }],
    ['that the log has not reached', { offset: 1_000_000 as Offset }],
  ])('gets them by its version with an offset %s', async (_what, have) => {
    const { replica, bytes } = await comeBack(document, away(), { version: first.version, ...have })
    expect(replica.opened).toMatchObject({ offset: 101, catchUp: { kind: 'update' } })
    expect(bytes).toBeLessThan(documentBytes / 100)
  })

  test('gets them by its version when they were compacted meanwhile', async () => {
    const before = await compactions()
    while ((await compactions()) === before) {
      for (let i = 0; i < 100; i++) writer.push(writer.type('.'))
      await writer.settled()
    }
    const { replica, bytes } = await comeBack(document, away(), first)
    expect(replica.opened!.catchUp.kind).toBe('update')
    expect(replica.text === writer.text).toBe(true)
    expect(bytes).toBeLessThan(documentBytes / 100)
  })
})

test.each(['the embedded log', 'Redis'])(
  'a replica that comes back while others type has everything, in order, without a gap, over %s',
  async (log) => {
    const redis = log === 'Redis' ? await startRedisServer() : null
    const node = redis === null ? relay : await startRelay({ REDIS_URL: redis.url })
    const document = 'b/typing'
    const joined = async (options: OpenOptions = {}): Promise<Replica> => {
      const client = await TidemarkClient.connect(node.webSocketUrl)
      opened.push(client)
      return client.join(document, options)
    }
    const writers = [await joined(), await joined()]
    let typing = true
    const typed = writers.map(async (writer) => {
      while (typing) {
        writer.push(writer.type('x'), writer.type('y'))
        if (writer.sequence - writer.acked > 50) await writer.settled()
        else await new Promise((turn) => setImmediate(turn))
      }
      await writer.settled()
    })
    const readers: Replica[] = []
    for (let turn = 0; turn < 60; turn++) {
      // From nothing, or from where an earlier one was when it left.
      const old = turn % 3 === 0 ? undefined : readers[Math.floor(turn / 2)]
      const doc = new Y.Doc()
      if (old !== undefined) Y.applyUpdate(doc, Y.encodeStateAsUpdate(old.doc))
      readers.push(await joined({ doc, have: old?.have ?? {} }))
    }
    typing = false
    await Promise.all(typed)
    const total = writers.reduce((sum, writer) => sum + writer.sequence, 0)
    const complete = ({ doc }: Replica): boolean => doc.getText('t').length === total
    await until('all have all', () => [...writers, ...readers].every(complete))
    for (const reader of readers) reader.assertNoGap()
    expect(new Set(readers.map(({ text }) => text)).size).toBe(1)
    if (node !== relay) expect(await node.stop()).toBe(0)
    await redis?.stop()
  },
)

describe('a document that was deleted', () => {
  const pathOf = (document: string): string => `${relay.url}/v1/documents/${encodeURIComponent(document)}`
  const ask = async (method: 'DELETE' | 'PUT', document: string): Promise<void> =>
    expect((await fetch(pathOf(document), { method })).ok).toBe(true)

  test('is closed with that, and refused, without an end of the socket', async () => {
    const client = await connect()
    const replica = await client.join('b/removed')
    await replica.write('old')
    await ask('DELETE', 'b/removed')
    await until('closed', () => replica.closed !== null)
    for (const have of [{}, replica.have]) {
      const again = client.open('b/removed', { have })
      await again.answered()
      expect(refusalOf(again)).toMatchObject({ code: 'document_removed', retryMs: null, epoch: 0 })
    }
    expect(client.closeCode).toBe(null)
  })

  test('and created anew is another lineage: replicas of the old one are told its epoch', async () => {
    const document = 'b/anew'
    const client = await connect()
    const old = await client.join(document)
    await old.write('old')
    const unsent = old.type(' and unsent')
    await ask('DELETE', document)
    await until('closed', () => old.closed !== null)
    await ask('PUT', document)
    const fresh = await (await connect()).join(document)
    expect(fresh.epoch).toBeGreaterThan(0)
    // By its epoch, by an epoch that never was, by what it has.
    const stale: Partial<Have>[] = [
      old.have,
      { ...fresh.have, epoch: (fresh.epoch + 1) as Offset },
      { version: Y.encodeStateVector(old.doc) },
    ]
    for (const have of stale) {
      const again = client.open(document, { have })
      await again.answered()
      expect(refusalOf(again)).toMatchObject({ code: 'stale_replica', retryMs: null, epoch: fresh.epoch })
    }
    // By what it pushes.
    const hiding = await client.join(document)
    hiding.push(unsent)
    await until('closed', () => hiding.closed !== null)
    expect(hiding.closed).toMatchObject({ code: 'stale_replica', epoch: fresh.epoch })
    expect(client.closeCode).toBe(null)
    expect(fresh.text).toBe('')
  })

  test('and created anew takes the pushes of a replica whose name the old one knew', async () => {
    const document = 'b/names'
    const old = await (await connect()).join(document, { replica: 'same' })
    for (const letter of 'abc') await old.write(letter)
    await ask('DELETE', document)
    await ask('PUT', document)
    const fresh = await (await connect()).join(document, { replica: 'same' })
    await fresh.write('new')
    expect((await (await connect()).join(document)).text).toBe('new')
  })
})

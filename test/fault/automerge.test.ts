/**
 * Automerge documents on relays of their own process: killed with -9 while they write and compact; moved to the cold store and
 * back; and attacked, while somebody else's edits go on.
 */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deflateRawSync } from 'node:zlib'
import * as Automerge from '@automerge/automerge'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { DocumentId } from '../../core/document-id.ts'
import { pointerOf } from '../../server/log/cold/pointer.ts'
import { createRedisLog } from '../../server/log/redis/redis-log.ts'
import { startRedisServer } from '../support/redis-server.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { silentLogger } from '../support/silent-logger.ts'
import { until } from '../support/wait.ts'

type Note = Record<string, unknown>

/** Compactions run all the time, so that kills hit them too. */
const busyCompaction = {
  COMPACTION_TAIL_COUNT_MAX: '20',
  COMPACTION_TAIL_BYTES_MAX: '4096',
  COMPACTION_INTERVAL_MS: '0',
}

let folder: string
let relay: RelayProcess
const start = async (environment: Record<string, string> = {}): Promise<void> => {
  relay = await startRelay({ DATA_DIR: folder, ...environment })
}
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-automerge-'))
})
afterEach(async () => {
  await relay.stop()
  rmSync(folder, { recursive: true, force: true })
})

const pathOf = (id: string, rest = ''): string => `${relay.url}/v1/documents/${encodeURIComponent(id)}${rest}`
const post = (id: string, body: Uint8Array, key?: string): Promise<Response> =>
  fetch(pathOf(id, '/updates'), {
    method: 'POST',
    body: body.slice().buffer,
    headers: {
      'content-type': 'application/octet-stream',
      ...(key !== undefined && { 'idempotency-key': key }),
    },
  })
const json = async (id: string): Promise<Note> => (await (await fetch(pathOf(id))).json()) as Note
const wholeOf = async (id: string): Promise<Automerge.Doc<Note>> =>
  Automerge.load<Note>(new Uint8Array(await (await fetch(pathOf(id, '/update'))).arrayBuffer()))

/** Sets one key after the other, and says which of them the relay has answered for. */
class Writer {
  readonly id: string
  readonly acked: string[] = []
  private doc = Automerge.init<Note>()
  private count = 0
  private unsent: Uint8Array | null = null

  constructor(id: string) {
    this.id = id
  }

  /** The same change under the same number until it is answered. */
  async write(): Promise<void> {
    if (this.unsent === null) {
      this.count++
      this.doc = Automerge.change(this.doc, (note) => {
        note[`k${this.count}`] = this.count
      })
      this.unsent = Automerge.getLastLocalChange(this.doc)!
    }
    const { status } = await post(this.id, this.unsent, `w:${this.count}`)
    if (status !== 201 && status !== 200) throw new Error(`${status}`)
    this.acked.push(`k${this.count}`)
    this.unsent = null
  }

  async writeUntil(ended: () => boolean): Promise<void> {
    // It ends with the relay.
    while (!ended()) await this.write().catch(() => new Promise((done) => setTimeout(done, 5)))
  }
}

test('nothing that was answered is lost to kill -9, nor stored twice', async () => {
  const writers = ['a', 'b', 'c'].map((id) => new Writer(id))
  for (let kill = 0; kill < 3; kill++) {
    await start(busyCompaction)
    let ended = false
    const writing = writers.map((writer) => writer.writeUntil(() => ended))
    const goal = writers[0]!.acked.length + 60
    await until('enough is written', () => writers[0]!.acked.length >= goal)
    await relay.kill9()
    ended = true
    await Promise.all(writing)
  }
  await start()
  for (const writer of writers) {
    await writer.write()
    const doc = await wholeOf(writer.id)
    expect(Object.keys(doc).sort()).toEqual(writer.acked.toSorted())
    expect(Automerge.getAllChanges(doc)).toHaveLength(writer.acked.length)
    expect(await json(writer.id)).toEqual({ ...doc })
  }
})

const set = { action: 'set', obj: '_root', key: 'a', value: 'x', pred: [] }
const change = (ops: readonly object[], actor: string): Uint8Array =>
  (Automerge.encodeChange as (change: object) => Uint8Array)({
    ...{ actor, seq: 1, startOp: 1, time: 0, deps: [], message: '', ops },
  })

test('a hostile document is refused or set aside, and the edits of others go on meanwhile', async () => {
  const deep = Array.from({ length: 20_000 }, (_, i) => ({
    ...{ action: 'makeMap', obj: i === 0 ? '_root' : `${i}@bb`, key: 'k', pred: [] },
  }))
  // What the door takes and no document does: more than memory holds.
  const characters = Array.from({ length: 1_000_000 }, (_, i) => String.fromCharCode(97 + ((i * 7919) % 26)))
  const large = Automerge.getAllChanges(Automerge.from({ text: characters.join('') }))[0]!
  await start({ ...busyCompaction, COMPACTION_MEMORY_MB: '64' })
  const other = new Writer('other')
  let ended = false
  const writing = other.writeUntil(() => ended)
  const goOn = async (): Promise<void> => {
    const goal = other.acked.length + 3
    await until('edits of others are taken', () => other.acked.length >= goal)
  }
  // A deflate bomb: a change of the second type.
  const bomb = deflateRawSync(new Uint8Array(100 * 1024 * 1024))
  const truncated = change([set], 'aa').subarray(0, -3)
  const bombChunk = Uint8Array.of(0x85, 0x6f, 0x4a, 0x83, 0, 0, 0, 0, 2, ...leb(bomb.length), ...bomb)
  for (const bytes of [bombChunk, truncated]) {
    expect((await post('hostile', bytes)).status).toBe(422)
    await goOn()
  }
  expect((await post('hostile', change([set], 'aa'))).status).toBe(201)
  expect((await post('deep', change(deep, 'bb'))).status).toBe(201)
  expect((await post('hostile', large)).status).toBe(201)
  const asked = [fetch(pathOf('deep')), fetch(pathOf('hostile'))]
  for (let i = 0; i < 20; i++) await post('hostile', change([{ ...set, key: `k${i}` }], `cc${i + 10}`))
  await goOn()
  for (const answer of await Promise.all(asked)) expect([200, 500]).toContain(answer.status)
  await goOn()
  const aside = async (): Promise<{ bytes: number; reason: string }[]> =>
    ((await (await fetch(pathOf('hostile', '/quarantine'))).json()) as { entries: [] }).entries
  await until('it is set aside', async () => (await aside()).length > 0)
  expect(await aside()).toMatchObject([{ bytes: large.length, reason: expect.stringMatching(/^memory/) }])
  expect(Object.keys(await json('hostile'))).toHaveLength(21)
  await goOn()
  ended = true
  await writing
})

function leb(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb(value >>> 7)]
}

test('a document goes to the cold store and comes back as it was', async () => {
  const redis = await startRedisServer({ appendonly: 'yes' })
  const log = createRedisLog({ url: redis.url, logger: silentLogger })
  try {
    await log.start()
    const cold = { COLD_AFTER_SECONDS: '1', COLD_SWEEP_SECONDS: '1', ROOM_LINGER_MS: '0' }
    await start({ REDIS_URL: redis.url, SNAPSHOT_STORE: `file:${join(folder, 'store')}`, ...cold })
    const writer = new Writer('cold/a')
    for (let i = 0; i < 5; i++) await writer.write()
    const isCold = async (): Promise<boolean> => {
      const { snapshot } = await log.load('cold/a' as DocumentId)
      return pointerOf(snapshot) !== null
    }
    // Smaller ones stay.
    const large = Automerge.from({ large: randomBytes(6_000).toString('hex') })
    await post('cold/a', Automerge.getLastLocalChange(large)!)
    await until('it is cold', isCold)
    expect(Object.keys(await wholeOf('cold/a'))).toHaveLength(6)
    await writer.write()
    expect(Object.keys(await json('cold/a'))).toHaveLength(7)
  } finally {
    await relay.stop()
    await log.close()
    await redis.stop()
  }
})

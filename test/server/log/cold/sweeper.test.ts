/** Which documents become cold, and when: over a real embedded log, with the time as an argument. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { DocumentId } from '../../../../core/document-id.ts'
import { createFileStore } from '../../../../server/log/cold/file-store.ts'
import { pointerOf } from '../../../../server/log/cold/pointer.ts'
import { type SnapshotStore, StoreError } from '../../../../server/log/cold/snapshot-store.ts'
import type { ColdResult } from '../../../../server/log/cold/sweeper.ts'
import { TieredLog, type TieredLogLimits } from '../../../../server/log/cold/tiered-log.ts'
import { createEmbeddedLog } from '../../../../server/log/lmdb/embedded-log.ts'
import type { Log } from '../../../../server/log/log.ts'
import { compactTo, contentsOf, documentOf, entryOf } from '../../../contract/log-model.ts'
import { silentLogger } from '../../../support/silent-logger.ts'
import { until } from '../../../support/wait.ts'
import { eagerLimits, temporaryFolder } from './tiered-log-under-test.ts'

const afterMs = 1_000_000
const startMs = 1_700_000_000_000

let folder: ReturnType<typeof temporaryFolder>
let inner: Log
let nodes: TieredLog[]
let lastTimes: Map<string, number>
let compactions: DocumentId[]
let results: ColdResult[]
let loads: DocumentId[]

beforeEach(async () => {
  folder = temporaryFolder()
  inner = createEmbeddedLog({ directory: join(folder.path, 'log'), logger: silentLogger })
  await inner.start()
  await createFileStore(join(folder.path, 'store')).start()
  nodes = []
  lastTimes = new Map()
  compactions = []
  results = []
  loads = []
})

afterEach(async () => {
  for (const node of nodes) await node.close()
  await inner.close()
  folder.remove()
})

interface NodeOptions {
  readonly limits?: Partial<TieredLogLimits>
  readonly store?: SnapshotStore
  readonly compacts?: boolean
}

function nodeOf({ limits, store, compacts = true }: NodeOptions = {}): TieredLog {
  const counting = new Proxy(inner, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      // Several nodes share this one, which is running.
      if (name === 'start' || name === 'close') return async () => undefined
      if (name === 'load') return (document: DocumentId) => loads.push(document) && target.load(document)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  const log = new TieredLog({
    log: counting,
    store: store ?? createFileStore(join(folder.path, 'store')),
    // The contract's snapshots say `m<offset>`; here that offset is the document's last.
    lastTimeMs: (metadata) => lastTimes.get(Buffer.from(metadata).toString()) ?? 0,
    logger: silentLogger,
    limits: { ...eagerLimits, afterMs, tailBytesMax: 100, snapshotBytesMin: 100, ...limits },
  })
  log.attach({
    async compactNow(document) {
      compactions.push(document)
      if (compacts) await compacted(document, log)
    },
    count: (result) => results.push(result),
  })
  nodes.push(log)
  return log
}

async function compacted(document: DocumentId, log: Log = inner): Promise<void> {
  const { tail } = await inner.load(document)
  const last = tail.at(-1)
  if (last === undefined || !(await compactTo(log, document))) return
  lastTimes.set(`m${last.offset}`, last.timeMs)
}

/** A document whose last edit, of 200 bytes, was at `timeMs`, compacted or not. */
async function document(id: string, timeMs: number, compact = true, bytes = 200): Promise<DocumentId> {
  const made = documentOf(id)
  // As many entries as no other document has, so that `m<offset>` is its own.
  const count = lastTimes.size + 1
  const entries = Array.from({ length: count }, () => ({ ...entryOf(new Uint8Array(bytes)), timeMs }))
  await inner.append(made, entries)
  if (compact) await compacted(made)
  return made
}

const isCold = async (id: string) => pointerOf((await inner.load(documentOf(id))).snapshot) !== null
const coldOnes = async (...ids: string[]) => {
  const cold: string[] = []
  for (const id of ids) if (await isCold(id)) cold.push(id)
  return cold
}

describe('a sweep', () => {
  test('freezes what nobody changed for long enough, and stops at the first that is not', async () => {
    for (const [i, id] of ['a', 'b', 'c', 'd'].entries()) await document(id, startMs + i * 1_000)
    const log = nodeOf()
    await log.sweep(startMs + afterMs - 1)
    expect(await coldOnes('a', 'b', 'c', 'd')).toEqual([])
    await log.sweep(startMs + afterMs + 1_000)
    expect(await coldOnes('a', 'b', 'c', 'd')).toEqual(['a', 'b'])
    await log.sweep(startMs + afterMs + 60_000)
    expect(await coldOnes('a', 'b', 'c', 'd')).toEqual(['a', 'b', 'c', 'd'])
    expect(results).toEqual(['frozen', 'frozen', 'frozen', 'frozen'])
    expect(compactions).toEqual([])
  })

  test('looks at nothing again before something can be due, and not at what is cold', async () => {
    for (const [i, id] of ['a', 'b', 'c'].entries()) await document(id, startMs + i * 10_000)
    const log = nodeOf()
    await log.sweep(startMs + afterMs)
    expect(await coldOnes('a', 'b', 'c')).toEqual(['a'])
    loads = []
    await log.sweep(startMs + afterMs + 9_999)
    expect(loads).toEqual([])
    await log.sweep(startMs + afterMs + 10_000)
    expect(new Set(loads)).toEqual(new Set(['b', 'c']))
  })

  test('has long tails compacted first, and leaves short ones where they are', async () => {
    await document('long', startMs, false)
    await document('short', startMs)
    await inner.append(documentOf('short'), [{ ...entryOf('edit'), timeMs: startMs + 1 }])
    await document('tiny', startMs, false, 20)
    const log = nodeOf()
    await log.sweep(startMs + 2 * afterMs)
    expect(compactions).toEqual(['long'])
    expect(await coldOnes('long', 'short', 'tiny')).toEqual(['long', 'short'])
    expect(contentsOf(await log.load(documentOf('short'))).at(-1)).toBe('edit')
  })

  test('moves the snapshot of a document whose tail cannot be compacted', async () => {
    await document('stuck', startMs)
    await inner.append(documentOf('stuck'), [{ ...entryOf(new Uint8Array(300)), timeMs: startMs }])
    await document('without', startMs, false)
    const log = nodeOf({ compacts: false })
    await log.sweep(startMs + 2 * afterMs)
    expect(compactions).toEqual(['stuck', 'without'])
    expect(await coldOnes('stuck', 'without')).toEqual(['stuck'])
    expect(results).toEqual(['frozen', 'skipped'])
  })

  test('takes a document that was edited after it was cold as any other', async () => {
    await document('a', startMs)
    const log = nodeOf()
    await log.sweep(startMs + afterMs)
    await log.append(documentOf('a'), [{ ...entryOf(new Uint8Array(200)), timeMs: startMs + 2 * afterMs }])
    await log.sweep(startMs + 2 * afterMs + 1)
    expect(compactions).toEqual([])
    await log.sweep(startMs + 3 * afterMs)
    expect(compactions).toEqual(['a'])
    expect(results).toEqual(['frozen', 'frozen'])
    expect(contentsOf(await log.load(documentOf('a'))).length).toBe(2)
  })

  test('is not held up by a document from the future', async () => {
    await document('ahead', startMs + 1_000 * afterMs)
    await document('behind', startMs)
    const log = nodeOf()
    await log.sweep(startMs + 2 * afterMs)
    expect(await coldOnes('ahead', 'behind')).toEqual(['behind'])
  })

  test('goes on after a document that cannot be read, and tries it again a day later', async () => {
    for (const id of ['a', 'b', 'c']) await document(id, startMs)
    const load = inner.load.bind(inner)
    const bad = (await load(documentOf('b'))).snapshot!
    const index = new TextEncoder().encode('tidemark cold 9')
    await inner.compact(documentOf('b'), { ...bad, index }, bad.offset)
    const log = nodeOf()
    await log.sweep(startMs + 2 * afterMs)
    expect(results).toEqual(['frozen', 'failed', 'frozen'])
    await inner.compact(documentOf('b'), bad, bad.offset)
    await log.sweep(startMs + 2 * afterMs + 3_600_000)
    expect(results.length).toBe(3)
    await log.sweep(startMs + 2 * afterMs + 25 * 3_600_000)
    expect(results).toEqual(['frozen', 'failed', 'frozen', 'frozen'])
  })

  test('ends when the store is away, and goes on from there when it is back', async () => {
    for (const id of ['a', 'b']) await document(id, startMs)
    const real = createFileStore(join(folder.path, 'store'))
    await real.start()
    let away = true
    const store: SnapshotStore = {
      name: real.name,
      start: () => real.start(),
      close: () => real.close(),
      get: (...args) => real.get(...args),
      delete: (...args) => real.delete(...args),
      list: (...args) => real.list(...args),
      put: (...args) => (away ? Promise.reject(new StoreError('unavailable', 'away')) : real.put(...args)),
    }
    const log = nodeOf({ store })
    await expect(log.sweep(startMs + 2 * afterMs)).rejects.toThrow('away')
    expect(results).toEqual(['failed'])
    away = false
    await log.sweep(startMs + 2 * afterMs)
    expect(results).toEqual(['failed', 'frozen', 'frozen'])
  })

  test('is the work of one node at a time', async () => {
    for (const id of ['a', 'b']) await document(id, startMs)
    const [first, second] = [nodeOf(), nodeOf()]
    await first.sweep(startMs)
    loads = []
    await second.sweep(startMs + 2 * afterMs)
    expect(loads).toEqual([])
    await first.sweep(startMs + 2 * afterMs)
    expect(await coldOnes('a', 'b')).toEqual(['a', 'b'])
  })

  test('removes what has not been needed for long', async () => {
    await document('a', startMs)
    const log = nodeOf({ limits: { keepMs: -1 } })
    await log.sweep(startMs + afterMs)
    const objects = () =>
      readdirSync(join(folder.path, 'store'), { recursive: true }).filter((path) =>
        /-\d+-/.test(String(path)),
      )
    const [unused] = objects()
    await log.append(documentOf('a'), [{ ...entryOf(new Uint8Array(200)), timeMs: startMs }])
    expect(await compactTo(log, documentOf('a'))).toBe(true)
    // Each looks at a page, from a random place at first; the walk after the one that marks it removes it.
    for (let day = 0; day < 8; day += 2) await log.sweep(Date.now() + day * 24 * 3_600_000)
    expect(await isCold('a')).toBe(true)
    expect(objects().length).toBe(1)
    expect(objects()).not.toContain(unused)
  })
})

test('runs by itself, and ends with the log', async () => {
  const nowMs = Date.now()
  await document('a', nowMs - 10_000)
  await document('b', nowMs + 3_600_000)
  const log = nodeOf({ limits: { everyMs: 20, afterMs: 5_000 } })
  await log.start()
  await until('the idle document is cold', () => isCold('a'))
  expect(await isCold('b')).toBe(false)
  await log.close()
})

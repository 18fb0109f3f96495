/** Cold documents over a real embedded log and a real folder: what may go wrong, and that none of it costs an update. */
import { readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { DocumentId } from '../../../../core/document-id.ts'
import { toOffset } from '../../../../core/offset.ts'
import { TidemarkError } from '../../../../core/protocol/errors.ts'
import { createFileStore } from '../../../../server/log/cold/file-store.ts'
import { pointerOf } from '../../../../server/log/cold/pointer.ts'
import { seal } from '../../../../server/log/cold/sealed.ts'
import type { SnapshotStore } from '../../../../server/log/cold/snapshot-store.ts'
import type { TieredLog } from '../../../../server/log/cold/tiered-log.ts'
import { createEmbeddedLog } from '../../../../server/log/lmdb/embedded-log.ts'
import type { Log } from '../../../../server/log/log.ts'
import {
  compactTo,
  contentsOf,
  entriesOf,
  freshDocument,
  RecordingFollower,
  snapshotOf,
  textsOf,
} from '../../../contract/log-model.ts'
import { silentLogger } from '../../../support/silent-logger.ts'
import { freezeSteps, temporaryFolder, tieredOver } from './tiered-log-under-test.ts'

const bytesOf = (text: string) => new TextEncoder().encode(text)
const never = new AbortController().signal

let folder: ReturnType<typeof temporaryFolder>
let inner: Log
let log: TieredLog
let document: DocumentId
let onStep: (step: string) => void | Promise<void>

const storeFolder = () => join(folder.path, 'store')
const openInner = () => createEmbeddedLog({ directory: join(folder.path, 'log'), logger: silentLogger })
const over = (options: Parameters<typeof tieredOver>[2] = {}) =>
  tieredOver(inner, storeFolder(), { onStep: (step) => onStep(step), ...options })
const append = (prefix: string, count: number, to = document) => log.append(to, entriesOf(prefix, count))
const contents = async (of = document) => contentsOf(await log.load(of))
const refusal = (promise: Promise<unknown>) =>
  promise.then(
    () => 'none',
    (error: unknown) => (error instanceof TidemarkError ? error.code : String(error)),
  )
const isCold = async (of = document) => pointerOf((await inner.load(of)).snapshot) !== null
/** Paths of all objects beneath a part of the store. */
const objects = (part = 'snapshots') =>
  readdirSync(storeFolder(), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => path.startsWith(join(storeFolder(), part)))

async function cold(of: DocumentId, prefix: string): Promise<string> {
  const before = objects()
  await append(prefix, 3, of)
  await compactTo(log, of)
  expect(await log.freeze(of)).toBe(true)
  return objects().find((path) => !before.includes(path)) ?? ''
}

beforeEach(async () => {
  folder = temporaryFolder()
  onStep = () => undefined
  inner = openInner()
  log = over()
  document = freshDocument()
  await log.start()
})

afterEach(async () => {
  await log.close()
  folder.remove()
})

describe('a cold document', () => {
  test('leaves the log, and loads as before', async () => {
    await append('a', 3)
    const state = snapshotOf(3, [new Uint8Array(100_000)])
    const metadata = Uint8Array.of(1, 2, 3)
    await inner.compact(document, { ...state, metadata }, toOffset(0))
    expect(await log.freeze(document)).toBe(true)
    const kept = (await inner.load(document)).snapshot!
    expect(kept.bytes.length).toBeLessThan(200)
    expect([...kept.metadata]).toEqual([1, 2, 3])
    const { snapshot } = await log.load(document)
    expect(Buffer.compare(snapshot!.bytes, state.bytes)).toBe(0)
    expect([snapshot!.offset, ...snapshot!.metadata]).toEqual([3, 1, 2, 3])
    expect(await log.freeze(document)).toBe(false)
  })

  test('takes edits, shows them to followers, and is whole without a thaw', async () => {
    await cold(document, 'a')
    const follower = new RecordingFollower(3)
    await log.follow(document, toOffset(3), follower)
    await append('b', 2)
    await follower.reaches(5)
    expect(textsOf(follower.entries)).toEqual(['b1', 'b2'])
    expect(await contents()).toEqual(['a1', 'a2', 'a3', 'b1', 'b2'])
  })

  test('is warm after a compaction, and can become cold again', async () => {
    await cold(document, 'a')
    await append('b', 1)
    expect(await compactTo(log, document)).toBe(true)
    expect(await isCold()).toBe(false)
    expect(await log.freeze(document)).toBe(true)
    expect(await contents()).toEqual(['a1', 'a2', 'a3', 'b1'])
    expect(objects().length).toBe(2)
  })

  test('costs nothing from the store for what needs no snapshot', async () => {
    await cold(document, 'a')
    rmSync(join(storeFolder(), 'snapshots'), { recursive: true })
    await append('b', 2)
    expect(textsOf((await log.load(document, toOffset(3))).tail)).toEqual(['b1', 'b2'])
    expect(await refusal(log.load(document, toOffset(2)))).toBe('document_unreadable')
  })

  test('is fetched once for all who load it at the same time, and few are fetched at once', async () => {
    const documents = Array.from({ length: 8 }, freshDocument)
    for (const id of documents) await cold(id, 'a')
    let fetches = 0
    let running = 0
    let runningMost = 0
    const counting = storeWith(async (get) => {
      fetches++
      runningMost = Math.max(runningMost, ++running)
      return get().finally(() => running--)
    })
    const second = over({ store: counting, limits: { fetchesMax: 2, deadlineMs: 20_000 } })
    const loads = documents.flatMap((id) => Array.from({ length: 5 }, () => second.load(id)))
    for (const loaded of await Promise.all(loads)) expect(contentsOf(loaded)).toEqual(['a1', 'a2', 'a3'])
    expect([fetches, runningMost]).toEqual([documents.length, 2])
  })
})

test('a document that was compacted, and its object removed, while it was being loaded, loads as it is now', async () => {
  const path = await cold(document, 'a')
  await append('b', 1)
  const slow = over({
    store: storeWith(async (get) => {
      if (await isCold()) {
        expect(await compactTo(log, document)).toBe(true)
        rmSync(path)
      }
      return get()
    }),
  })
  expect(contentsOf(await slow.load(document))).toEqual(['a1', 'a2', 'a3', 'b1'])
})

/** The real store, with something around each `get`. */
function storeWith(around: (get: () => Promise<Uint8Array>) => Promise<Uint8Array>): SnapshotStore {
  const real = createFileStore(storeFolder())
  return {
    name: real.name,
    start: () => real.start(),
    close: () => real.close(),
    put: (...args) => real.put(...args),
    delete: (...args) => real.delete(...args),
    list: (...args) => real.list(...args),
    get: (...args) => around(() => real.get(...args)),
  }
}

describe('a cold snapshot that is not what was written', () => {
  type Damage = (path: string, whole: Buffer, other: Buffer) => void
  const flip =
    (at: (length: number) => number): Damage =>
    (path, whole) => {
      const bytes = Buffer.from(whole)
      bytes[at(bytes.length)]! ^= 0x10
      writeFileSync(path, bytes)
    }
  const damages: Record<string, Damage> = {
    missing: (path) => rmSync(path),
    empty: (path) => writeFileSync(path, ''),
    'cut to half': (path, whole) => writeFileSync(path, whole.subarray(0, whole.length >> 1)),
    'one byte short': (path, whole) => writeFileSync(path, whole.subarray(0, -1)),
    'one byte longer': (path, whole) => writeFileSync(path, Buffer.concat([whole, Buffer.alloc(1)])),
    'a bit of the header': flip(() => 9),
    'a bit of the state': flip((length) => length - 34),
    'a bit of the hash': flip((length) => length - 1),
    "another document's": (path, _, other) => writeFileSync(path, other),
    'another kind of file': (path) => writeFileSync(path, '<html>404</html>'),
  }

  test.each(Object.keys(damages))(
    '%s: an error for this document, and nothing is overwritten',
    async (name) => {
      const path = await cold(document, 'a')
      const other = freshDocument()
      const otherPath = await cold(other, 'a')
      const whole = readFileSync(path)
      damages[name]?.(path, whole, readFileSync(otherPath))
      for (let i = 0; i < 2; i++) expect(await refusal(log.load(document))).toBe('document_unreadable')
      expect(await refusal(compactTo(log, document))).toBe('document_unreadable')
      expect(await log.freeze(document)).toBe(false)
      await append('b', 1)
      expect(await contents(other)).toEqual(['a1', 'a2', 'a3'])
      writeFileSync(path, whole)
      expect(await contents()).toEqual(['a1', 'a2', 'a3', 'b1'])
    },
  )

  test('a whole snapshot of the same document and offset, yet another one', async () => {
    const path = await cold(document, 'a')
    const whole = readFileSync(path)
    const { object } = await seal(document, toOffset(3), snapshotOf(3, ['b1', 'b2', 'b3'].map(bytesOf)))
    writeFileSync(path, object)
    expect(await refusal(log.load(document))).toBe('document_unreadable')
    writeFileSync(path, whole)
    expect(await contents()).toEqual(['a1', 'a2', 'a3'])
  })

  test("another document's pointer, or that of another offset", async () => {
    const other = freshDocument()
    await cold(document, 'a')
    await cold(other, 'a')
    const pointer = (await inner.load(other)).snapshot!
    await inner.compact(document, pointer, pointer.offset)
    expect(await refusal(log.load(document))).toBe('document_unreadable')
    expect(await contents(other)).toEqual(['a1', 'a2', 'a3'])
    await append('b', 1, other)
    await inner.compact(other, { ...pointer, offset: toOffset(4) }, pointer.offset)
    expect(await refusal(log.load(other))).toBe('document_unreadable')
  })

  test('every single bit of an object counts', async () => {
    const path = await cold(document, 'a')
    const whole = readFileSync(path)
    for (let at = 0; at < whole.length; at++) {
      const bytes = Buffer.from(whole)
      bytes[at]! ^= 1 << (at & 7)
      writeFileSync(path, bytes)
      expect(await refusal(log.load(document)), `byte ${at}`).toBe('document_unreadable')
    }
  })

  test('a pointer of a format to come, or cut short, is an error too', async () => {
    await cold(document, 'a')
    const pointer = (await inner.load(document)).snapshot!
    const index = new TextEncoder().encode('tidemark cold 2')
    await inner.compact(document, { ...pointer, index }, pointer.offset)
    expect(await refusal(log.load(document))).toBe('document_unreadable')
    await inner.compact(document, { ...pointer, bytes: pointer.bytes.subarray(0, -1) }, pointer.offset)
    expect(await refusal(log.load(document))).toBe('document_unreadable')
    await inner.compact(document, pointer, pointer.offset)
    expect(await contents()).toEqual(['a1', 'a2', 'a3'])
  })

  test('a server without a store refuses cold documents and serves the others', async () => {
    await cold(document, 'a')
    const warm = freshDocument()
    await append('w', 1, warm)
    const without = over({ store: null })
    expect(await refusal(without.load(document))).toBe('document_unreadable')
    expect(contentsOf(await without.load(warm))).toEqual(['w1'])
    expect(await without.freeze(warm)).toBe(false)
  })

  test('an object that comes late is waited for', async () => {
    const path = await cold(document, 'a')
    const whole = readFileSync(path)
    rmSync(path)
    const patient = over({ limits: { certainAttemptsMax: 1_000, deadlineMs: 20_000 } })
    const loading = patient.load(document)
    await new Promise((resolve) => setTimeout(resolve, 30))
    writeFileSync(path, whole)
    expect(contentsOf(await loading)).toEqual(['a1', 'a2', 'a3'])
  })
})

describe('freezing', () => {
  test.each(freezeSteps)(
    'that ends at %s costs nothing but perhaps an object, and works the next time',
    async (step) => {
      await append('a', 3)
      await compactTo(log, document)
      onStep = (at) => {
        if (at === step) throw new Error('a crash')
      }
      await expect(log.freeze(document)).rejects.toThrow('a crash')
      onStep = () => undefined
      await log.close()
      inner = openInner()
      log = over()
      await log.start()
      expect(await contents()).toEqual(['a1', 'a2', 'a3'])
      const done = step === 'freeze.pointed'
      expect(await isCold()).toBe(done)
      expect(await log.freeze(document)).toBe(!done)
      expect(await contents()).toEqual(['a1', 'a2', 'a3'])
    },
  )

  test.each(freezeSteps)('lets appends go on, also at %s', async (step) => {
    await append('a', 3)
    await compactTo(log, document)
    onStep = async (at) => {
      if (at === step) await append('b', 2)
    }
    expect(await log.freeze(document)).toBe(true)
    expect(await contents()).toEqual(['a1', 'a2', 'a3', 'b1', 'b2'])
  })

  test.each(freezeSteps.slice(0, 3))('gives way to a compaction at %s', async (step) => {
    await append('a', 3)
    await compactTo(log, document, 2)
    onStep = async (at) => {
      if (at === step) expect(await compactTo(log, document)).toBe(true)
    }
    expect(await log.freeze(document)).toBe(false)
    expect(await isCold()).toBe(false)
    expect(await contents()).toEqual(['a1', 'a2', 'a3'])
  })

  test('by two nodes at once, even when the lease ran out, leaves one pointer that can be followed', async () => {
    await append('a', 3)
    await compactTo(log, document)
    const unleased = new Proxy(inner, {
      get(target, name) {
        if (name === 'lease') return async () => ({ release: async () => undefined })
        const value: unknown = Reflect.get(target, name)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    const nodes = [1, 2, 3].map(() => tieredOver(unleased, storeFolder()))
    expect(
      (await Promise.all(nodes.map((node) => node.freeze(document)))).filter(Boolean).length,
    ).toBeGreaterThan(0)
    for (const node of nodes) expect(contentsOf(await node.load(document))).toEqual(['a1', 'a2', 'a3'])
  })

  test.each([
    ['torn', (whole: Buffer) => whole.subarray(0, 20)],
    ['longer', (whole: Buffer) => Buffer.concat([whole, whole])],
    ['changed', (whole: Buffer) => Buffer.from(whole).fill(0, 60, 61)],
  ] as const)('does not point to an object that reads back %s', async (_, change) => {
    await append('a', 3)
    await compactTo(log, document)
    onStep = (at) => {
      const [path = ''] = objects()
      if (at === 'freeze.verify') writeFileSync(path, change(readFileSync(path)))
    }
    await expect(log.freeze(document)).rejects.toThrow()
    expect(await isCold()).toBe(false)
    expect(await contents()).toEqual(['a1', 'a2', 'a3'])
  })
})

describe('an object that no document needs', () => {
  const keepMs = 1_000_000
  /** One look at everything, `keepMs` after whatever there is was written. */
  const lookLater = (node = over({ limits: { keepMs } })) => {
    const writtenS = (Date.now() - keepMs) / 1_000 - 60
    for (const path of [...objects(), ...objects('unused')]) utimesSync(path, writtenS, writtenS)
    return node.removeUnused(Date.now())
  }

  test('is marked when it is old enough, and removed when it was marked for as long', async () => {
    await cold(document, 'a')
    const other = freshDocument()
    const needed = await cold(other, 'o')
    await append('b', 1)
    await compactTo(log, document)
    await over({ limits: { keepMs } }).removeUnused(Date.now())
    expect([objects().length, objects('unused').length]).toEqual([2, 0])
    await lookLater()
    expect([objects().length, objects('unused').length]).toEqual([2, 1])
    await over({ limits: { keepMs } }).removeUnused(Date.now())
    expect([objects().length, objects('unused').length]).toEqual([2, 1])
    await lookLater()
    expect([objects(), objects('unused')]).toEqual([[needed], []])
    expect(await contents()).toEqual(['a1', 'a2', 'a3', 'b1'])
    expect(await contents(other)).toEqual(['o1', 'o2', 'o3'])
  })

  test('is removed also when its freezing never ended', async () => {
    await append('a', 3)
    await compactTo(log, document)
    onStep = (at) => {
      if (at === 'freeze.point') throw new Error('a crash')
    }
    await expect(log.freeze(document)).rejects.toThrow()
    for (let i = 0; i < 2; i++) await lookLater()
    expect(objects()).toEqual([])
    expect(await contents()).toEqual(['a1', 'a2', 'a3'])
  })

  test('stays when the log was put back to where it is needed', async () => {
    await cold(document, 'a')
    const pointer = (await inner.load(document)).snapshot!
    await append('b', 1)
    await compactTo(log, document)
    await lookLater()
    expect(objects('unused').length).toBe(1)
    const restored = createEmbeddedLog({ directory: join(folder.path, 'restored'), logger: silentLogger })
    await restored.start()
    await restored.append(document, entriesOf('a', 3))
    await restored.compact(document, pointer, toOffset(0))
    const again = tieredOver(restored, storeFolder(), { limits: { keepMs } })
    await lookLater(again)
    expect([objects().length, objects('unused').length]).toEqual([1, 0])
    expect(contentsOf(await again.load(document))).toEqual(['a1', 'a2', 'a3'])
    await restored.close()
  })

  test('stays when the log is empty, behind, or cannot be read: it takes nothing away', async () => {
    await cold(document, 'a')
    const wrong = createEmbeddedLog({ directory: join(folder.path, 'wrong'), logger: silentLogger })
    await wrong.start()
    const node = tieredOver(wrong, storeFolder(), { limits: { keepMs } })
    for (let i = 0; i < 3; i++) await lookLater(node)
    await wrong.append(document, entriesOf('w', 2))
    await compactTo(wrong, document)
    for (let i = 0; i < 3; i++) await lookLater(node)
    expect([objects().length, objects('unused').length]).toEqual([1, 0])
    await wrong.close()
  })

  test('stays when nobody can tell whose it is', async () => {
    const store = createFileStore(storeFolder())
    await store.put('snapshots/00/00/note', new TextEncoder().encode('not ours'), never)
    for (let i = 0; i < 2; i++) await lookLater()
    expect(objects().length).toBe(1)
  })
})

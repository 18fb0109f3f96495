/** With the real engine in the real pool, and updates that it really cannot digest. */
import { Piscina } from 'piscina'
import { afterEach, expect, test } from 'vitest'
import * as Y from 'yjs'
import { ByteWriter } from '../../../core/bytes.ts'
import { yjsEngine } from '../../../core/engine/yjs/yjs-engine.ts'
import { type CulpritLimits, findCulprits, type Verdict } from '../../../server/compaction/culprit.ts'
import type { DigestTask } from '../../../server/compaction/worker.ts'

const worker = new URL('../../../dist/server/compaction/worker.js', import.meta.url)
const generous: CulpritLimits = { updateMsMax: 20_000, wholeMsMax: 20_000, culpritsMax: 4 }
const validated = (update: Uint8Array) => {
  yjsEngine.validate(update, { updateBytesMax: 2 ** 20 })
  return update
}

/** Stored bytes that went wrong; validation refuses such. */
const malformed = Uint8Array.of(1, 1, 1, 0, 4)

/** The same key set ten thousands of times as if for the first time: Yjs walks over all of them for each. */
const slow = () =>
  validated(
    structs(80_000, (writer) => writer.uint8(0x27).varUint(1).varString('m').varString('k').varUint(1)),
  )

/** Half a million objects in a megabyte. */
const heavy = () =>
  validated(
    structs(1, (writer) => {
      writer.uint8(8).varUint(1).varString('a').varUint(500_000)
      for (let i = 0; i < 500_000; i++) writer.uint8(118).varUint(0)
    }),
  )

function structs(count: number, write: (writer: ByteWriter) => void): Uint8Array {
  const writer = new ByteWriter(2 ** 20).varUint(1).varUint(count).varUint(1).varUint(0)
  for (let i = 0; i < count; i++) write(writer)
  return writer.varUint(0).finish()
}

function typed(count: number): Uint8Array[] {
  const updates: Uint8Array[] = []
  const document = new Y.Doc()
  document.on('update', (update: Uint8Array) => updates.push(update))
  for (let i = 0; i < count; i++) document.getText('text').insert(i, 'x')
  return updates
}

let pool: Piscina | null = null
afterEach(() => pool?.destroy())

let runs: DigestTask['mode'][]
async function judge(
  updates: readonly Uint8Array[],
  limits = generous,
  { memoryMb = 512, signal = new AbortController().signal } = {},
): Promise<Verdict> {
  runs = []
  const workers = new Piscina({
    filename: worker.href,
    maxThreads: 1,
    resourceLimits: { maxOldGenerationSizeMb: memoryMb },
  })
  pool = workers
  const run = (task: DigestTask, aborted: AbortSignal): Promise<void> => {
    runs.push(task.mode)
    return workers.run(task, { name: 'digest', signal: aborted })
  }
  return findCulprits(run, 'yjs', updates, limits, signal)
}

test('nobody is at fault when all can be digested', async () => {
  expect(await judge(typed(20))).toEqual({ culprits: [], restDigestible: true })
  expect(await judge([])).toEqual({ culprits: [], restDigestible: true })
  expect(runs).toEqual(['each'])
})

test('updates that throw are found, wherever they are', async () => {
  const updates = [malformed, ...typed(5), malformed, ...typed(5), malformed]
  const { culprits, restDigestible } = await judge(updates)
  expect(restDigestible).toBe(true)
  expect(culprits.map(({ index, reason }) => [index, reason])).toEqual([
    [0, 'error'],
    [6, 'error'],
    [12, 'error'],
  ])
  expect(culprits[0]!.message).toContain('malformed')
})

test('an update that takes too long is found', async () => {
  const limits = { ...generous, updateMsMax: 800 }
  const { culprits, restDigestible } = await judge([...typed(5), slow(), ...typed(5)], limits)
  expect(restDigestible).toBe(true)
  expect(culprits.map(({ index, reason }) => [index, reason])).toEqual([[5, 'time']])
})

test('an update that takes all memory is found, and the process lives', async () => {
  const { culprits, restDigestible } = await judge([...typed(5), heavy(), malformed], generous, {
    memoryMb: 24,
  })
  expect(restDigestible).toBe(true)
  expect(culprits.map(({ index, reason }) => [index, reason])).toEqual([
    [5, 'memory'],
    [6, 'error'],
  ])
})

test("a document that is too large for the memory is nobody's fault", async () => {
  const large = Array.from({ length: 12 }, (_, i) => {
    const document = new Y.Doc()
    for (let row = 0; row < 3000; row++) document.getMap(`${i}`).set(`${row}`, { row })
    return Y.encodeStateAsUpdate(document)
  })
  const { culprits, restDigestible } = await judge(
    [malformed, ...large],
    { ...generous, culpritsMax: 2 },
    { memoryMb: 20 },
  )
  expect(restDigestible).toBe(false)
  expect(culprits.map(({ index, reason }) => [index, reason])).toEqual([[0, 'error']])
})

test('more culprits than may be found are a part of them', async () => {
  const { culprits, restDigestible } = await judge(Array(6).fill(malformed), { ...generous, culpritsMax: 2 })
  expect(restDigestible).toBe(false)
  expect(culprits.map(({ index }) => index)).toEqual([0, 1])
})

test('when only the whole cannot be compacted, the update with which that begins is found', async () => {
  // No such update is known; a runner that cannot take the 7th and the 11th together with those before stands for it.
  const updates = typed(16)
  const bad = [updates[6]!, updates[10]!].map((update) => Buffer.from(update).toString('hex'))
  const run = async ({ updates: { bytes, lengths }, mode, progress }: DigestTask): Promise<void> => {
    runs.push(mode)
    Atomics.store(progress, 0, lengths.length)
    if (bad.some((update) => Buffer.from(bytes).toString('hex').includes(update))) throw new Error('no')
  }
  runs = []
  const verdict = await findCulprits(run, 'yjs', updates, generous, new AbortController().signal)
  expect(verdict.restDigestible).toBe(true)
  expect(verdict.culprits.map(({ index }) => index)).toEqual([6, 10])
  expect(runs.length).toBeLessThan(14)
})

test('the search ends when its caller wants it to', async () => {
  const stop = new AbortController()
  const found = judge([slow()], generous, { signal: stop.signal })
  stop.abort(new Error('enough'))
  await expect(found).rejects.toThrow('enough')
})

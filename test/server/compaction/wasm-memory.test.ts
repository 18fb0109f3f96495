/** With Automerge itself in the real pool, and documents that are too large for it. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import * as Automerge from '@automerge/automerge'
import { afterEach, expect, test } from 'vitest'
import { withMaximum } from '../../../server/compaction/wasm-memory.ts'
import { Workers } from '../../../server/compaction/workers.ts'

const never = new AbortController().signal
let workers = new Workers({ threads: 1, heapMb: 64, timeoutMs: 1 })
const start = (heapMb: number): void => {
  workers = new Workers({ threads: 1, heapMb, timeoutMs: 60_000 })
}
afterEach(() => workers.close())

const note = (title: string): Uint8Array => Automerge.save(Automerge.from({ title }))
/** Each character is one of Automerge's operations: 1 MB, and more than 64 MB in its memory. */
const length = 1_000_000
const characters = Array.from({ length }, (_, i) => String.fromCharCode(97 + ((i * 7919) % 26)))
const large = Automerge.getAllChanges(Automerge.from({ text: characters.join('') }))[0]!
const textOf = async (updates: readonly Uint8Array[]): Promise<unknown> =>
  JSON.parse(new TextDecoder().decode(await workers.json('automerge', updates, never)))

test('a module without a maximum gets one, and nothing else of it is different', () => {
  const path = createRequire(import.meta.url).resolve('@automerge/automerge/automerge.wasm')
  const bytes = new Uint8Array(readFileSync(path))
  const bounded = withMaximum(bytes, 1000)
  expect(bounded.length).toBe(bytes.length + 2)
  const exportsOf = (module: Uint8Array<ArrayBuffer>) =>
    WebAssembly.Module.exports(new WebAssembly.Module(module))
  expect(exportsOf(bounded)).toEqual(exportsOf(bytes))
  expect(withMaximum(bounded, 5)).toBe(bounded)
})

test('a document that is too large fails alone, and the next one is as fast as ever', async () => {
  start(64)
  await expect(workers.compact('automerge', [large], never)).rejects.toMatchObject({
    code: 'ERR_WORKER_OUT_OF_MEMORY',
  })
  for (const title of ['one', 'two']) expect(await textOf([note(title)])).toEqual({ title })
})

test('what a thread has grown to is given back after its answer', async () => {
  start(1024)
  const grown = await workers.compact('automerge', [large], never)
  expect(Automerge.load<{ text: string }>(grown.bytes).text).toHaveLength(length)
  const threads = workers.threadIds
  expect(await textOf([note('next')])).toEqual({ title: 'next' })
  expect(workers.threadIds).not.toEqual(threads)
})

/** Compaction through the real pool, over the real embedded log. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import * as Y from 'yjs'
import type { DocumentId } from '../../../core/document-id.ts'
import { yjsEngine } from '../../../core/engine/yjs/yjs-engine.ts'
import { type CompactionResult, Compactor } from '../../../server/compaction/compactor.ts'
import { fold } from '../../../server/log/lineage.ts'
import { createEmbeddedLog } from '../../../server/log/lmdb/embedded-log.ts'
import type { Log } from '../../../server/log/log.ts'
import { Metrics } from '../../../server/metrics.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'

const document = 'a/b' as DocumentId
let folder: string
let log: Log
let compactor: Compactor
let results: CompactionResult[]

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  log = createEmbeddedLog({ directory: folder, logger: silentLogger })
  await log.start()
  results = []
  compactor = makeCompactor()
})
afterEach(async () => {
  await compactor.close()
  await log.close()
  rmSync(folder, { recursive: true })
})

const makeCompactor = (): Compactor =>
  new Compactor({
    log,
    limits: {
      tailBytesMax: 1_000_000,
      tailCountMax: 10,
      tailAgeMsMax: 1e12,
      idleTailCountMin: 2,
      intervalMs: 0,
    },
    threads: 1,
    timeoutMs: 30_000,
    workerMemoryMb: 512,
    newcomerMsMax: 10_000,
    logger: silentLogger,
    metrics: new Metrics(),
    onCompacted: (_document, result) => results.push(result),
  })

const stats = (tailCount: number) => ({
  tailCount,
  tailBytes: 0,
  snapshotBytes: 0,
  oldestMs: Date.now(),
  compactedMs: 0,
})

async function type(doc: Y.Doc, edit: (text: Y.Text) => void): Promise<void> {
  const updates: Uint8Array[] = []
  const collect = (update: Uint8Array): number => updates.push(update)
  doc.on('update', collect)
  edit(doc.getText('t'))
  doc.off('update', collect)
  const entries = updates.map((update) => ({ timeMs: Date.now(), author: '', origin: 'o', update }))
  await log.append(document, entries)
}

test('a long tail becomes a snapshot of the same state, without what was deleted, and the tail is gone', async () => {
  const doc = new Y.Doc()
  for (let i = 0; i < 30; i++) await type(doc, (text) => text.insert(0, `secret-${i} `))
  await type(doc, (text) => text.delete(0, text.length))
  await type(doc, (text) => text.insert(0, 'what is left'))
  compactor.consider(document, stats(32))
  await until('a result', () => results.length === 1)
  const { snapshot, tail, offset } = await log.load(document)
  expect(offset).toBe(32)
  expect(tail).toEqual([])
  expect(snapshot?.offset).toBe(32)
  const restored = new Y.Doc()
  Y.applyUpdate(restored, snapshot!.bytes)
  expect(restored.getText('t').toString()).toBe('what is left')
  expect(Buffer.from(snapshot!.bytes).includes('secret')).toBe(false)
  expect(yjsEngine.coverageOf(snapshot).version()).toEqual(Y.encodeStateVector(doc))
  expect(results).toEqual([
    { snapshotBytes: snapshot!.bytes.length, droppedCount: 32, droppedBytes: expect.any(Number) },
  ])
})

test('it builds on the snapshot before, and leaves what was appended meanwhile', async () => {
  const doc = new Y.Doc()
  for (let round = 1; round <= 3; round++) {
    for (let i = 0; i < 10; i++) await type(doc, (text) => text.insert(text.length, 'x'))
    compactor.consider(document, stats(10))
    await type(doc, (text) => text.insert(text.length, 'y'))
    await until('a result', () => results.length === round)
  }
  const { snapshot, tail } = await log.load(document)
  const restored = new Y.Doc()
  for (const update of [snapshot!.bytes, ...tail.map((entry) => entry.update)])
    Y.applyUpdate(restored, update)
  expect(restored.getText('t').toString()).toBe(doc.getText('t').toString())
})

test('a document whose lease somebody holds is left alone, and compacted once it is free', async () => {
  const doc = new Y.Doc()
  for (let i = 0; i < 10; i++) await type(doc, (text) => text.insert(0, 'x'))
  const lease = await log.lease(document, 60_000)
  compactor.consider(document, stats(10))
  await compactor.idle()
  expect((await log.load(document)).snapshot).toBe(null)
  await lease?.release()
  compactor.consider(document, stats(10))
  await until('a result', () => results.length === 1)
})

test('asked for, a short tail is compacted too; two who ask at once get one compaction', async () => {
  await type(new Y.Doc(), (text) => text.insert(0, 'x'))
  await Promise.all([compactor.compactNow(document), compactor.compactNow(document)])
  expect((await log.load(document)).snapshot?.offset).toBe(1)
  expect(results.filter(({ droppedCount }) => droppedCount === 1)).toHaveLength(1)
})

test('asked for while somebody holds the lease, it is tried again by itself', async () => {
  await type(new Y.Doc(), (text) => text.insert(0, 'x'))
  const lease = await log.lease(document, 60_000)
  await compactor.compactNow(document)
  expect((await log.load(document)).snapshot).toBe(null)
  await lease?.release()
  await until('compacted', async () => (await log.load(document)).snapshot !== null)
})

test('asked for and failed, it is tried again by itself', async () => {
  await type(new Y.Doc(), (text) => text.insert(0, 'x'))
  const { load } = log
  let failures = 0
  log.load = (...args) => {
    log.load = load
    failures++
    return Promise.reject(new Error(`the disk does not answer ${args[0].length}`))
  }
  await compactor.compactNow(document)
  expect(failures).toBe(1)
  expect((await log.load(document)).snapshot).toBe(null)
  await until('compacted', async () => (await log.load(document)).snapshot !== null)
})

test('updates that break the engine are set aside with their reason, and the document goes on without them', async () => {
  const doc = new Y.Doc()
  const poison = (update: Uint8Array) => [{ timeMs: 7, author: 'mallory', origin: 'o', update }]
  for (let i = 0; i < 10; i++) {
    await type(doc, (text) => text.insert(0, 'x'))
    if (i % 5 === 2) await log.append(document, poison(Uint8Array.of(9, 9, 9, i)))
  }
  compactor.consider(document, stats(12))
  await compactor.idle()
  const asked = fold(await log.load(document))
  expect(asked.snapshot).toBe(null)
  expect(asked.aside.map(({ entry }) => [entry.offset, entry.author])).toEqual([
    [4, 'mallory'],
    [10, 'mallory'],
  ])
  expect(asked.aside[0]!.reason).toMatch(/^error: /)

  await compactor.compactNow(document)
  await until('the pause after a failure is over', () => results.length === 1)
  const { snapshot, entries, aside } = fold(await log.load(document))
  expect(entries).toEqual([])
  expect(aside.map(({ entry }) => [...entry.update])).toEqual([
    [9, 9, 9, 2],
    [9, 9, 9, 7],
  ])
  const restored = new Y.Doc()
  Y.applyUpdate(restored, snapshot!.bytes)
  expect(restored.getText('t').toString()).toBe('xxxxxxxxxx')
})

test('closing while a worker is starting ends it in good order, again and again', async () => {
  const doc = new Y.Doc()
  for (let i = 0; i < 10; i++) await type(doc, (text) => text.insert(0, 'x'))
  for (let i = 0; i < 15; i++) {
    const other = makeCompactor()
    other.consider(document, stats(10))
    await new Promise((resolve) => setTimeout(resolve, i * 8))
    await other.close()
  }
  expect((await log.load(document)).offset).toBe(10)
})

/** What is read to know what to say of a document: on a real embedded log, counted. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { DocumentId } from '../../../core/document-id.ts'
import { noOffset, type Offset, toOffset } from '../../../core/offset.ts'
import { createEmbeddedLog } from '../../../server/log/lmdb/embedded-log.ts'
import type { Loaded, Log } from '../../../server/log/log.ts'
import { Heads } from '../../../server/webhooks/heads.ts'
import { documentOf } from '../../contract/log-model.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'
import { change } from './webhooks-under-test.ts'

const a = documentOf('heads/a')
const none = new Uint8Array()
let directory: string
let log: Log
let heads: Heads
/** What each load was asked for, and gave. */
let loads: { after: number; entries: number; whole: boolean }[]

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tidemark-heads-'))
  log = createEmbeddedLog({ directory, logger: silentLogger })
  await log.start()
  loads = []
  heads = new Heads({
    async load(document: DocumentId, after?: Offset): Promise<Loaded> {
      const loaded = await log.load(document, after)
      loads.push({
        after: after ?? 0,
        entries: loaded.tail.length,
        whole: after === undefined || loaded.snapshot !== null,
      })
      return loaded
    },
  })
})

afterEach(async () => {
  await log.close()
  await rm(directory, { recursive: true, force: true })
})

it('reads a document whole the first time and after a compaction, and else only what is new', async () => {
  for (let i = 0; i < 5; i++) await change(log, a)
  expect((await heads.announcement(a))?.offset).toBe(5)
  await change(log, a)
  expect((await heads.announcement(a))?.offset).toBe(6)
  await change(log, a)
  const snapshot = { offset: toOffset(7), bytes: none, index: none, metadata: none }
  expect(await log.compact(a, snapshot, noOffset)).toBe(true)
  await change(log, a)
  expect((await heads.announcement(a))?.offset).toBe(8)
  await change(log, a)
  expect((await heads.announcement(a))?.offset).toBe(9)
  expect(loads).toEqual([
    { after: 0, entries: 5, whole: true },
    { after: 5, entries: 1, whole: false },
    { after: 6, entries: 1, whole: true },
    { after: 8, entries: 1, whole: false },
  ])
})

it('says nothing of a head that was delivered, and says it again while it was not', async () => {
  await change(log, a)
  const first = await heads.announcement(a)
  expect(await heads.announcement(a)).toEqual(first)
  heads.delivered(a, first!)
  expect(await heads.announcement(a)).toBeNull()
  await change(log, a)
  expect((await heads.announcement(a))?.offset).toBe(2)
  expect(await heads.announcement(documentOf('heads/none'))).toBeNull()
})

it('loads at most two whole documents at a time, and all of them in the end, whatever fails', async () => {
  const open: (() => void)[] = []
  let most = 0
  let underWay = 0
  const slow = new Heads({
    async load(document: DocumentId): Promise<Loaded> {
      most = Math.max(most, ++underWay)
      await new Promise<void>((resolve) => open.push(resolve))
      underWay--
      if (document.endsWith('3')) throw new Error('cannot be read')
      return log.load(document)
    },
  })
  const documents = Array.from({ length: 8 }, (_, i) => documentOf(`heads/${i}`))
  for (const document of documents) await change(log, document)
  const asked = Promise.allSettled(documents.map((document) => slow.announcement(document)))
  let ended = 0
  for (; ended < 8; ended++) {
    await until('a load is under way', () => open.length > 0)
    open.shift()!()
  }
  const results = await asked
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(7)
  expect(most).toBe(2)
})

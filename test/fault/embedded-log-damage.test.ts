/**
 * What a damaged disk does to the embedded log: a torn end of the journal is what a crash leaves and
 * costs nothing that was acked; anything else is refused, by name, and nothing is dropped silently.
 */
import { cp, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { open } from 'lmdb'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noOffset } from '../../core/offset.ts'
import { createEmbeddedLog, type EmbeddedLog } from '../../server/log/lmdb/embedded-log.ts'
import { readSegment, segmentHeaderBytes } from '../../server/log/lmdb/segment.ts'
import { contentsOf, documentOf, entryOf, snapshotOf } from '../contract/log-model.ts'
import { silentLogger } from '../support/silent-logger.ts'

const document = documentOf('damage/a')
const limits = { segmentBytes: 4096, slabBytes: 4096 }
const count = 40
const texts = Array.from({ length: count }, (_, i) => `${i + 1}-${'x'.repeat(200)}`)
let base: string
let crashed: string
/** The last segment with records, and where they end. */
let last: string
let ends: number[]

async function openLog(directory: string): Promise<EmbeddedLog> {
  const log = createEmbeddedLog({ directory, logger: silentLogger, ...limits })
  await log.start()
  return log
}

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'tidemark-damage-'))
  crashed = join(base, 'crashed')
  const live = join(base, 'live')
  const log = await openLog(live)
  for (const text of texts) await log.append(document, [entryOf(text)])
  // Copied while the log is open: what a kill would leave, with all entries only in the journal.
  await cp(join(live, 'journal'), join(crashed, 'journal'), { recursive: true })
  await log.close()
  for (const name of (await readdir(join(crashed, 'journal'))).sort()) {
    if (!name.endsWith('.journal')) continue
    const path = join(crashed, 'journal', name)
    const { records } = readSegment(path, Number.parseInt(name, 10), await readFile(path))
    if (records.length === 0) continue
    last = name
    ends = records.map(({ end }) => end)
  }
  expect(ends.length).toBeGreaterThan(2)
})

afterAll(() => rm(base, { recursive: true, force: true }))

let copies = 0
/** What a start on a copy of the crashed directory finds, after `damage` was done to it. */
async function startAfter(damage: (journal: string) => Promise<void>): Promise<string[]> {
  const directory = join(base, `copy-${++copies}`)
  await cp(crashed, directory, { recursive: true })
  await damage(join(directory, 'journal'))
  try {
    const log = await openLog(directory)
    try {
      const contents = contentsOf(await log.load(document))
      const [appended] = await log.append(document, [entryOf('next')])
      expect(appended!.offset).toBe(contents.length + 1)
      return contents
    } finally {
      await log.close()
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

describe('a journal', () => {
  it('that is whole is read whole', async () => {
    expect(await startAfter(async () => {})).toEqual(texts)
  })

  it('cut anywhere in its last segment keeps every record before the cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: segmentHeaderBytes, max: limits.segmentBytes }), async (length) => {
        const lost = ends.filter((end) => end > length).length
        const contents = await startAfter((journal) => truncate(join(journal, last), length))
        expect(contents).toEqual(texts.slice(0, count - lost))
      }),
      { numRuns: 25 },
    )
  })

  it('with a flipped bit is refused and named, or what is lost is only the very last record', async () => {
    const segments = (await readdir(join(crashed, 'journal'))).filter((name) => name.endsWith('.journal'))
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...segments),
        fc.nat(limits.segmentBytes * 8 - 1),
        async (name, bit) => {
          const outcome = await startAfter(async (journal) => {
            const bytes = await readFile(join(journal, name))
            bytes[bit >> 3]! ^= 1 << (bit & 7)
            await writeFile(join(journal, name), bytes)
          }).catch((error: Error) => error)
          if (outcome instanceof Error) expect(outcome.message).toContain(name)
          else if (name === last && bit >> 3 >= ends.at(-2)! && bit >> 3 < ends.at(-1)!)
            expect(outcome).toEqual(texts.slice(0, -1))
          else expect(outcome).toEqual(texts)
        },
      ),
      { numRuns: 60 },
    )
  })

  it('with a missing segment is refused', async () => {
    const [first] = (await readdir(join(crashed, 'journal')))
      .filter((name) => name.endsWith('.journal'))
      .sort()
    await expect(startAfter((journal) => rm(join(journal, first!)))).rejects.toThrow('LSN')
  })
})

describe('a document whose stored values are damaged', () => {
  for (const name of ['chunks', 'snapshots', 'documents'] as const)
    it(`in ${name} is unreadable, not empty, and harms no other`, async () => {
      const directory = join(base, `stored-${name}`)
      const other = documentOf('damage/other')
      let log = await openLog(directory)
      for (const id of [document, other]) {
        await log.append(id, [entryOf('1'), entryOf('2')])
        await log.compact(id, snapshotOf(1, [Buffer.from('1')]), noOffset)
      }
      await log.close()
      const root = open({ path: join(directory, 'log'), noSubdir: false, encoding: 'binary', maxDbs: 4 })
      const values = root.openDB<Uint8Array>({ name, encoding: 'binary' })
      const key = name === 'chunks' ? [document, 2] : document
      const value = values.getBinary(key)!
      value[value.length - 1]! ^= 1
      await values.put(key, value)
      await root.close()
      log = await openLog(directory)
      await expect(log.load(document)).rejects.toMatchObject({ code: 'document_unreadable' })
      expect(contentsOf(await log.load(other))).toEqual(['1', '2'])
      await log.close()
      expect((await stat(directory)).isDirectory()).toBe(true)
    })
})

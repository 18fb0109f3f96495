/** What the embedded log promises beyond the contract: its limits, and what a failed write leaves behind. */
import { cp, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { noOffset } from '../../../../core/offset.ts'
import { createEmbeddedLog, type EmbeddedLog } from '../../../../server/log/lmdb/embedded-log.ts'
import type { EmbeddedLogLimits } from '../../../../server/log/lmdb/limits.ts'
import { compactTo, contentsOf, documentOf, entryOf, RecordingFollower } from '../../../contract/log-model.ts'
import { busyLogLimits } from '../../../support/busy-log.ts'
import { silentLogger } from '../../../support/silent-logger.ts'
import { until } from '../../../support/wait.ts'
import { type EmbeddedLogUnderTest, embeddedLogUnderTest } from './embedded-log-under-test.ts'

let subject: EmbeddedLogUnderTest

const make = async (limits: Partial<EmbeddedLogLimits>): Promise<EmbeddedLog> => {
  subject = await embeddedLogUnderTest({ segmentBytes: 64 * 1024, retryMs: 5, retryMsMax: 20, ...limits })
  return subject.log
}

afterEach(() => subject.cleanup())

/** What a restart after a crash at this very moment finds. */
async function afterCrash(look: (log: EmbeddedLog) => Promise<void>): Promise<void> {
  const directory = `${subject.directory}-crashed`
  // Segments that are being retired may vanish from under the copy.
  await until('the journal is copied', async () => {
    await rm(directory, { recursive: true, force: true })
    return cp(join(subject.directory, 'journal'), join(directory, 'journal'), { recursive: true }).then(
      () => true,
      () => false,
    )
  })
  await cp(join(subject.directory, 'log/data.mdb'), join(directory, 'log/data.mdb'))
  const log = createEmbeddedLog({ directory, logger: silentLogger, segmentBytes: 64 * 1024 })
  try {
    await log.start()
    await look(log)
  } finally {
    await log.close()
    await rm(directory, { recursive: true, force: true })
  }
}

const document = documentOf('embedded/a')

describe('a failed write', () => {
  for (const step of ['append.write', 'append.written'])
    it(`at ${step} refuses what waited for it and what was queued behind, and takes its offsets back`, async () => {
      const log = await make({ slabBytes: 512 })
      const follower = new RecordingFollower()
      await log.follow(document, noOffset, follower)
      await log.append(document, [entryOf('kept', { replica: 'r', sequence: 1 })])
      subject.failAt(step)
      const refused = await Promise.allSettled(
        Array.from({ length: 10 }, (_, i) =>
          log.append(document, [
            entryOf(`refused ${i}${'.'.repeat(200)}`, { replica: 'r', sequence: i + 2 }),
          ]),
        ),
      )
      for (const outcome of refused)
        expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'log_unavailable' } })
      await until('the log is available again', () => log.unavailable() === null)
      const [again] = await log.append(document, [entryOf('again', { replica: 'r', sequence: 2 })])
      expect(again).toEqual({ offset: 2, duplicate: false })
      await follower.reaches(2)
      expect(contentsOf(await log.load(document))).toEqual(['kept', 'again'])
      // The refused record may lie in the segment that was given up: it must stay dead.
      await afterCrash(async (restarted) => {
        expect(contentsOf(await restarted.load(document))).toEqual(['kept', 'again'])
      })
    })

  it('that was the last before a crash may have become durable, and then counts', async () => {
    const log = await make({})
    await log.append(document, [entryOf('kept')])
    subject.failAt('append.written')
    const push = entryOf('lost reply', { replica: 'r', sequence: 1 })
    await expect(log.append(document, [push])).rejects.toMatchObject({ code: 'log_unavailable' })
    await afterCrash(async (restarted) => {
      expect(contentsOf(await restarted.load(document))).toEqual(['kept', 'lost reply'])
      expect(await restarted.append(document, [push])).toEqual([{ offset: 2, duplicate: true }])
    })
  })

  it('of a checkpoint or a rotation loses nothing and is made good', async () => {
    const log = await make({ segmentBytes: 4096, checkpointBytes: 2048, spareSegmentsMax: 1 })
    const texts: string[] = []
    for (const step of [
      'rotate.header',
      'rotate.switched',
      'checkpoint.slice',
      'checkpoint.sliced',
      'checkpoint.marked',
    ]) {
      subject.failAt(step)
      for (let i = 0; i < 60; i++) {
        const text = `${step} ${i}${'.'.repeat(100)}`
        const taken = await log.append(document, [entryOf(text)]).catch(() => null)
        if (taken === null) await until('the log is available again', () => log.unavailable() === null)
        else texts.push(text)
      }
    }
    expect(contentsOf(await log.load(document))).toEqual(texts)
    const changes = await log.changes(0, 10)
    const restarted = await subject.reopen()
    expect(contentsOf(await restarted.load(document))).toEqual(texts)
    // A place in a transaction whose success was not told is taken back by the next one.
    expect(changes.map((change) => change.document)).toEqual([document])
    expect(await restarted.changes(0, 10)).toEqual(changes)
  })
})

describe('a limit', () => {
  it('on what waits for the disk refuses more as overloaded', async () => {
    const log = await make({ queuedBytesMax: 2000 })
    const appends = await Promise.allSettled(
      Array.from({ length: 40 }, () => log.append(document, [entryOf('x'.repeat(100))])),
    )
    const refused = appends.filter(({ status }) => status === 'rejected')
    expect(refused.length).toBeGreaterThan(0)
    for (const outcome of refused) expect(outcome).toMatchObject({ reason: { code: 'overloaded' } })
    expect(contentsOf(await log.load(document)).length).toBe(40 - refused.length)
    expect(log.stats().queuedBytes).toBe(0)
    await log.append(document, [entryOf('goes on')])
  })

  it('on one append refuses a larger one', async () => {
    const log = await make({ appendBytesMax: 1000 })
    await expect(log.append(document, [entryOf('x'.repeat(1001))])).rejects.toMatchObject({
      code: 'update_too_large',
    })
  })

  it('on uncheckpointed bytes makes appends wait, none is lost, and the journal stays small', async () => {
    const log = await make({
      segmentBytes: 8192,
      slabBytes: 2048,
      checkpointBytes: 8192,
      uncheckpointedBytesMax: 16_384,
      spareSegmentsMax: 2,
    })
    for (let round = 0; round < 5; round++)
      await Promise.all(Array.from({ length: 200 }, () => log.append(document, [entryOf('x'.repeat(100))])))
    expect((await log.load(document)).offset).toBe(1000)
    await until('the checkpoint has caught up', () => log.stats().uncheckpointedBytes < 8192)
    await until('the journal is small again', async () => {
      const journal = join(subject.directory, 'journal')
      const names = await readdir(journal)
      const sizes = await Promise.all(
        names.map((name) => stat(join(journal, name)).catch(() => ({ size: 0 }))),
      )
      return sizes.reduce((sum, { size }) => sum + size, 0) <= 8192 * 8
    })
  })

  it('on documents in memory holds however many are touched', async () => {
    const log = await make({ documentsMax: 50, checkpointBytes: 4096 })
    const ids = Array.from({ length: 400 }, (_, i) => documentOf(`embedded/many-${i}`))
    for (const id of ids) await log.append(id, [entryOf(`in ${id}`)])
    await until('the checkpoint has caught up', () => log.stats().uncheckpointedBytes < 4096)
    for (const id of ids) expect(contentsOf(await log.load(id))).toEqual([`in ${id}`])
    expect(log.stats().documents).toBeLessThanOrEqual(120)
  })

  it('on replicas keeps the most recent, also over a restart', async () => {
    let log = await make({ replicasMax: 8 })
    const push = (replica: number) => entryOf(`${replica}`, { replica: `r${replica}`, sequence: 1 })
    for (let i = 0; i < 20; i++) await log.append(document, [push(i)])
    log = await subject.reopen()
    expect((await log.append(document, [push(19)]))[0]!.duplicate).toBe(true)
    expect((await log.append(document, [push(0)]))[0]!.duplicate).toBe(false)
  })
})

describe('changes', () => {
  const numbered = async (log: EmbeddedLog) =>
    new Map((await log.changes(0, 100)).map((change) => [change.document, change.sequence]))

  for (const [kind, limits] of [
    ['nothing was checkpointed', {}],
    ['checkpoints never stop', busyLogLimits],
  ] as const)
    it(`are the same to the number after a crash, when ${kind}`, async () => {
      const log = await make(limits)
      const ids = Array.from({ length: 12 }, (_, i) => documentOf(`embedded/${i}`))
      for (let round = 0; round < 4; round++) {
        await Promise.all(ids.map((id) => log.append(id, [entryOf(`${round}${'.'.repeat(50)}`)])))
        // Some wholly, some with entries after the snapshot, in no order of theirs.
        for (const id of ids.slice(round * 2, round * 2 + 3).reverse()) await compactTo(log, id)
        await log.append(ids[round]!, [entryOf('last')])
        const told = await numbered(log)
        expect(new Set(told.keys())).toEqual(new Set(ids))
        const { checkpointBytes = Number.POSITIVE_INFINITY }: Partial<EmbeddedLogLimits> = limits
        // LMDB's file is copied below, so nothing may be writing it.
        await until('no checkpoint runs', () => log.stats().uncheckpointedBytes < checkpointBytes)
        await afterCrash(async (restarted) => {
          expect(await numbered(restarted)).toEqual(told)
          await restarted.append(document, [entryOf('next')])
          const [change] = await restarted.changes(Math.max(...told.values()), 100)
          expect(change!.document).toBe(document)
        })
      }
    })
})

it('keeps a document under constant appends and compactions bounded in LMDB', async () => {
  const log = await make({ checkpointBytes: 4096, segmentBytes: 8192 })
  for (let round = 0; round < 10; round++) {
    await Promise.all(Array.from({ length: 50 }, (_, i) => log.append(document, [entryOf(`${round}-${i}`)])))
    await compactTo(log, document)
  }
  const { snapshot, tail } = await (await subject.reopen()).load(document)
  expect([snapshot!.offset, tail.length]).toEqual([500, 0])
})

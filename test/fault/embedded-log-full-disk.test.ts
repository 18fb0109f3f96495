/**
 * A disk that is full, for real: a small tmpfs where the tests may mount one (root), else a limit on
 * the size of the files this process may write. No ack and nothing lost while it lasts; and once
 * there is space again the log goes on by itself, with the offsets that were not given.
 */
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { noOffset } from '../../core/offset.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import { createEmbeddedLog, type EmbeddedLog } from '../../server/log/lmdb/embedded-log.ts'
import { compactTo, contentsOf, documentOf, entryOf, RecordingFollower } from '../contract/log-model.ts'
import { silentLogger } from '../support/silent-logger.ts'
import { until } from '../support/wait.ts'

interface Disk {
  readonly directory: string
  fill(): Promise<void>
  free(): Promise<void>
  remove(): Promise<void>
}

const diskBytes = 4 * 1024 * 1024

async function tmpfsDisk(): Promise<Disk> {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-disk-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${diskBytes}`, 'tmpfs', directory])
  const filler = join(directory, 'filler')
  return {
    directory,
    // The write fails at the last free page; what was written until then fills the disk.
    fill: () => writeFile(filler, Buffer.alloc(diskBytes)).catch(() => {}),
    free: () => rm(filler, { force: true }),
    async remove() {
      execFileSync('umount', [directory])
      await rm(directory, { recursive: true })
    },
  }
}

/** Node ignores SIGXFSZ, so a write past the limit fails with EFBIG. */
async function limitedDisk(): Promise<Disk> {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-disk-'))
  const limit = (bytes: string) =>
    execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes}:`])
  return {
    directory,
    fill: async () => void limit('4096'),
    free: async () => void limit('unlimited'),
    async remove() {
      limit('unlimited')
      await rm(directory, { recursive: true })
    },
  }
}

const limits = {
  segmentBytes: 64 * 1024,
  slabBytes: 16 * 1024,
  checkpointBytes: 512 * 1024,
  uncheckpointedBytesMax: 1024 * 1024,
  spareSegmentsMax: 1,
  retryMs: 5,
  retryMsMax: 40,
}

let disk: Disk
let log: EmbeddedLog | null = null

afterEach(async () => {
  await disk.free()
  await log?.close()
  await disk.remove()
})

async function openLog(): Promise<EmbeddedLog> {
  log = createEmbeddedLog({ directory: disk.directory, logger: silentLogger, ...limits })
  await log.start()
  return log
}

const document = documentOf('full/a')
const kinds: [string, () => Promise<Disk>][] = [['limited file size', limitedDisk]]
if (process.getuid?.() === 0) kinds.unshift(['full tmpfs', tmpfsDisk])

for (const [kind, makeDisk] of kinds)
  describe(`on a disk without space (${kind})`, () => {
    it('refuses appends, keeps what was acked, and goes on when there is space', async () => {
      disk = await makeDisk()
      let open = await openLog()
      const follower = new RecordingFollower()
      await open.follow(document, noOffset, follower)
      const acked: string[] = []
      const append = async (): Promise<boolean> => {
        const text = `${acked.length}-${Math.random()}-${'x'.repeat(4000)}`
        try {
          const [appended] = await open.append(document, [entryOf(text)])
          acked.push(text)
          expect(appended!.offset).toBe(acked.length)
          return true
        } catch (error) {
          expect(error).toBeInstanceOf(TidemarkError)
          expect((error as TidemarkError).code).toBe('log_unavailable')
          return false
        }
      }
      for (let round = 0; round < 3; round++) {
        for (let i = 0; i < 20; i++) expect(await append()).toBe(true)
        await disk.fill()
        await until('an append is refused', async () => !(await append()))
        expect(await append()).toBe(false)
        expect(open.unavailable()).not.toBeNull()
        expect(contentsOf(await open.load(document))).toEqual(acked)
        await disk.free()
        await until('appends are taken again', () => append())
        expect(open.unavailable()).toBeNull()
        expect(contentsOf(await open.load(document))).toEqual(acked)
        if (round === 1) await compactTo(open, document)
      }
      await follower.reaches(acked.length)
      expect(follower.entries.map(({ update }) => Buffer.from(update).toString())).toEqual(acked)
      await open.close()
      open = await openLog()
      expect(contentsOf(await open.load(document))).toEqual(acked)
    })

    it('refuses a compaction and keeps the document as it was', async () => {
      disk = await makeDisk()
      const open = await openLog()
      await open.append(document, [entryOf('1'), entryOf('2')])
      await disk.fill()
      const large = {
        offset: (await open.load(document)).offset,
        bytes: Buffer.alloc(300_000),
        index: Buffer.of(),
        metadata: Buffer.of(),
      }
      await expect(open.compact(document, large, noOffset)).rejects.toThrow()
      expect(contentsOf(await open.load(document))).toEqual(['1', '2'])
      await disk.free()
      expect(await compactTo(open, document)).toBe(true)
      expect(contentsOf(await open.load(document))).toEqual(['1', '2'])
    })
  })

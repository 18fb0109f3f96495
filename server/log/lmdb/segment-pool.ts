/**
 * The journal's files. The next segment is made ready in the background while the current one
 * fills, so that a rotation only takes it:
 *
 *   zero-fill `spare-…` (or take a recycled one) → write its header → rename to `<number>.journal`
 *   → sync the directory
 *
 * At each point a crash leaves a file that recovery ignores or an empty segment. Segments that the
 * checkpoint has passed become spares again, oldest first; what lies in them is not erased, since
 * the seed of their next life keeps it from being read.
 */
import { randomInt } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { EmbeddedLogLimits, Step } from './limits.ts'
import { type ReadSegment, readSegment, Segment } from './segment.ts'

const seedMax = 2 ** 32 - 1
const fillBytes = 1024 * 1024
const numberDigits = 16
const segmentName = new RegExp(`^([0-9]{${numberDigits}})\\.journal$`)

export class SegmentPool {
  private readonly directory: string
  private readonly limits: EmbeddedLogLimits
  private readonly step: Step
  private readonly spares: string[] = []
  private number = 0
  private spareNumber = 0
  private ready: Promise<Segment> | null = null

  constructor(directory: string, limits: EmbeddedLogLimits, step: Step) {
    this.directory = directory
    this.limits = limits
    this.step = step
  }

  /** Reads every segment there is, in order, one at a time. */
  async *recover(): AsyncGenerator<ReadSegment> {
    await mkdir(this.directory, { recursive: true })
    const segments: string[] = []
    for (const name of (await readdir(this.directory)).sort()) {
      if (segmentName.test(name)) segments.push(name)
      else if (name.startsWith('spare-')) await rm(join(this.directory, name))
    }
    for (const name of segments) {
      const number = Number(segmentName.exec(name)![1])
      this.number = Math.max(this.number, number)
      const path = join(this.directory, name)
      yield readSegment(path, number, await readFile(path))
    }
  }

  /** The next segment to write. Rejects when none can be made; ask again later. */
  async take(): Promise<Segment> {
    const taken = this.prepare()
    try {
      return await taken
    } finally {
      this.ready = null
    }
  }

  /** Makes the next segment ready, if it is not; a failure is for `take` to find. */
  prepare(): Promise<Segment> {
    if (this.ready === null) {
      this.ready = this.make()
      this.ready.catch(() => {
        // Owned by `take`, which awaits this same promise.
      })
    }
    return this.ready
  }

  private async make(): Promise<Segment> {
    const spare = this.spares.pop() ?? (await this.fill())
    let segment: Segment | null = null
    try {
      const number = ++this.number
      segment = await Segment.begin(spare, number, randomInt(seedMax), this.limits.segmentBytes)
      this.step('rotate.header')
      const path = join(this.directory, `${String(number).padStart(numberDigits, '0')}.journal`)
      await rename(spare, path)
      segment.path = path
      this.step('rotate.renamed')
      await syncDirectory(this.directory)
      return segment
    } catch (error) {
      await segment?.close()
      await rm(segment?.path ?? spare, { force: true })
      throw error
    }
  }

  private async fill(): Promise<string> {
    const path = join(this.directory, `spare-${++this.spareNumber}`)
    const zeros = Buffer.alloc(Math.min(fillBytes, this.limits.segmentBytes))
    const file = await open(path, 'w')
    try {
      for (let position = 0; position < this.limits.segmentBytes; ) {
        const length = Math.min(zeros.length, this.limits.segmentBytes - position)
        const { bytesWritten } = await file.write(zeros, 0, length, position)
        if (bytesWritten === 0) throw new Error('short write of a spare segment')
        position += bytesWritten
      }
      await file.sync()
    } catch (error) {
      // What was filled so far must not keep a full disk full; the first error is the one to tell.
      await file.truncate(0).catch(() => {})
      await rm(path, { force: true })
      throw error
    } finally {
      await file.close()
    }
    this.step('rotate.filled')
    return path
  }

  /** Takes a segment out of the journal: a spare from now on, or gone. */
  async retire(path: string): Promise<void> {
    const { size } = await stat(path)
    if (this.spares.length >= this.limits.spareSegmentsMax || size !== this.limits.segmentBytes) {
      await rm(path)
      return
    }
    const spare = join(this.directory, `spare-${++this.spareNumber}`)
    await rename(path, spare)
    // Before its next header is written: else a power loss could bring the old name back with it.
    await syncDirectory(this.directory)
    this.spares.push(spare)
  }

  async close(): Promise<void> {
    // A spare that could not be made was reported where it was wanted; here there is only nothing to close.
    const segment = await this.ready?.catch(() => null)
    await segment?.close()
    this.ready = null
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

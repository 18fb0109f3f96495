/**
 * One structural pass over an update v1. Lists what it holds as flat arrays of numbers; never
 * allocates by a count that the bytes claim, so hostile counts end with the bytes.
 *
 *   update    = n:varUint n×section  deleteSet        -- nothing after it
 *   section   = structs:varUint client:varUint clock:varUint structs×struct   -- see struct-scanner.ts
 *   deleteSet = n:varUint n×part
 *   part      = client:varUint ranges:varUint ranges×(clock:varUint length:varUint)
 *
 * A section's structs are contiguous from its clock. A client has at most one section (Yjs keeps only
 * the last of two) and one part. A part's ranges ascend without overlap: Yjs writes them so, and
 * corrupts others when it keeps them as pending.
 *
 * A run is what lies between Skips: structs that are really there, contiguous in clocks and in bytes.
 */
import { MalformedBytes } from '../../bytes.ts'
import { type ErrorCode, TidemarkError } from '../../protocol/errors.ts'
import type { Outline } from '../engine.ts'
import { clockMax, StructScanner, skipInfo } from './struct-scanner.ts'

/** Flat records; the `…Width` constants say how many numbers make one. Positions are byte offsets. */
export interface Scan {
  /** client, start (of its three integers), structs start, end, first run, run count. */
  readonly sections: number[]
  /** client, first clock, end clock, start, end, structs; in the order of the bytes. */
  readonly runs: number[]
  /** Where a search within a run may begin: run, clock, position, structs of the run before it. */
  readonly rows: number[]
  readonly deleteSetStart: number
  /** client, start, ranges start, end, ranges. */
  readonly deleteParts: number[]
  /** client, first clock, end clock. */
  readonly deletes: number[]
}
export const sectionWidth = 6
export const runWidth = 6
export const rowWidth = 4
export const deletePartWidth = 5

/**
 * What an update says it contains, as flat triples: `structs` = client, first clock, end clock (exclusive), a client's
 * triples together and with ascending clocks, without what the update itself marks as skipped; `deletes` likewise for
 * deleted ranges.
 */
export interface YjsOutline extends Outline {
  readonly structs: readonly number[]
  readonly deletes: readonly number[]
}

/** Scans of updates at least this large are kept for the next join. */
export const rememberedScanBytesMin = 4096

/** A row is made once at least this much lies behind the last one. */
const rowBytesMin = 4096
const rowStructsMin = 64

/** Throws `MalformedBytes`. */
export function scan(bytes: Uint8Array, wantRows = false): Scan {
  const scanner = new StructScanner(bytes)
  const sections: number[] = []
  const runs: number[] = []
  const rows: number[] = []
  const seen = new UniqueClients()
  for (let left = scanner.varUint(); left > 0; left--) {
    const start = scanner.position
    const structCount = scanner.varUint()
    const client = scanner.varUint()
    seen.add(client)
    let clock = scanner.varUint()
    if (clock > clockMax) throw new MalformedBytes('clock out of range')
    const firstRun = runs.length / runWidth
    const structsStart = scanner.position
    let runStart = -1
    let runClock = 0
    let runStructs = 0
    let rowPosition = 0
    let rowStructs = 0
    for (let i = 0; i < structCount; i++) {
      const position = scanner.position
      const length = scanner.struct(client, clock)
      if (scanner.info === skipInfo) {
        if (runStart >= 0) runs.push(client, runClock, clock, runStart, position, runStructs)
        runStart = -1
      } else if (runStart < 0) {
        runStart = position
        runClock = clock
        runStructs = 1
        rowPosition = position
        rowStructs = 0
      } else {
        if (wantRows && position - rowPosition >= rowBytesMin && runStructs - rowStructs >= rowStructsMin) {
          rows.push(runs.length / runWidth, clock, position, runStructs)
          rowPosition = position
          rowStructs = runStructs
        }
        runStructs++
      }
      clock += length
    }
    if (runStart >= 0) runs.push(client, runClock, clock, runStart, scanner.position, runStructs)
    const runCount = runs.length / runWidth - firstRun
    sections.push(client, start, structsStart, scanner.position, firstRun, runCount)
  }

  const deleteSetStart = scanner.position
  const deleteParts: number[] = []
  const deletes: number[] = []
  seen.clear()
  for (let left = scanner.varUint(); left > 0; left--) {
    const start = scanner.position
    const client = scanner.varUint()
    seen.add(client)
    const rangeCount = scanner.varUint()
    const rangesStart = scanner.position
    let previousEnd = 0
    for (let i = 0; i < rangeCount; i++) {
      const clock = scanner.varUint()
      const length = scanner.varUint()
      if (length === 0) throw new MalformedBytes('deleted range of length zero')
      if (clock < previousEnd) throw new MalformedBytes('deleted ranges out of order')
      previousEnd = clock + length
      if (previousEnd > clockMax) throw new MalformedBytes('clock out of range')
      deletes.push(client, clock, previousEnd)
    }
    deleteParts.push(client, start, rangesStart, scanner.position, rangeCount)
  }
  if (scanner.remaining > 0) throw new MalformedBytes('bytes after the end')
  return { sections, runs, rows, deleteSetStart, deleteParts, deletes }
}

/** Scans what somebody sent: throws `malformed_update`. */
export function scanUpdate(update: Uint8Array): Scan {
  return scanOr('malformed_update', 'Not a Yjs update', update, false)
}

/** Scans what was validated and stored: throws `document_unreadable`. */
export function scanStored(update: Uint8Array, wantRows = false): Scan {
  return scanOr('document_unreadable', 'A stored update is malformed', update, wantRows)
}

function scanOr(code: ErrorCode, what: string, update: Uint8Array, wantRows: boolean): Scan {
  try {
    return scan(update, wantRows)
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error
    throw new TidemarkError(code, `${what}: ${error.message}`, { cause: error })
  }
}

export function outlineOf({ runs, deletes }: Scan): YjsOutline {
  const structs: number[] = []
  for (let i = 0; i < runs.length; i += runWidth) structs.push(runs[i]!, runs[i + 1]!, runs[i + 2]!)
  return { structs, deletes }
}

/** Clients come in descending order from Yjs, which needs no memory of them; other orders do. */
class UniqueClients {
  private last = Number.POSITIVE_INFINITY
  private before: number[] = []
  private unordered: Set<number> | null = null

  add(client: number): void {
    if (this.unordered === null) {
      if (client < this.last) {
        if (this.last !== Number.POSITIVE_INFINITY) this.before.push(this.last)
        this.last = client
        return
      }
      this.unordered = new Set(this.before).add(this.last)
    }
    if (this.unordered.has(client)) throw new MalformedBytes('a client twice')
    this.unordered.add(client)
  }

  clear(): void {
    this.last = Number.POSITIVE_INFINITY
    this.before = []
    this.unordered = null
  }
}

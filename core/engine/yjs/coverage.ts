/**
 * Which struct and delete ranges a log holds, per client, as sorted, disjoint, non-adjacent ranges in a
 * flat array: start, end, start, end, …. Typing extends the last range, which costs O(1).
 *
 * Built from an index without touching the delete set of the state: a client's part is decoded when
 * an update first deletes from that client. Until then the coverage keeps the state's bytes alive.
 */
import { ByteReader, ByteWriter, MalformedBytes } from '../../bytes.ts'
import { TidemarkError } from '../../protocol/errors.ts'
import type { Coverage, IndexedState } from '../engine.ts'
import { deletePartWidth, runWidth, type YjsOutline } from './scan.ts'
import { layoutOf } from './state-index.ts'

export type Ranges = number[]

/** A client's part of a delete set, not yet decoded: `ranges` pairs of clock and length from `start`. */
export interface DeletePart {
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
  readonly ranges: number
}

export class YjsCoverage implements Coverage {
  private readonly structs = new Map<number, Ranges>()
  private readonly deletes = new Map<number, Ranges>()
  /** Null without any: most documents are small, and many may be open. */
  private undecoded: Map<number, DeletePart> | null = null

  addStructs(client: number, start: number, end: number): void {
    const ranges = this.structs.get(client)
    if (ranges === undefined) this.structs.set(client, [start, end])
    else addRange(ranges, start, end)
  }

  /** At most one part for a client, before anything is added. */
  addDeletesLater(client: number, part: DeletePart): void {
    this.undecoded ??= new Map()
    this.undecoded.set(client, part)
  }

  add({ structs, deletes }: YjsOutline): void {
    addTriples(structs, (client) => this.structs.get(client), this.structs)
    addTriples(deletes, (client) => this.deletesOf(client), this.deletes)
  }

  covers({ structs, deletes }: YjsOutline): boolean {
    for (let i = 0; i < structs.length; i += 3) {
      if (!coversRange(this.structs.get(structs[i]!), structs[i + 1]!, structs[i + 2]!)) return false
    }
    for (let i = 0; i < deletes.length; i += 3) {
      if (!coversRange(this.deletesOf(deletes[i]!), deletes[i + 1]!, deletes[i + 2]!)) return false
    }
    return true
  }

  missing({ structs, deletes }: YjsOutline): YjsOutline {
    const missing: YjsOutline & { structs: number[]; deletes: number[] } = { structs: [], deletes: [] }
    for (let i = 0; i < structs.length; i += 3) {
      const client = structs[i]!
      pushMissing(missing.structs, client, this.structs.get(client), structs[i + 1]!, structs[i + 2]!)
    }
    for (let i = 0; i < deletes.length; i += 3) {
      const client = deletes[i]!
      pushMissing(missing.deletes, client, this.deletesOf(client), deletes[i + 1]!, deletes[i + 2]!)
    }
    return missing
  }

  version(): Uint8Array {
    const known: [client: number, clock: number][] = []
    for (const [client, ranges] of this.structs) if (ranges[0] === 0) known.push([client, ranges[1]!])
    known.sort((a, b) => b[0] - a[0])
    const writer = new ByteWriter(8 + known.length * 10).varUint(known.length)
    for (const [client, clock] of known) writer.varUint(client).varUint(clock)
    return writer.finish()
  }

  ending(): Uint8Array {
    return this.version()
  }

  private deletesOf(client: number): Ranges | undefined {
    const part = this.undecoded?.get(client)
    if (part !== undefined) {
      this.deletes.set(client, decodeDeletes(part))
      this.undecoded?.delete(client)
    }
    return this.deletes.get(client)
  }
}

/** Throws `document_unreadable`: parts come from stored states only. */
export function decodeDeletes(part: DeletePart): Ranges {
  const ranges: Ranges = []
  try {
    const reader = new ByteReader(part.bytes, part.start, part.end)
    for (let left = part.ranges; left > 0; left--) {
      const clock = reader.varUint()
      addRange(ranges, clock, clock + reader.varUint())
    }
    if (reader.remaining > 0) throw new MalformedBytes('bytes after the end')
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error
    throw new TidemarkError('document_unreadable', `Stored delete set: ${error.message}`, { cause: error })
  }
  return ranges
}

/** So many ranges of one client are merged with those that are there in one pass; fewer are put in one by one. */
const mergedRangesMin = 8

/** Adds triples as an outline has them to `all`, in a time near the number of both; `rangesOf` finds a client's there. */
export function addTriples(
  triples: readonly number[],
  rangesOf: (client: number) => Ranges | undefined,
  all: Map<number, Ranges>,
): void {
  for (let from = 0; from < triples.length; ) {
    const client = triples[from]!
    let to = from + 3
    while (to < triples.length && triples[to] === client) to += 3
    const ranges = rangesOf(client)
    if (ranges !== undefined && to - from < mergedRangesMin * 3) {
      for (; from < to; from += 3) addRange(ranges, triples[from + 1]!, triples[from + 2]!)
    } else {
      const added: Ranges = []
      for (; from < to; from += 3) addRange(added, triples[from + 1]!, triples[from + 2]!)
      all.set(client, ranges === undefined ? added : union(ranges, added))
    }
  }
}

/** Both as they come out of `addRange`. */
export function union(one: Ranges, other: Ranges): Ranges {
  const ranges: Ranges = []
  for (let i = 0, j = 0; i < one.length || j < other.length; ) {
    if (j >= other.length || (i < one.length && one[i]! <= other[j]!)) {
      addRange(ranges, one[i]!, one[i + 1]!)
      i += 2
    } else {
      addRange(ranges, other[j]!, other[j + 1]!)
      j += 2
    }
  }
  return ranges
}

/** Adds [start, end) in place, merging what overlaps or touches; at the end without a search. */
export function addRange(ranges: Ranges, start: number, end: number): void {
  const length = ranges.length
  if (length === 0 || start > ranges[length - 1]!) {
    ranges.push(start, end)
    return
  }
  if (start >= ranges[length - 2]!) {
    if (end > ranges[length - 1]!) ranges[length - 1] = end
    return
  }
  const from = firstEndingAtOrAfter(ranges, start)
  if (end < ranges[from]!) {
    ranges.splice(from, 0, start, end)
    return
  }
  let until = from
  while (until + 2 < length && ranges[until + 2]! <= end) until += 2
  ranges[from] = Math.min(ranges[from]!, start)
  ranges[from + 1] = Math.max(ranges[until + 1]!, end)
  if (until > from) ranges.splice(from + 2, until - from)
}

export function coversRange(ranges: Ranges | undefined, start: number, end: number): boolean {
  if (ranges === undefined || end > ranges[ranges.length - 1]!) return false
  const at = firstEndingAtOrAfter(ranges, end)
  return ranges[at]! <= start
}

/** Whether any of [start, end) is in them. */
export function overlapsRange(ranges: Ranges | undefined, start: number, end: number): boolean {
  if (ranges === undefined) return false
  const at = firstEndingAtOrAfter(ranges, start + 1)
  return at < ranges.length && ranges[at]! < end
}

function pushMissing(
  into: number[],
  client: number,
  ranges: Ranges | undefined,
  start: number,
  end: number,
): void {
  let clock = start
  if (ranges !== undefined) {
    for (let at = firstEndingAtOrAfter(ranges, start + 1); at < ranges.length && clock < end; at += 2) {
      const first = ranges[at]!
      if (first >= end) break
      if (first > clock) into.push(client, clock, first)
      clock = Math.max(clock, ranges[at + 1]!)
    }
  }
  if (clock < end) into.push(client, clock, end)
}

/** Index of the first range whose end is not before `clock`; the array's length when there is none. */
function firstEndingAtOrAfter(ranges: Ranges, clock: number): number {
  let low = 0
  let high = ranges.length >> 1
  while (low < high) {
    const middle = (low + high) >> 1
    if (ranges[middle * 2 + 1]! >= clock) high = middle
    else low = middle + 1
  }
  return low * 2
}

export function coverageOf(state: IndexedState | null): YjsCoverage {
  const coverage = new YjsCoverage()
  if (state === null) return coverage
  const { runs, deleteParts } = layoutOf(state)
  for (let i = 0; i < runs.length; i += runWidth) coverage.addStructs(runs[i]!, runs[i + 1]!, runs[i + 2]!)
  for (let i = 0; i < deleteParts.length; i += deletePartWidth) {
    const [client, , start, end, ranges] = deleteParts.slice(i, i + deletePartWidth)
    coverage.addDeletesLater(client!, { bytes: state.bytes, start: start!, end: end!, ranges: ranges! })
  }
  return coverage
}

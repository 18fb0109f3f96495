/**
 * Finds the struct at a clock within a run, and writes the part of a struct from a clock on, as
 * `Item.write` of Yjs does with an offset: its origin becomes the unit before it in the same struct, so
 * that no parent is written; half of a surrogate pair becomes U+FFFD.
 */
import { ByteReader, MalformedBytes } from '../../bytes.ts'
import { TidemarkError } from '../../protocol/errors.ts'
import type { ChunkWriter } from './chunk-writer.ts'
import { rowWidth, runWidth } from './scan.ts'
import type { Layout } from './state-index.ts'
import {
  contentMask,
  contentRef,
  gcInfo,
  hasOrigin,
  hasParentSub,
  hasRightOrigin,
  StructScanner,
} from './struct-scanner.ts'

export interface Source {
  readonly bytes: Uint8Array
  readonly layout: Layout
}

/** The struct of a run that holds a clock. */
export interface Place {
  /** Its first clock, its bytes, and how many structs of the run come before it. */
  readonly clock: number
  readonly length: number
  readonly start: number
  readonly end: number
  readonly structsBefore: number
  readonly info: number
  readonly contentStart: number
}

/** `clock` lies within the run. Reads no more than what is between two rows of the index. */
export function seek({ bytes, layout }: Source, run: number, clock: number): Place {
  const { runs, rows } = layout
  const at = run * runWidth
  const client = runs[at]!
  const row = lastRowUpTo(rows, run, clock)
  let structClock = row < 0 ? runs[at + 1]! : rows[row + 1]!
  let structsBefore = row < 0 ? 0 : rows[row + 3]!
  const scanner = new StructScanner(bytes, row < 0 ? runs[at + 3]! : rows[row + 2]!, runs[at + 4]!)
  try {
    for (;;) {
      const start = scanner.position
      const length = scanner.struct(client, structClock)
      if (structClock + length > clock) {
        const { position: end, info, contentStart } = scanner
        return { clock: structClock, length, start, end, structsBefore, info, contentStart }
      }
      structClock += length
      structsBefore++
    }
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error
    throw new TidemarkError('document_unreadable', `Index and bytes differ: ${error.message}`, {
      cause: error,
    })
  }
}

function lastRowUpTo(rows: readonly number[], run: number, clock: number): number {
  let low = 0
  let high = rows.length / rowWidth
  while (low < high) {
    const middle = (low + high) >> 1
    const at = middle * rowWidth
    if (rows[at]! < run || (rows[at] === run && rows[at + 1]! <= clock)) low = middle + 1
    else high = middle
  }
  const found = (low - 1) * rowWidth
  return found >= 0 && rows[found] === run ? found : -1
}

/** Writes the place's struct without its first `offset` clocks, 0 < offset < length. */
export function writeFrom(
  writer: ChunkWriter,
  bytes: Uint8Array,
  client: number,
  place: Place,
  offset: number,
): void {
  const { info, contentStart, end, length } = place
  if (info === gcInfo) {
    writer.uint8(gcInfo).varUint(length - offset)
    return
  }
  // The flag of a parentSub stays where one was written, though none is written now.
  writer.uint8((isWithoutOrigins(info) ? info : info & ~hasParentSub) | hasOrigin)
  writer.varUint(client).varUint(place.clock + offset - 1)
  if ((info & hasRightOrigin) !== 0) {
    const reader = new ByteReader(bytes, place.start + 1, end)
    if ((info & hasOrigin) !== 0) {
      reader.varUint()
      reader.varUint()
    }
    writer.copy(bytes, reader.position, contentStart)
  }
  const scanner = new StructScanner(bytes, contentStart, end)
  const ref = info & contentMask
  if (ref === contentRef.deleted) {
    writer.varUint(length - offset)
  } else if (ref === contentRef.string) {
    scanner.varUint()
    writeStringFrom(writer, bytes, scanner.position, end, offset)
  } else if (ref === contentRef.any || ref === contentRef.json) {
    scanner.varUint()
    for (let left = offset; left > 0; left--) {
      if (ref === contentRef.any) scanner.any()
      else scanner.json(true)
    }
    writer.varUint(length - offset).copy(bytes, scanner.position, end)
  } else {
    throw new Error(`content ${ref} has no parts`)
  }
}

function isWithoutOrigins(info: number): boolean {
  return (info & (hasOrigin | hasRightOrigin)) === 0
}

const replacement = Uint8Array.of(0xef, 0xbf, 0xbd)

function writeStringFrom(
  writer: ChunkWriter,
  bytes: Uint8Array,
  start: number,
  end: number,
  units: number,
): void {
  let position = start
  let left = units
  while (left > 0) {
    const lead = bytes[position]!
    position += lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
    left -= lead < 0xf0 ? 1 : 2
  }
  // left is -1 when the cut is between the two halves of the last character.
  writer.varUint(end - position + (left < 0 ? replacement.length : 0))
  if (left < 0) writer.copy(replacement, 0, replacement.length)
  writer.copy(bytes, position, end)
}

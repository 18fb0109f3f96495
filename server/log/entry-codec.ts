/**
 * The bytes of one log entry, the same in the journal, in LMDB and in a Redis stream:
 *
 *   entry = flags:u8  timeMs:varUint  author:varString  origin:varString
 *           [replica:varString  sequence:varUint]   -- when flags bit 0
 *           [epoch:varUint]                         -- when flags bit 1; else 0
 *           update                                  -- to the end
 *   flags = bit 0, bit 1, kind << 2
 *
 * The offset is not inside: whoever stores an entry gives it one. Change these bytes only together
 * with `entryFormat`, and keep reading the formats before it.
 *
 *   1  flags bit 0 only
 *   2  epoch and kind; what format 1 wrote reads as before
 */
import { ByteReader, ByteWriter, MalformedBytes } from '../../core/bytes.ts'
import { noOffset, type Offset, toOffset } from '../../core/offset.ts'
import { type Entry, type EntryKind, entryKinds, type NewEntry } from './log.ts'

export const entryFormat = 2
const hasKey = 1
const hasEpoch = 2
const kindShift = 2
const kinds = Object.keys(entryKinds) as EntryKind[]

/** The first byte of an entry. */
export function entryFlags(entry: NewEntry): number {
  if (entry.kind === undefined && entry.key === undefined && entry.epoch === undefined) return 0
  return (
    (entry.key === undefined ? 0 : hasKey) |
    (entry.epoch ? hasEpoch : 0) |
    (entryKinds[entry.kind ?? 'update'] << kindShift)
  )
}

export function encodeEntry(entry: NewEntry): Uint8Array {
  const writer = new ByteWriter(entry.update.length + 64)
  writer.uint8(entryFlags(entry)).varUint(entry.timeMs).varString(entry.author).varString(entry.origin)
  if (entry.key !== undefined) writer.varString(entry.key.replica).varUint(entry.key.sequence)
  if (entry.epoch) writer.varUint(entry.epoch)
  return writer.raw(entry.update).finish()
}

/** The update is a view of `bytes`. Throws `MalformedBytes`. */
export function decodeEntry(bytes: Uint8Array, offset: Offset): Entry {
  const reader = new ByteReader(bytes)
  const flags = reader.uint8()
  const timeMs = reader.varUint()
  const author = reader.varString()
  const origin = reader.varString()
  if (flags === 0) return { offset, timeMs, author, origin, update: reader.take(reader.remaining) }
  const key = (flags & hasKey) === 0 ? undefined : { replica: reader.varString(), sequence: reader.varUint() }
  const epoch = (flags & hasEpoch) === 0 ? noOffset : toOffset(reader.varUint())
  const kind = kinds[flags >> kindShift]
  if (kind === undefined) throw new MalformedBytes(`unknown kind of entry ${flags >> kindShift}`)
  const update = reader.take(reader.remaining)
  return placed(
    {
      timeMs,
      author,
      origin,
      ...(key !== undefined && { key }),
      ...(epoch !== noOffset && { epoch }),
      ...(kind !== 'update' && { kind }),
      update,
    },
    offset,
  )
}

/**
 * The entry a new one becomes at its offset. Field by field: a spread costs several times as much, on a path
 * that every append takes. Plain updates, nearly all entries, share one shape.
 */
export function placed(entry: NewEntry, offset: Offset): Entry {
  const { timeMs, author, origin, key, epoch, kind, update } = entry
  const plain = { offset, timeMs, author, origin, update }
  if (key === undefined && epoch === undefined && kind === undefined) return plain
  return {
    ...plain,
    ...(key !== undefined && { key }),
    ...(epoch !== undefined && { epoch }),
    ...(kind !== undefined && { kind }),
  }
}

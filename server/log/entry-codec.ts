/**
 * The bytes of one log entry, the same in the journal, in LMDB and in a Redis stream:
 *
 *   entry = flags:u8  timeMs:varUint  author:varString  origin:varString
 *           [replica:varString  sequence:varUint]   -- when flags bit 0
 *           update                                  -- to the end
 *
 * The offset is not inside: whoever stores an entry gives it one. Change these bytes only together
 * with `entryFormat`, and keep reading the formats before it.
 */
import { ByteReader, ByteWriter } from '../../core/bytes.ts'
import type { Offset } from '../../core/offset.ts'
import type { Entry, NewEntry } from './log.ts'

export const entryFormat = 1
const hasKey = 1

export function encodeEntry(entry: NewEntry): Uint8Array {
  const writer = new ByteWriter(entry.update.length + 64)
  writer
    .uint8(entry.key === undefined ? 0 : hasKey)
    .varUint(entry.timeMs)
    .varString(entry.author)
    .varString(entry.origin)
  if (entry.key !== undefined) writer.varString(entry.key.replica).varUint(entry.key.sequence)
  return writer.raw(entry.update).finish()
}

/** The update is a view of `bytes`. Throws `MalformedBytes`. */
export function decodeEntry(bytes: Uint8Array, offset: Offset): Entry {
  const reader = new ByteReader(bytes)
  const flags = reader.uint8()
  const timeMs = reader.varUint()
  const author = reader.varString()
  const origin = reader.varString()
  if ((flags & hasKey) === 0) return { offset, timeMs, author, origin, update: reader.take(reader.remaining) }
  const key = { replica: reader.varString(), sequence: reader.varUint() }
  return { offset, timeMs, author, origin, key, update: reader.take(reader.remaining) }
}

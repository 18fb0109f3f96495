/**
 * Writes the bytes of `encodeEntry` straight into a journal record: a buffer and three strings per
 * entry cost more than everything else an append does. A test holds the two encoders equal.
 */
import { entryFlags } from '../entry-codec.ts'
import type { NewEntry } from '../log.ts'

const integerBytesMax = 8
const utf8BytesPerUnit = 3
const asciiStringMax = 0x7f
const loopCopyMax = 24

/** No fewer bytes than the entry can take. */
export function entryBytesMax(entry: NewEntry): number {
  const key = entry.key
  const strings = entry.author.length + entry.origin.length + (key === undefined ? 0 : key.replica.length)
  return entry.update.length + strings * utf8BytesPerUnit + 1 + 6 * integerBytesMax
}

export function stringBytesMax(text: string): number {
  return text.length * utf8BytesPerUnit + integerBytesMax
}

/** Returns the position after the entry. */
export function writeEntry(buffer: Buffer, start: number, entry: NewEntry): number {
  const key = entry.key
  buffer[start] = entryFlags(entry)
  let position = writeVarUint(buffer, start + 1, entry.timeMs)
  position = writeVarString(buffer, position, entry.author)
  position = writeVarString(buffer, position, entry.origin)
  if (key !== undefined) {
    position = writeVarString(buffer, position, key.replica)
    position = writeVarUint(buffer, position, key.sequence)
  }
  if (entry.epoch) position = writeVarUint(buffer, position, entry.epoch)
  const update = entry.update
  const length = update.length
  if (length <= loopCopyMax) for (let i = 0; i < length; i++) buffer[position + i] = update[i]!
  else buffer.set(update, position)
  return position + length
}

export function writeVarUint(buffer: Buffer, start: number, value: number): number {
  let position = start
  let rest = value
  while (rest > 0x7fffffff) {
    buffer[position++] = 0x80 | (rest % 128)
    rest = Math.floor(rest / 128)
  }
  while (rest > 0x7f) {
    buffer[position++] = 0x80 | (rest & 0x7f)
    rest >>>= 7
  }
  buffer[position++] = rest
  return position
}

export function writeVarString(buffer: Buffer, start: number, text: string): number {
  const length = text.length
  if (length > asciiStringMax) return writeUtf8(buffer, start, text)
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i)
    if (code > 0x7f) return writeUtf8(buffer, start, text)
    buffer[start + 1 + i] = code
  }
  buffer[start] = length
  return start + 1 + length
}

function writeUtf8(buffer: Buffer, start: number, text: string): number {
  const position = writeVarUint(buffer, start, Buffer.byteLength(text))
  return position + buffer.write(text, position)
}

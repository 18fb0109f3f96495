/** Integers as Automerge writes them: LEB128, unsigned and signed. */
import { type ByteReader, MalformedBytes } from '../../bytes.ts'

/** Of 53 bits, in its shortest form. */
export function leb(reader: ByteReader): number {
  const start = reader.position
  const value = reader.varUint()
  if (reader.position > start + 1 && reader.bytes[reader.position - 1] === 0)
    throw new MalformedBytes('integer not in its shortest form')
  return value
}

export function signedLeb(reader: ByteReader): number {
  let value = 0
  let scale = 1
  for (;;) {
    const byte = reader.uint8()
    value += (byte & 0x7f) * scale
    scale *= 128
    if (byte < 0x80) {
      if ((byte & 0x40) !== 0) value -= scale
      break
    }
    if (scale > Number.MAX_SAFE_INTEGER) throw new MalformedBytes('integer out of range')
  }
  if (!Number.isSafeInteger(value)) throw new MalformedBytes('integer out of range')
  return value
}

/**
 * Inflates (RFC 1951) what strangers send: input goes in by pieces, and none of them can give more than a thousandfold, so that
 * a bomb costs little more than what it may give. Inflating into a buffer of the largest size allowed would not do: fflate
 * goes on to the end of the input, and only writes no more.
 */
import { Inflate } from 'fflate'
import { MalformedBytes } from '../../bytes.ts'

const pieceBytes = 256

/** Throws `MalformedBytes`, also when more than `bytesMax` come out. */
export function inflate(bytes: Uint8Array, bytesMax: number): Uint8Array {
  const parts: Uint8Array[] = []
  let total = 0
  const stream = new Inflate((part) => {
    total += part.length
    if (total > bytesMax) throw new MalformedBytes(`more than ${bytesMax} bytes when inflated`)
    if (part.length > 0) parts.push(part)
  })
  try {
    for (let at = 0; at < bytes.length; at += pieceBytes)
      stream.push(bytes.subarray(at, at + pieceBytes), at + pieceBytes >= bytes.length)
  } catch (error) {
    if (error instanceof MalformedBytes) throw error
    throw new MalformedBytes('not deflated')
  }
  if (parts.length === 1) return parts[0]!
  const all = new Uint8Array(total)
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

/**
 * Inflates (RFC 1951) what strangers send: input goes in by pieces, and none of them can give more than a thousandfold, so that
 * a bomb costs little more than what it may give. Inflating into a buffer of the largest size allowed would not do: fflate
 * goes on to the end of the input, and only writes no more. Most changes are a piece by themselves, for which a stream would
 * cost more than the rest.
 */
import { Inflate, inflateSync } from 'fflate'
import { MalformedBytes } from '../../bytes.ts'

const pieceBytes = 1024

/** Throws `MalformedBytes`, also when more than `bytesMax` come out. */
export function inflate(bytes: Uint8Array, bytesMax: number): Uint8Array {
  try {
    return bytes.length <= pieceBytes ? atMost(bytesMax, inflateSync(bytes)) : inflatePieces(bytes, bytesMax)
  } catch (error) {
    if (error instanceof MalformedBytes) throw error
    throw new MalformedBytes('not deflated')
  }
}

function inflatePieces(bytes: Uint8Array, bytesMax: number): Uint8Array {
  const parts: Uint8Array[] = []
  let total = 0
  const stream = new Inflate((part) => {
    total += part.length
    atMost(bytesMax - total + part.length, part)
    parts.push(part)
  })
  for (let at = 0; at < bytes.length; at += pieceBytes)
    stream.push(bytes.subarray(at, at + pieceBytes), at + pieceBytes >= bytes.length)
  const all = new Uint8Array(total)
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

function atMost(bytesMax: number, bytes: Uint8Array): Uint8Array {
  if (bytes.length > bytesMax) throw new MalformedBytes('too many bytes when inflated')
  return bytes
}

/**
 * Server-side WebSocket frames (RFC 6455, 5.2), unmasked and unfragmented, built once and written as
 * the same bytes to every socket of a room. `ws` would build a header for each socket and each message.
 *
 *   82 len            len ≤ 125
 *   82 7e len:u16     len ≤ 65,535
 *   82 7f len:u64
 */
export function frameHeaderBytes(payloadBytes: number): number {
  if (payloadBytes <= 125) return 2
  return payloadBytes <= 0xffff ? 4 : 10
}

/** Writes the header of a binary frame and returns the position after it. */
export function writeFrameHeader(target: Buffer, position: number, payloadBytes: number): number {
  target[position] = 0x82
  if (payloadBytes <= 125) {
    target[position + 1] = payloadBytes
    return position + 2
  }
  if (payloadBytes <= 0xffff) {
    target[position + 1] = 0x7e
    return target.writeUInt16BE(payloadBytes, position + 2)
  }
  target[position + 1] = 0x7f
  return target.writeBigUInt64BE(BigInt(payloadBytes), position + 2)
}

/** One binary frame that holds `payload`. */
export function frame(payload: Uint8Array): Buffer {
  const headerBytes = frameHeaderBytes(payload.length)
  const bytes = Buffer.allocUnsafe(headerBytes + payload.length)
  writeFrameHeader(bytes, 0, payload.length)
  bytes.set(payload, headerBytes)
  return bytes
}

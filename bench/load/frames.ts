/**
 * Client frames and typing updates, written by template into a buffer that many frames share.
 *
 * A writer puts all frames of one turn one after the other and hands them to the socket in one write,
 * so that the generator's own cost stays far below the server's. The mask is fixed but not zero: the
 * `ws` package skips unmasking for a zero mask, and a server under test must pay for it as it would
 * with a browser.
 *
 *     frame   82 | 80+length | mask (4) | payload ^ mask
 *     payload 00 02 varUint(update length) update            (sync message, update)
 *     update  01 01 client clock 84 client clock-1 01 char 00 (one character after the last)
 *             01 01 client 00 04 01 04 "text" 01 char 00      (the first of a document)
 */
const mask = [0x37, 0xfa, 0x21, 0x3d] as const

export const typingFrameBytesMax = 64
const lettersFrom = 97
const noAddress = new Uint8Array(0)

/** Returns the end. */
export function writeVarUint(target: Buffer, at: number, value: number): number {
  let rest = value
  let position = at
  while (rest > 0x7f) {
    target[position++] = 0x80 | (rest & 0x7f)
    rest = Math.floor(rest / 128)
  }
  target[position++] = rest
  return position
}

/** One character typed by `client` at `clock`, after the character before. Returns the end. */
export function writeTypingUpdate(target: Buffer, at: number, client: number, clock: number): number {
  let position = at
  target[position++] = 1
  target[position++] = 1
  position = writeVarUint(target, position, client)
  position = writeVarUint(target, position, clock)
  if (clock === 0) {
    target[position++] = 4
    target[position++] = 1
    position = writeVarUint(target, position, 4)
    position += target.write('text', position, 'latin1')
  } else {
    target[position++] = 0x84
    position = writeVarUint(target, position, client)
    position = writeVarUint(target, position, clock - 1)
  }
  target[position++] = 1
  target[position++] = lettersFrom + (clock % 26)
  target[position++] = 0
  return position
}

/**
 * The frame that carries `writeTypingUpdate`, with `address` before it: about as many bytes more than `typingFrameBytesMax`, and
 * not more than 60. Returns the end.
 */
export function writeTypingFrame(
  target: Buffer,
  at: number,
  client: number,
  clock: number,
  address: Uint8Array = noAddress,
): number {
  const payload = at + 6
  const message = payload + address.length
  for (let i = 0; i < address.length; i++) target[payload + i] = address[i]!
  const end = writeTypingUpdate(target, message + 3, client, clock)
  target[message] = 0
  target[message + 1] = 2
  target[message + 2] = end - message - 3
  target[at] = 0x82
  target[at + 1] = 0x80 | (end - payload)
  writeMask(target, at + 2, payload, end)
  return end
}

function writeMask(target: Buffer, at: number, from: number, to: number): void {
  target[at] = mask[0]
  target[at + 1] = mask[1]
  target[at + 2] = mask[2]
  target[at + 3] = mask[3]
  for (let i = from; i < to; i++) target[i]! ^= mask[((i - from) & 3) as 0 | 1 | 2 | 3]
}

/** A whole client frame around any payload. */
export function clientFrame(payload: Uint8Array, opcode = 2): Buffer {
  const length = payload.length
  const extended = length < 126 ? 0 : length < 0x10000 ? 2 : 8
  const frame = Buffer.allocUnsafe(6 + extended + length)
  frame[0] = 0x80 | opcode
  frame[1] = 0x80 | (extended === 0 ? length : extended === 2 ? 126 : 127)
  if (extended === 2) frame.writeUInt16BE(length, 2)
  if (extended === 8) frame.writeBigUInt64BE(BigInt(length), 2)
  frame.set(payload, 6 + extended)
  writeMask(frame, 2 + extended, 6 + extended, frame.length)
  return frame
}

/** A sync message: kind 0 is step 1 (a state vector), 1 is step 2, 2 an update. */
export function syncFrame(kind: 0 | 1 | 2, bytes: Uint8Array): Buffer {
  const payload = Buffer.allocUnsafe(bytes.length + 7)
  payload[0] = 0
  payload[1] = kind
  const start = writeVarUint(payload, 2, bytes.length)
  payload.set(bytes, start)
  return clientFrame(payload.subarray(0, start + bytes.length))
}

export const emptyStateVector = Uint8Array.of(0)
export const emptyUpdate = Uint8Array.of(0, 0)

/**
 * Messages in parts, so that no frame is larger than `partBytes` and small messages need not wait behind large ones.
 *
 *   part = 0f left bytes        left: bytes of the message that are still to come after this part
 *
 * The parts of one message come in order; whole messages may come between them, parts of another one may not. What is
 * put together is bounded by `messageBytesMax`, and grows with what has come, never with what was announced.
 *
 * Rejected: WebSocket's own fragments (nothing may come between them, and browsers cannot send them); a
 * number for each message in parts (receivers would have to hold many at once).
 */
import { ByteReader, ByteWriter, MalformedBytes } from '../../bytes.ts'
import { TidemarkError } from '../error-codes.ts'
import { kinds } from './messages.ts'

/** The kind, and a number of at most 2^53 - 1. */
const partHeaderBytesMax = 9
export const partBytesMin = 1_024

/** The frames that carry a message given in chunks, each frame as pieces to be sent as one: views, not copies. */
export function framesOf(chunks: readonly Uint8Array[], partBytes: number): Uint8Array[][] {
  let left = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  if (left <= partBytes) return [[...chunks]]
  const frames: Uint8Array[][] = []
  let chunk = 0
  let position = 0
  while (left > 0) {
    let room = Math.min(left, partBytes - partHeaderBytesMax)
    left -= room
    const pieces = [new ByteWriter(partHeaderBytesMax).uint8(kinds.part).varUint(left).finish()]
    while (room > 0) {
      const piece = chunks[chunk]!.subarray(position, position + room)
      position += piece.length
      room -= piece.length
      if (piece.length > 0) pieces.push(piece)
      if (position === chunks[chunk]!.length) {
        chunk++
        position = 0
      }
    }
    frames.push(pieces)
  }
  return frames
}

/** The frames that carry a message: itself, or its parts. */
export function splitMessage(message: Uint8Array, partBytes: number): Uint8Array[] {
  if (message.length <= partBytes) return [message]
  const frames: Uint8Array[] = []
  const roomBytes = partBytes - partHeaderBytesMax
  for (let start = 0; start < message.length; start += roomBytes) {
    const piece = message.subarray(start, start + roomBytes)
    const left = message.length - start - piece.length
    frames.push(new ByteWriter(partBytes).uint8(kinds.part).varUint(left).raw(piece).finish())
  }
  return frames
}

/** Puts the messages of one direction of one connection together. */
export class Assembler {
  /** May be raised once the peer is known. */
  messageBytesMax: number
  private writer: ByteWriter | null = null
  private left = 0

  constructor(messageBytesMax: number) {
    this.messageBytesMax = messageBytesMax
  }

  /** A whole message, or null when parts of it are still to come. Throws `malformed_frame`. */
  take(frame: Uint8Array): Uint8Array | null {
    if (frame[0] !== kinds.part) {
      if (frame.length > this.messageBytesMax) throw this.tooLarge(frame.length)
      return frame
    }
    try {
      return this.add(new ByteReader(frame, 1))
    } catch (error) {
      if (!(error instanceof MalformedBytes)) throw error
      throw new TidemarkError('malformed_frame', `Malformed tidemark.v1 part: ${error.message}`)
    }
  }

  private add(reader: ByteReader): Uint8Array | null {
    const left = reader.varUint()
    const bytes = reader.take(reader.remaining)
    if (bytes.length === 0) throw new MalformedBytes('it is empty')
    if (this.writer === null) {
      if (left > this.messageBytesMax - bytes.length) throw this.tooLarge(left + bytes.length)
      if (bytes[0] === kinds.part) throw new MalformedBytes('parts of parts')
      this.writer = new ByteWriter(bytes.length)
    } else if (this.left !== left + bytes.length) throw new MalformedBytes('it is not the next one')
    this.left = left
    this.writer.raw(bytes)
    if (left > 0) return null
    const message = this.writer.finish()
    this.writer = null
    return message
  }

  private tooLarge(bytes: number): TidemarkError {
    return new TidemarkError('malformed_frame', `A message of ${bytes} bytes exceeds ${this.messageBytesMax}`)
  }
}

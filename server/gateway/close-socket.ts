import type { WebSocket } from 'ws'
import { type ErrorCode, errorTable } from '../../core/protocol/errors.ts'

/** A close frame holds at most 125 bytes, two of them the code. */
const closeReasonBytesMax = 123

/** Closes with a row of the error table and the reason `code: text`. */
export function closeSocket(
  ws: WebSocket,
  code: ErrorCode,
  reason: string,
  closeCode: number = errorTable[code].closeCode,
): void {
  const text = Buffer.from(`${code}: ${reason}`)
  // Cut at a character's start, or the frame would not be valid UTF-8.
  let end = Math.min(text.length, closeReasonBytesMax)
  while (end < text.length && end > 0 && (text[end]! & 0xc0) === 0x80) end--
  ws.close(closeCode, text.subarray(0, end))
}

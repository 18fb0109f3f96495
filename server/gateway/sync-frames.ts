/**
 * Frames of the sync messages that the dialects of Yjs have in common, each after what its dialect puts in front:
 *
 *   prefix 00 01 varBytes(update)    step 2
 *   prefix 00 02 varBytes(update)    update
 */
import { messageSync, syncStep2, syncUpdate } from '../../core/protocol/y-websocket.ts'
import type { Entry } from '../log/log.ts'
import type { Joined } from '../room/catch-up.ts'
import { frameHeaderBytes, writeFrameHeader } from './websocket-frame.ts'

/** A frame's header, two bytes, and a length. */
const syncHeaderBytesMax = 24

/** One frame an update (the client takes at most one message a frame), all in one buffer. */
export function updateFrames(prefix: Uint8Array, entries: readonly Pick<Entry, 'update'>[]): Buffer {
  let length = 0
  for (const { update } of entries) {
    const payload = payloadBytes(prefix, update.length)
    length += frameHeaderBytes(payload) + payload
  }
  const bytes = Buffer.allocUnsafe(length)
  let position = 0
  for (const { update } of entries) {
    position = writeSyncHeader(bytes, position, prefix, syncUpdate, update.length)
    bytes.set(update, position)
    position += update.length
  }
  return bytes
}

/** One update in chunks, which are shared and not copied. */
export function updateFrame(prefix: Uint8Array, chunks: readonly Uint8Array[]): Uint8Array[] {
  return chunked(prefix, syncUpdate, chunks)
}

/** The answer to a step 1. These replicas know no offsets, so it is one update. */
export function syncStep2Frame(prefix: Uint8Array, joined: Joined): Uint8Array[] {
  if (joined.kind === 'entries') throw new Error('entries for a replica without an offset')
  return chunked(prefix, syncStep2, joined.chunks)
}

/** The header of a frame whose update comes in chunks, then the chunks. */
function chunked(prefix: Uint8Array, step: number, chunks: readonly Uint8Array[]): Uint8Array[] {
  const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  const header = Buffer.allocUnsafe(prefix.length + syncHeaderBytesMax)
  const headerBytes = writeSyncHeader(header, 0, prefix, step, length)
  return [header.subarray(0, headerBytes), ...chunks]
}

function writeSyncHeader(
  target: Buffer,
  start: number,
  prefix: Uint8Array,
  step: number,
  updateBytes: number,
): number {
  let position = writeFrameHeader(target, start, payloadBytes(prefix, updateBytes))
  // So few bytes are copied faster one by one than by a call.
  for (let i = 0; i < prefix.length; i++) target[position++] = prefix[i]!
  target[position++] = messageSync
  target[position++] = step
  let rest = updateBytes
  while (rest > 0x7f) {
    target[position++] = 0x80 | (rest % 128)
    rest = Math.floor(rest / 128)
  }
  target[position++] = rest
  return position
}

const payloadBytes = (prefix: Uint8Array, updateBytes: number): number =>
  prefix.length + 2 + varUintBytes(updateBytes) + updateBytes

function varUintBytes(value: number): number {
  let bytes = 1
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) bytes++
  return bytes
}

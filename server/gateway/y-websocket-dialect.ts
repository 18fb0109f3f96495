/** The room's side of the y-websocket dialect: entries, answers and presence as complete frames. */
import {
  encodeAwarenessMessage,
  messageSync,
  syncStep2,
  syncUpdate,
} from '../../core/protocol/y-websocket.ts'
import type { Entry } from '../log/log.ts'
import type { Joined } from '../room/catch-up.ts'
import type { Dialect } from '../room/dialect.ts'
import { frame, frameHeaderBytes, writeFrameHeader } from './websocket-frame.ts'

/** One frame an update (the client takes at most one message a frame), all in one buffer. */
function entriesFrames(entries: readonly Entry[]): Buffer {
  let length = 0
  for (const { update } of entries) {
    const payload = 2 + varUintBytes(update.length) + update.length
    length += frameHeaderBytes(payload) + payload
  }
  const bytes = Buffer.allocUnsafe(length)
  let position = 0
  for (const { update } of entries) {
    position = writeSyncHeader(bytes, position, syncUpdate, update.length)
    bytes.set(update, position)
    position += update.length
  }
  return bytes
}

/** The header of a frame whose update comes in chunks, then the chunks themselves, shared and not copied. */
function chunked(step: number, chunks: readonly Uint8Array[]): Uint8Array[] {
  const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  const header = Buffer.allocUnsafe(24)
  const headerBytes = writeSyncHeader(header, 0, step, length)
  return [header.subarray(0, headerBytes), ...chunks]
}

function writeSyncHeader(target: Buffer, start: number, step: number, updateBytes: number): number {
  let position = writeFrameHeader(target, start, 2 + varUintBytes(updateBytes) + updateBytes)
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

function varUintBytes(value: number): number {
  let bytes = 1
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) bytes++
  return bytes
}

/** Means nothing, for clients that drop a silent connection. */
export const keepAliveFrame = frame(encodeAwarenessMessage(Uint8Array.of(0)))

/** The answer to a step 1. These replicas know no offsets, so it is one update. */
export function syncStep2Frame(joined: Joined): Uint8Array[] {
  if (joined.kind === 'entries') throw new Error('entries for a replica without an offset')
  return chunked(syncStep2, joined.chunks)
}

export const yWebsocketDialect: Dialect = {
  name: 'y-websocket',
  presenceBeforeJoin: true,
  entries: entriesFrames,
  caughtUp: (chunks) => chunked(syncUpdate, chunks),
  awareness: (update) => frame(encodeAwarenessMessage(update)),
}

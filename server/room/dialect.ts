/**
 * How a room speaks to the sessions of one door. A room encodes once per dialect, whatever the number
 * of sessions, and hands every session the same bytes; they are complete WebSocket frames.
 */
import type { Offset } from '../../core/offset.ts'
import type { Entry } from '../log/log.ts'

export interface Dialect {
  readonly name: string
  /** Whether sessions understand presence before they have joined. */
  readonly presenceBeforeJoin: boolean
  /** Frames that carry these entries in order, joined into one buffer. */
  entries(entries: readonly Entry[]): Uint8Array
  /** A frame with an update made of `chunks`: for a session that fell behind. */
  caughtUp(chunks: readonly Uint8Array[], offset: Offset): Uint8Array[]
  awareness(update: Uint8Array): Uint8Array
  /**
   * Frames with messages to all others (room-broadcast.ts), joined into one buffer. The array is the same one for all sessions that
   * are told the same. Absent: the dialect has none.
   */
  broadcast?(payloads: readonly string[]): Uint8Array
}

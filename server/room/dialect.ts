/**
 * How a room speaks to the sessions of one door. A room encodes once per dialect, whatever the number
 * of sessions, and hands every session the same bytes; they are complete WebSocket frames.
 */
import type { Offset } from '../../core/offset.ts'
import type { Entry } from '../log/log.ts'

export interface Dialect {
  readonly name: string
  /** Frames that carry these entries in order, joined into one buffer. */
  entries(entries: readonly Entry[]): Uint8Array
  /** A frame with an update made of `chunks`: the answer to a replica that told its version. */
  joined(chunks: readonly Uint8Array[], offset: Offset): Uint8Array[]
  /** A frame with an update made of `chunks`: for a session that fell behind. */
  caughtUp(chunks: readonly Uint8Array[], offset: Offset): Uint8Array[]
  awareness(update: Uint8Array): Uint8Array
  /** A frame that means nothing, for clients that drop a silent connection. */
  keepAlive(): Uint8Array
}

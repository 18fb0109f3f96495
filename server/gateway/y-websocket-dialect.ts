/** The room's side of the y-websocket dialect: entries, answers and presence as complete frames. */
import { encodeAwarenessMessage } from '../../core/protocol/y-websocket.ts'
import type { Joined } from '../room/catch-up.ts'
import type { Dialect } from '../room/dialect.ts'
import * as syncFrames from './sync-frames.ts'
import { frame } from './websocket-frame.ts'

/** Nothing stands in front of these messages: the socket says which document they are about. */
const prefix = new Uint8Array(0)

/** Means nothing, for clients that drop a silent connection. */
export const keepAliveFrame = frame(encodeAwarenessMessage(Uint8Array.of(0)))

export const syncStep2Frame = (joined: Joined): Uint8Array[] => syncFrames.syncStep2Frame(prefix, joined)

export const yWebsocketDialect: Dialect = {
  name: 'y-websocket',
  presenceBeforeJoin: true,
  entries: (entries) => syncFrames.updateFrames(prefix, entries),
  caughtUp: (chunks) => syncFrames.updateFrame(prefix, chunks),
  awareness: (update) => frame(encodeAwarenessMessage(update)),
}

/**
 * The room's side of the Hocuspocus dialect: entries, answers and presence as complete frames.
 *
 * Every frame begins with the address that its client gave the document. That is nearly always the document's name, so
 * all sessions of a room get the same bytes; sessions of 4.x that name themselves each get their own. Because of it a frame costs
 * more here than at the y-websocket door, where a socket has one document; so what one client typed in a turn is joined.
 */
import { joinAdjoining } from '../../core/engine/yjs/adjoining.ts'
import { encodeAddress, encodeServerMessage, type ServerMessage } from '../../core/protocol/hocuspocus.ts'
import type { Entry } from '../log/log.ts'
import type { Joined } from '../room/catch-up.ts'
import type { Dialect } from '../room/dialect.ts'
import type { Room } from '../room/room.ts'
import { syncStep2Frame, updateFrame, updateFrames } from './sync-frames.ts'
import { frame } from './websocket-frame.ts'

export class HocuspocusDialect implements Dialect {
  readonly name = 'hocuspocus'
  readonly presenceBeforeJoin = true
  /** As it stands in front of every message. */
  readonly address: Uint8Array
  private applied: Uint8Array | null = null

  constructor(address: string) {
    this.address = encodeAddress(address)
  }

  entries(entries: readonly Entry[]): Uint8Array {
    if (entries.length === 1) return updateFrames(this.address, entries)
    const updates = joinAdjoining(entries.map(({ update }) => update))
    return updateFrames(
      this.address,
      updates.map((update) => ({ update })),
    )
  }

  caughtUp(chunks: readonly Uint8Array[]): Uint8Array[] {
    return updateFrame(this.address, chunks)
  }

  awareness(awareness: Uint8Array): Uint8Array {
    return this.frame({ kind: 'awareness', awareness })
  }

  broadcast(payloads: readonly string[]): Uint8Array {
    return Buffer.concat(payloads.map((payload) => this.frame({ kind: 'stateless', payload })))
  }

  syncStep2(joined: Joined): Uint8Array[] {
    return syncStep2Frame(this.address, joined)
  }

  /** So many statuses of something that is durable. */
  applieds(count: number): Uint8Array {
    this.applied ??= this.frame({ kind: 'sync-status', applied: true })
    if (count === 1) return this.applied
    return Buffer.allocUnsafe(count * this.applied.length).fill(this.applied)
  }

  frame(message: ServerMessage): Uint8Array {
    return frame(encodeServerMessage(this.address, message))
  }
}

/** One dialect for all sessions of a room that call the document by its name. */
export class HocuspocusDialects {
  private readonly dialects = new WeakMap<Room, HocuspocusDialect>()

  of(room: Room, address: string): HocuspocusDialect {
    if (address !== room.document) return new HocuspocusDialect(address)
    const known = this.dialects.get(room)
    if (known !== undefined) return known
    const dialect = new HocuspocusDialect(address)
    this.dialects.set(room, dialect)
    return dialect
  }
}

/** Means nothing, for clients that drop a silent connection: presence of nobody, in a document that cannot be. */
export const keepAliveFrame = frame(
  encodeServerMessage(encodeAddress(''), { kind: 'awareness', awareness: Uint8Array.of(0) }),
)

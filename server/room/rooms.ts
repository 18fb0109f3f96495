/**
 * The rooms of this node. A room opens with its first session and lingers a while after its last one,
 * so that a reload or a short outage does not read the document again. A room that failed to open is
 * forgotten at once: the next session tries anew.
 */
import type { DocumentId } from '../../core/document-id.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import type { CompactionResult } from '../compaction/compactor.ts'
import { PresencePace } from './presence-pace.ts'
import { Room } from './room.ts'
import type { RoomContext } from './room-context.ts'
import type { Session } from './session.ts'

export interface RoomsOptions {
  /** How long an empty room stays open. */
  readonly lingerMs: number
  readonly imageIdleMs: number
  readonly roomsMax: number
  /** An empty room is closing: a good time to compact. */
  readonly onIdle: (room: Room) => void
}

export class Rooms {
  private readonly rooms = new Map<DocumentId, Room>()
  private readonly emptySinceMs = new Map<Room, number>()
  /** Work without a session, by room. */
  private readonly uses = new Map<Room, number>()
  private readonly context: RoomContext
  private readonly options: RoomsOptions

  constructor(context: Omit<RoomContext, 'pace' | 'onFailed'>, options: RoomsOptions) {
    const pace = new PresencePace(context.limits.awarenessFrameMs)
    this.context = { ...context, pace, onFailed: (room) => this.forget(room) }
    this.options = options
  }

  get size(): number {
    return this.rooms.size
  }

  /** `begin` makes the session for its room. Throws `overloaded` when too many rooms are open. */
  enter(document: DocumentId, begin: (room: Room) => Session): Room {
    const room = this.room(document)
    this.emptySinceMs.delete(room)
    room.enter(begin(room))
    return room
  }

  leave(room: Room, session: Session): void {
    room.leave(session)
    this.linger(room)
  }

  /** Keeps the document's room open, without a session, as long as `work` takes. Rejects as `Room.opened` and `work`. */
  async use<T>(document: DocumentId, work: (room: Room) => Promise<T>): Promise<T> {
    const room = this.room(document)
    this.emptySinceMs.delete(room)
    this.uses.set(room, (this.uses.get(room) ?? 0) + 1)
    try {
      await room.opened
      return await work(room)
    } finally {
      const left = this.uses.get(room)! - 1
      if (left > 0) this.uses.set(room, left)
      else this.uses.delete(room)
      this.linger(room)
    }
  }

  private room(document: DocumentId): Room {
    const known = this.rooms.get(document)
    if (known !== undefined) return known
    const { roomsMax } = this.options
    if (this.rooms.size >= roomsMax)
      throw new TidemarkError('overloaded', `More than ${roomsMax} documents are open`)
    const room = new Room(document, this.context)
    this.rooms.set(document, room)
    room.opened.catch(() => this.forget(room))
    return room
  }

  /** Begins the wait for closing, once nobody needs the room. */
  private linger(room: Room): void {
    if (room.sessions.size > 0 || this.uses.has(room) || this.rooms.get(room.document) !== room) return
    this.emptySinceMs.set(room, Date.now())
  }

  /** Closes what has been empty for long enough, ages presence and images. Called every second or so. */
  sweep(nowMs: number): void {
    for (const [room, sinceMs] of this.emptySinceMs) {
      if (nowMs - sinceMs < this.options.lingerMs || room.busy) continue
      this.forget(room)
      this.options.onIdle(room)
    }
    for (const room of this.rooms.values()) {
      room.presence.sweep(nowMs)
      this.context.onTail(room.document, room.stats)
    }
    this.context.images.sweep(nowMs, this.options.imageIdleMs)
  }

  /** A compaction has replaced the snapshot: what rooms keep of it is out of date, if harmless. */
  compacted(document: DocumentId, result: CompactionResult): void {
    this.rooms.get(document)?.compacted(result)
  }

  get busy(): boolean {
    for (const room of this.rooms.values()) if (room.busy) return true
    return false
  }

  tailBytes(): number {
    let bytes = 0
    for (const room of this.rooms.values()) bytes += room.stats.tailBytes
    return bytes
  }

  close(): void {
    for (const room of this.rooms.values()) room.close()
    this.rooms.clear()
    this.emptySinceMs.clear()
  }

  private forget(room: Room): void {
    room.close()
    this.emptySinceMs.delete(room)
    if (this.rooms.get(room.document) === room) this.rooms.delete(room.document)
  }
}

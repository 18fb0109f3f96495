/**
 * Who is in the room, told to everybody: a change after a quiet time goes out in the same turn of the event loop, those
 * that follow are collected for as long as presence-pace.ts says and go out as one frame for all sessions; a session whose
 * socket is full gets everybody's presence once it has drained, and hears who went.
 *
 * Rooms of one document on other nodes are told of this node's states, and asked for theirs when a room opens:
 *
 *   ephemeral = 00 awareness update    the sender's states
 *             | 01                     tell me yours
 */
import type { DocumentId } from '../../core/document-id.ts'
import {
  type AwarenessLimits,
  type AwarenessState,
  decodeAwareness,
  encodeAwareness,
} from '../../core/protocol/awareness.ts'
import type { Log } from '../log/log.ts'
import type { Dialect } from './dialect.ts'
import { Presence, type PresenceLimits } from './presence.ts'
import type { PresencePace } from './presence-pace.ts'
import type { Session } from './session.ts'
import type { Flushable, Tick } from './tick.ts'

export interface RoomPresenceLimits extends AwarenessLimits, PresenceLimits {
  /** No change of presence is held back longer than this. */
  readonly awarenessFrameMs: number
}

/** What the rooms of a node share. */
export interface RoomPresenceContext {
  readonly log: Log
  readonly tick: Tick
  readonly pace: PresencePace
  readonly limits: RoomPresenceLimits
}

const ephemeralStates = 0
const ephemeralQuery = 1
/** Another node has checked what it passes on. */
const unlimited: AwarenessLimits = {
  awarenessBytesMax: Number.MAX_SAFE_INTEGER,
  awarenessClientsMax: Number.MAX_SAFE_INTEGER,
}

export class RoomPresence implements Flushable {
  /** Null until somebody has one: not in every room. */
  private known: Presence | null = null
  /** What will send the changes that there are. */
  private waiting: NodeJS.Timeout | 'tick' | null = null
  /** Not before, by `performance.now()`. */
  private nextMs = 0
  /** Spent on what came in since the last frame. */
  private workMs = 0
  private readonly document: DocumentId
  private readonly sessions: ReadonlySet<Session>
  private readonly context: RoomPresenceContext

  constructor(document: DocumentId, sessions: ReadonlySet<Session>, context: RoomPresenceContext) {
    this.document = document
    this.sessions = sessions
    this.context = context
  }

  private get presence(): Presence {
    this.known ??= new Presence(this.context.limits)
    return this.known
  }

  /** Throws `malformed_awareness`. */
  receive(session: Session, update: Uint8Array): void {
    const startedMs = performance.now()
    const states = decodeAwareness(update, this.context.limits)
    if (this.presence.apply(session, states, Date.now())) this.changed()
    this.workMs += performance.now() - startedMs
  }

  /** Everybody's presence to one session; `evenIfNobody` for those that asked. */
  tell(session: Session, evenIfNobody = false): void {
    if (!session.hearsPresence) return
    const states = this.known?.states() ?? []
    if (evenIfNobody || states.length > 0)
      session.write(session.dialect.awareness(encodeAwareness(states)), Date.now())
  }

  /** As `tell`, to one that was not told for a while: also who went meanwhile. */
  tellAgain(session: Session): void {
    const states = this.known?.statesAndRemoved() ?? []
    if (session.hearsPresence && states.length > 0)
      session.write(session.dialect.awareness(encodeAwareness(states)), Date.now())
  }

  leave(session: Session): void {
    if (this.known?.removeOwnedBy(session, Date.now()) === true) this.changed()
  }

  /** Asks the other nodes who is there. */
  ask(): void {
    this.context.log.publish(this.document, Uint8Array.of(ephemeralQuery))
  }

  /** What another node published. */
  hear(bytes: Uint8Array): void {
    if (bytes[0] === ephemeralQuery) this.publish(this.known?.states(true) ?? [])
    else if (bytes[0] === ephemeralStates) {
      const states = decodeAwareness(bytes.subarray(1), unlimited)
      if (this.presence.apply('remote', states, Date.now())) this.changed()
    }
  }

  /** Called every second or so. */
  sweep(nowMs: number): void {
    if (this.known?.needsSweep === true && this.known.sweep(nowMs)) this.changed()
  }

  close(): void {
    if (typeof this.waiting === 'object' && this.waiting !== null) clearTimeout(this.waiting)
    this.waiting = null
  }

  private changed(): void {
    if (this.waiting !== null) return
    const waitMs = this.nextMs - performance.now()
    if (waitMs <= 0) {
      this.waiting = 'tick'
      this.context.tick.schedule(this)
    } else
      this.waiting = setTimeout(() => {
        this.waiting = null
        this.send()
      }, waitMs)
  }

  flush(): void {
    if (this.waiting !== 'tick') return
    this.waiting = null
    this.send()
  }

  private send(): void {
    if (this.known?.hasDirty !== true) return
    const startedMs = performance.now()
    const { all, local } = this.known.takeDirty()
    this.publish(local)
    const update = encodeAwareness(all)
    this.write(update)
    const endedMs = performance.now()
    this.nextMs =
      endedMs + this.context.pace.waitMs(this.workMs + endedMs - startedMs, update.length, endedMs)
    this.workMs = 0
  }

  private write(update: Uint8Array): void {
    const nowMs = Date.now()
    const encoded = new Map<Dialect, Uint8Array>()
    for (const session of this.sessions) {
      // A session that is behind, or has not joined, gets everybody's presence when it has caught up.
      if (!session.hearsPresence) continue
      if (session.full) {
        this.owe(session)
        continue
      }
      let bytes = encoded.get(session.dialect)
      if (bytes === undefined) {
        bytes = session.dialect.awareness(update)
        encoded.set(session.dialect, bytes)
      }
      session.write(bytes, nowMs)
    }
  }

  private owe(session: Session): void {
    if (session.owedPresence) return
    session.owedPresence = true
    session.whenDrained(() => {
      session.owedPresence = false
      this.tellAgain(session)
    })
  }

  private publish(states: readonly AwarenessState[]): void {
    if (states.length === 0) return
    const update = encodeAwareness(states)
    const bytes = new Uint8Array(1 + update.length)
    bytes[0] = ephemeralStates
    bytes.set(update, 1)
    this.context.log.publish(this.document, bytes)
  }
}

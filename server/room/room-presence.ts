/**
 * Who is in the room, told to everybody: changes are collected and go out as one frame for all sessions, at most
 * one in `awarenessFrameMs`; a session whose socket is full gets everybody's presence once it has drained.
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
import type { Session } from './session.ts'

export interface RoomPresenceLimits extends AwarenessLimits, PresenceLimits {
  /** At most one presence frame to each session in this time. */
  readonly awarenessFrameMs: number
}

const ephemeralStates = 0
const ephemeralQuery = 1
/** Another node has checked what it passes on. */
const unlimited: AwarenessLimits = {
  awarenessBytesMax: Number.MAX_SAFE_INTEGER,
  awarenessClientsMax: Number.MAX_SAFE_INTEGER,
}

export class RoomPresence {
  /** Null until somebody has one: not in every room. */
  private known: Presence | null = null
  private timer: NodeJS.Timeout | null = null
  private sentMs = 0
  private readonly document: DocumentId
  private readonly sessions: ReadonlySet<Session>
  private readonly limits: RoomPresenceLimits
  private readonly log: Log

  constructor(document: DocumentId, sessions: ReadonlySet<Session>, limits: RoomPresenceLimits, log: Log) {
    this.document = document
    this.sessions = sessions
    this.limits = limits
    this.log = log
  }

  private get presence(): Presence {
    this.known ??= new Presence(this.limits)
    return this.known
  }

  /** Throws `malformed_awareness`. */
  receive(session: Session, update: Uint8Array): void {
    const states = decodeAwareness(update, this.limits)
    if (this.presence.apply(session, states, Date.now())) this.changed()
  }

  /** Everybody's presence to one session; `evenIfNobody` for those that asked. */
  tell(session: Session, evenIfNobody = false): void {
    if (!session.hearsPresence) return
    const states = this.known?.states() ?? []
    if (evenIfNobody || states.length > 0)
      session.write(session.dialect.awareness(encodeAwareness(states)), Date.now())
  }

  leave(session: Session): void {
    if (this.known?.removeOwnedBy(session, Date.now()) === true) this.changed()
  }

  /** Asks the other nodes who is there. */
  ask(): void {
    this.log.publish(this.document, Uint8Array.of(ephemeralQuery))
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
    if (this.timer !== null) clearTimeout(this.timer)
  }

  /** The first change goes out at once, further ones together when `awarenessFrameMs` has passed. */
  private changed(): void {
    if (this.timer !== null) return
    const waitMs = Math.max(0, this.sentMs + this.limits.awarenessFrameMs - Date.now())
    this.timer = setTimeout(() => {
      this.timer = null
      this.send()
    }, waitMs)
  }

  private send(): void {
    if (this.known?.hasDirty !== true) return
    const { all, local } = this.known.takeDirty()
    const nowMs = Date.now()
    this.sentMs = nowMs
    this.publish(local)
    const encoded = new Map<Dialect, Uint8Array>()
    const update = encodeAwareness(all)
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
      if (session.state !== 'closed') this.tell(session, true)
    })
  }

  private publish(states: readonly AwarenessState[]): void {
    if (states.length === 0) return
    const update = encodeAwareness(states)
    const bytes = new Uint8Array(1 + update.length)
    bytes[0] = ephemeralStates
    bytes.set(update, 1)
    this.log.publish(this.document, bytes)
  }
}

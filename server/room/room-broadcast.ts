/**
 * Messages that are no edits, from one session to all others of its dialect in the room, here and on other nodes: at
 * most once, in the order in which they came, never stored, and not to whoever has no room for them in their socket.
 *
 * A message after a quiet time goes out in the same turn of the event loop; those that follow are collected for as long as
 * presence-pace.ts says, so that each socket is written to once for all of them, not once for each: with 500 who each say
 * something once a second that is 10,000 writes a second instead of 250,000. What waits is at most `gatheredBytesMax`.
 *
 *   ephemeral = 02 varString(dialect) varString(payload)
 */
import { ByteReader, ByteWriter, MalformedBytes } from '../../core/bytes.ts'
import type { DocumentId } from '../../core/document-id.ts'
import type { Log } from '../log/log.ts'
import type { Dialect } from './dialect.ts'
import type { PresencePace } from './presence-pace.ts'
import type { Session } from './session.ts'
import type { Flushable, Tick } from './tick.ts'

/** What the rooms of a node share. */
export interface RoomBroadcastContext {
  readonly log: Log
  readonly tick: Tick
  readonly pace: PresencePace
}

interface Message {
  readonly dialect: string
  readonly payload: string
  /** Null: it is on another node. */
  readonly from: Session | null
}

/** 0 and 1 are presence. */
const ephemeralBroadcast = 2
/** More goes out at once. */
const gatheredBytesMax = 64 * 1024

export class RoomBroadcast implements Flushable {
  private readonly document: DocumentId
  private readonly sessions: ReadonlySet<Session>
  private readonly context: RoomBroadcastContext
  private gathered: Message[] = []
  private gatheredBytes = 0
  private scheduled = false
  /** Not before, by `performance.now()`. */
  private nextMs = 0

  constructor(document: DocumentId, sessions: ReadonlySet<Session>, context: RoomBroadcastContext) {
    this.document = document
    this.sessions = sessions
    this.context = context
  }

  send(from: Session, payload: string): void {
    const { name } = from.dialect
    this.gather({ dialect: name, payload, from })
    const writer = new ByteWriter(payload.length + 32)
    this.context.log.publish(
      this.document,
      writer.uint8(ephemeralBroadcast).varString(name).varString(payload).finish(),
    )
  }

  /** What another node published; false when it is none of these. */
  hear(bytes: Uint8Array): boolean {
    if (bytes[0] !== ephemeralBroadcast) return false
    try {
      const reader = new ByteReader(bytes, 1)
      const dialect = reader.varString()
      this.gather({ dialect, payload: reader.varString(), from: null })
    } catch (error) {
      // A node of another version may publish what this one cannot read: it is lost, as it may be.
      if (!(error instanceof MalformedBytes)) throw error
    }
    return true
  }

  private gather(message: Message): void {
    this.gathered.push(message)
    this.gatheredBytes += message.payload.length
    if (this.gatheredBytes > gatheredBytesMax) return this.flush()
    if (this.scheduled) return
    this.scheduled = true
    const waitMs = this.nextMs - performance.now()
    if (waitMs <= 0) this.context.tick.schedule(this)
    else setTimeout(() => this.flush(), waitMs).unref()
  }

  /** Of a room that has closed there are no sessions left. */
  flush(): void {
    this.scheduled = false
    if (this.gathered.length === 0) return
    const { gathered, gatheredBytes } = this
    this.gathered = []
    this.gatheredBytes = 0
    const startedMs = performance.now()
    this.tell(gathered)
    const endedMs = performance.now()
    this.nextMs = endedMs + this.context.pace.waitMs(endedMs - startedMs, gatheredBytes, endedMs)
  }

  private tell(messages: readonly Message[]): void {
    const nowMs = Date.now()
    const tellOne = (session: Session, bytes: Uint8Array): void => {
      if (bytes.length > 0) session.write(bytes, nowMs)
    }
    const saidBy = new Set(messages.map(({ from }) => from))
    /** Last, so that what the others share is made once. */
    const authors: Session[] = []
    /** By name of the dialect. */
    const payloads = new Map<string, readonly string[]>()
    const encoded = new Map<Dialect, Uint8Array>()
    for (const session of this.sessions) {
      const { dialect } = session
      if (dialect.broadcast === undefined || session.state === 'closed' || session.full) continue
      if (saidBy.has(session)) {
        authors.push(session)
        continue
      }
      let bytes = encoded.get(dialect)
      if (bytes === undefined) {
        const all = payloads.get(dialect.name) ?? payloadsOf(messages, dialect.name, null)
        payloads.set(dialect.name, all)
        bytes = encode(dialect, all)
        encoded.set(dialect, bytes)
      }
      tellOne(session, bytes)
    }
    for (const session of authors) {
      const { dialect } = session
      tellOne(session, encode(dialect, payloadsOf(messages, dialect.name, session)))
    }
  }
}

const encode = (dialect: Dialect, payloads: readonly string[]): Uint8Array =>
  payloads.length === 0 ? nothing : (dialect.broadcast?.(payloads) ?? nothing)

const nothing = new Uint8Array()

/** For those of a dialect, but what the session said itself. */
function payloadsOf(messages: readonly Message[], dialect: string, own: Session | null): readonly string[] {
  return messages
    .filter((message) => message.dialect === dialect && (own === null || message.from !== own))
    .map(({ payload }) => payload)
}

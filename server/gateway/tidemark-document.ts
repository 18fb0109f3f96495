/**
 * One document that is open, or being opened, on a tidemark.v1 socket: its session in the room, and what the client is
 * told of its pushes.
 *
 *   opening ──room open, what it lacks written──▶ open ──▶ closed
 *      └────────────────refused────────────────────────────┘
 *
 * What is wrong with an update is told by `nack` and leaves the document open; what ends the document is told by `refused`
 * or `closed`. Neither concerns the socket.
 */
import type { DocumentId } from '../../core/document-id.ts'
import { noOffset, type Offset } from '../../core/offset.ts'
import { type ErrorCode, errorTable, TidemarkError } from '../../core/protocol/errors.ts'
import { encodeServerMessage, encodeWithChunks } from '../../core/protocol/tidemark-v1/encode.ts'
import type { Open, Opened, Problem, Push } from '../../core/protocol/tidemark-v1/messages.ts'
import type { Identity } from '../access/access.ts'
import type { Joined } from '../room/catch-up.ts'
import type { Room } from '../room/room.ts'
import { type Pushes, Session } from '../room/session.ts'
import { retryAfterSeconds } from './admission.ts'
import { assertReadable, type DoorContext, reported } from './door.ts'
import { containedAlready, PushWindow } from './push-window.ts'
import { type Channels, framed } from './tidemark-dialect.ts'
import type { Line } from './tidemark-line.ts'

/** All that are open on one socket, or being opened. */
export interface OpenDocuments {
  /** From now on messages with its channel are meant for this document. */
  bind(document: OpenDocument): void
  /** It has ended. */
  unbind(document: OpenDocument): void
}

/** After a push beyond the window: its acks are on their way. */
const windowRetryMs = 100

export class OpenDocument implements Pushes {
  readonly document: DocumentId
  /** It was opened with a token of its own: '' with the connection's. */
  readonly token: string
  private readonly request: Open
  private readonly line: Line
  private readonly among: OpenDocuments
  private readonly context: DoorContext
  private readonly window = new PushWindow()
  private phase: 'opening' | 'open' | 'closed' = 'opening'
  private entered: { readonly room: Room; readonly session: Session; readonly channel: number } | null = null

  constructor(document: DocumentId, request: Open, line: Line, among: OpenDocuments, context: DoorContext) {
    this.document = document
    this.token = request.token
    this.request = request
    this.line = line
    this.among = among
    this.context = context
  }

  /** Null until it has entered its room. */
  get identity(): Identity | null {
    return this.entered?.session.identity ?? null
  }

  get channel(): number {
    if (this.entered === null) throw new Error('not in a room')
    return this.entered.channel
  }

  /** Ends as open, or as refused. Does not reject. */
  async open(identity: Identity, channels: Channels): Promise<void> {
    try {
      assertReadable(identity, this.document)
      const { room, session } = this.enter(identity, channels)
      await room.opened
      await this.line.writable()
      if (this.ended) return
      const { epoch, offset, version } = this.request.have
      if (!room.lineage.removed && offset > noOffset && epoch !== room.lineage.epoch)
        throw new TidemarkError('stale_replica', 'This replica comes from a lineage that has ended')
      await room.join(session, { offset, version }, (joined) => this.answer(joined, room, session))
    } catch (error) {
      this.fail(error)
    }
  }

  private enter(identity: Identity, channels: Channels) {
    const { rooms, limits } = this.context
    const { socket, flow, drain } = this.line
    const begin = (room: Room): Session => {
      const dialect = channels.of(room)
      const close = (code: ErrorCode, reason: string): void => this.end(code, reason)
      const { document, request } = this
      const { engine } = request
      const options = { dialect, engine, socket, flow, drain, limits, close, identity, document }
      const session = new Session({ ...options, echo: false, pushes: this })
      this.entered = { room, session, channel: dialect.channel }
      return session
    }
    rooms.enter(this.document, begin)
    if (this.entered === null) throw new Error('not in a room')
    return this.entered as { readonly room: Room; readonly session: Session }
  }

  private answer(joined: Joined, room: Room, session: Session): Uint8Array[] {
    this.phase = 'open'
    this.among.bind(this)
    const head: Omit<Opened, 'catchUp'> = {
      kind: 'opened',
      request: this.request.request,
      channel: this.channel,
      epoch: room.lineage.epoch,
      offset: joined.offset,
      access: session.mayWrite ? 'write' : 'read',
      // The log tells of a replica only when it is asked to append.
      acked: 0,
      version: room.version(session.engine),
    }
    if (joined.kind === 'update' && joined.chunks.length > 0)
      return framed(encodeWithChunks(head, joined.chunks))
    const entries = joined.kind === 'entries' ? joined.entries : []
    const updates = entries.map((entry) => entry.update)
    const first = entries[0]
    const catchUp =
      first === undefined
        ? ({ kind: 'nothing' } as const)
        : ({ kind: 'entries', offset: first.offset, updates } as const)
    return framed([encodeServerMessage({ ...head, catchUp })])
  }

  // --- what comes -------------------------------------------------------------------------------

  /** Throws `malformed_frame`. */
  push({ sequence, updates }: Push): void {
    const { entered } = this
    if (entered === null || this.ended) return
    const { room, session } = entered
    const replica = pushesOf(session.author, this.request.replica, room.lineage.epoch)
    for (let i = this.window.enter(sequence, updates.length); i < updates.length; i++) {
      const at = sequence + i
      if (this.window.full)
        return this.nack(at, 'rate_limited', 'Too many updates wait for their ack', windowRetryMs)
      this.window.take()
      try {
        if (!room.submit(session, updates[i]!, false, { replica, sequence: at }))
          this.window.settled(at, containedAlready)
      } catch (error) {
        return this.refuse(at, error)
      }
    }
    if (this.window.owing) room.owe(session)
  }

  awareness(update: Uint8Array): void {
    if (this.entered === null || this.ended) return
    const { room, session } = this.entered
    try {
      room.presence.receive(session, update)
    } catch (error) {
      this.fail(error)
    }
  }

  renew(identity: Identity): void {
    try {
      assertReadable(identity, this.document)
      this.entered?.session.renew(identity)
    } catch (error) {
      this.fail(error)
    }
  }

  // --- what becomes of pushes -------------------------------------------------------------------

  settled(sequence: number, offset: Offset): void {
    if (this.entered === null || this.ended) return
    this.window.settled(sequence, offset)
    this.entered.room.owe(this.entered.session)
  }

  failed(sequence: number, code: ErrorCode, reason: string): void {
    this.nack(sequence, code, reason)
  }

  delivered(offset: Offset): boolean {
    const ack = this.window.acknowledge(offset)
    if (ack !== null) this.line.send({ kind: 'ack', channel: this.channel, ...ack })
    return !this.window.owing
  }

  private refuse(sequence: number, error: unknown): void {
    const { code, reason } = this.report(error)
    // Nothing that this replica could still say would be taken.
    if (code === 'stale_replica' || code === 'document_removed' || code === 'wrong_engine')
      this.end(code, reason)
    else this.nack(sequence, code, reason)
  }

  private nack(sequence: number, code: ErrorCode, reason: string, retryMs?: number): void {
    if (this.ended || !this.window.refuse(sequence)) return
    this.context.metrics.refused(code)
    const problem = { ...this.problem(code, reason), ...(retryMs === undefined ? {} : { retryMs }) }
    this.line.send({ kind: 'nack', channel: this.channel, sequence, problem })
    if (this.window.owing) this.entered?.room.owe(this.entered.session)
  }

  // --- the end ----------------------------------------------------------------------------------

  get ended(): boolean {
    return this.phase === 'closed'
  }

  /** Tells the client why it could not be opened, or is closed. */
  end(code: ErrorCode, reason: string): void {
    if (this.ended) return
    const { phase } = this
    const problem = this.problem(code, reason)
    this.leave()
    this.context.metrics.refused(code)
    if (phase === 'open') this.line.send({ kind: 'closed', channel: this.channel, problem })
    else this.line.send({ kind: 'refused', request: this.request.request, problem })
  }

  /** Without a word: the client closed it, or the socket. */
  leave(): void {
    if (this.ended) return
    this.phase = 'closed'
    this.among.unbind(this)
    if (this.entered !== null) this.context.rooms.leave(this.entered.room, this.entered.session)
  }

  fail(error: unknown): void {
    const { code, reason } = this.report(error)
    this.end(code, reason)
  }

  private report(error: unknown): { readonly code: ErrorCode; readonly reason: string } {
    return reported(this.context.logger, error, { session: this.entered?.session.id })
  }

  private problem(code: ErrorCode, reason: string): Problem {
    const epoch = code === 'stale_replica' ? this.epoch() : noOffset
    return problemOf(code, reason, epoch)
  }

  private epoch(): Offset {
    try {
      return this.entered?.room.lineage.epoch ?? noOffset
    } catch {
      // The room has closed meanwhile; the next open tells.
      return noOffset
    }
  }
}

/**
 * The name of a replica's pushes in the log: names may be the same for two users, and a lineage knows nothing of
 * what the one before it took. `#` and `@` are in no replica's name.
 */
function pushesOf(author: string, replica: string, epoch: Offset): string {
  return epoch === noOffset ? `${author}#${replica}` : `${author}#${replica}@${epoch}`
}

export function problemOf(code: ErrorCode, reason: string, epoch = noOffset): Problem {
  const retryMs = errorTable[code].retryable ? retryAfterSeconds() * 1000 : null
  return { code, reason, retryMs, epoch }
}

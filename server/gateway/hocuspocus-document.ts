/**
 * One document on a Hocuspocus socket, under the address that its client gave it.
 *
 *   opening ──identity known, room open──▶ open ──▶ closed
 *      └───────────────refused───────────────┘
 *
 * - Its client waits for no answer: what comes while it opens, or while a new token is judged, waits in a row, whose bytes
 *   the connection counts.
 * - What ends a document tells its client why, in the two ways that there are (`end`). What only a new connection can mend
 *   ends the connection, since the provider opens a document anew with the next one and not before.
 */
import { type DocumentId, parseDocumentId } from '../../core/document-id.ts'
import { type ErrorCode, isRetryable, TidemarkError } from '../../core/protocol/error-codes.ts'
import { type ClientMessage, documentNameOf, type Scope } from '../../core/protocol/hocuspocus.ts'
import type { Identity } from '../access/access.ts'
import { Rate } from '../room/rate.ts'
import type { Room } from '../room/room.ts'
import { Session, type UnnamedUpdates } from '../room/session.ts'
import { assertReadable, type DoorContext, reported } from './door.ts'
import { HocuspocusDialect, type HocuspocusDialects } from './hocuspocus-dialect.ts'
import { EarlyUpdates } from './hocuspocus-early.ts'
import { HocuspocusSync } from './hocuspocus-sync.ts'
import { MessageRow } from './message-row.ts'
import type { SocketLine } from './socket-line.ts'

/** The connection, as its documents see it. */
export interface Documents {
  /** For this document, with the token it was given last. */
  identify(document: HocuspocusDocument): Promise<Identity>
  /** Somebody who may read a document of this socket. Throws `rate_limited`. */
  recognise(identity: Identity): void
  /** Not many are opened at a time. Settles as `open` does. */
  inTurn(open: () => Promise<void>): Promise<void>
  /** So many bytes more, or less, wait. */
  waiting(bytes: number): void
  /** So many bytes more, or less, came too early. Throws `overloaded`, and counts nothing, when that is too many. */
  early(bytes: number): void
  /** It has ended. */
  unbind(document: HocuspocusDocument): void
  /** Only a new connection helps, perhaps with a new token. */
  reconnect(code: ErrorCode, reason: string): void
}

interface Entered {
  readonly room: Room
  readonly session: Session
  readonly sync: HocuspocusSync
}

/** What a new connection would not mend: the next one would fail alike, and all documents of the socket with it. */
const endsAlone: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['document_unreadable', 'rate_limited'])
/** So long before its token ends its client is asked for another; with less left, after half of it. */
const tokenRequestBeforeMs = 60_000
/** Stateless messages of one session, which go to all others: as many as ten seconds of these at once. */
const broadcastLimits = { sessionMessagesPerSecondMax: 100, sessionBytesPerSecondMax: 256 * 1024 }

export class HocuspocusDocument {
  readonly address: string
  readonly document: DocumentId
  private ownToken = ''
  private readonly line: SocketLine
  private readonly among: Documents
  private readonly dialects: HocuspocusDialects
  private readonly context: DoorContext
  /** For what is said before it is in a room. */
  private readonly greeting: HocuspocusDialect
  /** Its client is of 4.x. */
  private knowsClosed = false
  private closed = false
  private entered: Entered | null = null
  private readonly row: MessageRow<ClientMessage>
  private readonly early: EarlyUpdates
  private tokenRequestMs = 0
  private broadcastRate: Rate | null = null
  private renewing = false
  private tellWaits = false

  /** Throws `invalid_document_id`. */
  constructor(
    address: string,
    line: SocketLine,
    among: Documents,
    dialects: HocuspocusDialects,
    context: DoorContext,
  ) {
    this.address = address
    this.document = parseDocumentId(documentNameOf(address))
    this.line = line
    this.among = among
    this.dialects = dialects
    this.context = context
    this.greeting = new HocuspocusDialect(address)
    this.early = new EarlyUpdates((bytes) => among.early(bytes))
    this.row = new MessageRow({
      take: (message) => this.take(message),
      waiting: (bytes) => among.waiting(bytes),
    })
  }

  get ended(): boolean {
    return this.closed
  }

  get encodedAddress(): Uint8Array {
    return this.greeting.address
  }

  /** '' : the connection's. */
  get token(): string {
    return this.ownToken
  }

  /** Null until it has entered its room. */
  get identity(): Identity | null {
    return this.entered?.session.identity ?? null
  }

  /** Of anything that its client takes for a sign of life. */
  get sentMs(): number {
    return this.entered?.session.lastSentMs ?? 0
  }

  // --- opening ----------------------------------------------------------------------------------

  /** `message`: the one with which its client began. */
  begin(message: ClientMessage): void {
    // 2.x without a token says nothing of itself, and expects nothing.
    const introduced = message.kind === 'auth'
    if (introduced) {
      this.ownToken = message.token
      this.knowsClosed = message.client !== null
    }
    this.hold(() => this.among.inTurn(() => this.open(introduced)))
    if (!introduced) this.receive(message, 0)
  }

  private async open(introduced: boolean): Promise<void> {
    if (this.closed) return
    const identity = await this.among.identify(this)
    if (this.closed) return
    assertReadable(identity, this.document)
    this.among.recognise(identity)
    // What was said after it may have ended the socket.
    if (this.closed) return
    if (introduced) this.tellScope(identity)
    this.planTokenRequest(identity)
    const { room } = this.enter(identity)
    await room.opened
    await this.line.writable()
  }

  private enter(identity: Identity): Entered {
    const { rooms, limits } = this.context
    const { socket, flow, drain } = this.line
    rooms.enter(this.document, (room) => {
      const dialect = this.dialects.of(room, this.address)
      const close = (code: ErrorCode, reason: string): void => this.end(code, reason)
      const options = { dialect, socket, flow, drain, limits, close, identity, document: this.document }
      const begin = (unnamed: UnnamedUpdates): Session => new Session({ ...options, echo: false, unnamed })
      const sync = new HocuspocusSync(room, dialect, this.line, this.early, begin)
      this.entered = { room, session: sync.session, sync }
      return sync.session
    })
    if (this.entered === null) throw new Error('not in a room')
    return this.entered as Entered
  }

  /** What comes meanwhile waits. */
  private hold(work: () => Promise<void>): void {
    void this.row.hold(() => work().catch((error: unknown) => this.fail(error)))
  }

  // --- what comes -------------------------------------------------------------------------------

  /** `bytes`: what it costs to keep it for a while. */
  receive(message: ClientMessage, bytes: number): void {
    this.row.receive(message, bytes)
  }

  private take(message: ClientMessage): void {
    try {
      this.dispatch(message)
    } catch (error) {
      this.fail(error)
    }
  }

  private dispatch(message: ClientMessage): void {
    if (message.kind === 'auth') return this.authenticate(message.token, message.client)
    if (this.entered === null) return
    const { room, session, sync } = this.entered
    switch (message.kind) {
      case 'sync-step-1':
        sync.answer(message.version).catch((error: unknown) => this.fail(error))
        return
      case 'sync-step-2':
        return this.submit(sync, message.update, true)
      case 'update':
        return this.submit(sync, message.update, false)
      case 'awareness':
        return room.presence.receive(session, message.awareness)
      case 'query-awareness':
        return this.tellPresence()
      case 'stateless':
        return this.broadcast(this.entered, message.payload)
      case 'close':
        return this.leave()
    }
  }

  private submit(sync: HocuspocusSync, update: Uint8Array, whole: boolean): void {
    if (!sync.submit(update, whole)) this.context.metrics.refused('read_only')
  }

  private broadcast({ room, session }: Entered, payload: string): void {
    this.broadcastRate ??= new Rate(broadcastLimits, Date.now())
    if (this.broadcastRate.take(payload.length, Date.now()) > 0)
      throw new TidemarkError('rate_limited', 'Too many stateless messages')
    room.broadcast.send(session, payload)
  }

  /** To one that asked; once, however often it does while its socket is full. */
  private tellPresence(): void {
    if (this.tellWaits) return
    this.tellWaits = true
    this.line
      .writable()
      .then(() => {
        this.tellWaits = false
        if (this.entered !== null && !this.closed) this.entered.room.presence.tell(this.entered.session, true)
      })
      .catch((error: unknown) => this.fail(error))
  }

  // --- who it is --------------------------------------------------------------------------------

  private authenticate(token: string, client: string | null): void {
    this.ownToken = token
    this.knowsClosed = client !== null
    this.hold(async () => this.renewed(await this.among.identify(this), true))
  }

  /** Ends rights whose time is over; asks for another token ahead of that. */
  beat(nowMs: number): void {
    const { identity } = this
    if (identity === null || identity.expiresMs === null) return
    if (nowMs >= identity.expiresMs) {
      if (identity.renewable) this.askAgain()
      else this.among.reconnect('token_expired', 'The token has expired')
    } else if (!identity.renewable && nowMs >= this.tokenRequestMs) {
      this.planTokenRequest(identity)
      this.line.write(this.greeting.frame({ kind: 'token-request' }))
    }
  }

  /** Asked again and again when nothing better comes, but ever later. */
  private planTokenRequest({ expiresMs }: Identity): void {
    const leftMs = (expiresMs ?? 0) - Date.now()
    this.tokenRequestMs = Date.now() + Math.max(leftMs - tokenRequestBeforeMs, leftMs / 2)
  }

  private askAgain(): void {
    if (this.renewing) return
    this.renewing = true
    const { token } = this
    this.among
      .identify(this)
      .then((identity) => {
        if (token === this.token) this.renewed(identity, false)
      })
      .catch((error: unknown) => {
        if (token === this.token) this.fail(error)
      })
      .finally(() => {
        this.renewing = false
      })
  }

  /** `asked`: its client waits to hear what it may do. */
  private renewed(identity: Identity, asked: boolean): void {
    if (this.closed || this.entered === null) return
    const { session, sync } = this.entered
    assertReadable(identity, this.document)
    const before = session.mayWrite
    session.renew(identity)
    this.planTokenRequest(identity)
    if (asked || session.mayWrite !== before) this.tellScope(identity)
    if (session.mayWrite && !before) sync.mayWrite()
  }

  private tellScope(identity: Identity): void {
    const access = identity.accessTo(this.document)
    const scope: Scope = access === 'read' ? 'readonly' : 'read-write'
    this.line.write(this.greeting.frame({ kind: 'authenticated', scope }))
  }

  // --- the end ----------------------------------------------------------------------------------

  /**
   * Tells its client why. `denied` is what all versions show (and 2.x then leaves the document alone), `closed` takes
   * 4.x back to where it is not synced.
   */
  end(code: ErrorCode, reason: string): void {
    if (this.closed) return
    if (isRetryable(code) && !endsAlone.has(code)) return this.among.reconnect(code, reason)
    const told = `${code}: ${reason}`
    this.leave()
    this.context.metrics.refused(code)
    this.line.write(this.greeting.frame({ kind: 'denied', reason: told }))
    if (this.knowsClosed) this.line.write(this.greeting.frame({ kind: 'closed', reason: told }))
  }

  /** Without a word: its client left it, or the socket. */
  leave(): void {
    if (this.closed) return
    this.closed = true
    this.row.close()
    this.early.end()
    if (this.entered !== null) this.context.rooms.leave(this.entered.room, this.entered.session)
    this.among.unbind(this)
  }

  fail(error: unknown): void {
    if (this.closed) return
    const { code, reason } = reported(this.context.logger, error, { session: this.entered?.session.id })
    this.end(code, reason)
  }
}

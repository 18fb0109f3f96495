/**
 * One document on a Hocuspocus socket, under the address that its client gave it.
 *
 *   opening ──identity known, room open──▶ open ──▶ closed
 *      └───────────────refused───────────────┘
 *
 * - Its client waits for no answer: what comes while it opens, or while a new token is judged, waits in a row, whose bytes
 *   the connection counts.
 * - A step 1 is answered with ours, then with step 2. A status is sent for each frame with edits once they are durable.
 * - What ends a document tells its client why, in the two ways that there are (`end`). What only a new connection can mend
 *   ends the connection, since the provider opens a document anew with the next one and not before.
 */
import { type DocumentId, parseDocumentId } from '../../core/document-id.ts'
import { engines } from '../../core/engine/engines.ts'
import { noOffset } from '../../core/offset.ts'
import { type ErrorCode, isRetryable, TidemarkError } from '../../core/protocol/error-codes.ts'
import { type ClientMessage, documentNameOf, type Scope } from '../../core/protocol/hocuspocus.ts'
import type { Identity } from '../access/access.ts'
import type { Room } from '../room/room.ts'
import { Session, type UnnamedUpdates } from '../room/session.ts'
import { assertReadable, type DoorContext, toldOf } from './door.ts'
import { HocuspocusDialect, type HocuspocusDialects } from './hocuspocus-dialect.ts'
import { MessageRow } from './message-row.ts'
import type { SocketLine } from './socket-line.ts'
import { SyncStatuses } from './sync-statuses.ts'

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
  /** It has ended. */
  unbind(document: HocuspocusDocument): void
  /** Only a new connection helps. */
  close(code: ErrorCode, reason: string): void
  /** Only a new token helps, which a new connection brings. */
  reset(code: ErrorCode, reason: string): void
}

interface Entered {
  readonly room: Room
  readonly session: Session
  readonly dialect: HocuspocusDialect
}

/** What a new connection would not mend: the next one would fail alike, and all documents of the socket with it. */
const endsAlone: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['document_unreadable', 'rate_limited'])
/** Before its token ends, its client is asked for another. */
const tokenRequestBeforeMs = 60_000

export class HocuspocusDocument implements UnnamedUpdates {
  readonly address: string
  readonly document: DocumentId
  private ownToken = ''
  private readonly line: SocketLine
  private readonly among: Documents
  private readonly dialects: HocuspocusDialects
  private readonly context: DoorContext
  private readonly statuses = new SyncStatuses(engines.yjs)
  /** For what is said before it is in a room. */
  private readonly greeting: HocuspocusDialect
  /** Its client is of 4.x. */
  private knowsClosed = false
  private closed = false
  private entered: Entered | null = null
  private readonly row: MessageRow<ClientMessage>
  /** A step 1 that waits for the socket to take more, and whether the provider counts anew with it. */
  private pending: { readonly version: Uint8Array; readonly restarted: boolean } | null = null
  private tokenRequested = false
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
    this.row = new MessageRow({
      take: (message) => this.take(message),
      waiting: (bytes) => among.waiting(bytes),
    })
  }

  get ended(): boolean {
    return this.closed
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
      const session = new Session({ ...options, echo: false, unnamed: this })
      this.entered = { room, session, dialect }
      return session
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
    const { room, session } = this.entered
    switch (message.kind) {
      case 'sync-step-1':
        return this.answer(message.version)
      case 'sync-step-2':
        return this.submit(message.update, true)
      case 'update':
        return this.submit(message.update, false)
      case 'awareness':
        return room.presence.receive(session, message.awareness)
      case 'query-awareness':
        return this.tellPresence()
      case 'stateless':
        return room.broadcast.send(session, message.payload)
      case 'close':
        return this.leave()
    }
  }

  /** To the latest step 1, once the socket takes more: whoever asks and does not read is not answered. */
  private answer(version: Uint8Array): void {
    const waits = this.pending !== null
    const restarted = this.statuses.restarted(version)
    // Those that were not sent in time come last, and are older.
    if (!waits || restarted) this.pending = { version, restarted }
    if (waits) return
    this.line
      .writable()
      .then(async () => {
        const { pending } = this
        this.pending = null
        if (this.closed || this.entered === null || pending === null) return
        const { room, session, dialect } = this.entered
        if (pending.restarted) this.askBack(this.entered)
        const answer = dialect.syncStep2.bind(dialect)
        await room.join(session, { version: pending.version, offset: noOffset }, answer)
      })
      .catch((error: unknown) => this.fail(error))
  }

  private askBack({ room, session, dialect }: Entered): void {
    session.write(dialect.frame({ kind: 'sync-step-1', version: room.version() }), Date.now())
  }

  private submit(update: Uint8Array, whole: boolean): void {
    const { statuses } = this
    const { room, session, dialect } = this.entered!
    let durable: boolean
    try {
      durable = !room.submit(session, update, whole)
    } catch (error) {
      this.line.write(dialect.frame({ kind: 'sync-status', applied: false }))
      const { code } = toldOf(error)
      // A reader goes on reading. Anything else: what comes after it would lean on what is missing.
      if (code !== 'read_only') throw error
      this.context.metrics.refused(code)
      return whole ? statuses.wholeRefused() : statuses.updateRefused(update)
    }
    if (whole) statuses.wholeTaken(durable)
    else statuses.updateTaken(update, durable)
    if (statuses.owing) room.owe(session)
  }

  settled(): void {
    this.statuses.settled()
    if (this.entered !== null && this.statuses.owing) this.entered.room.owe(this.entered.session)
  }

  delivered(): void {
    const count = this.statuses.take()
    if (count === 0 || this.entered === null) return
    const status = this.entered.dialect.frame({ kind: 'sync-status', applied: true })
    const frames = count === 1 ? status : Buffer.concat(Array<Uint8Array>(count).fill(status))
    this.entered.session.write(frames, Date.now())
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
      else this.among.reset('token_expired', 'The token has expired')
    } else if (
      !identity.renewable &&
      !this.tokenRequested &&
      nowMs >= identity.expiresMs - tokenRequestBeforeMs
    ) {
      this.tokenRequested = true
      this.line.write(this.greeting.frame({ kind: 'token-request' }))
    }
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
    const { session } = this.entered
    assertReadable(identity, this.document)
    const before = session.mayWrite
    session.renew(identity)
    this.tokenRequested = false
    if (asked || session.mayWrite !== before) this.tellScope(identity)
    // It has shown edits that were refused: now they are asked for.
    if (session.mayWrite && !before && this.statuses.askAnew()) this.askBack(this.entered)
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
    if (isRetryable(code) && !endsAlone.has(code)) return this.among.close(code, reason)
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
    if (this.entered !== null) this.context.rooms.leave(this.entered.room, this.entered.session)
    this.among.unbind(this)
  }

  fail(error: unknown): void {
    if (this.closed) return
    const { logger } = this.context
    const session = this.entered?.session.id
    const { code, reason } = toldOf(error)
    if (error instanceof TidemarkError) logger.info({ session, code, reason }, 'session refused')
    else logger.error({ session, err: error }, 'session failed')
    this.end(code, reason)
  }
}

/**
 * The door for Tidemark's own clients, PROTOCOL.md "The tidemark.v1 door": one socket, many documents.
 *
 *   frame → flow (rate) → parts → message ─▶ auth: a new identity, and new rights for what is open
 *                                        ├▶ open: identity for this document → OpenDocument → the room
 *                                        └▶ push, awareness, close: the document of that channel
 *
 * - Until somebody is known, messages are handled one after the other and nothing is read meanwhile, so a stranger
 *   costs a few kilobytes; and all that it says is limited to `strangerBytesMax`.
 * - What concerns a document ends the document. The socket ends for what concerns all of it: a malformed frame, a
 *   refused or revoked token of the connection, the end of the server.
 * - Answers to one that does not read are limited: after `unreadBytesMax` of them the socket is cut.
 */
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { type DocumentId, parseDocumentId } from '../../core/document-id.ts'
import { type ErrorCode, TidemarkError } from '../../core/protocol/errors.ts'
import { decodeClientMessage } from '../../core/protocol/tidemark-v1/decode.ts'
import { encodeServerMessage } from '../../core/protocol/tidemark-v1/encode.ts'
import {
  type ClientMessage,
  type Open,
  protocolVersion,
  type ServerMessage,
} from '../../core/protocol/tidemark-v1/messages.ts'
import { Assembler } from '../../core/protocol/tidemark-v1/parts.ts'
import { type Identity, isEnded, type Revocation } from '../access/access.ts'
import { Flow } from '../room/flow.ts'
import { retryAfterSeconds } from './admission.ts'
import { closeSocket } from './close-socket.ts'
import { type Arrival, type Connection, type DoorContext, toldOf } from './door.ts'
import { type Channels, framed, joinedBytes, partBytes } from './tidemark-dialect.ts'
import { type Line, OpenDocument, problemOf } from './tidemark-document.ts'

export interface TidemarkContext extends DoorContext {
  readonly channels: Channels
  readonly messageBytesMax: number
  readonly documentsPerSocketMax: number
  readonly firstMessageMsMax: number
  /** What an ack is worth now. */
  readonly durability: () => string
  /** A session of this user begins, throws `rate_limited`; ends. */
  readonly enterUser: (subject: string) => void
  readonly leaveUser: (subject: string) => void
}

export interface TidemarkArrival extends Arrival {
  /** Of the token that came with the handshake; null without one. */
  readonly identity: Identity | null
}

/** Everything that somebody unknown may say. */
export const strangerBytesMax = 16 * 1024
/** Answers while the socket is full. */
const unreadBytesMax = 256 * 1024
const pingMs = 15_000
const hintBeforeMs = 60_000
/** Documents of one socket that are being opened at a time; the rest waits. */
const opensInFlightMax = 8

export function acceptTidemark(arrival: TidemarkArrival, context: TidemarkContext): Connection {
  return new TidemarkConnection(arrival, context)
}

class TidemarkConnection implements Connection, Line {
  readonly socket: Socket
  readonly flow: Flow
  private readonly ws: WebSocket
  private readonly context: TidemarkContext
  private readonly assembler = new Assembler(strangerBytesMax)
  private readonly documents = new Map<DocumentId, OpenDocument>()
  private readonly channels = new Map<number, OpenDocument>()
  private readonly opensWaiting: (() => Promise<void>)[] = []
  private opensInFlight = 0
  /** Messages that came while one before them is being judged. */
  private waiting: Uint8Array[] | null = null
  private token: string | null
  private identity: Identity | null = null
  private subject: string | null = null
  private strangerBytes = 0
  private unreadBytes = 0
  private hinted = false
  private renewing = false
  private ending = false
  private nobodySinceMs = Date.now()
  private everKnown = false
  private durability: string

  constructor(arrival: TidemarkArrival, context: TidemarkContext) {
    const { ws, socket, token, identity } = arrival
    this.ws = ws
    this.socket = socket
    this.context = context
    this.token = token
    this.durability = context.durability()
    this.flow = new Flow(
      context.limits,
      () => ws.pause(),
      () => ws.resume(),
    )
    // Each document may wait for the socket to drain.
    socket.setMaxListeners(0)
    ws.on('message', (frame: Buffer, isBinary: boolean) => this.receive(frame, isBinary))
    ws.on('close', () => this.left())
    ws.on('error', (error) => context.logger.debug({ err: error }, 'socket error'))
    const { messageBytesMax } = context
    const { durability } = this
    this.send({ kind: 'welcome', version: protocolVersion, partBytes, messageBytesMax, pingMs, durability })
    if (identity !== null) this.guarded(() => this.become(identity))
  }

  // --- what comes -------------------------------------------------------------------------------

  private receive(frame: Buffer, isBinary: boolean): void {
    if (this.closed) return
    this.flow.received(frame.length)
    this.context.metrics.received(frame.length)
    this.guarded(() => {
      if (!isBinary) throw new TidemarkError('malformed_frame', 'Frames are binary')
      const message = this.assembler.take(frame)
      if (message === null) return
      if (this.waiting === null) this.handle(message)
      else this.waiting.push(message)
    })
  }

  private handle(bytes: Uint8Array): void {
    const judged = this.dispatch(decodeClientMessage(bytes), bytes.length)
    if (judged === null) return
    // What the socket has read already waits here, the rest in the socket.
    this.waiting = []
    this.flow.hold()
    judged
      .catch((error: unknown) => this.fail(error))
      .finally(() => {
        const waited = this.waiting ?? []
        this.waiting = null
        this.guarded(() => {
          for (const message of waited) {
            if (this.closed) return
            if (this.waiting === null) this.handle(message)
            else (this.waiting as Uint8Array[]).push(message)
          }
        })
        this.flow.release()
      })
  }

  /** A promise when the next message has to wait. */
  private dispatch(message: ClientMessage, bytes: number): Promise<void> | null {
    if (!this.known) {
      this.strangerBytes += bytes
      if (this.strangerBytes > strangerBytesMax)
        throw new TidemarkError('unauthenticated', `More than ${strangerBytesMax} bytes came before a token`)
    }
    switch (message.kind) {
      case 'auth':
        return this.authenticate(message.token)
      case 'open':
        return this.open(message)
      case 'push':
        this.channels.get(message.channel)?.push(message)
        return null
      case 'awareness':
        this.channels.get(message.channel)?.awareness(message.awareness)
        return null
      case 'close':
        this.channels.get(message.channel)?.leave()
        return null
      case 'ping':
        this.send({ kind: 'pong', nonce: message.nonce })
        return null
    }
  }

  // --- who it is --------------------------------------------------------------------------------

  private get known(): boolean {
    return this.identity !== null || this.channels.size > 0
  }

  private async authenticate(token: string): Promise<void> {
    const identity = await identifyConnection(this.context, token)
    if (this.closed) return
    this.token = token
    if (identity !== null) this.become(identity)
    for (const document of this.documents.values())
      if (document.token === '' && document.identity !== null) void this.renew(document)
  }

  private become(identity: Identity): void {
    this.identity = identity
    this.hinted = false
    this.recognise(identity)
    this.hint(Date.now())
  }

  /** Somebody is known: from here on it may say more. */
  private recognise({ subject }: Identity): void {
    this.everKnown = true
    this.assembler.messageBytesMax = this.context.messageBytesMax
    if (this.subject === subject || (this.subject !== null && this.identity?.subject !== subject)) return
    this.context.enterUser(subject)
    if (this.subject !== null) this.context.leaveUser(this.subject)
    this.subject = subject
  }

  /** Its rights are asked for again, with the token that it was opened with or the connection's present one. */
  private async renew(document: OpenDocument): Promise<void> {
    const { token } = this
    try {
      const identity = await this.identify(document.token, document.document)
      // A newer token of the connection renews it once more.
      if (!document.ended && (document.token !== '' || token === this.token)) document.renew(identity)
    } catch (error) {
      document.fail(error)
    }
  }

  private identify(token: string, document: DocumentId): Promise<Identity> {
    return this.context.gatekeeper.identify(token === '' ? this.token : token, document)
  }

  // --- opening ----------------------------------------------------------------------------------

  private open(message: Open): Promise<void> | null {
    let opening: OpenDocument
    try {
      opening = this.reserve(message)
    } catch (error) {
      this.refuse(message, error)
      return null
    }
    if (!this.known) return this.begin(opening)
    this.opensWaiting.push(() => this.begin(opening))
    this.openNext()
    return null
  }

  private reserve(message: Open): OpenDocument {
    const document = parseDocumentId(message.document)
    const { documentsPerSocketMax } = this.context
    if (message.engine !== 'yjs')
      throw new TidemarkError('invalid_request', `This server has no engine ${message.engine}`)
    if (this.documents.has(document))
      throw new TidemarkError('invalid_request', 'The document is open on this socket')
    if (this.documents.size >= documentsPerSocketMax)
      throw new TidemarkError('rate_limited', `More than ${documentsPerSocketMax} documents on one socket`)
    const opening = new OpenDocument(document, message, this, this.context)
    this.documents.set(document, opening)
    return opening
  }

  private openNext(): void {
    while (this.opensInFlight < opensInFlightMax && this.opensWaiting.length > 0 && !this.closed) {
      this.opensInFlight++
      const begin = this.opensWaiting.shift()!
      // `begin` does not reject: every failure is told.
      void begin().then(() => {
        this.opensInFlight--
        this.openNext()
      })
    }
  }

  private async begin(opening: OpenDocument): Promise<void> {
    let identity: Identity
    try {
      identity = await this.identify(opening.token, opening.document)
    } catch (error) {
      return opening.fail(error)
    }
    if (this.closed || opening.ended) return
    await opening.open(identity, this.context.channels)
    if (opening.ended || this.closed) return
    this.guarded(() => this.recognise(identity))
  }

  private refuse({ request }: Open, error: unknown): void {
    const { code, reason } = toldOf(error)
    this.context.metrics.refused(code)
    if (!(error instanceof TidemarkError)) this.context.logger.error({ err: error }, 'open failed')
    this.send({ kind: 'refused', request, problem: problemOf(code, reason) })
  }

  bind(document: OpenDocument): void {
    this.channels.set(document.channel, document)
  }

  unbind(document: OpenDocument): void {
    if (this.documents.get(document.document) === document) this.documents.delete(document.document)
    if (document.identity !== null && this.channels.get(document.channel) === document)
      this.channels.delete(document.channel)
  }

  // --- what goes out ----------------------------------------------------------------------------

  send(message: ServerMessage): void {
    if (!this.socket.writable) return
    if (message.kind === 'ack') this.tellDurability()
    const bytes = joinedBytes(framed([encodeServerMessage(message)]))
    this.socket.write(bytes)
    this.unreadBytes = this.full ? this.unreadBytes + bytes.length : 0
    if (this.unreadBytes > unreadBytesMax) this.ws.terminate()
  }

  writable(): Promise<void> {
    if (!this.full || this.socket.destroyed) return Promise.resolve()
    return new Promise((resolve) => {
      const again = (): void => {
        this.socket.off('drain', again)
        this.socket.off('close', again)
        resolve(this.writable())
      }
      this.socket.on('drain', again)
      this.socket.on('close', again)
    })
  }

  private get full(): boolean {
    return this.socket.writableLength > this.context.limits.sessionBufferBytesMax
  }

  /** An ack is worth what was told before it. */
  private tellDurability(): void {
    const durability = this.context.durability()
    if (durability === this.durability) return
    this.durability = durability
    this.send({ kind: 'durability', durability })
  }

  // --- time -------------------------------------------------------------------------------------

  get silent(): boolean {
    return !this.everKnown
  }

  get paused(): boolean {
    return this.flow.paused
  }

  beat(nowMs: number): void {
    this.tellDurability()
    for (const document of this.documents.values()) {
      const { identity } = document
      if (identity === null || identity.expiresMs === null || nowMs < identity.expiresMs) continue
      if (identity.renewable) void this.renew(document)
      else document.end('token_expired', 'The token has expired')
    }
    this.hint(nowMs)
    const { identity } = this
    if (identity !== null && identity.expiresMs !== null && nowMs >= identity.expiresMs) this.expire(nowMs)
    if (!this.everKnown || this.known || this.documents.size > 0) this.nobodySinceMs = nowMs
    else if (nowMs - this.nobodySinceMs >= this.context.firstMessageMsMax)
      this.close('token_expired', 'The token has expired')
  }

  private hint(nowMs: number): void {
    const { identity } = this
    if (identity === null || identity.expiresMs === null || identity.renewable || this.hinted) return
    const milliseconds = identity.expiresMs - nowMs
    if (milliseconds > hintBeforeMs) return
    this.hinted = true
    this.send({ kind: 'hint', hint: 'token', milliseconds: Math.max(0, Math.ceil(milliseconds)) })
  }

  private expire(nowMs: number): void {
    if (this.identity?.renewable !== true || this.token === null) {
      this.identity = null
      this.strangerBytes = 0
      this.nobodySinceMs = nowMs
      return
    }
    if (this.renewing) return
    this.renewing = true
    const { token } = this
    identifyConnection(this.context, token)
      .then((identity) => {
        if (!this.closed && token === this.token) this.identity = identity
      })
      .catch((error: unknown) => this.fail(error))
      .finally(() => {
        this.renewing = false
      })
  }

  // --- the end ----------------------------------------------------------------------------------

  get closed(): boolean {
    return this.ending
  }

  revoked(revocation: Revocation): void {
    const why = 'An administrator ended this session'
    if (this.identity !== null && isEnded(revocation, this.identity, null)) return this.close('revoked', why)
    for (const document of this.documents.values())
      if (document.identity !== null && isEnded(revocation, document.identity, document.document))
        document.end('revoked', why)
  }

  close(code: ErrorCode, reason: string): void {
    if (this.ending) return
    this.context.metrics.refused(code)
    if (code === 'shutting_down')
      this.send({ kind: 'hint', hint: 'drain', milliseconds: retryAfterSeconds() * 1000 })
    this.leave()
    closeSocket(this.ws, code, reason)
  }

  /** From here on nothing is sent but the close, and nothing that comes is looked at. */
  private leave(): void {
    this.ending = true
    this.flow.end()
    this.opensWaiting.length = 0
    for (const document of this.documents.values()) document.leave()
  }

  /** The socket is gone. */
  private left(): void {
    if (!this.ending) this.leave()
    if (this.subject !== null) this.context.leaveUser(this.subject)
    this.subject = null
  }

  private guarded(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.fail(error)
    }
  }

  private fail(error: unknown): void {
    const { code, reason } = toldOf(error)
    if (error instanceof TidemarkError) this.context.logger.info({ code, reason }, 'connection refused')
    else this.context.logger.error({ err: error }, 'connection failed')
    this.close(code, reason)
  }
}

/**
 * Who the token of a connection stands for. Null when an authorisation service says that it is good for documents only:
 * each of them is asked for anyway.
 */
export async function identifyConnection(
  context: DoorContext,
  token: string | null,
): Promise<Identity | null> {
  try {
    return await context.gatekeeper.identify(token, null)
  } catch (error) {
    if (error instanceof TidemarkError && error.code === 'forbidden') return null
    throw error
  }
}

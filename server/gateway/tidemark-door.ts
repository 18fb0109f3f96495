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
 */
import type { WebSocket } from 'ws'
import { type DocumentId, parseDocumentId } from '../../core/document-id.ts'
import { type ErrorCode, TidemarkError } from '../../core/protocol/errors.ts'
import { decodeClientMessage } from '../../core/protocol/tidemark-v1/decode.ts'
import { type ClientMessage, type Open, protocolVersion } from '../../core/protocol/tidemark-v1/messages.ts'
import { Assembler } from '../../core/protocol/tidemark-v1/parts.ts'
import { type Identity, isEnded, type Revocation } from '../access/access.ts'
import { retryAfterSeconds } from './admission.ts'
import { closeSocket } from './close-socket.ts'
import { type Arrival, type Connection, type DoorContext, reported, toldOf } from './door.ts'
import { Bearer, type BearerContext, identifyConnection } from './tidemark-bearer.ts'
import { type Channels, partBytes } from './tidemark-dialect.ts'
import { OpenDocument, type OpenDocuments, problemOf } from './tidemark-document.ts'
import { Line } from './tidemark-line.ts'

export interface TidemarkContext extends DoorContext, BearerContext {
  readonly channels: Channels
  readonly messageBytesMax: number
  readonly documentsPerSocketMax: number
  readonly firstMessageMsMax: number
  /** What an ack is worth now. */
  readonly durability: () => string
}

export interface TidemarkArrival extends Arrival {
  /** Of the token that came with the handshake; null without one. */
  readonly identity: Identity | null
}

/** Everything that somebody unknown may say. */
export const strangerBytesMax = 16 * 1024
const pingMs = 15_000
/** Documents of one socket that are being opened at a time; the rest waits. */
const opensInFlightMax = 8

export function acceptTidemark(arrival: TidemarkArrival, context: TidemarkContext): Connection {
  return new TidemarkConnection(arrival, context)
}

class TidemarkConnection implements Connection, OpenDocuments {
  private readonly ws: WebSocket
  private readonly context: TidemarkContext
  private readonly line: Line
  private readonly bearer: Bearer
  private readonly assembler = new Assembler(strangerBytesMax)
  private readonly documents = new Map<DocumentId, OpenDocument>()
  private readonly channels = new Map<number, OpenDocument>()
  private readonly opensWaiting: (() => Promise<void>)[] = []
  private opensInFlight = 0
  /** Frames that came while a message before them is being judged. */
  private waiting: Uint8Array[] | null = null
  private strangerBytes = 0
  private ending = false

  constructor(arrival: TidemarkArrival, context: TidemarkContext) {
    const { ws, socket, token, identity } = arrival
    this.ws = ws
    this.context = context
    this.line = new Line(ws, socket, context.limits, context.durability)
    this.bearer = new Bearer(token, context, {
      hint: (milliseconds) => this.line.send({ kind: 'hint', hint: 'token', milliseconds }),
      refused: (error) => this.fail(error),
    })
    ws.on('message', (frame: Buffer, isBinary: boolean) => this.receive(frame, isBinary))
    ws.on('close', () => this.left())
    ws.on('error', (error) => context.logger.debug({ err: error }, 'socket error'))
    const { messageBytesMax } = context
    const limits = { version: protocolVersion, partBytes, messageBytesMax, pingMs }
    this.line.send({ kind: 'welcome', ...limits, durability: this.line.durability })
    if (identity !== null) this.guarded(() => this.bearer.become(token, identity))
  }

  // --- what comes -------------------------------------------------------------------------------

  private receive(frame: Buffer, isBinary: boolean): void {
    if (this.closed) return
    this.line.flow.received(frame.length)
    this.context.metrics.received(frame.length)
    this.guarded(() => {
      if (!isBinary) throw new TidemarkError('malformed_frame', 'Frames are binary')
      if (this.waiting === null) this.take(frame)
      else this.waiting.push(frame)
    })
  }

  private take(frame: Uint8Array): void {
    if (this.bearer.known) this.assembler.messageBytesMax = this.context.messageBytesMax
    const bytes = this.assembler.take(frame)
    if (bytes === null) return
    const judged = this.dispatch(decodeClientMessage(bytes), bytes.length)
    if (judged === null) return
    // What the socket has read already waits here, the rest in the socket.
    this.waiting = []
    this.line.flow.hold()
    judged
      .catch((error: unknown) => this.fail(error))
      .finally(() => {
        const waited = this.waiting ?? []
        this.waiting = null
        this.guarded(() => {
          for (const frame of waited) {
            if (this.closed) return
            if (this.waiting === null) this.take(frame)
            else (this.waiting as Uint8Array[]).push(frame)
          }
        })
        this.line.flow.release()
      })
  }

  /** A promise when the next message has to wait. */
  private dispatch(message: ClientMessage, bytes: number): Promise<void> | null {
    if (!this.bearer.known) {
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
        this.line.send({ kind: 'pong', nonce: message.nonce })
        return null
    }
  }

  // --- who it is --------------------------------------------------------------------------------

  private async authenticate(token: string): Promise<void> {
    const identity = await identifyConnection(this.context, token)
    if (this.closed) return
    this.bearer.become(token, identity)
    // What comes after the token is judged by it.
    const entered = [...this.documents.values()].filter(({ identity }) => identity !== null)
    await Promise.all(entered.map((document) => (document.token === '' ? this.renew(document) : null)))
  }

  /** Its rights are asked for again, with the token that it was opened with or the connection's present one. */
  private async renew(document: OpenDocument): Promise<void> {
    try {
      const identity = await this.identityFor(document)
      if (!document.ended) document.renew(identity)
    } catch (error) {
      document.fail(error)
    }
  }

  /** By the present token, also when that came while an older one was being judged. */
  private async identityFor(document: OpenDocument): Promise<Identity> {
    const { token } = this.bearer
    try {
      const identity = await this.bearer.identify(document.token, document.document)
      if (document.token !== '' || token === this.bearer.token) return identity
    } catch (error) {
      if (document.token !== '' || token === this.bearer.token) throw error
    }
    return this.identityFor(document)
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
    if (!this.bearer.known) return this.begin(opening)
    this.opensWaiting.push(() => this.begin(opening))
    this.openNext()
    return null
  }

  private reserve(message: Open): OpenDocument {
    const document = parseDocumentId(message.document)
    const { documentsPerSocketMax } = this.context
    if (this.documents.has(document))
      throw new TidemarkError('invalid_request', 'The document is open on this socket')
    if (this.documents.size >= documentsPerSocketMax)
      throw new TidemarkError('rate_limited', `More than ${documentsPerSocketMax} documents on one socket`)
    const opening = new OpenDocument(document, message, this.line, this, this.context)
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
      identity = await this.identityFor(opening)
    } catch (error) {
      return opening.fail(error)
    }
    if (this.closed || opening.ended) return
    await opening.open(identity, this.context.channels)
    if (opening.ended || this.closed) return
    this.guarded(() => this.bearer.recognise(identity))
  }

  private refuse({ request }: Open, error: unknown): void {
    const { code, reason } = toldOf(error)
    this.context.metrics.refused(code)
    if (!(error instanceof TidemarkError)) this.context.logger.error({ err: error }, 'open failed')
    this.line.send({ kind: 'refused', request, problem: problemOf(code, reason) })
  }

  bind(document: OpenDocument): void {
    this.channels.set(document.channel, document)
  }

  unbind(document: OpenDocument): void {
    if (this.documents.get(document.document) === document) this.documents.delete(document.document)
    if (document.identity !== null && this.channels.get(document.channel) === document)
      this.channels.delete(document.channel)
  }

  // --- time -------------------------------------------------------------------------------------

  get silent(): boolean {
    return !this.bearer.known
  }

  get paused(): boolean {
    return this.line.flow.paused
  }

  beat(nowMs: number): void {
    this.line.tellDurability()
    for (const document of this.documents.values()) {
      const { identity } = document
      if (identity === null || identity.expiresMs === null || nowMs < identity.expiresMs) continue
      if (identity.renewable) void this.renew(document)
      else document.end('token_expired', 'The token has expired')
    }
    this.bearer.beat(nowMs)
    if (this.bearer.overFor(nowMs, this.documents.size > 0) >= this.context.firstMessageMsMax)
      this.close('token_expired', 'The token has expired')
  }

  // --- the end ----------------------------------------------------------------------------------

  get closed(): boolean {
    return this.ending
  }

  revoked(revocation: Revocation): void {
    const why = 'An administrator ended this session'
    const { identity } = this.bearer
    if (identity !== null && isEnded(revocation, identity, null)) return this.close('revoked', why)
    for (const document of this.documents.values())
      if (document.identity !== null && isEnded(revocation, document.identity, document.document))
        document.end('revoked', why)
  }

  close(code: ErrorCode, reason: string): void {
    if (this.ending) return
    this.context.metrics.refused(code)
    if (code === 'shutting_down')
      this.line.send({ kind: 'hint', hint: 'drain', milliseconds: retryAfterSeconds() * 1000 })
    this.leave()
    closeSocket(this.ws, code, reason)
  }

  /** From here on nothing is sent but the close, and nothing that comes is looked at. */
  private leave(): void {
    this.ending = true
    this.line.flow.end()
    this.opensWaiting.length = 0
    for (const document of this.documents.values()) document.leave()
  }

  /** The socket is gone. */
  private left(): void {
    if (!this.ending) this.leave()
    this.bearer.left()
  }

  private guarded(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.fail(error)
    }
  }

  private fail(error: unknown): void {
    const { code, reason } = reported(this.context.logger, error, 'connection')
    this.close(code, reason)
  }
}

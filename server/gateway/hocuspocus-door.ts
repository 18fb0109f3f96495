/**
 * The door for Hocuspocus providers, PROTOCOL.md "The Hocuspocus door": `ws://host:port/hocuspocus`, many documents a socket.
 *
 *   frame → flow (rate) → address, message ─▶ unknown address: auth or step 1 → a document begins
 *                                         └▶ known address: its document
 *
 * - A message for an address that has not begun is dropped, and so is what comes for one that has ended: a provider begins
 *   with its token and a step 1, which bring again whatever it said before.
 * - Until somebody is known, one document is judged at a time and nothing is read meanwhile, so a stranger costs
 *   `strangerBytesMax` at most: these clients send whole messages, so bytes are counted as they come off the socket.
 * - What waits for documents to open is limited by reading no further.
 * - What concerns a document ends the document. The socket ends for a malformed frame, and for what only a new connection
 *   can mend.
 */
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { isRetryable } from '../../core/protocol/error-codes.ts'
import { type ErrorCode, errorTable, TidemarkError } from '../../core/protocol/errors.ts'
import {
  addressBytesMax,
  type ClientMessage,
  decodeClientFrame,
  decodeMessageTo,
  encodeAddress,
  encodeServerMessage,
  pong,
} from '../../core/protocol/hocuspocus.ts'
import { type Identity, isEnded, type Revocation } from '../access/access.ts'
import { closeSocket } from './close-socket.ts'
import { type Arrival, type Connection, type DoorContext, reported, toldOf } from './door.ts'
import { type HocuspocusDialects, keepAliveFrame } from './hocuspocus-dialect.ts'
import { type Documents, HocuspocusDocument } from './hocuspocus-document.ts'
import { SocketLine } from './socket-line.ts'
import type { BearerContext } from './tidemark-bearer.ts'
import { Turns } from './turns.ts'
import { frame } from './websocket-frame.ts'

export interface HocuspocusContext extends DoorContext, BearerContext {
  readonly dialects: HocuspocusDialects
  readonly documentsPerSocketMax: number
}

/** Off the socket, of somebody unknown: a token and what comes with it in one read, or a step 1 of 2.x. */
const strangerBytesMax = 128 * 1024
/** Messages that wait for their documents, with what each costs beside its bytes. */
const waitingBytesMax = 4 * 1024 * 1024
const waitingMessageBytes = 128
/** Updates that came before what they build on (hocuspocus-early.ts). What they wait for comes on the same socket, which is read on. */
const earlyBytesMax = 4 * 1024 * 1024
/** Documents of one socket that are being opened at a time; the rest waits. */
const opensInFlightMax = 8
/** These clients drop a connection on which no message came for 30 s. */
const silenceMsMax = 15_000
/** "Come again": 2.x stays away after the code that the table has for a token that is over. */
const resetCloseCode = 4205
/** 2.x is back at once, so one whose connection ends as soon as it began is kept waiting, twice as long at most. */
const youngMs = 5_000
const reconnectMsMin = 500

/** Frames carry an address; and what is too large should end its document, not the socket, where it is not far too large. */
export const hocuspocusFrameBytesMax = (messageBytesMax: number): number =>
  2 * messageBytesMax + addressBytesMax

export function acceptHocuspocus(arrival: Arrival, context: HocuspocusContext): Connection {
  return new HocuspocusConnection(arrival, context)
}

class HocuspocusConnection implements Connection, Documents {
  private readonly ws: WebSocket
  private readonly socket: Socket
  /** As it stood in the URL or a header: for documents that come without. */
  private readonly token: string | null
  private readonly context: HocuspocusContext
  private readonly line: SocketLine
  private readonly documents = new Map<string, HocuspocusDocument>()
  /** The one of these to which something came last, and most probably comes next. */
  private latest: HocuspocusDocument | null = null
  /** Those whose client has left them, but not before they have taken what was said before. */
  private readonly leaving = new Set<HocuspocusDocument>()
  /** Counted among the sessions of these users. */
  private readonly subjects = new Set<string>()
  private readonly openedMs = Date.now()
  private known = false
  /** Frames that were read already when a stranger's document began to be judged. */
  private judging: Buffer[] | null = null
  private strangerBytes = 0
  private readonly opens = new Turns(opensInFlightMax)
  private waitingBytes = 0
  private waitingFull = false
  private earlyBytes = 0
  private ending = false

  constructor({ ws, socket, token }: Arrival, context: HocuspocusContext) {
    this.ws = ws
    this.socket = socket
    this.token = token
    this.context = context
    this.line = new SocketLine(ws, socket, context.limits)
    socket.on('data', this.countStranger)
    ws.on('message', (bytes: Buffer, isBinary: boolean) => this.receive(bytes, isBinary))
    ws.on('close', () => this.left())
    ws.on('error', (error) => context.logger.debug({ err: error }, 'socket error'))
  }

  // --- what comes -------------------------------------------------------------------------------

  private receive(bytes: Buffer, isBinary: boolean): void {
    if (this.ending) return
    this.line.flow.received(bytes.length)
    this.context.metrics.received(bytes.length)
    try {
      if (!isBinary) throw new TidemarkError('malformed_frame', 'Frames are binary')
      if (this.judging === null) this.take(bytes)
      else this.judging.push(bytes)
    } catch (error) {
      this.fail(error)
    }
  }

  private take(bytes: Buffer): void {
    const { latest } = this
    const next = latest === null ? null : decodeMessageTo(latest.encodedAddress, bytes)
    if (latest !== null && next !== null) return this.pass(latest, next, bytes)
    const decoded = decodeClientFrame(bytes)
    if (decoded.kind === 'pong') return
    if (decoded.kind === 'ping') return this.line.write(frame(pong))
    const { address, message } = decoded
    const document = this.documents.get(address)
    if (document === undefined) {
      if (message.kind === 'auth' || message.kind === 'sync-step-1') this.begin(address, message)
      return
    }
    this.latest = document
    this.pass(document, message, bytes)
  }

  private pass(document: HocuspocusDocument, message: ClientMessage, bytes: Buffer): void {
    if (message.kind === 'close') {
      // What comes next under this address is another one's.
      this.forget(document)
      this.leaving.add(document)
    }
    document.receive(message, bytes.length + waitingMessageBytes)
  }

  private begin(address: string, message: ClientMessage): void {
    const { documentsPerSocketMax, dialects } = this.context
    let document: HocuspocusDocument
    try {
      document = new HocuspocusDocument(address, this.line, this, dialects, this.context)
      if (this.documents.size + this.leaving.size >= documentsPerSocketMax)
        throw new TidemarkError('rate_limited', `More than ${documentsPerSocketMax} documents on one socket`)
    } catch (error) {
      return this.deny(address, error)
    }
    this.documents.set(address, document)
    if (!this.known) {
      this.judging = []
      this.line.flow.hold()
    }
    document.begin(message)
  }

  private deny(address: string, error: unknown): void {
    const { code, reason } = toldOf(error)
    this.context.metrics.refused(code)
    const denied = { kind: 'denied', reason: `${code}: ${reason}` } as const
    this.line.write(frame(encodeServerMessage(encodeAddress(address), denied)))
  }

  private readonly countStranger = (bytes: Buffer): void => {
    this.strangerBytes += bytes.length
    if (this.strangerBytes > strangerBytesMax)
      this.close('unauthenticated', `More than ${strangerBytesMax} bytes came before a token`)
  }

  // --- of its documents -------------------------------------------------------------------------

  identify({ token, document }: HocuspocusDocument): Promise<Identity> {
    return this.context.gatekeeper.identify(token === '' ? this.token : token, document)
  }

  recognise({ subject }: Identity): void {
    if (!this.subjects.has(subject)) {
      this.context.enterUser(subject)
      this.subjects.add(subject)
    }
    this.known = true
    this.socket.off('data', this.countStranger)
    this.judged()
  }

  /** What was read meanwhile has its turn. */
  private judged(): void {
    const waited = this.judging
    if (waited === null) return
    this.judging = null
    try {
      for (const bytes of waited) {
        if (this.ending) break
        if (this.judging === null) this.take(bytes)
        else (this.judging as Buffer[]).push(bytes)
      }
    } catch (error) {
      this.fail(error)
    }
    this.line.flow.release()
  }

  inTurn(open: () => Promise<void>): Promise<void> {
    return this.opens.run(open)
  }

  waiting(bytes: number): void {
    this.waitingBytes += bytes
    if (this.waitingFull === this.waitingBytes > waitingBytesMax) return
    this.waitingFull = !this.waitingFull
    if (this.waitingFull) this.line.flow.hold()
    else this.line.flow.release()
  }

  early(bytes: number): void {
    if (this.earlyBytes + bytes > earlyBytesMax)
      throw new TidemarkError('overloaded', 'Too much came before what it builds on')
    this.earlyBytes += bytes
  }

  unbind(document: HocuspocusDocument): void {
    this.leaving.delete(document)
    if (this.documents.get(document.address) === document) this.forget(document)
    if (!this.known) this.judged()
  }

  private forget(document: HocuspocusDocument): void {
    this.documents.delete(document.address)
    if (this.latest === document) this.latest = null
  }

  private all(): readonly HocuspocusDocument[] {
    return this.leaving.size === 0
      ? [...this.documents.values()]
      : [...this.documents.values(), ...this.leaving]
  }

  // --- time -------------------------------------------------------------------------------------

  get silent(): boolean {
    return !this.known
  }

  get paused(): boolean {
    return this.line.flow.paused
  }

  beat(nowMs: number): void {
    let { sentMs } = this.line
    for (const document of this.all()) {
      document.beat(nowMs)
      if (document.sentMs > sentMs) sentMs = document.sentMs
    }
    if (!this.ending && nowMs - sentMs >= silenceMsMax) this.line.write(keepAliveFrame)
  }

  // --- the end ----------------------------------------------------------------------------------

  get closed(): boolean {
    return this.ending
  }

  revoked(revocation: Revocation): void {
    for (const document of this.all())
      if (document.identity !== null && isEnded(revocation, document.identity, document.document))
        document.end('revoked', 'An administrator ended this session')
  }

  close(code: ErrorCode, reason: string): void {
    if (this.ending) return
    this.context.metrics.refused(code)
    this.leave()
    closeSocket(this.ws, code, reason)
  }

  reconnect(code: ErrorCode, reason: string): void {
    if (this.ending) return
    this.context.metrics.refused(code)
    this.leave()
    const closeCode = isRetryable(code) ? errorTable[code].closeCode : resetCloseCode
    const young = Date.now() - this.openedMs < youngMs
    const waitMs = young ? reconnectMsMin + Math.random() * reconnectMsMin : 0
    const closing = setTimeout(() => closeSocket(this.ws, code, reason, closeCode), waitMs)
    this.ws.once('close', () => clearTimeout(closing))
  }

  /** From here on nothing is sent but the close, and nothing that comes is looked at. */
  private leave(): void {
    this.ending = true
    this.socket.off('data', this.countStranger)
    this.line.flow.end()
    for (const document of this.all()) document.leave()
  }

  /** The socket is gone. */
  private left(): void {
    if (!this.ending) this.leave()
    for (const subject of this.subjects) this.context.leaveUser(subject)
    this.subjects.clear()
  }

  private fail(error: unknown): void {
    const { code, reason } = reported(this.context.logger, error, 'connection')
    this.close(code, reason)
  }
}

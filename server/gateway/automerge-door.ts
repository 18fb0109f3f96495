/**
 * The door for peers of automerge-repo, PROTOCOL.md "The automerge-repo door": `ws://host:port/automerge`, many documents a socket.
 *
 *   frame → flow (rate) → message ─▶ join: who it is, once; again: everything anew
 *                                 ├▶ sync, request, ephemeral: its document, which begins with the first one,
 *                                 │  or by itself when its peer had it before it joined again, and says nothing
 *                                 ├▶ subscription: whose heads it wants to hear of
 *                                 └▶ of another sender, before the join, of a later version: ignored
 *
 * - The token stands in the URL and is checked before the handshake; what it may do is asked for each document.
 * - What waits for documents to open is limited by reading no further.
 * - What concerns a document ends the document. The socket ends for a malformed frame, for a token that is over, and for what
 *   only a new connection can mend.
 */
import { createHash } from 'node:crypto'
import type { WebSocket } from 'ws'
import { type DocumentId, parseDocumentId } from '../../core/document-id.ts'
import {
  type ClientMessage,
  decodeClientFrame,
  encodeTarget,
  errorMessage,
  peerMessage,
  protocolVersion,
  storageIdsMax,
  type Untargeted,
  unavailableMessage,
} from '../../core/protocol/automerge-repo.ts'
import { type ErrorCode, TidemarkError } from '../../core/protocol/error-codes.ts'
import { type Identity, isEnded, type Revocation } from '../access/access.ts'
import type { Room } from '../room/room.ts'
import { FramesOfRooms, type RoomFrames, targetedFrame } from './automerge-dialect.ts'
import { AutomergeDocument, type DocumentMessage, type Documents } from './automerge-document.ts'
import { type Had, type Peer, Peers } from './automerge-peers.ts'
import { closeSocket } from './close-socket.ts'
import { type Arrival, type Connection, type DoorContext, reported, toldOf } from './door.ts'
import { Pace } from './pace.ts'
import { SocketLine } from './socket-line.ts'
import { Bearer, type BearerContext } from './tidemark-bearer.ts'
import { Turns } from './turns.ts'

/** What all connections share. */
export class AutomergeShared {
  readonly peers = new Peers()
  readonly frames = new FramesOfRooms()
  readonly pace = new Pace()
}

export interface AutomergeContext extends DoorContext, BearerContext {
  readonly shared: AutomergeShared
  readonly documentsPerSocketMax: number
  readonly updateBytesMax: number
  /** In front of the ids that peers give their documents. */
  readonly documentPrefix: string
}

export interface AutomergeArrival extends Arrival {
  /** Null: the token is good for documents only. */
  readonly identity: Identity | null
  /** The name under which the server was reached. */
  readonly host: string
}

/** Messages that wait for their documents, with what each costs beside its bytes. */
const waitingBytesMax = 4 * 1024 * 1024
const waitingMessageBytes = 128
/** Documents of one socket that are being opened at a time; the rest waits. */
const opensInFlightMax = 8
/** Whoever joins again names its documents at once, mostly; until then it is not told of them, which would cost a diff. */
const resumeAfterMs = 5_000
/** As the reference server does: a socket that died is noticed before its peer has come again, mostly. */
const pingEveryMs = 5_000
/** Of base58check of 16 bytes there are 27 or so; ids may be made of other bytes. */
const documentIdPattern = /^[1-9A-HJ-NP-Za-km-z]{1,128}$/

/** A message may carry several updates, and what is too large should end its document, not the socket. */
export const automergeFrameBytesMax = (updateBytesMax: number): number => 2 * updateBytesMax

export function acceptAutomerge(arrival: AutomergeArrival, context: AutomergeContext): Connection {
  return new AutomergeConnection(arrival, context)
}

class AutomergeConnection implements Connection, Documents, Peer {
  readonly pingEveryMs = pingEveryMs
  readonly serverId: string
  storageId: string | null = null
  readonly subscriptions = new Set<string>()
  private readonly ws: WebSocket
  private readonly context: AutomergeContext
  private readonly bearer: Bearer
  private readonly line: SocketLine
  private readonly documents = new Map<string, AutomergeDocument>()
  private readonly opens = new Turns(opensInFlightMax)
  /** Null until it has joined. */
  private joined: { readonly peerId: string; readonly subject: string; readonly target: Uint8Array } | null =
    null
  /** What it had before it joined again. */
  private had: Had = new Map()
  private joinedMs = 0
  private waitingBytes = 0
  private waitingFull = false
  private ending = false

  constructor({ ws, socket, token, identity, host }: AutomergeArrival, context: AutomergeContext) {
    this.ws = ws
    this.context = context
    this.serverId = serverIdOf(host)
    this.line = new SocketLine(ws, socket, context.limits)
    this.bearer = new Bearer(token, context, {
      // Its token stands in the URL: there is nothing it could do about a hint.
      hint: () => undefined,
      refused: (error) => this.fail(error),
    })
    this.bearer.become(token, identity)
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
      this.take(decodeClientFrame(bytes), bytes.length)
    } catch (error) {
      this.fail(error)
    }
  }

  private take(message: ClientMessage, bytes: number): void {
    if (message.type === 'join') return this.join(message)
    if (message.senderId !== this.joined?.peerId) return
    if (message.type === 'remote-subscription-change') return this.subscribe(message.add, message.remove)
    if (message.type === 'sync' || message.type === 'request' || message.type === 'ephemeral')
      this.toDocument(message, bytes + waitingMessageBytes)
  }

  private join({ senderId, versions, metadata: theirs }: Extract<ClientMessage, { type: 'join' }>): void {
    const target = encodeTarget(senderId)
    if (versions !== null && !versions.includes(protocolVersion)) {
      this.write(errorMessage(this.serverId, 'unsupported protocol version'), target)
      return this.close('malformed_frame', 'Unsupported protocol version')
    }
    const had = this.forget()
    // Somebody whose token is good for documents only is told from others by the token.
    const subject = this.bearer.identity?.subject ?? `token ${digest(this.bearer.token ?? '')}`
    this.joined = { peerId: senderId, subject, target }
    this.storageId = theirs.isEphemeral === true ? null : (theirs.storageId ?? null)
    this.subscriptions.clear()
    const { shared, documentsPerSocketMax } = this.context
    const hadElsewhere = shared.peers.enter(subject, senderId, this)
    this.had = new Map([...had, ...hadElsewhere].slice(0, documentsPerSocketMax))
    this.joinedMs = Date.now()
    // A storage that outlives the connection: what peers remember of it saves them from telling everything again.
    const metadata = { storageId: this.serverId, isEphemeral: false }
    this.write(peerMessage(this.serverId, metadata), target)
  }

  private subscribe(add: readonly string[], remove: readonly string[]): void {
    const { subscriptions } = this
    for (const storageId of remove) subscriptions.delete(storageId)
    const added = add.filter((storageId) => !subscriptions.has(storageId))
    if (subscriptions.size + added.length > storageIdsMax)
      throw new TidemarkError('rate_limited', `More than ${storageIdsMax} storages subscribed to`)
    for (const storageId of added) subscriptions.add(storageId)
    for (const document of this.documents.values()) document.subscribed(added)
  }

  private toDocument(message: DocumentMessage, bytes: number): void {
    const { documentId } = message
    const known = this.documents.get(documentId)
    if (known !== undefined) return known.receive(message, bytes)
    this.bind(documentId)?.begin(message, bytes)
  }

  /** Null: it cannot be, and its peer was told. */
  private bind(documentId: string): AutomergeDocument | null {
    try {
      const { documentsPerSocketMax, documentPrefix } = this.context
      if (!documentIdPattern.test(documentId))
        throw new TidemarkError('invalid_document_id', 'Ids of documents are written in base58')
      const path = parseDocumentId(documentPrefix + documentId)
      if (this.documents.size >= documentsPerSocketMax)
        throw new TidemarkError('rate_limited', `More than ${documentsPerSocketMax} documents on one socket`)
      const document = new AutomergeDocument(documentId, path, this.line, this, this.context)
      this.documents.set(documentId, document)
      return document
    } catch (error) {
      const { code, reason } = toldOf(error)
      this.context.metrics.refused(code)
      this.tell(errorMessage(this.serverId, `${code}: ${reason}`))
      this.tell(unavailableMessage(this.serverId, documentId))
      return null
    }
  }

  /**
   * A client may connect a second time without its Repo hearing of it: then it goes on with what it had told the other connection, and
   * says nothing until it is told something.
   */
  private resume(nowMs: number): void {
    if (this.had.size === 0 || nowMs - this.joinedMs < resumeAfterMs) return
    for (const [documentId, takesDocuments] of this.had)
      if (!this.documents.has(documentId)) this.bind(documentId)?.resume(takesDocuments)
    this.had = new Map()
  }

  // --- of its documents -------------------------------------------------------------------------

  get peerId(): string {
    return this.joined?.peerId ?? ''
  }

  get updateBytesMax(): number {
    return this.context.updateBytesMax
  }

  identify(document: DocumentId): Promise<Identity> {
    return this.bearer.identify('', document)
  }

  recognise(identity: Identity): void {
    this.bearer.recognise(identity)
  }

  inTurn(open: () => Promise<void>): Promise<void> {
    return this.opens.run(open)
  }

  turn(): Promise<void> {
    return this.context.shared.pace.turn()
  }

  waiting(bytes: number): void {
    this.waitingBytes += bytes
    const full = this.waitingBytes > (this.waitingFull ? waitingBytesMax / 2 : waitingBytesMax)
    if (full === this.waitingFull) return
    this.waitingFull = full
    if (full) this.line.flow.hold()
    else this.line.flow.release()
  }

  framesOf(room: Room, documentId: string, takesDocuments: boolean): RoomFrames {
    return this.context.shared.frames.of(room, documentId, this.serverId, takesDocuments)
  }

  tell(message: Untargeted): void {
    if (this.joined !== null && !this.ending) this.write(message, this.joined.target)
  }

  private write(message: Untargeted, target: Uint8Array): void {
    this.line.write(Buffer.concat(targetedFrame([message], target)))
  }

  unbind(document: AutomergeDocument): void {
    if (this.documents.get(document.documentId) === document) this.documents.delete(document.documentId)
  }

  // --- time -------------------------------------------------------------------------------------

  get silent(): boolean {
    return this.joined === null
  }

  get paused(): boolean {
    return this.line.flow.paused
  }

  beat(nowMs: number): void {
    for (const document of [...this.documents.values()]) document.beat(nowMs)
    this.resume(nowMs)
    this.bearer.beat(nowMs)
    if (this.bearer.overFor(nowMs, false) > 0) this.close('token_expired', 'The token has expired')
  }

  // --- the end ----------------------------------------------------------------------------------

  get closed(): boolean {
    return this.ending
  }

  revoked(revocation: Revocation): void {
    const { identity } = this.bearer
    if (identity !== null && isEnded(revocation, identity, null))
      return this.close('revoked', 'An administrator ended this session')
    for (const document of [...this.documents.values()])
      if (document.identity !== null && isEnded(revocation, document.identity, document.document))
        document.end('revoked', 'An administrator ended this session')
  }

  superseded(): Had {
    if (this.ending) return new Map()
    const had = this.leave()
    this.ws.close(supersededCloseCode, 'This peer has joined again')
    return had
  }

  close(code: ErrorCode, reason: string): void {
    if (this.ending) return
    this.context.metrics.refused(code)
    this.leave()
    closeSocket(this.ws, code, reason)
  }

  /** It joins anew, or leaves: nothing stays of what it was. Returns what it had. */
  private forget(): Had {
    if (this.joined === null) return new Map()
    const documents = [...this.documents.values()]
    const had = new Map(this.had)
    for (const { documentId, takesDocuments } of documents) had.set(documentId, takesDocuments)
    for (const document of documents) document.leave()
    this.context.shared.peers.leave(this.joined.subject, this.joined.peerId, this)
    this.joined = null
    return had
  }

  /** From here on nothing is sent but the close, and nothing that comes is looked at. Returns what it had. */
  private leave(): Had {
    this.ending = true
    this.line.flow.end()
    return this.forget()
  }

  /** The socket is gone. */
  private left(): void {
    if (!this.ending) this.leave()
    this.bearer.left()
  }

  private fail(error: unknown): void {
    const { code, reason } = reported(this.context.logger, error, 'connection')
    this.close(code, reason)
  }
}

const digest = (text: string): string => createHash('sha256').update(text).digest('base64')

/** Normal, as the reference server does. */
const supersededCloseCode = 1000
const serverIdLengthMax = 200

/**
 * The same on all nodes and after a restart, since what peers remember is of the log; another one for another server, since a
 * peer may be connected to several. Only characters that any storage takes in a key.
 */
const serverIdOf = (host: string): string =>
  `tidemark-${host.toLowerCase().replaceAll(/[^a-z0-9.-]/g, '-')}`.slice(0, serverIdLengthMax)

/**
 * One document on the socket of a peer of automerge-repo.
 *
 *   opening ──identity known, room open──▶ open ──▶ closed
 *      └───────────────refused───────────────┘
 *
 * - What comes while it opens waits in a row, whose bytes the connection counts.
 * - Peers never say that they are done with a document, so it stays as long as the socket. When it ends by a refusal, it
 *   begins anew with the peer's next message.
 * - There is no word for a refusal but `doc-unavailable`, which peers show, and `error`, which they log. What only a new
 *   connection can mend ends the connection: they come back by themselves.
 */

import type { DocumentId } from '../../core/document-id.ts'
import { decodeSyncMessage, type SyncMessage } from '../../core/engine/automerge/sync-message.ts'
import {
  type ClientMessage,
  type Ephemeral,
  ephemeralMessage,
  errorMessage,
  type Untargeted,
  unavailableMessage,
} from '../../core/protocol/automerge-repo.ts'
import { type ErrorCode, isRetryable, TidemarkError } from '../../core/protocol/error-codes.ts'
import type { Identity } from '../access/access.ts'
import { Rate } from '../room/rate.ts'
import type { Room } from '../room/room.ts'
import { Session, type UnnamedUpdates } from '../room/session.ts'
import { AutomergeDialect, automergeEngine, type RoomFrames } from './automerge-dialect.ts'
import { RemoteHeads } from './automerge-remote-heads.ts'
import { AutomergeSync } from './automerge-sync.ts'
import { assertReadable, type DoorContext, reported } from './door.ts'
import { MessageRow } from './message-row.ts'
import type { SocketLine } from './socket-line.ts'

export type DocumentMessage = Extract<ClientMessage, { type: 'sync' | 'request' | 'ephemeral' }>

/** The connection, as its documents see it. */
export interface Documents {
  readonly peerId: string
  /** The server's, to this peer. */
  readonly serverId: string
  readonly updateBytesMax: number
  /** Of the peer. */
  readonly storageId: string | null
  /** Storages whose heads it wants to hear of. */
  readonly subscriptions: ReadonlySet<string>
  /** For this document. */
  identify(document: DocumentId): Promise<Identity>
  /** Somebody who may read a document of this socket. Throws `rate_limited`. */
  recognise(identity: Identity): void
  /** Not many are opened at a time. Settles as `open` does. */
  inTurn(open: () => Promise<void>): Promise<void>
  /** Resolves when something may be done that takes a while. */
  turn(): Promise<void>
  /** So many bytes more, or less, wait. */
  waiting(bytes: number): void
  framesOf(room: Room, documentId: string, takesDocuments: boolean): RoomFrames
  tell(message: Untargeted): void
  /** It has ended. */
  unbind(document: AutomergeDocument): void
  close(code: ErrorCode, reason: string): void
}

interface Entered {
  readonly room: Room
  readonly session: Session
  readonly sync: AutomergeSync
  readonly remoteHeads: RemoteHeads
}

/** What a new connection would not mend: the next one would fail alike, and all documents of the socket with it. */
const endsAlone: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['document_unreadable', 'rate_limited'])
/** What one session says to all others, ephemeral or about heads: as many as ten seconds of these at once. */
const broadcastLimits = { sessionMessagesPerSecondMax: 100, sessionBytesPerSecondMax: 256 * 1024 }
/** Of a peer's process; it has one. */
const ephemeralSessionsMax = 8

export class AutomergeDocument {
  /** As peers call it. */
  readonly documentId: string
  readonly document: DocumentId
  private readonly line: SocketLine
  private readonly among: Documents
  private readonly context: DoorContext
  private readonly row: MessageRow<DocumentMessage>
  private closed = false
  private entered: Entered | null = null
  private broadcastRate: Rate | null = null
  private silencedUntilMs = 0
  /** The count of the last ephemeral message, by session. */
  private readonly counts = new Map<string, number>()
  private renewing = false
  private toldReadOnly = false

  constructor(
    documentId: string,
    document: DocumentId,
    line: SocketLine,
    among: Documents,
    context: DoorContext,
  ) {
    this.documentId = documentId
    this.document = document
    this.line = line
    this.among = among
    this.context = context
    this.row = new MessageRow({
      take: (message) => this.take(message),
      waiting: (bytes) => among.waiting(bytes),
    })
  }

  /** Of what its peer reads; true until it has entered its room. */
  get takesDocuments(): boolean {
    return this.entered?.sync.takesDocuments ?? true
  }

  /** Null until it has entered its room. */
  get identity(): Identity | null {
    return this.entered?.session.identity ?? null
  }

  // --- opening ----------------------------------------------------------------------------------

  /** `message`: the one with which its peer began. */
  begin(message: DocumentMessage, bytes: number): void {
    this.inTurn(() =>
      this.open(message.type === 'ephemeral' || decodeSyncMessage(message.data).takesDocuments),
    )
    this.receive(message, bytes)
  }

  /** Its peer had it before it joined again, and says nothing of it. */
  resume(takesDocuments: boolean): void {
    this.inTurn(async () => {
      await this.open(takesDocuments)
      if (!this.closed) await this.entered?.sync.resume()
    })
  }

  /** What comes meanwhile waits. */
  private inTurn(work: () => Promise<void>): void {
    const whileOpen = async (): Promise<void> => {
      if (!this.closed) await work()
    }
    void this.row.hold(() => this.among.inTurn(whileOpen).catch((error: unknown) => this.fail(error)))
  }

  private async open(takesDocuments: boolean): Promise<void> {
    const identity = await this.among.identify(this.document)
    if (this.closed) return
    assertReadable(identity, this.document)
    this.among.recognise(identity)
    // What was said after it may have ended the socket.
    if (this.closed) return
    const { room } = this.enter(identity, takesDocuments)
    await room.opened
    // Many may have waited for the same room.
    await this.among.turn()
    this.subscribed(this.among.subscriptions)
    await this.line.writable()
  }

  /** Its peer wants to hear of the heads of these storages. */
  subscribed(storageIds: Iterable<string>): void {
    this.entered?.remoteHeads.subscribed(storageIds)
  }

  private enter(identity: Identity, takesDocuments: boolean): Entered {
    const { rooms, limits } = this.context
    const { socket, flow, drain } = this.line
    const { peerId, updateBytesMax } = this.among
    rooms.enter(this.document, (room) => {
      const frames = this.among.framesOf(room, this.documentId, takesDocuments)
      const remoteHeads = this.remoteHeadsIn(room)
      const dialect = new AutomergeDialect(frames, peerId, (payload) => remoteHeads.hear(payload))
      const close = (code: ErrorCode, reason: string): void => this.end(code, reason)
      const { document } = this
      const options = { dialect, socket, flow, drain, limits, close, identity, document }
      const begin = (unnamed: UnnamedUpdates): Session =>
        new Session({ ...options, engine: automergeEngine, echo: false, unnamed })
      const sync = new AutomergeSync(room, dialect, this.line, updateBytesMax, begin)
      this.entered = { room, session: sync.session, sync, remoteHeads }
      return sync.session
    })
    if (this.entered === null) throw new Error('not in a room')
    return this.entered as Entered
  }

  private remoteHeadsIn(room: Room): RemoteHeads {
    const { storageId, subscriptions, serverId } = this.among
    const send = (payload: string): void => {
      if (this.entered !== null && !this.closed) this.broadcast(room, this.entered.session, payload)
    }
    return new RemoteHeads({ storageId, subscriptions, serverId, documentId: this.documentId, send })
  }

  // --- what comes -------------------------------------------------------------------------------

  /** `bytes`: what it costs to keep it for a while. */
  receive(message: DocumentMessage, bytes: number): void {
    this.row.receive(message, bytes)
  }

  private take(message: DocumentMessage): void {
    if (this.entered === null) return
    try {
      if (message.type === 'ephemeral') this.relay(this.entered, message)
      else this.sync(this.entered, message.data, message.type === 'request')
    } catch (error) {
      this.fail(error)
    }
  }

  private sync({ sync, remoteHeads }: Entered, data: Uint8Array, asks: boolean): void {
    const message = decodeSyncMessage(data)
    remoteHeads.changed(message.heads)
    const updates = sync.updatesOf(message.changes)
    if (updates.length <= 1) {
      for (const update of updates) this.submit(sync, update)
      return this.answer(sync, message, data, asks)
    }
    void this.row.hold(() =>
      this.submitInTurns(sync, updates).then(
        () => this.answer(sync, message, data, asks),
        (error: unknown) => this.fail(error),
      ),
    )
  }

  private answer(sync: AutomergeSync, message: SyncMessage, data: Uint8Array, asks: boolean): void {
    if (!this.closed) sync.receive(message, data, asks).catch((error: unknown) => this.fail(error))
  }

  /** Others have their turn in between. */
  private async submitInTurns(sync: AutomergeSync, updates: readonly Uint8Array[]): Promise<void> {
    for (const update of updates) {
      if (this.closed || !this.submit(sync, update)) return
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** False for a reader's, which is refused; anything else that is throws as `Room.submit`. */
  private submit(sync: AutomergeSync, update: Uint8Array): boolean {
    try {
      sync.submit(update)
      return true
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== 'read_only') throw error
      this.context.metrics.refused('read_only')
      if (!this.toldReadOnly) this.tellError(error.code, error.message)
      this.toldReadOnly = true
      return false
    }
  }

  private relay({ room, session }: Entered, ephemeral: Ephemeral): void {
    const { sessionId, count } = ephemeral
    const last = this.counts.get(sessionId)
    if (last !== undefined && count <= last) return
    if (last === undefined && this.counts.size >= ephemeralSessionsMax)
      this.counts.delete(this.counts.keys().next().value!)
    this.counts.set(sessionId, count)
    this.broadcast(room, session, `e${Buffer.from(ephemeralMessage(ephemeral)).toString('base64')}`)
  }

  /** More than is allowed is lost, as it may be: whatever is ephemeral comes again. */
  private broadcast(room: Room, session: Session, payload: string): void {
    const nowMs = Date.now()
    if (nowMs < this.silencedUntilMs) return this.context.metrics.refused('rate_limited')
    this.broadcastRate ??= new Rate(broadcastLimits, nowMs)
    this.silencedUntilMs = nowMs + this.broadcastRate.take(payload.length, nowMs)
    room.broadcast.send(session, payload)
  }

  // --- who it is --------------------------------------------------------------------------------

  /** Ends rights whose time is over. */
  beat(nowMs: number): void {
    this.entered?.remoteHeads.beat(nowMs)
    const { identity } = this
    if (identity === null || identity.expiresMs === null || nowMs < identity.expiresMs) return
    // The token stands in the URL: only another connection can bring another one.
    if (identity.renewable) this.askAgain()
    else this.among.close('token_expired', 'The token has expired')
  }

  private askAgain(): void {
    if (this.renewing) return
    this.renewing = true
    this.among
      .identify(this.document)
      .then((identity) => {
        if (this.closed || this.entered === null) return
        assertReadable(identity, this.document)
        this.entered.session.renew(identity)
      })
      .catch((error: unknown) => this.fail(error))
      .finally(() => {
        this.renewing = false
      })
  }

  // --- the end ----------------------------------------------------------------------------------

  /** Tells its peer as much as there are words for. */
  end(code: ErrorCode, reason: string): void {
    if (this.closed) return
    if (isRetryable(code) && !endsAlone.has(code)) return this.among.close(code, reason)
    this.leave()
    this.context.metrics.refused(code)
    this.tellError(code, reason)
    this.tellUnavailable()
  }

  private tellError(code: ErrorCode, reason: string): void {
    this.among.tell(errorMessage(this.among.serverId, `${code}: ${reason} (${this.documentId})`))
  }

  private tellUnavailable(): void {
    this.among.tell(unavailableMessage(this.among.serverId, this.documentId))
  }

  /** Without a word: the socket is gone. */
  leave(): void {
    if (this.closed) return
    this.closed = true
    this.row.close()
    if (this.entered !== null) this.context.rooms.leave(this.entered.room, this.entered.session)
    this.among.unbind(this)
  }

  fail(error: unknown): void {
    if (this.closed) return
    const { code, reason } = reported(this.context.logger, error, { session: this.entered?.session.id })
    this.end(code, reason)
  }
}

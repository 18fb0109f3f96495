/**
 * One connection in one room, as the room sees it. What it gets of the log is a union:
 *
 *   waiting   connected, has not told its version yet: gets presence, no updates
 *   joining   its version is being answered
 *   live      gets every batch as it becomes durable
 *   behind    its socket holds more than `sessionBufferBytesMax`: gets nothing until that has drained,
 *             then everything after `offset`, at once and from the log
 *   closed
 *
 * A session in `joining` or `behind` costs no memory per update: the log keeps what it misses.
 *
 * Sessions may share a socket, one for each document that is open on it; what they send is held back together (flow.ts).
 */
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import type { DocumentId } from '../../core/document-id.ts'
import type { EngineName } from '../../core/engine/engine.ts'
import type { Offset } from '../../core/offset.ts'
import { noOffset } from '../../core/offset.ts'
import type { ErrorCode } from '../../core/protocol/errors.ts'
import { type Identity, includes } from '../access/access.ts'
import type { Appended, IdempotencyKey } from '../log/log.ts'
import type { Dialect } from './dialect.ts'
import type { Drain } from './drain.ts'
import type { Flow, FlowLimits } from './flow.ts'
import type { Submitter } from './submits.ts'

export type SessionState = 'waiting' | 'joining' | 'live' | 'behind' | 'closed'

export interface SessionOptions {
  readonly document: DocumentId
  readonly identity: Identity
  readonly dialect: Dialect
  /** What its client speaks. Absent: Yjs. */
  readonly engine?: EngineName
  readonly socket: Socket
  /** Sends the batches that hold only its own updates back too: an acknowledgement for clients that know how to read it. */
  readonly echo: boolean
  readonly flow: Flow
  /** The socket's. */
  readonly drain: Drain
  readonly close: (code: ErrorCode, reason: string) => void
  /** Hears what becomes of updates that came with a key. Absent: one that fails closes the session. */
  readonly pushes?: Pushes
  /** Hears when updates that came without a key are durable; one that fails closes the session. */
  readonly unnamed?: UnnamedUpdates
  readonly limits: SessionLimits
}

export interface SessionLimits extends FlowLimits {
  /** Bytes handed to the socket and not yet taken by the kernel, past which a session falls behind. */
  readonly sessionBufferBytesMax: number
}

/** The updates of a session that names them, by their sequences. */
export interface Pushes {
  /** Durable at this offset, or before. */
  settled(sequence: number, offset: Offset): void
  /** Not stored as far as anybody knows, and nothing after it is. */
  failed(sequence: number, code: ErrorCode, reason: string): void
  /** Everything up to here was handed to the socket. True when nothing that is durable is still to be told. */
  delivered(offset: Offset): boolean
}

/** The updates of a session that gives them no names, and is told how many of them are durable. */
export interface UnnamedUpdates {
  /** One more is, in the order in which they were taken. */
  settled(): void
  /** Everything before what has settled was handed to the socket: tell it. */
  delivered(): void
}

/** To copy so little costs less than to give the kernel several pieces. */
const copiedBytesMax = 4 * 1024

const nodeId = randomBytes(6).toString('base64url')
let sessionCount = 0

/** Unique over all nodes and restarts, and short: every entry of the log carries one. */
export function newSessionId(): string {
  const id = `${nodeId}.${(sessionCount++).toString(36)}`
  // Through bytes: a concatenated string stays a tree in V8, which every later reader would walk.
  return Buffer.from(id, 'latin1').toString('latin1')
}

export class Session implements Submitter {
  readonly id = newSessionId()
  readonly document: DocumentId
  readonly dialect: Dialect
  readonly engine: EngineName
  readonly echo: boolean
  state: SessionState = 'waiting'
  /** Everything up to here has been handed to the socket. */
  offset: Offset = noOffset
  lastSentMs = 0
  /** Nothing has come from it yet. */
  silent = true
  /** Presence changed while the socket was full. */
  owedPresence = false
  private readonly options: SessionOptions
  private readonly socket: Socket
  private who: Identity
  private mayWriteNow: boolean

  constructor(options: SessionOptions) {
    this.options = options
    this.document = options.document
    this.who = options.identity
    this.mayWriteNow = includes(this.who.accessTo(this.document), 'write')
    this.dialect = options.dialect
    this.engine = options.engine ?? 'yjs'
    this.echo = options.echo
    this.socket = options.socket
  }

  get identity(): Identity {
    return this.who
  }

  /** Its rights were asked for again. */
  renew(identity: Identity): void {
    this.who = identity
    this.mayWriteNow = includes(identity.accessTo(this.document), 'write')
  }

  get roles(): readonly string[] {
    return this.who.roles
  }

  get author(): string {
    return this.who.subject
  }

  get mayWrite(): boolean {
    return this.mayWriteNow
  }

  get full(): boolean {
    return this.socket.writableLength > this.options.limits.sessionBufferBytesMax
  }

  /** Complete frames. What `ws` writes on the same socket (pong, close) goes between calls, never inside one. */
  write(frames: Uint8Array, nowMs: number): void {
    if (this.socket.writable) this.socket.write(frames)
    this.lastSentMs = nowMs
  }

  writeAll(chunks: readonly Uint8Array[], nowMs: number): void {
    if (chunks.length === 1) return this.write(chunks[0]!, nowMs)
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    if (bytes <= copiedBytesMax) return this.write(Buffer.concat(chunks, bytes), nowMs)
    this.socket.cork()
    for (const chunk of chunks) this.write(chunk, nowMs)
    this.socket.uncork()
  }

  /** See `Drain`. */
  whenDrained(work: () => Promise<void> | void): void {
    this.options.drain.whenDrained(work)
  }

  /** Whether it understands what is said of others now: some dialects say first how the document is called. */
  get hearsPresence(): boolean {
    if (this.state === 'closed' || this.state === 'behind') return false
    return this.state === 'live' || this.dialect.presenceBeforeJoin
  }

  /** A message of so many bytes has come. */
  received(bytes: number): void {
    this.silent = false
    this.options.flow.received(bytes)
  }

  taken(bytes: number): void {
    this.options.flow.taken(bytes)
  }

  settled(bytes: number, appended: Appended, key?: IdempotencyKey): void {
    this.options.flow.settled(bytes)
    if (key === undefined) this.options.unnamed?.settled()
    else this.options.pushes?.settled(key.sequence, appended.offset)
  }

  failed(bytes: number, code: ErrorCode, reason: string, key?: IdempotencyKey): void {
    this.options.flow.settled(bytes)
    const { pushes } = this.options
    if (key === undefined || pushes === undefined) this.close(code, reason)
    else pushes.failed(key.sequence, code, reason)
  }

  /** See `Pushes.delivered`. */
  delivered(offset: Offset): boolean {
    this.options.unnamed?.delivered()
    return this.options.pushes?.delivered(offset) ?? true
  }

  /** Ends the session with a row of the error table; the room forgets it when it is told to. */
  close(code: ErrorCode, reason: string): void {
    if (this.state === 'closed') return
    this.ended()
    this.options.close(code, reason)
  }

  /** It is ending, whoever began it. */
  ended(): void {
    this.state = 'closed'
  }
}

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
 * What it sends is held back at the socket, where TCP tells its author, when more is on its way to the
 * log than `sessionUnackedBytesMax`, or when it comes faster than `Rate` allows.
 */
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import type { DocumentId } from '../../core/document-id.ts'
import type { Offset } from '../../core/offset.ts'
import { noOffset } from '../../core/offset.ts'
import type { ErrorCode } from '../../core/protocol/errors.ts'
import { type Identity, includes } from '../access/access.ts'
import type { Dialect } from './dialect.ts'
import { Rate, type RateLimits } from './rate.ts'
import type { Submitter } from './submits.ts'

export type SessionState = 'waiting' | 'joining' | 'live' | 'behind' | 'closed'

export interface SessionOptions {
  readonly document: DocumentId
  readonly identity: Identity
  readonly dialect: Dialect
  readonly socket: Socket
  /** Sends the batches that hold only its own updates back too: an acknowledgement for clients that know how to read it. */
  readonly echo: boolean
  /** Stop and resume reading from the socket. */
  readonly pause: () => void
  readonly resume: () => void
  readonly close: (code: ErrorCode, reason: string) => void
  readonly limits: SessionLimits
}

export interface SessionLimits extends RateLimits {
  /** Bytes handed to the socket and not yet taken by the kernel, past which a session falls behind. */
  readonly sessionBufferBytesMax: number
  /** Bytes of updates taken in and not yet durable, past which reading from the socket stops. */
  readonly sessionUnackedBytesMax: number
}

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
  private readonly rate: Rate
  private who: Identity
  private mayWriteNow: boolean
  private unackedBytes = 0
  /** Why reading is stopped. */
  private unackedFull = false
  private rateTimer: NodeJS.Timeout | null = null

  constructor(options: SessionOptions) {
    this.options = options
    this.document = options.document
    this.who = options.identity
    this.mayWriteNow = includes(this.who.accessTo(this.document), 'write')
    this.dialect = options.dialect
    this.echo = options.echo
    this.socket = options.socket
    this.rate = new Rate(options.limits, Date.now())
  }

  get identity(): Identity {
    return this.who
  }

  /** Its rights were asked for again. */
  renew(identity: Identity): void {
    this.who = identity
    this.mayWriteNow = includes(identity.accessTo(this.document), 'write')
  }

  get author(): string {
    return this.who.subject
  }

  get mayWrite(): boolean {
    return this.mayWriteNow
  }

  get bufferedBytes(): number {
    return this.socket.writableLength
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
    this.socket.cork()
    for (const chunk of chunks) this.write(chunk, nowMs)
    this.socket.uncork()
  }

  /** Calls back once the socket holds nothing more, at once when that is so already. */
  whenDrained(then: () => void): void {
    if (!this.socket.writableNeedDrain) then()
    else this.socket.once('drain', then)
  }

  /** Nothing is read from it, so its pongs are not either. */
  get paused(): boolean {
    return this.unackedFull || this.rateTimer !== null
  }

  /** A message of so many bytes has come. */
  received(bytes: number): void {
    this.silent = false
    const waitMs = this.rate.take(bytes, Date.now())
    if (waitMs === 0 || this.rateTimer !== null || this.state === 'closed') return
    if (!this.unackedFull) this.options.pause()
    this.rateTimer = setTimeout(() => {
      this.rateTimer = null
      if (!this.unackedFull) this.options.resume()
    }, waitMs)
  }

  taken(bytes: number): void {
    this.unackedBytes += bytes
    if (this.unackedFull || this.unackedBytes <= this.options.limits.sessionUnackedBytesMax) return
    this.unackedFull = true
    if (this.rateTimer === null) this.options.pause()
  }

  settled(bytes: number): void {
    this.unackedBytes -= bytes
    if (!this.unackedFull || this.unackedBytes > this.options.limits.sessionUnackedBytesMax / 2) return
    this.unackedFull = false
    if (this.rateTimer === null) this.options.resume()
  }

  /** Ends the connection with a row of the error table; the room forgets the session when the socket closes. */
  close(code: ErrorCode, reason: string): void {
    if (this.state === 'closed') return
    this.ended()
    this.options.close(code, reason)
  }

  /** The socket is closing, whoever began it. */
  ended(): void {
    this.state = 'closed'
    if (this.rateTimer === null) return
    clearTimeout(this.rateTimer)
    this.rateTimer = null
    // A paused socket never learns that its peer has gone.
    this.options.resume()
  }
}

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
 */
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import type { Offset } from '../../core/offset.ts'
import { noOffset } from '../../core/offset.ts'
import type { ErrorCode } from '../../core/protocol/errors.ts'
import type { Dialect } from './dialect.ts'

export type SessionState = 'waiting' | 'joining' | 'live' | 'behind' | 'closed'

export interface SessionOptions {
  /** Unique over all nodes; becomes the origin of its entries. */
  readonly id: string
  readonly author: string
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

export interface SessionLimits {
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

export class Session {
  readonly id: string
  readonly author: string
  readonly dialect: Dialect
  readonly echo: boolean
  state: SessionState = 'waiting'
  /** Everything up to here has been handed to the socket. */
  offset: Offset = noOffset
  lastSentMs = 0
  /** Presence changed while the socket was full. */
  owedPresence = false
  private readonly options: SessionOptions
  private readonly socket: Socket
  private unackedBytes = 0
  private paused = false

  constructor(options: SessionOptions) {
    this.options = options
    this.id = options.id
    this.author = options.author
    this.dialect = options.dialect
    this.echo = options.echo
    this.socket = options.socket
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

  taken(bytes: number): void {
    this.unackedBytes += bytes
    if (this.paused || this.unackedBytes <= this.options.limits.sessionUnackedBytesMax) return
    this.paused = true
    this.options.pause()
  }

  settled(bytes: number): void {
    this.unackedBytes -= bytes
    if (!this.paused || this.unackedBytes > this.options.limits.sessionUnackedBytesMax / 2) return
    this.paused = false
    this.options.resume()
  }

  /** Ends the connection with a row of the error table; the room forgets the session when the socket closes. */
  close(code: ErrorCode, reason: string): void {
    if (this.state === 'closed') return
    this.state = 'closed'
    this.options.close(code, reason)
  }
}

/**
 * The connection's I/O: does what the machine in connection-state.ts says, and tells it what happened.
 *
 * - One socket at a time. Whatever an old socket, timer or token request still says is told by its number and ignored.
 * - The server's silence is noticed: a ping after `pingMs` without a message, the end of the connection after as much again.
 * - The token goes in-band, first thing on the socket, and again when the server hints that it will end.
 */
import { isErrorCode, TidemarkError } from '../core/protocol/error-codes.ts'
import { decodeServerMessage } from '../core/protocol/tidemark-v1/decode.ts'
import { encodeClientMessage } from '../core/protocol/tidemark-v1/encode.ts'
import { type ClientMessage, type ServerMessage, subprotocol } from '../core/protocol/tidemark-v1/messages.ts'
import { Assembler, splitMessage } from '../core/protocol/tidemark-v1/parts.ts'
import {
  type ConnectionEvent,
  type ConnectionState,
  initially,
  isConnected,
  retryAtOf,
  step,
} from './connection-state.ts'
import { Alarm, type Environment } from './environment.ts'
import type { ClientOptions, WebSocketLike } from './types.ts'

/** From the attempt to the server's welcome. */
const connectMsMax = 15_000
/** Between requests for a new token while the old one is about to end. */
const tokenRetryMs = 5_000
/** Of one message from the server, put together. A snapshot may be the whole document. */
const messageBytesMax = 1024 * 1024 * 1024

export interface ConnectionListener {
  onLive(): void
  onDown(): void
  /** All but welcome, pong and hint. */
  onMessage(message: ServerMessage, bytes: number): void
  onState(): void
  log(document: string | null, event: string, detail: string): void
}

export class Connection {
  state: ConnectionState = initially
  durability: string | null = null
  /** Of one message from us. */
  messageBytesMax = 0
  readonly url: string
  readonly #token: ClientOptions['token']
  readonly #environment: Environment
  readonly #listener: ConnectionListener
  #socket: WebSocketLike | null = null
  #attempt = 0
  #partBytes = 0
  readonly #retry: Alarm
  readonly #deadline: Alarm
  readonly #renewal: Alarm
  #heardAtMs = 0
  #pingedAtMs = 0
  #pingMs = 0

  constructor(
    url: string,
    token: ClientOptions['token'],
    environment: Environment,
    listener: ConnectionListener,
  ) {
    this.url = url
    this.#token = token
    this.#environment = environment
    this.#listener = listener
    this.#retry = new Alarm(environment, () => this.tell({ kind: 'due' }))
    this.#deadline = new Alarm(environment, () => this.#onDeadline())
    this.#renewal = new Alarm(environment, () => this.#renewUntilDone())
  }

  get tokenRenewable(): boolean {
    return typeof this.#token === 'function'
  }

  /** Bytes given to the socket that the network has not taken. */
  get bufferedBytes(): number {
    return this.#socket?.bufferedAmount ?? 0
  }

  tell(event: ConnectionEvent): void {
    const { now, random } = this.#environment
    const before = this.state
    const state = step(before, event, {
      nowMs: now(),
      random: random(),
      tokenRenewable: this.tokenRenewable,
    })
    this.state = state
    if (isConnected(before) && !isConnected(state)) this.#dropSocket(1000)
    if (state.kind === 'connecting' && before.kind !== 'connecting') void this.#connect(++this.#attempt)
    this.#retry.at(retryAtOf(state))
    if (before.kind === 'live' && state.kind !== 'live') this.#listener.onDown()
    if (before.kind !== state.kind) {
      this.#listener.log(null, state.kind, state.error?.message ?? '')
      if (state.kind === 'live') this.#listener.onLive()
    }
    if (before !== state) this.#listener.onState()
  }

  /** False when there is no connection to send it on. */
  send(message: ClientMessage): number {
    const socket = this.#socket
    if (socket === null || (this.state.kind !== 'live' && message.kind !== 'auth')) return 0
    const bytes = encodeClientMessage(message)
    const frames = this.#partBytes === 0 ? [bytes] : splitMessage(bytes, this.#partBytes)
    for (const frame of frames) socket.send(frame as Uint8Array<ArrayBuffer>)
    return bytes.length
  }

  /** Asks the token function and sends what it gives; false when it gave none, or the connection is gone. */
  async renewToken(): Promise<boolean> {
    const attempt = this.#attempt
    try {
      const token = await this.askToken()
      if (attempt !== this.#attempt || this.state.kind !== 'live') return false
      this.send({ kind: 'auth', token })
      return true
    } catch (error) {
      this.#listener.log(null, 'token failed', String(error))
      return false
    }
  }

  async #connect(attempt: number): Promise<void> {
    this.#deadline.at(this.#environment.now() + connectMsMax)
    try {
      const [token, Class] = await Promise.all([this.askToken(), this.#environment.webSocket()])
      if (attempt !== this.#attempt) return
      this.#listen(new Class(this.url, [subprotocol]), attempt, token)
    } catch (error) {
      this.#lost(attempt, null, String(error))
    }
  }

  #listen(socket: WebSocketLike, attempt: number, token: string): void {
    const assembler = new Assembler(messageBytesMax)
    this.#socket = socket
    this.#partBytes = 0
    socket.binaryType = 'arraybuffer'
    socket.onopen = () => {
      if (attempt !== this.#attempt) return
      this.tell({ kind: 'socket-open' })
      if (token !== '') this.send({ kind: 'auth', token })
    }
    socket.onmessage = ({ data }: { data: unknown }) => {
      if (attempt !== this.#attempt) return
      this.#heardAtMs = this.#environment.now()
      try {
        if (!(data instanceof ArrayBuffer)) throw new TidemarkError('malformed_frame', 'A frame is text')
        const bytes = assembler.take(new Uint8Array(data))
        if (bytes !== null) this.#hear(decodeServerMessage(bytes), bytes.length)
      } catch (error) {
        // Our own defect or a proxy's: worth another connection, with backoff.
        this.#lost(attempt, null, String(error))
      }
    }
    socket.onclose = ({ code, reason }: { code: number; reason: string }) =>
      this.#lost(attempt, errorOfClose(code, reason), `${code} ${reason}`)
    // `close` follows, and says more.
    socket.onerror = () => undefined
  }

  #hear(message: ServerMessage, bytes: number): void {
    switch (message.kind) {
      case 'welcome':
        this.#partBytes = message.partBytes
        this.messageBytesMax = message.messageBytesMax
        this.durability = message.durability
        this.#pingMs = message.pingMs
        this.#deadline.at(this.#heardAtMs + message.pingMs)
        this.tell({ kind: 'welcome' })
        return
      case 'pong':
        return
      case 'durability':
        this.durability = message.durability
        this.#listener.log(null, 'durability', message.durability)
        return
      case 'hint':
        this.#listener.log(null, `hint: ${message.hint}`, `${message.milliseconds} ms`)
        if (message.hint === 'drain') this.tell({ kind: 'drain', milliseconds: message.milliseconds })
        else if (this.tokenRenewable) this.#renewUntilDone()
        return
      default:
        this.#listener.onMessage(message, bytes)
    }
  }

  #renewUntilDone(): void {
    void this.renewToken().then((renewed) => {
      if (!renewed && this.state.kind === 'live') this.#renewal.at(this.#environment.now() + tokenRetryMs)
    })
  }

  /** There was no welcome in time, or nothing for `pingMs`. */
  #onDeadline(): void {
    const nowMs = this.#environment.now()
    if (this.state.kind !== 'live') return this.#lost(this.#attempt, null, 'no welcome')
    if (this.#heardAtMs < this.#pingedAtMs) return this.#lost(this.#attempt, null, 'silent')
    if (nowMs - this.#heardAtMs >= this.#pingMs) {
      this.#pingedAtMs = nowMs
      this.send({ kind: 'ping', nonce: 0 })
    }
    this.#deadline.at(nowMs + this.#pingMs)
  }

  #lost(attempt: number, error: TidemarkError | null, why: string): void {
    if (attempt !== this.#attempt) return
    this.#attempt++
    this.#dropSocket(1000)
    this.#listener.log(null, 'connection lost', why)
    this.tell({ kind: 'lost', error })
  }

  #dropSocket(code: number): void {
    this.#attempt++
    this.#deadline.at(null)
    this.#renewal.at(null)
    const socket = this.#socket
    this.#socket = null
    if (socket === null) return
    socket.onopen = socket.onmessage = socket.onclose = null
    socket.close(code)
  }

  async askToken(): Promise<string> {
    const token = this.#token
    return typeof token === 'function' ? await token() : (token ?? '')
  }
}

/** What the server said by closing: `code: text`. Of a code from 4400 to 4499 without that it is known at least that it is final. */
export function errorOfClose(closeCode: number, reason: string): TidemarkError | null {
  const [, code = '', text = ''] = /^(\w+): (.*)$/s.exec(reason) ?? []
  if (isErrorCode(code)) return new TidemarkError(code, text)
  return closeCode >= 4400 && closeCode < 4500
    ? new TidemarkError('forbidden', `${closeCode} ${reason}`)
    : null
}

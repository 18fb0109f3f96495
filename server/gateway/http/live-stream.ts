/**
 * One live query as server-sent events on one connection.
 *
 *   opening ─ first event, or none is needed ─▶ open ─ token over, revoked, refused, the server ends ─▶ ended
 *      └──── refused: an answer of status 4xx or 5xx like any other route's
 *
 * - Its status is decided by the first run, so that who may not ask hears it as from any route. Later refusals are an `error` event.
 * - One event at a time: the next is asked for when the socket has taken the last, so a slow reader holds one event. Who takes
 *   nothing for `sendMsMax` is cut off; nothing is written to a full socket meanwhile, which would look like progress.
 * - Proxies are told not to hold events back, and hear something every `heartbeatMs`.
 */
import type { ServerResponse } from 'node:http'
import type { OutgoingHttpHeaders } from 'node:http2'
import { type ErrorCode, TidemarkError } from '../../../core/protocol/errors.ts'
import type { LiveSink } from '../../views/live/listeners.ts'
import { errorEvent } from '../../views/live/result.ts'

/** Each client another, so that they do not come back together. */
const retryMs = (): number => Math.round(1_000 + 2_000 * Math.random())

export interface LiveStreamOptions {
  readonly response: ServerResponse
  readonly headers: OutgoingHttpHeaders
  /** The framework shall not answer any more. */
  readonly takeOver: () => void
  readonly sendMsMax: number
  /** The socket took everything. */
  readonly onDrained: () => void
  readonly onEnded: () => void
  /** Told to it, after its answer began. */
  readonly onRefused: (code: ErrorCode) => void
}

export class LiveStream implements LiveSink {
  /** Resolves when its answer began, or nobody waits for it any more. Rejects with the refusal. */
  readonly begun: Promise<void>
  private readonly options: LiveStreamOptions
  private state: 'opening' | 'open' | 'ended' = 'opening'
  private isFull = false
  private settle: { resolve(): void; reject(error: TidemarkError): void } = {
    resolve: () => undefined,
    reject: () => undefined,
  }

  constructor(options: LiveStreamOptions) {
    const { response } = options
    this.options = options
    this.begun = new Promise((resolve, reject) => {
      this.settle = { resolve, reject }
    })
    // Whatever is written between the end of a connection and its `close` is lost, and no reason to end the relay.
    response.on('error', () => undefined)
    response.once('close', () => {
      if (this.state === 'opening') options.takeOver()
      this.settle.resolve()
      this.over()
    })
  }

  get opening(): boolean {
    return this.state === 'opening'
  }

  event(bytes: Uint8Array): boolean {
    this.begin()
    return this.write(bytes)
  }

  current(): void {
    this.begin()
  }

  end(code: ErrorCode, message: string): void {
    const { state } = this
    this.over()
    if (state === 'opening') this.settle.reject(new TidemarkError(code, message))
    if (state !== 'open') return
    this.options.response.end(errorEvent(code, message))
    this.options.onRefused(code)
  }

  heartbeat(): void {
    if (this.state === 'open' && !this.isFull) this.write(':\n\n')
  }

  private begin(): void {
    if (this.state !== 'opening') return
    this.state = 'open'
    const { response, headers, takeOver, sendMsMax } = this.options
    takeOver()
    response.writeHead(200, {
      ...headers,
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
    })
    // No sign of life for so long is fine while there is nothing to take.
    response.setTimeout(sendMsMax, () => {
      if (this.isFull || this.state === 'ended') response.destroy()
    })
    this.write(`retry: ${retryMs()}\n\n`)
    this.settle.resolve()
  }

  /** False: it is full; `onDrained` comes. */
  private write(data: string | Uint8Array): boolean {
    if (this.state !== 'open') return false
    const { response, onDrained } = this.options
    if (response.write(data) || this.isFull) return !this.isFull
    this.isFull = true
    response.once('drain', () => {
      this.isFull = false
      if (this.state === 'open') onDrained()
    })
    return false
  }

  private over(): void {
    if (this.state === 'ended') return
    this.state = 'ended'
    this.options.onEnded()
  }
}

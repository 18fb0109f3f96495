/** A socket of tidemark.v1 that pushes to many documents and measures how long acknowledgements take. */
import WebSocket from 'ws'
import { decodeServerMessage } from '../../core/protocol/tidemark-v1/decode.ts'
import { encodeClientMessage } from '../../core/protocol/tidemark-v1/encode.ts'
import {
  type ClientMessage,
  type Have,
  type ServerMessage,
  subprotocol,
} from '../../core/protocol/tidemark-v1/messages.ts'
import { Assembler, splitMessage } from '../../core/protocol/tidemark-v1/parts.ts'
import type { Latencies } from '../harness/statistics.ts'
import { until } from './peer.ts'
import type { Address } from './socket.ts'

const partBytes = 64 * 1024
const answerBytesMax = 256 * 1024 * 1024
/** More than may wait for their acknowledgement in one document; a power of two. */
const timesKept = 4096
const emptyVersion = Uint8Array.of(0)

export interface PushedDocument {
  readonly channel: number
  /** Of the last update that was pushed, and of the last that is durable. */
  sequence: number
  acked: number
  /** When each of the last updates left, by sequence. */
  readonly times: Float64Array
}

export class Pusher {
  /** Where latencies go; null: nowhere. */
  measuring: Latencies | null = null
  private readonly socket: WebSocket
  private readonly assembler = new Assembler(answerBytesMax)
  private readonly onBroken: (reason: string) => void
  private readonly documents = new Map<number, PushedDocument>()
  private readonly opening = new Map<number, (document: PushedDocument) => void>()
  private requests = 0
  private isClosing = false

  private constructor(socket: WebSocket, onBroken: (reason: string) => void) {
    this.socket = socket
    this.onBroken = onBroken
    socket.on('message', (frame: Buffer) => {
      const bytes = this.assembler.take(frame)
      if (bytes !== null) this.hear(decodeServerMessage(bytes))
    })
    socket.on('close', () => {
      if (!this.isClosing) onBroken('connection closed')
    })
  }

  /** Resolves once the server has said its welcome. */
  static connect({ host, port }: Address, onBroken: (reason: string) => void): Promise<Pusher> {
    const socket = new WebSocket(`ws://${host}:${port}/v1/sync`, subprotocol)
    socket.on('error', (error) => onBroken(error.message))
    return new Promise((resolve, reject) => {
      socket.once('message', () => resolve(new Pusher(socket, onBroken)))
      socket.once('close', () => reject(new Error('the relay took no connection')))
    })
  }

  open(document: string): Promise<PushedDocument> {
    const request = ++this.requests
    const have: Have = { epoch: 0 as Have['epoch'], offset: 0 as Have['offset'], version: emptyVersion }
    const replica = `bench-${process.pid}-${performance.now()}-${request}`
    const opened = new Promise<PushedDocument>((resolve) => this.opening.set(request, resolve))
    this.send({ kind: 'open', request, document, engine: 'yjs', token: '', replica, have })
    return opened
  }

  push(document: PushedDocument, update: Uint8Array): void {
    document.sequence++
    document.times[document.sequence % timesKept] = performance.now()
    this.send({ kind: 'push', channel: document.channel, sequence: document.sequence, updates: [update] })
  }

  /** Acknowledged are all updates of all open documents. */
  drained(deadlineMs: number): Promise<boolean> {
    return until(
      () => [...this.documents.values()].every(({ sequence, acked }) => sequence === acked),
      deadlineMs,
    )
  }

  release({ channel }: PushedDocument): void {
    this.documents.delete(channel)
    this.send({ kind: 'close', channel })
  }

  end(): void {
    this.isClosing = true
    this.socket.close()
  }

  private send(message: ClientMessage): void {
    for (const frame of splitMessage(encodeClientMessage(message), partBytes)) this.socket.send(frame)
  }

  private hear(message: ServerMessage): void {
    if (message.kind === 'ack') {
      const document = this.documents.get(message.channel)
      if (document === undefined) return
      const now = performance.now()
      for (let sequence = document.acked + 1; sequence <= message.sequence; sequence++)
        this.measuring?.add(now - document.times[sequence % timesKept]!)
      document.acked = message.sequence
    } else if (message.kind === 'opened') {
      const times = new Float64Array(timesKept)
      const document = { channel: message.channel, sequence: message.acked, acked: message.acked, times }
      this.documents.set(message.channel, document)
      this.opening.get(message.request)?.(document)
      this.opening.delete(message.request)
    } else if (message.kind === 'nack' || message.kind === 'refused' || message.kind === 'closed')
      this.onBroken(`${message.kind}: ${message.problem.code}`)
  }
}

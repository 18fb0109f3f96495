/**
 * A y-websocket client that does what the test says and nothing else: it holds a Y.Doc, records every
 * update in the order in which it came, and never reconnects by itself.
 */
import { once } from 'node:events'
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import WebSocket from 'ws'
import * as Y from 'yjs'

export interface RawClientOptions {
  readonly doc?: Y.Doc
  /** False: does not send step 1. */
  readonly handshake?: boolean
  /** Says nothing at all: answers not even the server's version. */
  readonly mute?: boolean
  /** As a browser would send it. */
  readonly origin?: string
  /** Called with each update received, after it was applied. */
  readonly onUpdate?: (update: Uint8Array) => void
  /** Called with the server's version, which counts what is durable. */
  readonly onVersion?: (version: Map<number, number>) => void
}

export class RawClient {
  readonly doc: Y.Doc
  /** Updates received, in order. */
  readonly received: Uint8Array[] = []
  readonly awareness: Uint8Array[] = []
  readonly denials: string[] = []
  synced = false
  closeCode: number | null = null
  closeReason = ''
  readonly socket: WebSocket
  /** Resolves when the socket has closed. */
  readonly closed: Promise<void>

  private readonly options: RawClientOptions

  private constructor(socket: WebSocket, options: RawClientOptions) {
    this.socket = socket
    this.doc = options.doc ?? new Y.Doc()
    this.options = options
    socket.binaryType = 'nodebuffer'
    if (options.mute !== true) socket.on('message', (data: Buffer) => this.receive(data))
    socket.on('error', () => undefined)
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => {
        this.closeCode = code
        this.closeReason = reason.toString()
        resolve()
      })
    })
  }

  /** Resolves when the socket is open. */
  static async connect(url: string, options: RawClientOptions = {}): Promise<RawClient> {
    const socket = new WebSocket(url, options.origin === undefined ? {} : { origin: options.origin })
    const client = new RawClient(socket, options)
    await once(socket, 'open')
    if (options.handshake !== false) client.sendStep1()
    return client
  }

  sendStep1(): void {
    this.sendSync(0, Y.encodeStateVector(this.doc))
  }

  sendUpdate(update: Uint8Array): void {
    this.sendSync(2, update)
  }

  sendSync(step: number, payload: Uint8Array): void {
    const encoder = encoding.createEncoder()
    encoding.writeVarUint(encoder, 0)
    encoding.writeVarUint(encoder, step)
    encoding.writeVarUint8Array(encoder, payload)
    this.socket.send(encoding.toUint8Array(encoder))
  }

  close(): void {
    this.socket.terminate()
  }

  private receive(data: Buffer): void {
    const decoder = decoding.createDecoder(data)
    const type = decoding.readVarUint(decoder)
    if (type === 1) this.awareness.push(decoding.readVarUint8Array(decoder))
    else if (type === 2) {
      decoding.readVarUint(decoder)
      this.denials.push(decoding.readVarString(decoder))
    } else if (type === 0) {
      const step = decoding.readVarUint(decoder)
      const payload = decoding.readVarUint8Array(decoder).slice()
      if (step === 0) {
        this.options.onVersion?.(Y.decodeStateVector(payload))
        this.sendSync(1, Y.encodeStateAsUpdate(this.doc, payload))
      } else {
        this.received.push(payload)
        Y.applyUpdate(this.doc, payload, this)
        if (step === 1) this.synced = true
        this.options.onUpdate?.(payload)
      }
    }
    if (decoding.hasContent(decoder)) throw new Error('more than one message in a frame')
  }
}

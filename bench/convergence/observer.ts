/**
 * Reads a document at one node over a line that never fails, as the protocol says and no kinder: what comes must have the next
 * offset, and what two observers were told of an offset must be the same. What it has seen was promised to everybody.
 */
import WebSocket from 'ws'
import { type Offset, toOffset } from '../../core/offset.ts'
import { decodeServerMessage } from '../../core/protocol/tidemark-v1/decode.ts'
import { encodeClientMessage } from '../../core/protocol/tidemark-v1/encode.ts'
import { type Opened, type ServerMessage, subprotocol } from '../../core/protocol/tidemark-v1/messages.ts'
import { Assembler } from '../../core/protocol/tidemark-v1/parts.ts'
import type { Engine, Reading } from './clients/engine.ts'
import type { Content } from './clients/replica.ts'
import type { RelayNode } from './world.ts'

const messageBytesMax = 64 * 1024 * 1024
const retryMs = 30

export interface Listener {
  /** The first time this observer sees it. */
  onSeen(edit: string): void
  onEntry(offset: number, update: Uint8Array): void
  onWrong(what: string): void
}

export class Observer {
  readonly node: RelayNode
  readonly reading: Reading
  offset: Offset = toOffset(0)
  epoch: Offset = toOffset(0)
  readonly document: string
  private readonly engine: Engine
  private readonly token: string
  private readonly listener: Listener
  private readonly name: string
  private socket: WebSocket | null = null
  private live = false
  private closed = false
  private assembler = new Assembler(messageBytesMax)

  constructor(
    name: string,
    node: RelayNode,
    { document, engine }: { readonly document: string; readonly engine: Engine },
    token: string,
    listener: Listener,
  ) {
    this.name = name
    this.node = node
    this.engine = engine
    this.document = document
    this.token = token
    this.listener = listener
    this.reading = engine.read((edit, isAdded) => {
      if (isAdded) listener.onSeen(edit)
      else listener.onWrong(`${name}: the edit ${edit} was written over or deleted`)
    })
  }

  get isLive(): boolean {
    return this.live
  }

  /** Comes back after each loss, until it is closed. */
  start(): void {
    void this.run()
  }

  private async run(): Promise<void> {
    while (!this.closed) {
      if (this.node.port !== null) await this.connect(this.node.port)
      await new Promise((resolve) => setTimeout(resolve, retryMs))
    }
  }

  /** Resolves when the connection has ended. */
  private async connect(port: number): Promise<void> {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/sync`, subprotocol)
    this.socket = socket
    this.assembler = new Assembler(messageBytesMax)
    // A close follows.
    socket.on('error', () => undefined)
    socket.on('message', (frame: Buffer) => {
      const bytes = this.assembler.take(frame)
      if (bytes !== null) this.take(decodeServerMessage(bytes))
    })
    // `once` would reject with the error.
    await new Promise((resolve) => socket.on('close', resolve))
    this.live = false
  }

  read(): Content {
    return this.reading.content()
  }

  close(): void {
    this.closed = true
    this.socket?.terminate()
  }

  private take(message: ServerMessage): void {
    switch (message.kind) {
      case 'welcome': {
        const have = { epoch: this.epoch, offset: this.offset, version: this.reading.version() }
        const { document, token, name: replica } = this
        const engine = this.engine.name
        this.socket?.send(
          encodeClientMessage({ kind: 'open', request: 1, document, engine, token, replica, have }),
        )
        return
      }
      case 'opened':
        this.open(message)
        this.live = true
        return
      case 'updates':
        return this.entries(message.offset, message.updates)
      case 'caught-up':
        this.reading.apply([message.update])
        this.offset = message.offset
        return
      case 'refused':
      case 'closed':
        this.socket?.terminate()
        return
      default:
    }
  }

  private open({ epoch, offset, catchUp }: Opened): void {
    this.epoch = epoch
    if (offset < this.offset)
      this.listener.onWrong(
        `${this.name}: ${this.node.name} is at offset ${offset}, and was at ${this.offset}`,
      )
    if (catchUp.kind === 'entries') this.entries(catchUp.offset, catchUp.updates)
    else if (catchUp.kind === 'update') this.reading.apply([catchUp.update])
    if (catchUp.kind !== 'update' && offset !== this.offset)
      this.listener.onWrong(`${this.name}: caught up to offset ${this.offset}, opened at ${offset}`)
    this.offset = offset
  }

  private entries(first: Offset, updates: readonly Uint8Array[]): void {
    if (first !== this.offset + 1)
      this.listener.onWrong(`${this.name}: offset ${first} came, ${this.offset + 1} was next`)
    for (const [i, update] of updates.entries()) this.listener.onEntry(first + i, update.slice())
    this.reading.apply(updates)
    this.offset = toOffset(first + updates.length - 1)
  }
}

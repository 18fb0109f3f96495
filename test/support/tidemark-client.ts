/**
 * A tidemark.v1 client that does what the test says and nothing else: it never reconnects, repeats or renews by
 * itself, and can send what no client should. Every message is kept in the order in which it came.
 *
 * `Replica` is one open document: a Y.Doc, its place in the log, and what became of its pushes. It asserts what the
 * protocol promises of the stream: frames of at most `partBytes`, and places without a gap for whoever only reads.
 */
import { once } from 'node:events'
import WebSocket from 'ws'
import * as Y from 'yjs'
import type { Offset } from '../../core/offset.ts'
import { decodeServerMessage } from '../../core/protocol/tidemark-v1/decode.ts'
import { encodeClientMessage } from '../../core/protocol/tidemark-v1/encode.ts'
import {
  type CatchUp,
  type ClientMessage,
  type Have,
  type Open,
  type Opened,
  type Problem,
  type Refused,
  type ServerMessage,
  subprotocol,
} from '../../core/protocol/tidemark-v1/messages.ts'
import { Assembler, splitMessage } from '../../core/protocol/tidemark-v1/parts.ts'
import { until } from './wait.ts'

type Kind = ServerMessage['kind']
type Message<K extends Kind> = Extract<ServerMessage, { kind: K }>

export interface ConnectOptions {
  /** As the `Authorization` header says it. */
  readonly bearer?: string
  readonly origin?: string
  /** Called with each message as it comes. */
  readonly onMessage?: (message: ServerMessage) => void
}

export interface OpenOptions extends Partial<Omit<Open, 'kind' | 'request' | 'document' | 'have'>> {
  readonly doc?: Y.Doc
  /** Absent: its version, and no offset. */
  readonly have?: Partial<Have>
}

const partBytes = 64 * 1024
const readBytesMax = 512 * 1024 * 1024

export class TidemarkClient {
  readonly messages: ServerMessage[] = []
  /** Of the payloads of all frames. */
  receivedBytes = 0
  closeCode: number | null = null
  closeReason = ''
  readonly socket: WebSocket
  /** Resolves when the socket has closed. */
  readonly closed: Promise<void>
  private readonly assembler = new Assembler(readBytesMax)
  private readonly replicas = new Map<number, Replica>()
  private requests = 0

  private readonly onMessage: (message: ServerMessage) => void

  private constructor(socket: WebSocket, onMessage: (message: ServerMessage) => void) {
    this.socket = socket
    this.onMessage = onMessage
    socket.on('message', (frame: Buffer) => this.receive(frame))
    socket.on('error', () => undefined)
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => {
        this.closeCode = code
        this.closeReason = reason.toString()
        resolve()
      })
    })
  }

  /** Resolves when the server has said welcome, or has closed. `url` is that of a relay, and perhaps a query. */
  static async connect(url: string, options: ConnectOptions = {}): Promise<TidemarkClient> {
    const { bearer, origin, onMessage = () => undefined } = options
    const [base, query = ''] = url.split('?')
    const socket = new WebSocket(`${base}/v1/sync?${query}`, subprotocol, {
      ...(origin === undefined ? {} : { origin }),
      ...(bearer === undefined ? {} : { headers: { authorization: `Bearer ${bearer}` } }),
    })
    const client = new TidemarkClient(socket, onMessage)
    await once(socket, 'open')
    await until('welcome', () => client.messages.length > 0 || client.closeCode !== null)
    return client
  }

  // --- what the test says -----------------------------------------------------------------------

  send(message: ClientMessage): void {
    for (const frame of splitMessage(encodeClientMessage(message), partBytes)) this.sendBytes(frame)
  }

  /** One frame, whatever it is. */
  sendBytes(frame: Uint8Array): void {
    this.socket.send(frame)
  }

  auth(token: string): void {
    this.send({ kind: 'auth', token })
  }

  /** Sends `open`; the answer is awaited with `replica.answered`. */
  open(document: string, options: OpenOptions = {}): Replica {
    const { doc = new Y.Doc(), engine = 'yjs', token = '', replica = randomReplica(), have = {} } = options
    const request = ++this.requests
    const opened = new Replica(this, doc, replica, request, (have.offset ?? 0) as Offset)
    const version = have.version ?? Y.encodeStateVector(doc)
    const { epoch = 0 as Offset, offset = 0 as Offset } = have
    this.opening.set(request, opened)
    this.send({ kind: 'open', request, document, engine, token, replica, have: { epoch, offset, version } })
    return opened
  }

  /** Opens and waits; throws when it is refused. */
  async join(document: string, options: OpenOptions = {}): Promise<Replica> {
    const replica = this.open(document, options)
    await replica.answered()
    if (replica.refused !== null) throw new Error(`refused: ${replica.refused.code}`)
    return replica
  }

  of<K extends Kind>(kind: K): Message<K>[] {
    return this.messages.filter((message): message is Message<K> => message.kind === kind)
  }

  /** `4401 unauthenticated`, once it is closed. */
  async end(): Promise<string> {
    await this.closed
    return `${this.closeCode} ${this.closeReason.split(':')[0]}`
  }

  /** The answer to a ping: what was sent before it has been dealt with, as far as the socket is concerned. */
  async ping(): Promise<void> {
    const nonce = ++this.requests
    this.send({ kind: 'ping', nonce })
    await until('pong', () => this.of('pong').some((pong) => pong.nonce === nonce) || this.closeCode !== null)
  }

  /** Reads nothing until `resume`. */
  pause(): void {
    this.socket.pause()
  }

  resume(): void {
    this.socket.resume()
  }

  close(): void {
    this.socket.terminate()
  }

  // --- what comes -------------------------------------------------------------------------------

  private readonly opening = new Map<number, Replica>()

  private receive(frame: Buffer): void {
    if (frame.length > partBytes) throw new Error(`a frame of ${frame.length} bytes`)
    this.receivedBytes += frame.length
    const bytes = this.assembler.take(frame)
    if (bytes === null) return
    const message = decodeServerMessage(bytes)
    this.messages.push(message)
    this.onMessage(message)
    switch (message.kind) {
      case 'opened': {
        const replica = this.opening.get(message.request)
        // Opened by bytes that the test made up.
        if (replica === undefined) return
        this.replicas.set(message.channel, replica)
        return replica.take(message)
      }
      case 'refused':
        return this.opening.get(message.request)?.take(message)
      case 'updates':
      case 'caught-up':
      case 'ack':
      case 'nack':
      case 'awareness':
      case 'closed':
        this.replicas.get(message.channel)?.take(message)
    }
  }
}

export class Replica {
  readonly doc: Y.Doc
  /** Its name. */
  readonly name: string
  /** It has everything up to here. */
  offset: Offset
  epoch = 0 as Offset
  opened: Opened | null = null
  refused: Problem | null = null
  closed: Problem | null = null
  /** The last sequence that was acknowledged. */
  acked = 0
  readonly nacks: { readonly sequence: number; readonly problem: Problem }[] = []
  readonly awareness: Uint8Array[] = []
  /** Updates that came after it was open, with their offsets. */
  readonly received: { readonly offset: number; readonly update: Uint8Array }[] = []
  /** The last sequence that was pushed. */
  sequence = 0
  private readonly client: TidemarkClient
  private readonly request: number

  constructor(client: TidemarkClient, doc: Y.Doc, name: string, request: number, offset: Offset) {
    this.client = client
    this.doc = doc
    this.name = name
    this.request = request
    this.offset = offset
  }

  get channel(): number {
    if (this.opened === null) throw new Error('not open')
    return this.opened.channel
  }

  get text(): string {
    return this.doc.getText('t').toString()
  }

  get have(): Have {
    return { epoch: this.epoch, offset: this.offset, version: Y.encodeStateVector(this.doc) }
  }

  async answered(): Promise<void> {
    await until(
      `an answer to open ${this.request}`,
      () => this.opened !== null || this.refused !== null || this.client.closeCode !== null,
    )
  }

  /** Pushes updates with the next sequences; the first one's sequence. */
  push(...updates: readonly Uint8Array[]): number {
    const sequence = this.sequence + 1
    this.sequence += updates.length
    this.pushAt(sequence, updates)
    return sequence
  }

  pushAt(sequence: number, updates: readonly Uint8Array[]): void {
    this.client.send({ kind: 'push', channel: this.channel, sequence, updates })
  }

  /** Edits its document and gives the update, which it does not push. */
  edit(change: (doc: Y.Doc) => void): Uint8Array {
    const before = Y.encodeStateVector(this.doc)
    this.doc.transact(() => change(this.doc))
    return Y.encodeStateAsUpdate(this.doc, before)
  }

  /** Appends to its text `t`, and gives the update. */
  type(text: string): Uint8Array {
    return this.edit((doc) => doc.getText('t').insert(doc.getText('t').length, text))
  }

  /** Types and pushes; resolves when it is acknowledged. */
  async write(text: string): Promise<void> {
    this.push(this.type(text))
    await this.settled()
  }

  /** Everything it has pushed is acknowledged. */
  async settled(): Promise<void> {
    await until(`ack ${this.sequence}`, () => {
      if (this.closed !== null) throw new Error(`closed: ${this.closed.code}`)
      if (this.nacks.length > 0) throw new Error(`nack: ${this.nacks[0]!.problem.code}`)
      return this.acked >= this.sequence
    })
  }

  take(message: ServerMessage): void {
    switch (message.kind) {
      case 'opened':
        this.opened = message
        this.epoch = message.epoch
        this.catchUp(message.catchUp)
        this.offset = message.offset
        return
      case 'refused':
        this.refused = message.problem
        return
      case 'updates':
        for (const [i, update] of message.updates.entries()) {
          this.received.push({ offset: message.offset + i, update })
          Y.applyUpdate(this.doc, update, this)
        }
        return this.move((message.offset + message.updates.length - 1) as Offset)
      case 'caught-up':
        Y.applyUpdate(this.doc, message.update, this)
        return this.move(message.offset)
      case 'ack':
        if (message.sequence < this.acked) throw new Error('an ack that takes back')
        this.acked = message.sequence
        return this.move(message.offset)
      case 'nack':
        this.nacks.push(message)
        return
      case 'awareness':
        this.awareness.push(message.awareness)
        return
      case 'closed':
        this.closed = message.problem
        return
      default:
        throw new Error(`${message.kind} is not about a document`)
    }
  }

  private move(offset: Offset): void {
    if (offset > this.offset) this.offset = offset
  }

  private catchUp(catchUp: CatchUp): void {
    if (catchUp.kind === 'entries')
      for (const update of catchUp.updates) Y.applyUpdate(this.doc, update, this)
    else if (catchUp.kind === 'update') Y.applyUpdate(this.doc, catchUp.update, this)
  }

  /** Throws unless what came since it was opened has the offsets after `opened.offset` without a gap, each once. */
  assertNoGap(): void {
    let next = this.opened!.offset + 1
    for (const { offset } of this.received)
      if (offset !== next++) throw new Error(`offset ${offset} came, ${next - 1} was next`)
  }
}

export const refusalOf = ({ refused }: Replica): Refused['problem'] => {
  if (refused === null) throw new Error('it was not refused')
  return refused
}

const randomReplica = (): string => `r${Math.random().toString(36).slice(2)}`

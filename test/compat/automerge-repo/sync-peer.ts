/**
 * Automerge's own synchronisation over one socket, without a Repo: no throttling, and the test decides when it writes, leaves,
 * comes back, and what it then remembers.
 */
import * as Automerge from '@automerge/automerge'
import { cbor } from '@automerge/automerge-repo/slim'
import WebSocket from 'ws'

export interface Content {
  [key: string]: Uint8Array
}

export class SyncPeer {
  doc = Automerge.init<Content>()
  /** Sync messages that came, over all connections. */
  received = 0
  /** In them. */
  receivedChanges = 0
  /** What Automerge threw at messages of the server. */
  readonly errors: unknown[] = []
  readonly closes: string[] = []
  private readonly relay: string
  private readonly name: string
  private readonly documentId: string
  private state = Automerge.initSyncState()
  private socket: WebSocket | null = null
  private joined = false

  constructor(relay: string, name: string, documentId: string) {
    this.relay = relay
    this.name = name
    this.documentId = documentId
  }

  get connected(): boolean {
    return this.joined
  }

  /** `remembers`: what both had in common, as clients with a storage do. */
  connect(remembers: boolean): void {
    if (this.socket !== null) return
    this.state = remembers
      ? Automerge.decodeSyncState(Automerge.encodeSyncState(this.state))
      : Automerge.initSyncState()
    const socket = new WebSocket(`${this.relay}/automerge`)
    this.socket = socket
    socket.on('open', () => this.send({ type: 'join', supportedProtocolVersions: ['1'] }))
    socket.on('error', (error) => this.closes.push(error.message))
    socket.on('close', (code, reason) => {
      this.closes.push(`${code} ${reason.toString()}`)
      if (this.socket === socket) this.forget()
    })
    socket.on('message', (bytes: Buffer) => {
      if (this.socket === socket) this.receive(cbor.decode(bytes))
    })
  }

  leave(): void {
    this.socket?.terminate()
    this.forget()
  }

  write(key: string, value: Uint8Array): void {
    this.doc = Automerge.change(this.doc, (content) => {
      content[key] = Uint8Array.from(value)
    })
    this.sync()
  }

  /** It loses what it wrote since the server knew of it, and begins with what another one has. */
  restore(other: SyncPeer): void {
    this.leave()
    this.doc = Automerge.clone(other.doc)
    this.state = Automerge.initSyncState()
  }

  /** For whoever has to find out why it did not get there. */
  report(): Record<string, unknown> {
    const { name, connected, received, closes, errors } = this
    return {
      name,
      heads: Automerge.getHeads(this.doc),
      connected,
      received,
      closes,
      errors: errors.map(String),
    }
  }

  private forget(): void {
    this.socket = null
    this.joined = false
  }

  private receive(message: { type: string; data?: Uint8Array }): void {
    if (message.type === 'peer') {
      this.joined = true
      this.sync()
    } else if (message.type === 'sync') {
      this.received++
      this.receivedChanges += Automerge.decodeSyncMessage(Uint8Array.from(message.data!)).changes.length
      try {
        const [doc, state] = Automerge.receiveSyncMessage(
          this.doc,
          this.state,
          Uint8Array.from(message.data!),
        )
        this.doc = doc
        this.state = state
      } catch (error) {
        this.errors.push(error)
      }
      this.sync()
    } else if (message.type === 'error') this.errors.push(message)
  }

  private sync(): void {
    if (!this.joined) return
    const [state, data] = Automerge.generateSyncMessage(this.doc, this.state)
    this.state = state
    if (data === null) return
    const type = Automerge.getHeads(this.doc).length === 0 ? 'request' : 'sync'
    this.send({ type, documentId: this.documentId, data })
  }

  private send(message: Record<string, unknown>): void {
    const { name: senderId, socket } = this
    if (socket?.readyState === WebSocket.OPEN)
      socket.send(cbor.encode({ senderId, targetId: 'server', ...message }))
  }
}

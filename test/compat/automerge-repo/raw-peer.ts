/** A peer that does what the test says and nothing else: it writes with the client's CBOR, and keeps what comes. */
import { once } from 'node:events'
import * as Automerge from '@automerge/automerge'
import { cbor } from '@automerge/automerge-repo/slim'
import WebSocket from 'ws'
import { until } from '../../support/wait.ts'

export interface Told {
  readonly type: string
  readonly senderId: string
  readonly targetId?: string
  readonly documentId?: string
  readonly data?: Uint8Array
  readonly message?: string
  readonly [key: string]: unknown
}

export class RawPeer {
  readonly told: Told[] = []
  readonly name: string
  readonly socket: WebSocket
  closed: string | null = null
  pings = 0

  private constructor(socket: WebSocket, name: string) {
    this.socket = socket
    this.name = name
    socket.on('message', (bytes: Buffer) => this.told.push(cbor.decode(bytes)))
    socket.on('ping', () => this.pings++)
    socket.on('close', (code, reason) => {
      this.closed = `${code} ${reason.toString()}`.trim()
    })
    socket.on('error', () => undefined)
  }

  /** `relay`: ws://host:port */
  static async connect(relay: string, name: string, query = ''): Promise<RawPeer> {
    const socket = new WebSocket(`${relay}/automerge${query}`)
    const peer = new RawPeer(socket, name)
    await once(socket, 'open')
    return peer
  }

  static async joined(relay: string, name: string, query = ''): Promise<RawPeer> {
    const peer = await RawPeer.connect(relay, name, query)
    peer.join()
    await until('joined', () => peer.is('peer') !== undefined)
    return peer
  }

  join(supportedProtocolVersions: readonly string[] = ['1']): void {
    this.send({ type: 'join', peerMetadata: {}, supportedProtocolVersions })
  }

  send(message: Record<string, unknown>): void {
    this.socket.send(cbor.encode({ senderId: this.name, targetId: 'server', ...message }))
  }

  /** As one who has nothing. */
  request(documentId: string): void {
    const [, data] = Automerge.generateSyncMessage(Automerge.init(), Automerge.initSyncState())
    this.send({ type: 'request', documentId, data })
  }

  /** The last message of this kind, about this document. */
  is(type: string, documentId?: string): Told | undefined {
    return this.told.findLast(
      (told) => told.type === type && (documentId === undefined || told.documentId === documentId),
    )
  }

  async close(): Promise<void> {
    this.socket.terminate()
    await until('closed', () => this.closed !== null)
  }
}

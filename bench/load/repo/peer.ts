/**
 * A peer of automerge-repo that holds no document, for the loads that Yjs's clients put on other servers: it sends what it is told
 * to, and says of all it is given that it has it. Documents are named like everywhere else; their ids are made of the names.
 *
 * Frames are told to `onFrame` before anything is read of them, so that loads of a quarter of a million messages a second need not
 * decode each.
 */
import { createHash } from 'node:crypto'
import { type BinaryDocumentId, parseAutomergeUrl, stringifyAutomergeUrl } from '@automerge/automerge-repo'
import { encode } from 'cborg'
import {
  decodeSyncMessage,
  encodeSyncMessage,
  Filter,
  type SyncMessage,
} from '../../../core/engine/automerge/sync-message.ts'
import { decodeClientFrame } from '../../../core/protocol/automerge-repo.ts'
import { clientFrame } from '../frames.ts'
import { LoadSocket } from '../socket.ts'
import type { Endpoint } from '../spec.ts'

export interface RepoPeerOptions extends Endpoint {
  /** Its id; no other peer of the run has it. */
  readonly name: string
  /** `bytes`: of the whole message. */
  readonly onSync?: (documentId: string, message: SyncMessage, bytes: number) => void
  /** True: that is all there is to do about this frame. */
  readonly onFrame?: (bytes: Buffer, start: number, end: number) => boolean
  readonly onBroken: (reason: string) => void
}

/** Whom a busy server turns away comes again. */
const triesMax = 20
const retryMs = 1_000
/** "I take whole documents", as Automerge 3 says it. */
const capabilities = Uint8Array.of(2, 2, 0x84)
const documentIdBytes = 16
const atOnce = 50

export class RepoPeer {
  /** The server has said who it is. */
  readonly joined: Promise<void>
  private readonly options: RepoPeerOptions
  private socket: LoadSocket | null = null
  private tries = 0
  private state: 'joining' | 'joined' | 'ended' = 'joining'
  private settle: { resolve: () => void; reject: (error: Error) => void } | null = null

  constructor(options: RepoPeerOptions) {
    this.options = options
    this.joined = new Promise((resolve, reject) => {
      this.settle = { resolve, reject }
    })
    this.whenJoined(() => {})
    this.connect()
  }

  /** Never does, when it breaks before: that is told through `onBroken`. */
  whenJoined(act: () => void): void {
    void this.joined.then(act, () => {
      // Told through onBroken.
    })
  }

  private connect(): void {
    const { address, automergePath, onSync, onFrame } = this.options
    this.tries++
    this.socket = new LoadSocket(address, automergePath ?? '', {
      onOpen: () => this.send({ type: 'join', peerMetadata: {}, supportedProtocolVersions: ['1'] }),
      onFrame: (bytes, start, end) => {
        if (onFrame?.(bytes, start, end) === true) return
        const message = decodeClientFrame(bytes.subarray(start, end))
        if (message.type === 'unknown' && this.state === 'joining') {
          this.state = 'joined'
          this.settle?.resolve()
        }
        if (message.type !== 'sync') return
        const sync = decodeSyncMessage(message.data)
        if (sync.changes.length > 0) this.sync(message.documentId, sync.heads, [])
        onSync?.(message.documentId, sync, end - start)
      },
      onRead: () => undefined,
      onBroken: (reason) => this.broken(reason),
    })
  }

  private broken(reason: string): void {
    if (this.state === 'joining' && this.tries < triesMax) {
      setTimeout(() => {
        if (this.state === 'joining') this.connect()
      }, retryMs)
      return
    }
    this.settle?.reject(new Error(reason))
    this.options.onBroken(reason)
  }

  /** It has nothing of the document and wants it. */
  request(documentId: string): void {
    this.send({ type: 'request', documentId, data: syncData([], []) })
  }

  /** It has everything up to `heads`, and sends these changes. */
  sync(documentId: string, heads: readonly Uint8Array[], changes: readonly Uint8Array[]): void {
    this.send({ type: 'sync', documentId, data: syncData(heads, changes) })
  }

  /** `count` rises with each message of a session. */
  ephemeral(documentId: string, count: number, data: Uint8Array): void {
    this.send({ type: 'ephemeral', count, sessionId: `${this.options.name}-session`, documentId, data })
  }

  end(): void {
    this.state = 'ended'
    this.socket?.end()
  }

  private send(message: Readonly<Record<string, unknown>>): void {
    this.socket?.write(clientFrame(encode({ senderId: this.options.name, targetId: 'server', ...message })))
  }
}

export function documentIdOf(name: string): string {
  const bytes = createHash('sha256').update(name).digest().subarray(0, documentIdBytes)
  return parseAutomergeUrl(stringifyAutomergeUrl(Uint8Array.from(bytes) as BinaryDocumentId)).documentId
}

/** Opens them a few at a time, so that joining is not what is measured. */
export async function joinPeers(count: number, open: (index: number) => RepoPeer): Promise<RepoPeer[]> {
  const peers: RepoPeer[] = []
  for (let from = 0; from < count; from += atOnce) {
    const some = Array.from({ length: Math.min(atOnce, count - from) }, (_, i) => open(from + i))
    await Promise.all(some.map((peer) => peer.joined))
    peers.push(...some)
  }
  return peers
}

/** Alike for two heads in whatever order they are given. */
export const headsKey = (heads: readonly Uint8Array[]): string =>
  heads
    .map((head) => Buffer.from(head).toString('hex'))
    .sort()
    .join(' ')

function syncData(heads: readonly Uint8Array[], changes: readonly Uint8Array[]): Uint8Array {
  const have = [{ lastSync: heads, filter: Filter.empty }]
  const parts = encodeSyncMessage({ heads, need: [], have, changes }, false)
  return Buffer.concat(changes.length > 0 ? parts : [...parts, capabilities])
}

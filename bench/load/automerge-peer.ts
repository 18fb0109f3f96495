/**
 * A peer of automerge-repo as far as its messages go: it says that it has what it is sent, and holds no document, so that the
 * servers are what is measured. All changes of a document are one writer's, so its heads are one hash, which tells how far it is.
 */
import { encode } from 'cborg'
import { decodeSyncMessage, type SyncMessage } from '../../core/engine/automerge/sync-message.ts'
import { decodeClientFrame } from '../../core/protocol/automerge-repo.ts'
import { clientFrame, writeVarUint } from './frames.ts'
import { type Address, LoadSocket } from './socket.ts'

export interface AutomergeEndpoint {
  readonly address: Address
  readonly path: string
}

export interface AutomergePeerOptions extends AutomergeEndpoint {
  readonly name: string
  readonly onSync?: (documentId: string, message: SyncMessage, bytes: number) => void
  readonly onBroken: (reason: string) => void
}

const none = new Uint8Array()
/** "I take whole documents", as Automerge 3 says it. */
const capabilities = Uint8Array.of(2, 2, 0x84)

export class AutomergePeer {
  readonly joined: Promise<void>
  private readonly socket: LoadSocket
  private readonly name: string

  constructor({ address, path, name, onSync, onBroken }: AutomergePeerOptions) {
    this.name = name
    let resolve = (): void => undefined
    this.joined = new Promise((done) => {
      resolve = done
    })
    this.socket = new LoadSocket(address, path, {
      onOpen: () => this.send({ type: 'join', peerMetadata: {}, supportedProtocolVersions: ['1'] }),
      onFrame: (bytes, start, end) => {
        const message = decodeClientFrame(bytes.subarray(start, end))
        if (message.type === 'unknown') resolve()
        if (message.type !== 'sync') return
        const sync = decodeSyncMessage(message.data)
        if (sync.changes.length > 0) this.sync(message.documentId, sync.heads[0] ?? null, [])
        onSync?.(message.documentId, sync, end - start)
      },
      onRead: () => undefined,
      onBroken,
    })
  }

  request(documentId: string): void {
    this.send({ type: 'request', documentId, data: syncData(null, []) })
  }

  /** It has everything up to `head`, and sends these changes. */
  sync(documentId: string, head: Uint8Array | null, changes: readonly Uint8Array[]): void {
    this.send({ type: 'sync', documentId, data: syncData(head, changes) })
  }

  end(): void {
    this.socket.end()
  }

  private send(message: Readonly<Record<string, unknown>>): void {
    const { name: senderId } = this
    this.socket.write(clientFrame(encode({ senderId, targetId: 'server', ...message })))
  }
}

/** As the data of a sync message; with capabilities when there are no changes. */
export function syncData(head: Uint8Array | null, changes: readonly Uint8Array[]): Uint8Array {
  const hashes = head === null ? [Uint8Array.of(0)] : [Uint8Array.of(1), head]
  const parts = [Uint8Array.of(0x42), ...hashes, Uint8Array.of(0, 1), ...hashes, Uint8Array.of(0)]
  return Buffer.concat([
    ...parts,
    varUint(changes.length),
    ...changes.flatMap((change) => [varUint(change.length), change]),
    changes.length > 0 ? none : capabilities,
  ])
}

function varUint(value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  return bytes.subarray(0, writeVarUint(Buffer.from(bytes.buffer), 0, value))
}

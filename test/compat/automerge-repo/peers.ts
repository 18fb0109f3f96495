/** The published client of automerge-repo, unchanged, behind the little that tests need of it. */
import {
  type AutomergeUrl,
  cbor,
  type DocHandle,
  type PeerId,
  Repo,
  type RepoConfig,
  type StorageAdapterInterface,
  type StorageId,
  type StorageKey,
} from '@automerge/automerge-repo'
import { WebSocketClientAdapter } from '@automerge/automerge-repo-network-websocket'
import { until } from '../../support/wait.ts'

export interface Note {
  title: string
  lines: string[]
  counts: Record<string, number>
}

export const note = (title: string): Note => ({ title, lines: [], counts: {} })

export interface PeerOptions extends Partial<RepoConfig> {
  readonly name?: string
  readonly token?: string
}

const retryMs = 100

export class RepoPeer {
  readonly repo: Repo
  readonly adapter: WebSocketClientAdapter
  connected = false
  /** The server's, once it was connected. */
  serverId: PeerId | null = null
  /** What the client logs of refusals, and nobody else gets to see. */
  readonly errors: string[] = []

  /** `relay`: ws://host:port */
  constructor(relay: string, { name, token, ...config }: PeerOptions = {}) {
    const query = token === undefined ? '' : `?token=${token}`
    this.adapter = new WebSocketClientAdapter(`${relay}/automerge${query}`, retryMs)
    this.adapter.on('peer-candidate', ({ peerId }) => {
      this.connected = true
      this.serverId = peerId
      this.listen()
    })
    this.adapter.on('peer-disconnected', () => {
      this.connected = false
    })
    this.repo = new Repo({
      network: [this.adapter],
      ...(name === undefined ? {} : { peerId: name as PeerId }),
      ...config,
    })
  }

  private listen(): void {
    const socket = this.adapter.socket as unknown as WebSocket
    socket.addEventListener('message', ({ data }) => {
      const { type, message } = cbor.decode(new Uint8Array(data as ArrayBuffer)) as Record<string, unknown>
      if (type === 'error') this.errors.push(String(message))
    })
  }

  create(title: string): DocHandle<Note> {
    return this.repo.create(note(title))
  }

  /** The server has all of it, durable: the heads that it tells are. */
  isSaved(handle: DocHandle<Note>): boolean {
    const told = this.connected
      ? handle.getSyncInfo(this.serverId as string as StorageId)?.lastHeads
      : undefined
    return JSON.stringify(told) === JSON.stringify(handle.heads())
  }

  saved(handle: DocHandle<Note>): Promise<void> {
    return until('saved', () => this.isSaved(handle))
  }

  /** Rejects when the server says that there is no such document, or not for this peer. */
  async open(url: AutomergeUrl): Promise<DocHandle<Note>> {
    await this.ready()
    return this.repo.find<Note>(url)
  }

  ready(): Promise<void> {
    return until('connected', () => this.connected)
  }

  async leave(): Promise<void> {
    this.adapter.disconnect()
    await until('away', () => !this.connected)
  }

  async comeBack(): Promise<void> {
    this.repo.networkSubsystem.reconnect()
    await this.ready()
  }

  async close(): Promise<void> {
    // An adapter that is away cannot be sent away.
    if (this.adapter.socket !== undefined) await this.repo.shutdown()
  }
}

/** Where a peer keeps its documents, as a browser would. */
export class MemoryStorageAdapter implements StorageAdapterInterface {
  private readonly chunks = new Map<string, { key: StorageKey; data: Uint8Array }>()

  async load(key: StorageKey): Promise<Uint8Array | undefined> {
    return this.chunks.get(key.join('/'))?.data
  }

  async save(key: StorageKey, data: Uint8Array): Promise<void> {
    this.chunks.set(key.join('/'), { key, data })
  }

  async remove(key: StorageKey): Promise<void> {
    this.chunks.delete(key.join('/'))
  }

  async loadRange(prefix: StorageKey): Promise<{ key: StorageKey; data: Uint8Array }[]> {
    return [...this.chunks.values()].filter(({ key }) => prefix.every((part, i) => key[i] === part))
  }

  async removeRange(prefix: StorageKey): Promise<void> {
    for (const { key } of await this.loadRange(prefix)) await this.remove(key)
  }
}

export const write = (handle: DocHandle<Note>, line: string): void =>
  handle.change((doc) => {
    doc.lines.push(line)
  })

export const linesOf = (handle: DocHandle<Note>): string[] => [...handle.doc().lines].sort()

export const untilLines = (handle: DocHandle<Note>, ...lines: string[]): Promise<void> =>
  until(
    `lines ${lines.join(' ')}`,
    () => JSON.stringify(linesOf(handle)) === JSON.stringify([...lines].sort()),
  )

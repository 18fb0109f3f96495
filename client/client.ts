/**
 * The client: one connection, its documents by request and by channel, and when a document may end.
 *
 * A handle that nobody uses any more stays for `graceMs` (a page that shows the same document next gets it as it is), and
 * then for as long as it has edits to send and a connection to send them on, or no disk to leave them on. Documents that an
 * earlier visit left with edits are opened for as long as it takes to send them, a few at a time.
 */
import { parseDocumentId } from '../core/document-id.ts'
import { TidemarkError } from '../core/protocol/error-codes.ts'
import type { ServerMessage, WireEngine } from '../core/protocol/tidemark-v1/messages.ts'
import { Connection, type ConnectionListener } from './connection.ts'
import { retryAtOf } from './connection-state.ts'
import { automergeMark, DocumentHandle } from './document.ts'
import type { DocumentContext, Question } from './document-context.ts'
import { Emitter } from './emitter.ts'
import type { Channel, Environment } from './environment.ts'
import type { Queries } from './query-types.ts'
import type { Storage } from './storage/storage.ts'
import type {
  AutomergeHandle,
  Client,
  ClientEvents,
  ClientOptions,
  Handle,
  Inspection,
  LogEntry,
  Status,
} from './types.ts'

const graceMs = 1_000
const eventsMax = 500
/** Documents of earlier visits that are open at a time to send their edits. */
const drainCountMax = 8

/** An `open` under way. Without a handle nobody waits for its answer any more. */
interface Asked {
  readonly document: string
  handle: DocumentHandle | null
}

export interface ClientSetting {
  readonly environment: Environment
  readonly url: string
  readonly token: ClientOptions['token']
  readonly storage: Storage
  readonly scope: string
}

export class TidemarkClient
  extends Emitter<ClientEvents>
  implements Client, DocumentContext, ConnectionListener
{
  events: readonly LogEntry[] = []
  readonly environment: Environment
  readonly storage: Storage
  readonly scope: string
  readonly connection: Connection
  readonly closing = new AbortController()
  readonly #documents = new Map<string, DocumentHandle>()
  /** Questions on this connection without an answer yet. */
  readonly #asked = new Map<number, Asked>()
  /** Questions that wait for the answer to an earlier one about the same document. */
  readonly #postponed = new Map<string, () => void>()
  readonly #channels = new Map<number, DocumentHandle>()
  readonly #ending = new Map<string, Promise<void>>()
  /** Handles that nobody uses, with what ends their grace early; null once it is over. */
  readonly #unused = new Map<DocumentHandle, (() => void) | null>()
  readonly #stopListening: () => void
  readonly #channel: Channel | null
  #toDrain: readonly string[] = []
  #draining = false
  #request = 0
  #said: Status = 'offline'
  #closed: Promise<void> | null = null

  constructor({ environment, url, token, storage, scope }: ClientSetting) {
    super()
    this.environment = environment
    this.storage = storage
    this.scope = scope
    this.connection = new Connection(url, token, environment, this)
    this.#stopListening = environment.listen((event) => {
      if (event !== 'hidden') this.connection.tell({ kind: event })
      else for (const handle of this.#documents.values()) void handle.flush()
    })
    this.#channel = storage.durable ? environment.channel(`tidemark/${scope}`) : null
    if (this.#channel !== null) this.#channel.onmessage = () => void this.#onForgotten()
  }

  get status(): Status {
    return this.connection.state.kind
  }
  get error(): TidemarkError | null {
    return this.connection.state.error
  }
  get paused(): boolean {
    return this.connection.state.paused
  }

  open(documentId: string, options?: { readonly engine?: 'yjs' }): Handle
  open<T>(documentId: string, options: { readonly engine: 'automerge' }): Promise<AutomergeHandle<T>>
  open(documentId: string, options?: { readonly engine?: WireEngine }): never {
    const id = parseDocumentId(documentId)
    return (
      options?.engine === 'automerge' ? this.#openAutomerge(id + automergeMark) : this.#use(id)
    ) as never
  }

  retry(): void {
    this.connection.tell({ kind: 'retry' })
    for (const handle of this.#documents.values()) handle.retry()
  }

  pause(): void {
    this.connection.tell({ kind: 'pause' })
    this.log(null, 'paused')
  }

  resume(): void {
    this.connection.tell({ kind: 'resume' })
    this.log(null, 'resumed')
  }

  // Most apps never ask: what asks comes with the first question.
  query: Queries['query'] = async (...question) => (await import('./query.ts')).query(this, ...question)
  live: Queries['live'] = async (...question) => (await import('./live.ts')).live(this, ...question)

  inspect(): Inspection {
    const { state, durability } = this.connection
    return {
      url: this.connection.url,
      status: this.status,
      error: this.error,
      retryAtMs: retryAtOf(state),
      attempts: state.attempts,
      durability,
      paused: this.paused,
      documents: [...this.#documents.values()].map((handle) => handle.inspect()),
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#endAll()
    return this.#closed
  }

  async forget(): Promise<void> {
    const { storage, scope } = this
    this.#channel?.postMessage('forgotten')
    await this.close()
    await storage.forget(scope)
  }

  // --- documents ------------------------------------------------------------------------------------

  // Automerge is larger than all the rest: it comes with the first document that needs it.
  async #openAutomerge(key: string): Promise<DocumentHandle> {
    return this.#use(key, (await import('./automerge/document.ts')).AutomergeDocument)
  }

  #use(key: string, Kind = DocumentHandle): DocumentHandle {
    if (this.#closed !== null) throw new TidemarkError('invalid_request', 'The client is closed')
    let handle = this.#documents.get(key)
    if (handle === undefined) {
      handle = new Kind(key, this)
      this.#documents.set(key, handle)
    }
    handle.uses++
    this.#unused.get(handle)?.()
    this.#unused.delete(handle)
    if (!this.connection.state.wanted) {
      if (!this.environment.online()) this.connection.tell({ kind: 'offline' })
      this.connection.tell({ kind: 'want' })
    }
    return handle
  }

  onUnused(): void {
    for (const handle of this.#documents.values()) {
      if (handle.uses > 0 || this.#unused.has(handle) || this.#closed !== null) continue
      const cancel = this.environment.after(graceMs, () => {
        this.#unused.set(handle, null)
        this.onSettled()
      })
      this.#unused.set(handle, cancel)
    }
  }

  /** Ends what nobody uses and what has nothing left to send. */
  onSettled(): void {
    for (const [id, handle] of this.#documents) {
      if (this.#unused.get(handle) !== null || !handle.settled || !handle.loaded) continue
      this.#documents.delete(id)
      this.#unused.delete(handle)
      this.#ending.set(
        handle.id,
        handle.end().finally(() => this.#ending.delete(handle.id)),
      )
      if (this.#documents.size === 0 && this.#toDrain.length === 0) this.connection.tell({ kind: 'unwant' })
    }
    this.#drain()
  }

  /** Once connected: what earlier visits left unsent. */
  async #findUnsent(): Promise<void> {
    if (this.#draining) return
    this.#draining = true
    try {
      this.#toDrain = await this.storage.unsaved(this.scope)
      this.#drain()
    } catch (error) {
      this.log(null, 'storage', String(error))
    }
  }

  #drain(): void {
    if (this.#closed !== null || this.connection.state.kind !== 'live') return
    const unused = [...this.#documents.values()].filter(({ uses }) => uses === 0).length
    const room = drainCountMax - unused
    if (room <= 0 || this.#toDrain.length === 0) return
    const next = this.#toDrain.slice(0, room)
    this.#toDrain = this.#toDrain.slice(room)
    for (const id of next) {
      if (this.#documents.has(id)) continue
      this.log(id, 'earlier edits')
      const letGo = (handle: DocumentHandle): Promise<void> => handle.close()
      if (!id.endsWith(automergeMark)) void letGo(this.#use(id))
      else this.#openAutomerge(id).then(letGo, (error: unknown) => this.log(id, 'storage', String(error)))
    }
  }

  async #endAll(): Promise<void> {
    this.closing.abort()
    this.#stopListening()
    this.#channel?.close()
    for (const cancel of this.#unused.values()) cancel?.()
    const handles = [...this.#documents.values()]
    this.#documents.clear()
    await Promise.allSettled([...handles.map((handle) => handle.end()), ...this.#ending.values()])
    this.connection.tell({ kind: 'unwant' })
  }

  async #onForgotten(): Promise<void> {
    await this.close()
    this.emit('forgotten')
  }

  // --- the connection -------------------------------------------------------------------------------

  onLive(): void {
    for (const handle of this.#documents.values()) handle.connectionChanged()
    void this.#findUnsent()
  }

  onDown(): void {
    this.#asked.clear()
    this.#postponed.clear()
    this.#channels.clear()
    for (const handle of this.#documents.values()) handle.connectionChanged()
  }

  onState(): void {
    for (const handle of this.#documents.values()) handle.connectionChanged()
    if (this.status === this.#said) return
    this.#said = this.status
    this.emit('status', this.#said)
  }

  ended(document: string): Promise<void> | undefined {
    return this.#ending.get(document)
  }

  /** A document is open once on a socket; what was asked before has no channel yet that could be closed. */
  ask(handle: DocumentHandle, message: Question): number {
    const { id } = handle
    if ([...this.#asked.values()].some(({ document }) => document === id)) {
      this.#postponed.set(id, () => this.ask(handle, message))
      return 0
    }
    const request = ++this.#request
    this.#asked.set(request, { document: id, handle })
    return this.connection.send({ ...message, request })
  }

  leave(handle: DocumentHandle): void {
    this.#postponed.delete(handle.id)
    for (const asked of this.#asked.values()) if (asked.handle === handle) asked.handle = null
    for (const [channel, other] of this.#channels) {
      if (other !== handle) continue
      this.#channels.delete(channel)
      this.connection.send({ kind: 'close', channel })
    }
  }

  onMessage(message: ServerMessage, bytes: number): void {
    switch (message.kind) {
      case 'opened':
      case 'refused': {
        const asked = this.#asked.get(message.request)
        this.#asked.delete(message.request)
        if (asked === undefined) return
        const { handle, document } = asked
        if (handle !== null) {
          if (message.kind === 'opened') this.#channels.set(message.channel, handle)
          return handle.hear(message, bytes)
        }
        if (message.kind === 'opened') this.connection.send({ kind: 'close', channel: message.channel })
        const next = this.#postponed.get(document)
        this.#postponed.delete(document)
        return next?.()
      }
      case 'updates':
      case 'caught-up':
      case 'ack':
      case 'nack':
      case 'awareness':
        return this.#channels.get(message.channel)?.hear(message, bytes)
      case 'closed': {
        const handle = this.#channels.get(message.channel)
        this.#channels.delete(message.channel)
        return handle?.hear(message, bytes)
      }
    }
  }

  log(document: string | null, event: string, detail = ''): void {
    const entry = { atMs: this.environment.now(), document, event, detail }
    this.events = [...this.events.slice(1 - eventsMax), entry]
    this.emit('event', entry)
  }
}

/**
 * What an app sees of the client. No Yjs provider is asked for: `handle.doc` and `handle.awareness` are what editor
 * bindings (TipTap, ProseMirror, CodeMirror, Quill, Monaco, Lexical) take from any.
 *
 * - `saved` and `pending` speak of durability on the server only: an edit counts as saved when the server has
 *   acknowledged it, not when it was sent, seen by others or written to this browser's disk.
 * - Every promise here may be ignored: none leads to an unhandled rejection.
 */
import type {
  ChangeOptions as AutomergeChangeOptions,
  Doc as AutomergeDoc,
  Patch as AutomergePatch,
} from '@automerge/automerge'
import type { Awareness } from 'y-protocols/awareness'
import type * as Y from 'yjs'
import type { TidemarkError } from '../core/protocol/error-codes.ts'
import type { DocumentEntries } from './entries.ts'
import type { Queries } from './query-types.ts'
import type { Storage } from './storage/storage.ts'

/**
 * Where a document, or the client's connection, is.
 *
 *   offline          no connection; edits are kept, and sent later
 *   connecting       a socket is being opened (or the token asked for)
 *   authenticating   the socket is open, the server has not welcomed us yet
 *   syncing          the document was asked for; what was missed is on its way
 *   live             edits travel both ways
 *   refused          the server said no for good: `handle.error` says why; edits are kept, nothing is retried
 */
export type Status = 'offline' | 'connecting' | 'authenticating' | 'syncing' | 'live' | 'refused'

/** What was found on disk. `unavailable`: it could not be read (it is not overwritten); editing goes on in memory. */
export type Loaded = 'stored' | 'empty' | 'unavailable'

/** Where local edits are kept. `memory`: they end with the page; either it was asked for, or the disk failed. */
export type StorageState = 'disk' | 'memory'

export interface ClientOptions {
  /** Of the server's tidemark.v1 door: `wss://host/v1/sync`. http(s) URLs and a bare origin are completed. */
  readonly url: string
  /**
   * Sent in-band, never in the URL. A function is asked at each connection, again shortly before the token expires and
   * once more when it was refused as expired; it may throw (offline, say), which is retried with backoff.
   */
  readonly token?: string | (() => string | Promise<string>)
  /**
   * Whose data this is on this browser: storage is kept apart by server and user. Default: the `sub` of a `token` that
   * is a string; '' without a token. Required with a token function, unless storage is `memory`.
   */
  readonly user?: string
  /** Default: `indexeddb` where there is one, else `memory`. */
  readonly storage?: 'indexeddb' | 'memory' | Storage
  /** Default: the global one; in Node before 22, that of the package `ws`. */
  readonly webSocket?: new (
    url: string,
    protocols: string[],
  ) => WebSocketLike
}

/** The part of a WebSocket that is used. */
export interface WebSocketLike {
  binaryType: string
  readonly bufferedAmount: number
  onopen: ((event: never) => void) | null
  onmessage: ((event: never) => void) | null
  onclose: ((event: never) => void) | null
  onerror: ((event: never) => void) | null
  send(data: Uint8Array<ArrayBuffer>): void
  close(code?: number, reason?: string): void
}

export interface Client extends Queries {
  /** Of the connection: never `syncing`. */
  readonly status: Status
  /** Why the connection was refused, or last failed; null while it is live. */
  readonly error: TidemarkError | null
  /** True between `pause()` and `resume()`. */
  readonly paused: boolean
  /** The last entries of the event log, oldest first, at most 500. */
  readonly events: readonly LogEntry[]
  /**
   * The document's handle. Opening an id again gives the same handle; it ends when each `open` was followed by a
   * `close`. Throws `invalid_document_id`, and `invalid_request` after `client.close()`.
   */
  open(documentId: string, options?: { readonly engine?: 'yjs' }): Handle
  /**
   * An Automerge document, once Automerge is loaded; the same in all else. A document's engine is that of its first edit: opened as
   * another one, it is refused (`wrong_engine`).
   */
  open<T>(documentId: string, options: { readonly engine: 'automerge' }): Promise<AutomergeHandle<T>>
  /** Connects now instead of waiting; also after a refusal, which may have been remedied. */
  retry(): void
  /** Works offline until `resume()`, as if there were no network. */
  pause(): void
  resume(): void
  inspect(): Inspection
  on<Name extends keyof ClientEvents>(name: Name, listener: ClientEvents[Name]): () => void
  off<Name extends keyof ClientEvents>(name: Name, listener: ClientEvents[Name]): void
  /** Writes what is not yet on disk, and disconnects. Handles are of no use afterwards. */
  close(): Promise<void>
  /**
   * Closes the client and deletes all that this user has stored on this browser for this server, edits that the server
   * does not have included; other tabs of the same user are closed likewise. For signing out.
   */
  forget(): Promise<void>
}

export interface ClientEvents {
  status: (status: Status) => void
  /** An entry was added to the event log. */
  event: (entry: LogEntry) => void
  /** Another tab of this user called `forget()`: this client is closed. */
  forgotten: () => void
}

export interface Handle<Doc = Y.Doc> {
  readonly id: string
  /** Replaced by `reset()`, and only by it: see the event `reset`. */
  readonly doc: Doc
  readonly awareness: Awareness
  readonly status: Status
  /** Why the document is refused, or why its edits are (`read_only`); else the last failure, or null. */
  readonly error: TidemarkError | null
  /** What the server said at the last opening; null before. With `read`, edits are kept here and never saved. */
  readonly access: 'read' | 'write' | null
  /** Edits (Yjs transactions, Automerge changes) made on this device that the server has not acknowledged. Right after a reload too. */
  readonly pending: number
  /** False until `whenLoaded`. */
  readonly loaded: boolean
  /** False until `whenSynced`. */
  readonly synced: boolean
  readonly storage: StorageState
  /** Resolves when the document is as this browser stored it; also offline. Never rejects. */
  readonly whenLoaded: Promise<Loaded>
  /**
   * Resolves when the document has, for the first time, all that the server had when it was opened. Rejects when the
   * document is refused for good before. Seed a new document after this, never after `whenLoaded`.
   */
  readonly whenSynced: Promise<void>
  /** Set aside from a lineage that has ended; null when there is nothing. */
  readonly aside: Aside | null
  /**
   * Resolves when all edits made so far are durable on the server. Rejects with a `TidemarkError` when they are
   * refused for good, or when the client is closed before.
   */
  saved(): Promise<void>
  /** What was set aside, as a document of its own (not connected to anything); null when there is nothing. */
  recover(): Promise<Doc | null>
  /** Deletes what was set aside. */
  discard(): Promise<void>
  /**
   * Gives up this replica (setting it aside if it has not been yet) and joins the document's present lineage with an
   * empty `doc` and a new `awareness`.
   */
  reset(): Promise<void>
  /** Ends this use of the handle; resolves when what was edited is on disk (or at once, with none). */
  close(): Promise<void>
  on<Name extends keyof HandleEvents>(name: Name, listener: HandleEvents[Name]): () => void
  off<Name extends keyof HandleEvents>(name: Name, listener: HandleEvents[Name]): void
}

/** `doc` is immutable: each change, of whoever, makes another one, and is told by the event `change`. */
export interface AutomergeHandle<T = unknown> extends Omit<Handle<AutomergeDoc<T>>, 'on' | 'off'> {
  /** An edit, as `Automerge.change`; durable once `saved()` resolves. Gives the new `doc`. */
  change(edit: (doc: T) => void, options?: AutomergeChangeOptions<T>): AutomergeDoc<T>
  /**
   * Changes that were made elsewhere, as an edit: one or more as Automerge encodes them, one after the other, or a saved document.
   * Those that the document has are nothing new, so several may begin it with the same ones. Throws `update_incomplete` when they
   * build on others that are not here.
   */
  merge(update: Uint8Array): AutomergeDoc<T>
  /** For `openDomain`. Another one after `reset()`. */
  readonly entries: DocumentEntries
  on<Name extends keyof AutomergeEvents<T>>(name: Name, listener: AutomergeEvents<T>[Name]): () => void
  off<Name extends keyof AutomergeEvents<T>>(name: Name, listener: AutomergeEvents<T>[Name]): void
}

export interface AutomergeEvents<T> extends HandleEvents {
  /** `local`: by `change` or `merge` of this handle. */
  change: (change: {
    readonly doc: AutomergeDoc<T>
    readonly before: AutomergeDoc<T>
    readonly patches: readonly AutomergePatch[]
    readonly local: boolean
  }) => void
}

/** A replica of an ended lineage, kept out of the present one. */
export interface Aside {
  /** The whole document as it was: in Yjs's encoding v1, or as Automerge saves it. */
  readonly update: Uint8Array
  /** Edits in it that the server never had. */
  readonly unsaved: number
  /** `stale_replica` or `document_removed` as the server said it, or `reset`. */
  readonly code: string
  readonly why: string
  /** Of the lineage that ended. */
  readonly epoch: number
  /** Milliseconds since 1970, of this device. */
  readonly atMs: number
}

export interface HandleEvents {
  status: (status: Status) => void
  pending: (pending: number) => void
  /** The first time everything the server had is here. */
  synced: () => void
  loaded: (loaded: Loaded) => void
  /** Edits were refused, the document was, or an attempt failed. */
  error: (error: TidemarkError) => void
  /** The lineage ended: this replica was set aside, and waits for `recover`, `discard` or `reset`. */
  lineage: (aside: Aside) => void
  /** Disk became unavailable (quota, deleted, blocked), or available again. */
  storage: (state: StorageState, error: Error | null) => void
  access: (access: 'read' | 'write') => void
  /** `doc` and `awareness` are new ones: bind editors again. */
  reset: () => void
}

export interface Inspection {
  readonly url: string
  readonly status: Status
  readonly error: TidemarkError | null
  /** When the next attempt is due (ms since 1970), or null. */
  readonly retryAtMs: number | null
  readonly attempts: number
  /** What an acknowledgement is worth, as the server says: `fsync`, `aof-always`, `aof-everysec`, `memory`; null before. */
  readonly durability: string | null
  readonly paused: boolean
  readonly documents: readonly DocumentInspection[]
}

export interface DocumentInspection {
  readonly id: string
  readonly status: Status
  /** How many `open` calls have not been followed by `close`. 0: open only until its edits are saved. */
  readonly handles: number
  readonly access: 'read' | 'write' | null
  readonly epoch: number
  /** Everything up to here of the document's log is in `doc`. */
  readonly offset: number
  /** The highest offset heard of. */
  readonly head: number
  readonly pending: number
  readonly pendingBytes: number
  readonly sentBytes: number
  readonly receivedBytes: number
  readonly storage: StorageState
  readonly replica: string
  readonly lastError: TidemarkError | null
  readonly retryAtMs: number | null
}

export interface LogEntry {
  /** Milliseconds since 1970, of this device. */
  readonly atMs: number
  /** Null: of the connection. */
  readonly document: string | null
  /** What happened, in a word or two: `connecting`, `live`, `nack`, `storage failed`, … */
  readonly event: string
  readonly detail: string
}

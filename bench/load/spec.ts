/** What the parent asks of a load process, and what it answers: one message each way. */
import type { LargeRepoDocument } from './repo/large-document.ts'
import type { Address } from './socket.ts'

/** Where a client connects, and what it says there. */
export interface Endpoint {
  readonly address: Address
  /** False for raw servers, which pass every message on and answer none. */
  readonly handshake: boolean
  /** Given: Hocuspocus's frames, on this path. Else y-websocket's, on the document's. */
  readonly hocuspocusPath?: string
  /** Given: loads are those of automerge-repo's peers, on this path. */
  readonly automergePath?: string
}

interface LoadTarget extends Endpoint {
  readonly serverPid: number
  readonly logPid: number | null
}

/** One writer, many readers, one document. */
export interface FanOutSpec extends LoadTarget {
  readonly kind: 'fan-out'
  readonly readers: number
  /** True: readers are clients of the `ws` package, which make an object of each message, as apps do. */
  readonly appReaders?: boolean
  /** Each measured in turn: how many updates may be on their way to the slowest reader. */
  readonly windows: readonly number[]
  /** When given, updates leave at this rate and `windows` is not used. */
  readonly updatesPerSecond?: number
  readonly warmUpMs: number
  readonly measureMs: number
}

/** Many documents, each with one writer and one reader. */
export interface DocumentsSpec extends LoadTarget {
  readonly kind: 'documents'
  readonly documents: number
  /** For each document. */
  readonly windows: readonly number[]
  readonly updatesPerSecond?: number
  readonly warmUpMs: number
  readonly measureMs: number
}

/** A recorded trace, edit by edit, one writer and one reader. */
export interface TraceSpec extends LoadTarget {
  readonly kind: 'trace'
  readonly traceFile: string
  readonly window: number
  /** Where a Prometheus page may tell of compactions. */
  readonly metricsUrl: string | null
  readonly compactionDeadlineMs: number
}

/** Clients that were away come back at once, each with edits of its own. */
export interface OfflineReturnSpec extends LoadTarget {
  readonly kind: 'offline-return'
  readonly documents: number
  readonly clientsPerDocument: number
  readonly editsPerClient: number
  readonly deadlineMs: number
}

/** The same with whole clients, which hold documents. */
export interface ClientsReturnSpec extends LoadTarget {
  readonly kind: 'clients-return'
  readonly client: 'tidemark' | 'y-websocket'
  readonly metricsUrl: string
  readonly documents: number
  readonly clientsPerDocument: number
  readonly editsPerClient: number
  readonly deadlineMs: number
}

/** Clients of tidemark.v1 that missed some edits come back, one after the other. */
export interface ReconnectSpec extends LoadTarget {
  readonly kind: 'reconnect'
  /** Of one document each, about. */
  readonly documentBytes: readonly number[]
  readonly editsMissed: number
  readonly times: number
}

/** Somebody joins a stored document. Versions are state vectors in base64. */
export interface JoinStep {
  readonly kind: 'join'
  readonly name: string
  /** At once. */
  readonly joiners: number
  /** In turn; the figures are means. */
  readonly times: number
  /** What the joiners have. */
  readonly version: string
  /** What a raw server is asked for instead. */
  readonly rawBytes: number
}

/** Updates become durable and stay in the tail. */
export interface WriteStep {
  readonly kind: 'write'
  readonly updatesFile: string
  readonly version: string
}

export interface JoinSpec extends LoadTarget {
  readonly kind: 'join'
  readonly document: string
  readonly steps: readonly (JoinStep | WriteStep)[]
  /** What a newcomer must have in the end. */
  readonly expectedVersion: string
  /** For automerge-repo's peers, instead of versions and files. */
  readonly repo?: LargeRepoDocument
}

/** One large update becomes a snapshot. */
export interface StoreSpec extends LoadTarget {
  readonly kind: 'store'
  readonly document: string
  readonly updateFile: string
  readonly repo?: LargeRepoDocument
  /** Where a Prometheus page tells of compactions; null: somebody who waits long enough must do. */
  readonly metricsUrl: string | null
}

/** Documents are typed into at a steady rate, and in the midst of it the server is killed. */
export interface KillSpec extends LoadTarget {
  readonly kind: 'kill'
  readonly documents: number
  /** Over all documents. */
  readonly updatesPerSecond: number
  readonly afterMs: number
  /** For `RecoverSpec`: what had been seen by then. */
  readonly seenFile: string
}

/** What is left of them in a server started anew. */
export interface RecoverSpec extends LoadTarget {
  readonly kind: 'recover'
  readonly seenFile: string
}

/** Many sessions that do nothing. */
export interface IdleSpec extends LoadTarget {
  readonly kind: 'idle'
  /** Opened first and not counted: what a server needs once and not for each. */
  readonly warmUpSessions: number
  readonly sessions: number
  /** They take turns. */
  readonly documents: number
  /** Connects on their way. */
  readonly atOnce: number
}

/** Users of one document who each change their presence once a second. */
export interface PresenceSpec extends LoadTarget {
  readonly kind: 'presence'
  readonly users: number
  /** Send back what they are told, as y-websocket's client does. */
  readonly echoing: boolean
  readonly warmUpMs: number
  readonly measureMs: number
}

/** Many paste into a document in which one person types. */
export interface PasteSpec extends LoadTarget {
  readonly kind: 'paste'
  readonly writers: number
  readonly pasteBytes: number
  /** The pastes are spread evenly over this time; 0: all in one moment. */
  readonly spreadMs: number
  readonly keysPerSecond: number
}

export type SqlName = 'postgres' | 'pglite'

/** Documents with entries become durable. */
export interface FillSpec extends LoadTarget {
  readonly kind: 'fill'
  readonly prefix: string
  readonly documents: number
  /** Entries that are set, `atOnce` of them in each update, in all documents alike. */
  readonly steps: readonly { readonly from: number; readonly to: number; readonly atOnce: number }[]
  /** Updates that the documents have already: the first ones of `steps`. */
  readonly skip: number
}

/** Documents that are edited at a steady rate, and projected. */
export interface ViewsLatencySpec extends LoadTarget {
  readonly kind: 'views-latency'
  /** Null: there are no views. */
  readonly sql: SqlName | null
  readonly databaseUrl: string | null
  readonly postgresPid: number | null
  readonly metricsUrl: string
  readonly documents: number
  /** Before the edits. */
  readonly entriesPerDocument: number
  /** Over all documents. */
  readonly updatesPerSecond: number
  readonly warmUpMs: number
  readonly measureMs: number
}

/** One large document after the other, of which single entries change. */
export interface ViewsFlatSpec extends LoadTarget {
  readonly kind: 'views-flat'
  readonly metricsUrl: string
  readonly postgresPid: number | null
  readonly sizes: readonly number[]
  readonly edits: number
  readonly updatesPerSecond: number
}

/** Intents of many documents, and the server's word on them. */
export interface DecisionsSpec extends LoadTarget {
  readonly kind: 'decisions'
  /** False: facts are written, and nobody decides. */
  readonly decides: boolean
  readonly documents: number
  /** Of each of the two parts. */
  readonly seconds: number
  readonly steadyPerSecond: number
}

/** Waits until that many documents are projected. */
export interface ViewsCatchUpSpec extends LoadTarget {
  readonly kind: 'views-catch-up'
  readonly metricsUrl: string
  readonly postgresPid: number | null
  readonly documents: number
}

/** Rows alone. */
export interface RawRowsSpec {
  readonly kind: 'raw-rows'
  /** Null: PGlite in `folder`. */
  readonly databaseUrl: string | null
  readonly postgresPid: number | null
  readonly folder: string
  readonly isStamped: boolean
  readonly documents: number
  /** Null: as fast as it goes. */
  readonly rate: {
    readonly perSecond: number
    readonly warmUpMs: number
    readonly measureMs: number
  } | null
  /** As fast as it goes: one after the other. */
  readonly passes: readonly {
    readonly name: string
    readonly entries: number
    readonly rowsPerCommit: number
  }[]
}

/** Documents whose sessions are spread over several relays, each document's over all of them. */
export interface NodesSpec {
  readonly kind: 'nodes'
  readonly addresses: readonly Address[]
  readonly handshake: boolean
  readonly serverPids: readonly number[]
  readonly logPid: number | null
  readonly documents: number
  readonly readersPerDocument: number
  /** Over all documents. */
  readonly updatesPerSecond: number
  readonly warmUpMs: number
  readonly measureMs: number
}

/** Facts into folds, without any server. */
export interface FoldSpec {
  readonly kind: 'fold'
  readonly what: 'raw' | 'fold' | 'bytes'
  readonly facts: number
  readonly actors: number
  /** From scratch; the first is told apart. */
  readonly rounds: number
  /** One by one at the end. */
  readonly newFacts: number
  /** For `bytes`. */
  readonly actorCounts: readonly number[]
}

/** Peers of automerge-repo. */
export interface AutomergeSpec extends LoadTarget {
  readonly kind: 'automerge'
  /** Of the door. */
  readonly path: string
  /** `join-control`: what would be the server's work for those who join is a stand-in's. */
  readonly what: 'load' | 'fill' | 'join' | 'join-control'
  readonly documents: number
  /** Of each document; of a stored one those that come at once. */
  readonly readers: number
  /** Made for each document ahead of time. */
  readonly changes: number
  readonly window: number
  /** What `fill` told that it made. */
  readonly stored: { readonly documentId: string; readonly head: string } | null
  readonly warmUpMs: number
  readonly measureMs: number
}

export type LoadSpec =
  | AutomergeSpec
  | FanOutSpec
  | DocumentsSpec
  | TraceSpec
  | OfflineReturnSpec
  | ClientsReturnSpec
  | ReconnectSpec
  | JoinSpec
  | StoreSpec
  | KillSpec
  | RecoverSpec
  | IdleSpec
  | PresenceSpec
  | PasteSpec
  | NodesSpec
  | FillSpec
  | ViewsLatencySpec
  | DecisionsSpec
  | ViewsFlatSpec
  | ViewsCatchUpSpec
  | RawRowsSpec
  | FoldSpec

export type Figures = Readonly<Record<string, number>>

export interface LoadCase {
  /** '' when the load has only one case. */
  readonly name: string
  readonly figures: Figures
}

export interface LoadResult {
  readonly cases: readonly LoadCase[]
  /** Whatever went wrong: a lost update, a broken connection. Must be empty. */
  readonly errors: readonly string[]
}

/** What the parent asks of a load process, and what it answers: one message each way. */
import type { Address } from './socket.ts'

interface LoadTarget {
  readonly address: Address
  /** False for raw servers, which pass every message on and answer none. */
  readonly handshake: boolean
  readonly serverPid: number
  readonly logPid: number | null
}

/** One writer, many readers, one document. */
export interface FanOutSpec extends LoadTarget {
  readonly kind: 'fan-out'
  readonly readers: number
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

export type LoadSpec = FanOutSpec | DocumentsSpec | TraceSpec | OfflineReturnSpec

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

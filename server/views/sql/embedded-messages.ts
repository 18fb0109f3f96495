/** What passes between embedded-sql.ts and embedded-worker.ts. After `batch`, one `done` or `refused`. */
import type { BatchOptions, Result, SqlErrorDetails, Statement } from './sql.ts'

export interface WorkerSettings {
  readonly database: string
  /** Path of the archive with which a new database begins. */
  readonly initial: string
  /** Of 127.0.0.1, for psql and friends (socket/port.ts); 0 for none. */
  readonly port: number
}

export type ToWorker =
  | { readonly type: 'batch'; readonly statements: readonly Statement[]; readonly options: BatchOptions }
  | { readonly type: 'close' }

export type FromWorker =
  /** `notBegun`: why a new database could not begin with the initial one, and was made; null when it did, or is not new. */
  | { readonly type: 'up'; readonly notBegun: string | null }
  | { readonly type: 'failed'; readonly reason: string }
  | { readonly type: 'done'; readonly results: readonly Result[] }
  | { readonly type: 'refused'; readonly message: string; readonly details: SqlErrorDetails }
  | { readonly type: 'upkeep_failed'; readonly reason: string }
  | { readonly type: 'port_failed'; readonly reason: string }
  | { readonly type: 'closed' }

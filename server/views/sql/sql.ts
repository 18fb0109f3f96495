/**
 * SQL behind one verb: `batch`, a transaction that is all or nothing and needs no conversation, so that it is one message
 * to PGlite (embedded-sql.ts) and one pipeline to PostgreSQL (postgres-sql.ts). One contract suite holds for both.
 *
 * - A batch that resolves is committed. One that rejects with `outcome: 'rolled_back'` left nothing; with `'unknown'` the
 *   connection was lost around the commit, and who retries must write what may be written twice.
 * - Every rejection is a `SqlError`. `retryable`: the same batch may succeed later, since the database was away, full,
 *   read-only, or in somebody else's hands; else the batch itself is at fault.
 * - Drivers recover by themselves: nothing has to be called after the database was away.
 *
 * Values travel as PostgreSQL writes them, both ways: a driver that decides types by itself would decide otherwise than
 * the next one, and lose digits of numeric and bigint.
 */
export interface Sql {
  /** Does not wait for the database. */
  start(): Promise<void>
  /** Waits for the batch that runs; those that wait are rejected. */
  close(): Promise<void>
  /** Why the last batch could not reach the database; null when it could. For health and metrics. */
  unavailable(): string | null
  /** With a signal the batch is given up where that can be done: PGlite finishes what it is at. */
  batch(
    statements: readonly Statement[],
    options?: BatchOptions,
    signal?: AbortSignal,
  ): Promise<readonly Result[]>
}

/** Sent as text: a boolean as `true`, bytes as `\x…`. The statement's types decide what it becomes. */
export type Parameter = string | number | bigint | boolean | Uint8Array | null

export interface Statement {
  readonly text: string
  readonly parameters?: readonly Parameter[]
  /** Rows returned or written; any other number rolls the batch back with code `rowsUnexpected`. */
  readonly rowsExpected?: number
  /** Several statements in `text`, no parameters, no rows back. Never for text that comes from a user. */
  readonly script?: boolean
}

export interface BatchOptions {
  /** Role of the transaction; without it, the one that owns the tables. */
  readonly role?: string
  readonly readOnly?: boolean
  /** `request.jwt.claims` for row-level security, as JSON. */
  readonly claims?: string
  /** Others that hold for this transaction. */
  readonly settings?: Readonly<Record<string, string>>
  /** Schemas in which names without one are looked up. */
  readonly searchPath?: readonly string[]
  /** For each statement. PostgreSQL cancels it; PGlite, which cannot be interrupted, is restarted at `batchMs`. */
  readonly statementTimeoutMs?: number
  /** For the whole batch, from when it has a connection. */
  readonly batchMs?: number
}

export interface Result {
  /** Values as PostgreSQL writes them. */
  readonly rows: readonly (readonly (string | null)[])[]
  readonly columns: readonly Column[]
  /** Rows returned or written. */
  readonly count: number
}

export interface Column {
  readonly name: string
  /** Name of a built-in type, or `oid 12345`. */
  readonly type: string
}

export const statementTimeoutMs = 30_000
export const batchMs = 60_000
/** Batches that wait for a connection; more are refused, retryably. */
export const batchesWaitingMax = 64
export const statementCountMax = 1_000
/** Text and parameters of one batch. */
export const batchBytesMax = 64 * 1024 * 1024

/** SQLSTATE of `rowsExpected`; class TM is ours. */
export const rowsUnexpected = 'TM001'
/** SQLSTATE of everything without an answer of the database: away, starting, lost. */
export const connectionFailure = '08006'

export type Outcome = 'rolled_back' | 'unknown'

export interface SqlErrorDetails {
  /** SQLSTATE. */
  readonly code: string
  readonly outcome?: Outcome
  /** Index of the statement at fault. */
  readonly statement?: number
  /** Of the character in the statement at fault, from 1. */
  readonly position?: number
  readonly retryable?: boolean
  readonly cause?: unknown
}

export class SqlError extends Error {
  readonly code: string
  readonly retryable: boolean
  readonly outcome: Outcome
  readonly statement: number | undefined
  readonly position: number | undefined
  constructor(message: string, details: SqlErrorDetails) {
    super(message, { cause: details.cause })
    this.name = 'SqlError'
    this.code = details.code
    this.retryable = details.retryable ?? isRetryableState(details.code)
    this.outcome = details.outcome ?? 'rolled_back'
    this.statement = details.statement
    this.position = details.position
  }
}

/**
 * 08 connection, 40 serialization and deadlock, 53 out of resources, 55 in use, 57 shut down or cancelled, 58 its disk;
 * 25006 a standby, or a database set to read-only.
 */
export function isRetryableState(code: string): boolean {
  return /^(08|40|53|55|57|58)/.test(code) || code === '25006'
}

export function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`
}

/** What a batch ends with when nobody waits for it any more. */
export const givenUp = (): SqlError =>
  new SqlError('Nobody waits for it any more', { code: '57014', retryable: false })

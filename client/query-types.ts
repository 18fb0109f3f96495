/** What an app sees of queries: `client.query`, `client.live`. docs/client.md explains them. */
import type { TidemarkError } from '../core/protocol/error-codes.ts'
import type { QueryColumn, QueryRow, QueryValue } from '../core/protocol/query.ts'

export type { QueryColumn, QueryRow, QueryValue } from '../core/protocol/query.ts'

export interface QueryOptions {
  /**
   * Waits until the views have so much of these documents: offsets, as `client.inspect()` has them. `true`: of each
   * document that is open here what this client has, its own saved edits included.
   */
  readonly after?: true | Readonly<Record<string, number>>
  /** Gives up; the promise rejects with its reason. */
  readonly signal?: AbortSignal
}

export interface QueryResult<Row extends object = QueryRow> {
  readonly columns: readonly QueryColumn[]
  readonly rows: readonly Row[]
  /** The next rows; not there when these are the last. Rows that changed meanwhile may be missed, or come twice. */
  more?(): Promise<QueryResult<Row>>
}

/**
 * Where a live query is.
 *
 *   connecting   on its way, for the first time or again
 *   live         `rows` are what the server has
 *   offline      no connection: `rows` are the last ones that were heard of; it is tried again
 *   refused      the server said no for good: `error` says why
 *   closed       by `close()`, or with the client
 */
export type LiveState = 'connecting' | 'live' | 'offline' | 'refused' | 'closed'

export interface LiveOptions {
  /** Columns by which a row is known again when it changes. Default: `document` and `entry`, where the result has them. */
  readonly key?: readonly string[]
  /** Ends it, as `close()` does. */
  readonly signal?: AbortSignal
}

/**
 * Iterating gives `rows` at each change; while nobody asks, changes come to one. It ends with `close()`, and throws `error` when
 * refused. Leaving the loop closes nothing.
 */
export interface LiveQuery<Row extends object = QueryRow> extends AsyncIterable<readonly Row[]> {
  readonly columns: readonly QueryColumn[]
  /** Empty until the first answer. A row that did not change stays the same object. */
  readonly rows: readonly Row[]
  /** `rows` have come at least once. */
  readonly loaded: boolean
  readonly state: LiveState
  /** Why it was refused, or last failed; null while it is live. */
  readonly error: TidemarkError | null
  /** Tries now instead of waiting; also after a refusal, which may have been remedied. */
  retry(): void
  close(): void
}

/** Called at each change of rows or state. */
export type LiveListener<Row extends object> = (live: LiveQuery<Row>) => void

export interface Queries {
  /**
   * Asks the views once, in SQL: `client.query('select title from notes where words > $1', [100])`. Rejects with a
   * `TidemarkError`: `query_refused`, `query_failed`, `views_behind` and others of PROTOCOL.md.
   */
  query<Row extends object = QueryRow>(
    sql: string,
    params?: readonly QueryValue[],
    options?: QueryOptions,
  ): Promise<QueryResult<Row>>
  /**
   * Asks, and keeps the rows as documents change, until `close()`. Resolves at once, before the first rows; what goes wrong is told by
   * `state` and `error`. Rejects only when the client is closed.
   */
  live<Row extends object = QueryRow>(
    sql: string,
    params?: readonly QueryValue[],
    listener?: LiveListener<Row>,
    options?: LiveOptions,
  ): Promise<LiveQuery<Row>>
}

/**
 * What `POST /v1/query` and `GET /v1/live` say, the same for server and client; PROTOCOL.md explains it.
 *
 * A live query is a list of rows, each with a key. After the first `rows`, a `change` says what became of the list:
 * take away what is `removed` and what is `changed`, then put `added` and `changed` rows in, each `at` its place in
 * the new list, lowest first. Rows that are not named keep their order among each other.
 */

/** What JSON has, and what rows are made of: bigint and numeric are strings, as are dates, and bytes as `\x…`. */
export type QueryValue =
  | string
  | number
  | boolean
  | null
  | readonly QueryValue[]
  | { readonly [name: string]: QueryValue }

export type QueryRow = Readonly<Record<string, QueryValue>>

export interface QueryColumn {
  readonly name: string
  /** PostgreSQL's name of it: `text`, `bigint`, `timestamp with time zone`, `text[]` … */
  readonly type: string
}

export interface QueryRequest {
  /** One statement that reads; `$1` and so on stand for `params`. */
  readonly sql: string
  readonly params?: readonly QueryValue[]
  /** Waits until the views have each document at this offset, that of an ack. */
  readonly after?: Readonly<Record<string, number>>
  /** Of an answer before, to the same query: goes on behind its last row. */
  readonly cursor?: string
}

export interface QueryAnswer {
  readonly columns: readonly QueryColumn[]
  readonly rows: readonly QueryRow[]
  /** There are more rows. */
  readonly cursor?: string
}

/** Names of server-sent events; their data is JSON. */
export type LiveEvent =
  | { readonly event: 'rows'; readonly data: LiveRows }
  | { readonly event: 'change'; readonly data: LiveChange }
  /** The query ends here; `code` is one of the error table. */
  | { readonly event: 'error'; readonly data: { readonly code: string; readonly message: string } }

export interface LiveRows {
  readonly columns: readonly QueryColumn[]
  readonly rows: readonly LiveRow[]
}

export interface LiveRow {
  readonly key: string
  readonly row: QueryRow
}

export interface LiveChange {
  readonly added: readonly PlacedRow[]
  readonly changed: readonly PlacedRow[]
  /** Keys. */
  readonly removed: readonly string[]
}

export interface PlacedRow extends LiveRow {
  readonly at: number
}

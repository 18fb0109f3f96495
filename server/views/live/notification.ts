/**
 * How nodes that share a PostgreSQL hear which tables were written: a notification for each, sent by the transaction that
 * writes, so there is one for each commit and none without.
 *
 *   payload = [ node, schema, table | null ]   -- JSON; null: all tables of the schema, which may be others now
 *
 * What counts is rows: of what a batch might write, those tables are told in which PostgreSQL counted changes, in the same
 * trip. It may count those of a moment before too; that costs a run of a query, and none is missed.
 */
import type { Statement } from '../sql/sql.ts'
import type { Touch } from './touch.ts'

export const channel = 'tidemark_touched'

export interface Notification extends Touch {
  /** '': not a node that would know by itself. */
  readonly node: string
}

/** Ends the statements of a transaction that writes. */
export function notifying(node: string, touches: readonly Touch[]): Statement[] {
  if (touches.length === 0) return []
  const tables = new Map(touches.map((touch) => [`${touch.schema}.${touch.table}`, touch]))
  return [
    {
      text: `select pg_notify('${channel}', json_build_array($1::text, t.schema, t.table)::text)
        from json_to_recordset($2::json) as t(schema text, "table" text)
        join pg_class c on c.oid = to_regclass(quote_ident(t.schema) || '.' || quote_ident(t.table))
        where pg_stat_get_xact_tuples_inserted(c.oid) + pg_stat_get_xact_tuples_updated(c.oid)
          + pg_stat_get_xact_tuples_deleted(c.oid) > 0
          or c.relkind = 'p' or not current_setting('track_counts')::bool`,
      parameters: [node, JSON.stringify([...tables.values()])],
    },
  ]
}

/** For a schema of which the tables are replaced. */
export function notifyingAll(schema: string): Statement {
  return {
    text: `select pg_notify('${channel}', json_build_array('', $1::text, null)::text)`,
    parameters: [schema],
  }
}

/** Null for what is not as above: anybody with a connection can send to any channel. */
export function parseNotification(payload: string): Notification | null {
  let parsed: unknown
  try {
    parsed = JSON.parse(payload)
  } catch {
    // Not ours.
    return null
  }
  if (!Array.isArray(parsed) || parsed.length !== 3) return null
  const [node, schema, table] = parsed as unknown[]
  if (typeof node !== 'string' || typeof schema !== 'string') return null
  if (table !== null && typeof table !== 'string') return null
  return { node, schema, table }
}

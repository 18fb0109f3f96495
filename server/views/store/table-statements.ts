/**
 * The SQL by which the rows of a table become what they should be, made once per table.
 *
 * - Rows come as one JSON parameter for the whole batch, whose columns PostgreSQL reads by their own types. As fast on
 *   PostgreSQL as one array per column (`unnest`), which needs an escape for each type and cannot carry arrays. Prepared
 *   statements and `jsonb` made no difference that could be measured.
 * - A row is written only when its bytes differ (`*<>`, the image of a record): `=` holds 1.0 and 1.00, or two spellings in a
 *   citext, for the same, and rows would depend on the order in which edits came; for json there is no `=` at all.
 *   The casts keep PostgreSQL from comparing column by column, which it does for two rows as they are written.
 * - Deletions go before, so that a value that must be unique can move from one row to another.
 */
import { quoted } from '../sql/sql.ts'
import type { Table } from './tables.ts'

export interface TableStatements {
  /** $1: rows. */
  readonly upsert: string
  /** $1: ids of documents; all rows of theirs go. */
  readonly deleteDocuments: string
  /** $1: ids of documents, $2: the rows that stay. */
  readonly deleteOthers: string
  /** $1: `{document, entry}`; all rows of theirs go. */
  readonly deleteEntries: string
  /** $1: `{document, entry}`, $2: the rows that stay. */
  readonly deleteOtherEntries: string
  /** $1: rows, $2: their document, $3, $4, $5: a schema's progress of it. Counts rows that are missing, too many or differ. */
  readonly differing: string
}

export function statementsFor(table: Table): TableStatements {
  const { columns, key } = table
  const name = `${quoted(table.schema)}.${quoted(table.name)}`
  const typed = (names: readonly string[]): string =>
    columns
      .filter((column) => names.includes(column.name))
      .map((column) => `${quoted(column.name)} ${column.type}`)
      .join(', ')
  const all = columns.map((column) => column.name)
  const given = columns.map(({ name: column, default: otherwise }) =>
    otherwise === null ? `r.${quoted(column)}` : `coalesce(r.${quoted(column)}, ${otherwise})`,
  )
  // A key of such a type is found by whatever equals it, and has to be written as well.
  const settable = columns.filter(({ name: column, type }) => !key.includes(column) || !plain.has(type))
  const of = (row: string): string => settable.map((column) => `${row}.${quoted(column.name)}`).join(', ')
  const keyList = key.map(quoted).join(', ')
  const onConflict =
    settable.length === 0
      ? 'do nothing'
      : `do update set ${settable.map(({ name: column }) => `${quoted(column)} = excluded.${quoted(column)}`).join(', ')}
         where row(${of('t')})::record operator(pg_catalog.*<>) row(${of('excluded')})::record`
  const stays = `not exists (select from json_to_recordset($2::json) as k(${typed(key)})
      where ${key.map((column) => `k.${quoted(column)} = t.${quoted(column)}`).join(' and ')})`
  const sides = (side: string): string => all.map((column) => `${side}.${quoted(column)}`).join(', ')
  const documents = `delete from ${name} t using (select value as document from json_array_elements_text($1::json)) g
     where t.document = g.document`
  const entries = `delete from ${name} t using json_to_recordset($1::json) as g(document text, entry text)
     where t.document = g.document and t.entry = g.entry`
  return {
    upsert: `insert into ${name} as t (${all.map(quoted).join(', ')})
     select ${given.join(', ')} from json_to_recordset($1::json) as r(${typed(all)})
     on conflict (${keyList}) ${onConflict}`,
    deleteDocuments: documents,
    deleteOthers: `${documents} and ${stays}`,
    deleteEntries: entries,
    deleteOtherEntries: `${entries} and ${stays}`,
    differing: `select count(*) from (select ${given.map((expression, i) => `${expression} as ${quoted(all[i]!)}`).join(', ')}
        from json_to_recordset($1::json) as r(${typed(all)})) g
      full join (select ${all.map(quoted).join(', ')} from ${name} where document = $2) t
        on ${key.map((column) => `g.${quoted(column)} = t.${quoted(column)}`).join(' and ')}
      where row(${sides('g')})::record operator(pg_catalog.*<>) row(${sides('t')})::record and exists (
        select from tidemark.progress where adapter = $3 and document = $2 and epoch = $4 and "offset" = $5)`,
  }
}

/** Equal only when the bytes are. */
const plain = new Set(['text', 'integer', 'bigint', 'smallint', 'uuid', 'bytea', 'boolean', 'date'])

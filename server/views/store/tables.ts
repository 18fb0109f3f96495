/**
 * What the database's catalog says of an adapter's tables: their columns, in order, and their keys. The adapter's SQL is
 * never read for that: what PostgreSQL made of it counts.
 */
import type { Sql } from '../sql/sql.ts'

export interface Table {
  readonly schema: string
  readonly name: string
  /** Those that rows give: without generated ones. */
  readonly columns: readonly TableColumn[]
  readonly generated: readonly string[]
  /** Of the primary key, in its order. */
  readonly key: readonly string[]
}

export interface TableColumn {
  readonly name: string
  /** As in SQL: `numeric(10,2)`, `text[]`. */
  readonly type: string
  /** An expression for rows that say nothing, of columns that must not be null. */
  readonly default: string | null
}

/** Which tables are filled by entries; all others are by document. */
export type EntryTables = ReadonlySet<string>

export class TablesRefused extends Error {
  override readonly name = 'TablesRefused'
}

const catalogSql = `
  select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated <> '', a.attidentity <> '',
    pg_get_expr(d.adbin, d.adrelid), array_position(i.indkey::int2[], a.attnum)
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
  left join pg_index i on i.indrelid = c.oid and i.indisprimary
  where c.relnamespace = (select oid from pg_namespace where nspname = $1)
    and c.relkind in ('r', 'p') and not c.relispartition
  order by c.oid, a.attnum`

/** In the order in which they were made. Throws `TablesRefused` with what to change. */
export async function readTables(sql: Sql, schema: string, entryTables: EntryTables): Promise<Table[]> {
  const [result] = await sql.batch([{ text: catalogSql, parameters: [schema] }])
  const tables = new Map<string, { columns: TableColumn[]; generated: string[]; key: [number, string][] }>()
  for (const row of result?.rows ?? []) {
    const [table, name, type, notNull, generated, identity, expression, position] = row as string[]
    const found = tables.get(table!) ?? { columns: [], generated: [], key: [] }
    tables.set(table!, found)
    if (position !== null) found.key.push([Number(position), name!])
    if (generated === 't') {
      found.generated.push(name!)
      continue
    }
    if (identity === 't' || (expression != null && changing.test(expression)))
      throw new TablesRefused(
        `The column "${table}.${name}" fills itself in (${identity === 't' ? 'identity' : expression}): a rebuild would fill in something else`,
      )
    found.columns.push({ name: name!, type: type!, default: notNull === 't' ? (expression ?? null) : null })
  }
  return [...tables].map(([name, { columns, generated, key }]) => {
    const inOrder = key.sort(([a], [b]) => a - b).map(([, column]) => column)
    const table: Table = { schema, name, columns, generated, key: inOrder }
    assertKey(table, entryTables.has(name))
    return table
  })
}

/** What gives another value each time. The rest of what can is the adapter's promise. */
const changing =
  /\b(nextval|now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday|random|gen_random_uuid|uuid_generate_\w+|uuidv[47])\(|\b(CURRENT_\w+|LOCALTIME\w*|SESSION_USER)\b/i

function assertKey({ name, columns, key }: Table, isForEntries: boolean): void {
  const begin = isForEntries ? ['document', 'entry'] : ['document']
  const wanted = `primary key (${begin.join(', ')}${isForEntries ? '' : ', …'})`
  if (key.length === 0) throw new TablesRefused(`The table "${name}" has no primary key; give it ${wanted}`)
  for (const [i, column] of begin.entries()) {
    if (key[i] !== column)
      throw new TablesRefused(
        `The primary key of "${name}" is (${key.join(', ')}); it must begin as ${wanted}`,
      )
    const type = columns.find((one) => one.name === column)?.type
    if (type !== 'text')
      throw new TablesRefused(`The column "${name}.${column}" is ${type ?? 'generated'}; it must be text`)
  }
}

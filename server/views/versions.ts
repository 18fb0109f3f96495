/**
 * Which schemas the adapters' tables are in, and the swap when a new version's are complete.
 *
 *   no schema                  the tables are made where they belong: there is nobody who reads
 *   of this version            used as they are
 *   of an older one            <name>__next is made and filled; the old one is served, and stands still, until the swap
 *   of a newer one             left alone: a node of an older release must not write over it
 *
 * The swap is one transaction: it renames the schemas, takes the progress along, and raises all fences, so that whoever
 * still writes to what is no more is refused and looks again.
 */
import type { Adapter } from '../../core/domain/adapter.ts'
import { quoted, type Sql, type Statement } from './sql/sql.ts'
import { dropAdapter, installAdapter, installedVersion } from './store/schema.ts'
import { readTables, type Table } from './store/tables.ts'

export interface Placed {
  readonly adapter: Adapter
  readonly schema: string
  readonly tables: readonly Table[]
}

export interface Placement {
  readonly placed: readonly Placed[]
  /** Newer versions of these are live: they are not projected here. */
  readonly outdated: readonly Adapter[]
}

const nextOf = (name: string): string => `${name}__next`

export function isNext({ adapter, schema }: Placed): boolean {
  return schema !== adapter.name
}

/** Throws `SqlError`, and `TablesRefused` with what is wrong in an adapter's SQL. */
export async function place(sql: Sql, adapters: readonly Adapter[]): Promise<Placement> {
  const placed: Placed[] = []
  const outdated: Adapter[] = []
  for (const adapter of adapters) {
    const live = await installedVersion(sql, adapter.name)
    const next = await installedVersion(sql, nextOf(adapter.name))
    if ((live ?? 0) > adapter.version || (next ?? 0) > adapter.version) {
      outdated.push(adapter)
      continue
    }
    const schema = live === null || live === adapter.version ? adapter.name : nextOf(adapter.name)
    const there = schema === adapter.name ? live : next
    if (schema !== adapter.name && next !== null && next < adapter.version) await dropAdapter(sql, schema)
    const entryTables = new Set(adapter.entries.keys())
    const tables =
      there === adapter.version
        ? await readTables(sql, schema, entryTables)
        : await installAdapter(sql, schema, {
            name: adapter.name,
            version: adapter.version,
            sql: adapter.sql,
            entryTables,
          })
    placed.push({ adapter, schema, tables })
  }
  return { placed, outdated }
}

/** Another set of adapters, or other versions, begins at the start of the log. */
export function cursorNameOf(placed: readonly Placed[]): string {
  return placed
    .map(({ adapter }) => `${adapter.name}@${adapter.version}`)
    .sort()
    .join(' ')
}

/** True when all parts are done up to this change. */
export async function isAt(
  sql: Sql,
  cursorName: string,
  partCount: number,
  sequence: number,
): Promise<boolean> {
  const [result] = await sql.batch([
    {
      text: 'select from tidemark.cursors where name = $1 and part_count = $2 and sequence >= $3',
      parameters: [cursorName, partCount, sequence],
    },
  ])
  return result?.count === partCount
}

/** Puts the complete tables in the place of the old ones. Throws `SqlError`; another node that was faster is no error. */
export async function swap(sql: Sql, placed: readonly Placed[], cursorName: string): Promise<void> {
  const changed = placed.filter(isNext)
  await sql.batch([
    ...changed.flatMap(({ adapter, schema }) => renaming(adapter.name, schema, adapter.version)),
    { text: 'update tidemark.parts set fence = fence + 1, until = now()' },
    { text: 'delete from tidemark.cursors where name <> $1', parameters: [cursorName] },
  ])
}

function renaming(name: string, next: string, version: number): Statement[] {
  const move = (table: string, column: string): Statement[] => [
    { text: `delete from tidemark.${table} where ${column} = $1`, parameters: [name] },
    { text: `update tidemark.${table} set ${column} = $1 where ${column} = $2`, parameters: [name, next] },
  ]
  return [
    {
      text: 'select from tidemark.adapters where schema = $1 and version = $2 for update',
      parameters: [next, version],
      rowsExpected: 1,
    },
    { text: `drop schema if exists ${quoted(name)} cascade` },
    { text: `alter schema ${quoted(next)} rename to ${quoted(name)}` },
    ...move('adapters', 'schema'),
    ...move('progress', 'adapter'),
    ...move('dead_letters', 'adapter'),
  ]
}

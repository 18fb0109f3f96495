/**
 * Which schemas the adapters' tables are in, and the swap when a new version's are complete.
 *
 *   no schema                  the tables are made where they belong: there is nobody who reads
 *   of this version            used as they are
 *   of an older one            <name>__next is made and filled; the old one is served, and stands still, until the swap
 *   of a newer one             the node stands aside, with all its adapters: one set of them projects at a time
 *
 * The swap is one transaction: it renames the schemas, takes the progress along, and raises all fences, so that whoever
 * still writes to what is no more is refused and looks again.
 */
import type { Adapter } from '../../core/domain/adapter.ts'
import { quoted, rowsUnexpected, type Sql, SqlError, type Statement } from './sql/sql.ts'
import { dropAdapter, installAdapter, installedVersion } from './store/schema.ts'
import { type EntryTables, readTables, type Table, TablesRefused } from './store/tables.ts'

export interface Placed {
  readonly adapter: Adapter
  readonly schema: string
  readonly tables: readonly Table[]
}

export interface Placement {
  readonly placed: readonly Placed[]
  /** Newer versions of these are live, or on their way. */
  readonly outdated: readonly Adapter[]
}

const duplicateSchema = '42P06'

/** Where a new version's tables are made. */
export const nextOf = (name: string): string => `${name}__next`

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
        : await install(sql, schema, adapter, entryTables)
    placed.push({ adapter, schema, tables })
  }
  return { placed, outdated }
}

async function install(
  sql: Sql,
  schema: string,
  adapter: Adapter,
  entryTables: EntryTables,
): Promise<Table[]> {
  const { name, version, sql: text } = adapter
  try {
    return await installAdapter(sql, schema, { name, version, sql: text, entryTables })
  } catch (error) {
    if (!(error instanceof SqlError) || error.code !== duplicateSchema) throw error
    // Another node was faster; or it is none of ours.
    if ((await installedVersion(sql, schema)) === version) return readTables(sql, schema, entryTables)
    throw new TablesRefused(`There is a schema "${schema}" that no adapter made; rename it, or the adapter`)
  }
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
  try {
    await sql.batch([
      // First: it waits for whoever writes, and who comes later waits for it, before either has locked anything else.
      { text: 'update tidemark.parts set fence = fence + 1, until = now()' },
      ...changed.flatMap(({ adapter, schema }) => renaming(adapter.name, schema, adapter.version)),
      { text: 'delete from tidemark.cursors where name <> $1', parameters: [cursorName] },
    ])
  } catch (error) {
    if (!(error instanceof SqlError) || error.code !== rowsUnexpected) throw error
  }
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

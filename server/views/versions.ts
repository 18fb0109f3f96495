/**
 * Which schemas the adapters' tables are in, and the swap when those that are being built are complete.
 *
 *   no schema                  the tables are made where they belong: there is nobody who reads
 *   of this version            used as they are; where <name>__next is of this version too, it is a rebuild: both are projected
 *   of an older one            <name>__next is made and filled; the old one is served, and stands still, until the swap
 *   of a newer one             the node stands aside, with all its adapters: one set of them projects at a time
 *
 * The swap is one transaction: it renames the schemas, takes the progress along, and raises all fences, so that whoever
 * still writes to what is no more is refused and looks again. It does not wait long for a reader who takes long: all others
 * would wait behind it.
 */
import type { Adapter } from '../../core/domain/adapter.ts'
import { notifyingAll } from './live/notification.ts'
import { type BatchOptions, quoted, rowsUnexpected, type Sql, SqlError, type Statement } from './sql/sql.ts'
import { dropAdapter, type Installed, installAdapter, installed, madeSql } from './store/schema.ts'
import { type EntryTables, readTables, type Table, TablesRefused } from './store/tables.ts'

export interface Placed {
  readonly adapter: Adapter
  readonly schema: string
  readonly tables: readonly Table[]
  readonly version: number
  /** See `Installed`. */
  readonly made: string
}

export interface Placement {
  /** An adapter whose tables are rebuilt is here twice. */
  readonly placed: readonly Placed[]
  /** Newer versions of these are live, or on their way. */
  readonly outdated: readonly Adapter[]
}

const duplicateSchema = '42P06'

/** Where tables are made beside those that are served. */
export const nextOf = (name: string): string => `${name}__next`

export function isNext({ adapter, schema }: Pick<Placed, 'adapter' | 'schema'>): boolean {
  return schema !== adapter.name
}

/** Throws `SqlError`, and `TablesRefused` with what is wrong in an adapter's SQL. */
export async function place(sql: Sql, adapters: readonly Adapter[]): Promise<Placement> {
  const placed: Placed[] = []
  const outdated: Adapter[] = []
  for (const adapter of adapters) {
    const { name, version } = adapter
    const live = await installed(sql, name)
    const next = await installed(sql, nextOf(name))
    if ((live?.version ?? 0) > version || (next?.version ?? 0) > version) {
      outdated.push(adapter)
      continue
    }
    // An older one that was never finished.
    if (next !== null && next.version < version) await dropAdapter(sql, nextOf(name))
    if (live === null || live.version === version) placed.push(await there(sql, name, adapter, live))
    if (next?.version === version || (live !== null && live.version < version))
      placed.push(await there(sql, nextOf(name), adapter, next?.version === version ? next : null))
  }
  return { placed, outdated }
}

/** Begins a rebuild, unless there is one. False when the adapter's tables are not there, or of another version. */
export async function beginRebuild(sql: Sql, adapter: Adapter): Promise<boolean> {
  const { name, version } = adapter
  if ((await installed(sql, name))?.version !== version) return false
  const next = await installed(sql, nextOf(name))
  if (next === null) await install(sql, nextOf(name), adapter)
  return next === null || next.version === version
}

async function there(sql: Sql, schema: string, adapter: Adapter, found: Installed | null): Promise<Placed> {
  const entryTables: EntryTables = adapter.entryTables
  const tables =
    found === null ? await install(sql, schema, adapter) : await readTables(sql, schema, entryTables)
  const now = found ?? (await installed(sql, schema))
  if (now === null) throw new SqlError(`Schema "${schema}" went while it was made`, { code: '55006' })
  return { adapter, schema, tables, ...now }
}

async function install(sql: Sql, schema: string, adapter: Adapter): Promise<Table[]> {
  const { name, version, sql: text } = adapter
  const entryTables: EntryTables = adapter.entryTables
  try {
    return await installAdapter(sql, schema, { name, version, sql: text, entryTables })
  } catch (error) {
    if (!(error instanceof SqlError) || error.code !== duplicateSchema) throw error
    // Another node was faster; or it is none of ours.
    if ((await installed(sql, schema))?.version === version) return readTables(sql, schema, entryTables)
    throw new TablesRefused(`There is a schema "${schema}" that no adapter made; rename it, or the adapter`)
  }
}

/** Whose cursors: tables that are made anew begin anew, and keep theirs when they are swapped in. */
export function cursorNameOf({
  adapter,
  version,
  made,
}: Pick<Placed, 'adapter' | 'version' | 'made'>): string {
  return `${adapter.name}@${version}:${made}`
}

/** True when these tables have everything up to this change. */
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

/** How a rebuild ended, as it is kept. */
export interface Outcome {
  readonly documents: number
  /** Documents of which the rows that were served differed from those that were made anew; and some of their ids. */
  readonly differing: number
  readonly sample: readonly string[]
}

/**
 * Puts the complete tables in the place of the old ones; `outcomes` by adapter. False when another node was faster.
 * Throws `SqlError`; with `lockTimeout` when somebody reads the old ones for long.
 */
export async function swap(
  sql: Sql,
  placed: readonly Placed[],
  outcomes: ReadonlyMap<string, Outcome> = new Map(),
): Promise<boolean> {
  try {
    const statements = [
      { text: `select set_config('lock_timeout', '${lockMsMax}', true)` },
      // First of the locks: it waits for whoever writes, and who comes later waits for it, before either has locked anything else.
      { text: 'update tidemark.parts set fence = fence + 1, until = now()' },
      ...placed.filter(isNext).flatMap((each) => renaming(each, outcomes.get(each.adapter.name))),
      ...placed.filter(isNext).map(({ adapter }) => notifyingAll(adapter.name)),
      {
        text: `delete from tidemark.cursors c where not exists (
          select from tidemark.adapters a where c.name = a.name || '@' || a.version || ':' || ${madeSql})`,
      },
    ]
    await sql.batch(statements, patient)
    return true
  } catch (error) {
    if (!(error instanceof SqlError) || error.code !== rowsUnexpected) throw error
    return false
  }
}

/** SQLSTATE `lock_not_available`. */
export const lockTimeout = '55P03'
const lockMsMax = 500
/** Progress of millions of documents is renamed, or their rows are compared. */
export const patient: BatchOptions = { statementTimeoutMs: 600_000, batchMs: 660_000 }

const noOutcome: Outcome = { documents: 0, differing: 0, sample: [] }

function renaming({ adapter, schema, version, made }: Placed, outcome = noOutcome): Statement[] {
  const { name } = adapter
  const move = (table: string, column: string): Statement[] => [
    { text: `delete from tidemark.${table} where ${column} = $1`, parameters: [name] },
    { text: `update tidemark.${table} set ${column} = $1 where ${column} = $2`, parameters: [name, schema] },
  ]
  return [
    {
      text: `select from tidemark.adapters where schema = $1 and version = $2 and ${madeSql} = $3 for update`,
      parameters: [schema, version, made],
      rowsExpected: 1,
    },
    {
      text: `insert into tidemark.rebuilds
        select name, version, made_at, clock_timestamp(), $2::bigint, $3::bigint, $4::json
        from tidemark.adapters where schema = $1
        on conflict (adapter) do update set version = excluded.version, began_at = excluded.began_at,
          ended_at = excluded.ended_at, documents = excluded.documents, differing = excluded.differing,
          sample = excluded.sample`,
      parameters: [schema, outcome.documents, outcome.differing, JSON.stringify(outcome.sample)],
    },
    ...move('adapters', 'schema'),
    ...move('progress', 'adapter'),
    ...move('dead_letters', 'adapter'),
    // Last: readers wait from here on.
    { text: `drop schema if exists ${quoted(name)} cascade` },
    { text: `alter schema ${quoted(schema)} rename to ${quoted(name)}` },
  ]
}

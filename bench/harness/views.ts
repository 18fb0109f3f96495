/** A relay with views, beside its database; and what stands in the database when the relay has ended. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PGlite } from '@electric-sql/pglite'
import pg from 'pg'
import { schemaName } from '../adapters/entries-adapter.ts'
import { runLoad } from '../load/run-load.ts'
import type { LoadResult, RawRowsSpec, SqlName } from '../load/spec.ts'
import { type RunningPostgres, startPostgres } from './postgres.ts'

export type AdapterVersion = 'v1' | 'v2' | 'stamped'

/** Where compaction would be measured along. */
export const withoutCompaction: Readonly<Record<string, string>> = {
  COMPACTION_TAIL_COUNT_MAX: '10000000',
  COMPACTION_TAIL_BYTES_MAX: String(1024 * 1024 * 1024),
  COMPACTION_IDLE_COUNT_MIN: '10000000',
}

export function viewsSettings(
  version: AdapterVersion,
  postgres: RunningPostgres | null,
): Readonly<Record<string, string>> {
  const ADAPTERS = fileURLToPath(new URL(`../adapters/${version}`, import.meta.url))
  return postgres === null ? { ADAPTERS } : { ADAPTERS, DATABASE_URL: postgres.url }
}

export function decisionsSettings(postgres: RunningPostgres | null): Readonly<Record<string, string>> {
  const ADAPTERS = fileURLToPath(new URL('../adapters/decisions', import.meta.url))
  return postgres === null ? { ADAPTERS } : { ADAPTERS, DATABASE_URL: postgres.url }
}

/** Null for PGlite, which is in the relay. */
export function startSql(sql: SqlName): Promise<RunningPostgres | null> {
  return sql === 'postgres' ? startPostgres() : Promise.resolve(null)
}

/** `dataDir`: of a relay that has ended, if the rows are in PGlite. */
export async function queryViews<Row>(
  postgres: RunningPostgres | null,
  dataDir: string,
  text: string,
): Promise<Row[]> {
  if (postgres === null) {
    const database = await PGlite.create(join(dataDir, 'data', 'views', 'database'))
    try {
      return (await database.query<Row>(text)).rows
    } finally {
      await database.close()
    }
  }
  const client = new pg.Client({ connectionString: postgres.url })
  await client.connect()
  try {
    return (await client.query(text)).rows as Row[]
  } finally {
    await client.end()
  }
}

export interface Visible {
  readonly document: string
  readonly p50Ms: number
  readonly p99Ms: number
  readonly rowsPerCommit: number
  readonly rows: number
}

/** From the moment an edit left to the moment its transaction began to commit; by document, or over all of them. */
export async function visibleIn(
  postgres: RunningPostgres | null,
  dataDir: string,
  byDocument = false,
): Promise<Visible[]> {
  const text = `
    with edits as (
      select ${byDocument ? 'e.document' : "''"} as document, transaction,
        extract(epoch from c.at)::float8 * 1000 - e.sent as ms
      from ${schemaName}.entries e join ${schemaName}.commits c on c.document = e.transaction::text
      where e.sent > 0)
    select document, percentile_disc(0.5) within group (order by ms) as "p50Ms",
      percentile_disc(0.99) within group (order by ms) as "p99Ms",
      count(*)::float8 / count(distinct transaction) as "rowsPerCommit", count(*)::float8 as rows
    from edits group by document`
  return queryViews<Visible>(postgres, dataDir, text)
}

/** The bare loop in a process of its own, on a database of its own. */
export async function runRawRows(
  sql: SqlName,
  spec: Omit<RawRowsSpec, 'kind' | 'databaseUrl' | 'postgresPid' | 'folder'>,
): Promise<LoadResult> {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-bench-'))
  const postgres = await startSql(sql)
  try {
    return await runLoad({
      ...spec,
      kind: 'raw-rows',
      databaseUrl: postgres?.url ?? null,
      postgresPid: postgres?.pid ?? null,
      folder: join(folder, 'database'),
    })
  } finally {
    await postgres?.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

export interface Throughput {
  readonly rows: number
  readonly commits: number
  /** Of all rows but the first commit's, from the first commit to the last. */
  readonly rowsPerSecond: number
}

/** Of what was committed since then; milliseconds since 1970. */
export async function throughputIn(
  postgres: RunningPostgres | null,
  dataDir: string,
  sinceMs: number,
): Promise<Throughput> {
  const text = `
    with written as (
      select c.at, count(*)::float8 as rows
      from ${schemaName}.entries e join ${schemaName}.commits c on c.document = e.transaction::text
      where c.at > to_timestamp(${sinceMs / 1000}) group by c.document, c.at)
    select coalesce(sum(rows), 0) as rows, count(*)::float8 as commits,
      sum(rows) filter (where at > (select min(at) from written))
        / extract(epoch from max(at) - min(at))::float8 as "rowsPerSecond"
    from written`
  const [found] = await queryViews<Throughput>(postgres, dataDir, text)
  return found!
}

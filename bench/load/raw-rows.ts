/**
 * What the rows cost at the least: a bare loop that upserts them, each batch one statement and one transaction, into the same
 * tables. No log, no documents, no order, nobody to share with.
 *
 * - paced: a row is due at its time; the loop takes all that are due, and latency runs from then to the end of the commit.
 *   So it is right whatever else the loop's thread does, which for PGlite is to compute.
 * - else: all rows in batches, as fast as it goes, first into an empty table, then over the same rows.
 */
import { PGlite } from '@electric-sql/pglite'
import pg from 'pg'
import { plainSql, schemaName, stampedSql } from '../adapters/entries-adapter.ts'
import { startCpuMeter } from '../harness/cpu.ts'
import { postgresCpuMs } from '../harness/postgres.ts'
import { Latencies } from '../harness/statistics.ts'
import { rowOf } from './entries.ts'
import { sleep } from './peer.ts'
import type { LoadCase, LoadResult, RawRowsSpec } from './spec.ts'

type Query = (text: string, values?: unknown[]) => Promise<unknown>
type Row = ReturnType<typeof rowOf>

const upsert = `insert into ${schemaName}.entries (document, entry, text, done, sent)
  select * from unnest($1::text[], $2::text[], $3::text[], $4::boolean[], $5::double precision[])
  on conflict (document, entry) do update set text = excluded.text, done = excluded.done, sent = excluded.sent`

export async function rawRows(spec: RawRowsSpec): Promise<LoadResult> {
  const [query, close] = await connect(spec)
  try {
    await query(`create schema ${schemaName}`)
    await query(`set search_path = ${schemaName}`)
    for (const statement of (spec.isStamped ? stampedSql : plainSql).split(/;\n(?=create |do )/))
      await query(statement)
    return {
      cases: spec.rate === null ? await throughput(spec, query) : await paced(spec, query),
      errors: [],
    }
  } finally {
    await close()
  }
}

async function connect({ databaseUrl, folder }: RawRowsSpec): Promise<[Query, () => Promise<void>]> {
  if (databaseUrl === null) {
    const database = await PGlite.create(folder)
    return [(text, values) => database.query(text, values), () => database.close()]
  }
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  return [(text, values) => client.query(text, values), () => client.end()]
}

function write(query: Query, rows: readonly Row[]): Promise<unknown> {
  return query(upsert, [
    rows.map(({ document }) => document),
    rows.map(({ entry }) => entry),
    rows.map(({ text }) => text),
    rows.map(({ done }) => done),
    rows.map(({ sent }) => sent),
  ])
}

async function paced(spec: RawRowsSpec, query: Query): Promise<LoadCase[]> {
  const { perSecond, warmUpMs, measureMs } = spec.rate!
  const latencies = new Latencies()
  const from = performance.now()
  const dueMs = (row: number): number => from + (row * 1000) / perSecond
  const end = Math.floor(((warmUpMs + measureMs) * perSecond) / 1000)
  let batches = 0
  let isMeasuring = false
  let meter = startCpuMeter(process.pid, null)
  for (let next = 0; next < end; ) {
    const now = performance.now()
    if (!isMeasuring && now - from > warmUpMs) {
      isMeasuring = true
      meter = startCpuMeter(process.pid, null)
    }
    const first = next
    const rows: Row[] = []
    for (; next < end && dueMs(next) <= now; next++)
      rows.push(rowOf(`bench/${next % spec.documents}`, Math.floor(next / spec.documents)))
    if (rows.length === 0) {
      await sleep(1)
      continue
    }
    await write(query, rows)
    batches++
    if (!isMeasuring) continue
    const doneMs = performance.now()
    for (let row = first; row < next; row++) latencies.add(doneMs - dueMs(row))
  }
  const figures = {
    p50Ms: latencies.quantile(0.5),
    p99Ms: latencies.quantile(0.99),
    rowsPerCommit: end / batches,
    ...meter.stop().figures,
  }
  return [{ name: '', figures }]
}

async function throughput(spec: RawRowsSpec, query: Query): Promise<LoadCase[]> {
  const cases: LoadCase[] = []
  for (const { name, entries, rowsPerCommit } of spec.passes) {
    let batch: Row[] = []
    let rows = 0
    let firstMs = 0
    const sqlMs = () => (spec.postgresPid === null ? 0 : postgresCpuMs(spec.postgresPid))
    let sqlFrom = 0
    const flush = async (): Promise<void> => {
      await write(query, batch)
      // As with views: from the end of the first commit.
      if (firstMs === 0) {
        firstMs = performance.now()
        sqlFrom = sqlMs()
      } else rows += batch.length
      batch = []
    }
    for (let document = 0; document < spec.documents; document++)
      for (let entry = 0; entry < entries; entry++) {
        batch.push(rowOf(`bench/${document}`, entry))
        if (batch.length >= rowsPerCommit) await flush()
      }
    if (batch.length > 0) await flush()
    const wallMs = performance.now() - firstMs
    cases.push({
      name,
      figures: {
        rowsPerSecond: (rows / wallMs) * 1000,
        rowsPerCommit,
        ...(spec.postgresPid === null ? {} : { sqlCores: (sqlMs() - sqlFrom) / wallMs }),
      },
    })
  }
  return cases
}

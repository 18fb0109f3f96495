/**
 * How fast is everything built anew when an adapter has a new version? 10,000 documents of 100 entries each, a million rows
 * in PostgreSQL, from the first row of the new table to the moment when it takes the old one's place; and how much memory that
 * takes. Beside it: a bare loop that upserts the same rows into an empty table.
 */
import pg from 'pg'
import { schemaName } from './adapters/entries-adapter.ts'
import { residentPeakBytes } from './harness/cpu.ts'
import { postgresCpuMs, type RunningPostgres, startPostgres } from './harness/postgres.ts'
import {
  interleaveEach,
  judge,
  loggedErrors,
  type Prepared,
  prepare,
  type Question,
  rowsOf,
  type Settings,
} from './harness/question.ts'
import { type RunningServer, startServer } from './harness/servers.ts'
import { runRawRows, viewsSettings } from './harness/views.ts'
import { sleep } from './load/peer.ts'
import { runLoad } from './load/run-load.ts'
import type { LoadResult } from './load/spec.ts'

const entries = 100
const rowsPerCommit = 5_000
const rebuildMsMax = 280_000
const lookMs = 20
const undefinedTable = '42P01'

export const viewsRebuild: Question = async (settings) => {
  const documents = settings.quick ? 500 : 10_000
  const filled = await prepare('embedded', {}, (server) => ({
    ...server,
    kind: 'fill',
    prefix: 'bench/',
    documents,
    steps: [{ from: 0, to: entries, atOnce: entries }],
    skip: 0,
  }))
  const samples = await interleaveEach(['raw-postgres', 'postgres'], settings, (name) => {
    if (name === 'postgres') return ask(filled, documents, settings)
    const passes = [{ name: '', entries, rowsPerCommit }]
    return runRawRows('postgres', { isStamped: false, documents, rate: null, passes })
  }).finally(() => filled.remove())
  const verdicts = judge(
    samples,
    ['postgres'],
    [
      { figure: 'rowsPerSecond', bound: 'atLeast', value: 50_000 },
      { figure: 'serverResidentPeakBytes', bound: 'atMost', value: 1e9 },
    ],
  )
  return [{ question: 'views-rebuild', rows: rowsOf(samples), verdicts, samples, notes: [] }]
}

async function ask(filled: Prepared, documents: number, { profileDir }: Settings): Promise<LoadResult> {
  const postgres = await startPostgres()
  const running: RunningServer[] = []
  const start = async (copyOf: string, version: 'v1' | 'v2'): Promise<RunningServer> => {
    const server = await startServer('embedded', {
      profileDir: version === 'v2' ? profileDir : null,
      copyOf,
      relaySettings: viewsSettings(version, postgres),
    })
    running.push(server)
    return server
  }
  try {
    const first = await start(filled.dir, 'v1')
    const built = await runLoad({
      ...first,
      kind: 'views-catch-up',
      metricsUrl: first.metricsUrl!,
      postgresPid: postgres.pid,
      documents,
    })
    await first.halt()
    const server = await start(first.dataDir, 'v2')
    const sqlFromMs = postgresCpuMs(postgres.pid)
    const { firstRowMs, swappedMs, rows } = await watch(postgres)
    const figures = {
      rowsPerSecond: (rows / (swappedMs - firstRowMs)) * 1000,
      rebuildMs: swappedMs - firstRowMs,
      serverResidentPeakBytes: residentPeakBytes(server.serverPid),
      sqlCores: (postgresCpuMs(postgres.pid) - sqlFromMs) / (swappedMs - firstRowMs),
    }
    const errors = [...built.errors, ...loggedErrors(server.output())]
    if (rows !== documents * entries) errors.push(`${rows} rows instead of ${documents * entries}`)
    return { cases: [{ name: '', figures }], errors }
  } finally {
    for (const server of running) await server.stop()
    await postgres.stop()
  }
}

/** Resolves when version 2 is in the place of version 1. */
async function watch(postgres: RunningPostgres) {
  const client = new pg.Client({ connectionString: postgres.url })
  await client.connect()
  try {
    const deadline = performance.now() + rebuildMsMax
    let firstRowMs = 0
    for (;;) {
      if (performance.now() > deadline) throw new Error('the views were not built anew')
      const { rows } = await client.query<{ schema: string }>(
        'select schema from tidemark.adapters where version = 2',
      )
      const schema = rows[0]?.schema
      // Renamed between two looks: its rows are there.
      if (schema !== undefined && firstRowMs === 0 && (await hasRows(client, schema)))
        firstRowMs = performance.now()
      if (schema === schemaName) break
      await sleep(lookMs)
    }
    const swappedMs = performance.now()
    const { rows } = await client.query<{ count: number }>(
      `select count(*)::float8 as count from ${schemaName}.entries`,
    )
    return { firstRowMs, swappedMs, rows: rows[0]!.count }
  } finally {
    await client.end()
  }
}

/** The new table has a schema of its own as long as it is not complete. */
async function hasRows(client: pg.Client, schema: string): Promise<boolean> {
  try {
    const { rows } = await client.query(`select from "${schema}".entries limit 1`)
    return rows.length > 0
  } catch (error) {
    if (!(error instanceof pg.DatabaseError) || error.code !== undefinedTable) throw error
    return true
  }
}

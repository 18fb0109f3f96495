/**
 * 200 documents, each edited 10 times a second: how long until an edit can be read as a row, in PostgreSQL and in PGlite, and
 * how much longer is an edit's acknowledgement than without views? Beside it: a bare loop that upserts as many rows.
 */
import {
  interleaveEach,
  judge,
  loggedErrors,
  type Question,
  rowsOf,
  type Settings,
} from './harness/question.ts'
import { startServer } from './harness/servers.ts'
import { runRawRows, startSql, viewsSettings, visibleIn } from './harness/views.ts'
import { runLoad } from './load/run-load.ts'
import type { LoadResult, SqlName } from './load/spec.ts'

const names = ['raw-postgres', 'raw-pglite', 'without views', 'postgres', 'pglite'] as const

export const viewsLatency: Question = async (settings) => {
  const load = {
    documents: settings.quick ? 50 : 200,
    entriesPerDocument: 100,
    updatesPerSecond: settings.quick ? 500 : 2000,
    warmUpMs: settings.quick ? 1500 : 4000,
    measureMs: settings.quick ? 3000 : 15_000,
  }
  const samples = await interleaveEach(names, settings, (name) => {
    if (name === 'raw-postgres' || name === 'raw-pglite')
      return runRawRows(name === 'raw-postgres' ? 'postgres' : 'pglite', {
        isStamped: true,
        documents: load.documents,
        rate: { perSecond: load.updatesPerSecond, warmUpMs: load.warmUpMs, measureMs: load.measureMs },
        passes: [],
      })
    return ask(name === 'without views' ? null : name, load, settings)
  })
  const verdicts = [
    ...judge(
      samples,
      ['postgres'],
      [
        { figure: 'p50Ms', bound: 'atMost', value: 20 },
        { figure: 'p99Ms', bound: 'atMost', value: 100 },
      ],
    ),
    ...judge(samples, ['pglite'], [{ figure: 'p99Ms', bound: 'atMost', value: 250 }]),
    ...judge(
      samples,
      ['postgres', 'pglite'],
      [
        { figure: 'ackP50Ms', raw: 'without views', bound: 'atMost', value: 1.1 },
        { figure: 'ackP99Ms', raw: 'without views', bound: 'atMost', value: 1.1 },
      ],
    ),
  ]
  const notes = [
    'p50 and p99 run until the rows can be read: on PostgreSQL until another connection heard of the commit, on PGlite until the commit began (commit p50, p99 are that for both).',
  ]
  return [{ question: 'views-latency', rows: rowsOf(samples), verdicts, samples, notes }]
}

async function ask(
  sql: SqlName | null,
  load: Readonly<
    Record<'documents' | 'entriesPerDocument' | 'updatesPerSecond' | 'warmUpMs' | 'measureMs', number>
  >,
  { profileDir }: Settings,
): Promise<LoadResult> {
  const postgres = sql === null ? null : await startSql(sql)
  try {
    const relaySettings = sql === null ? {} : viewsSettings('stamped', postgres)
    const server = await startServer('embedded', { profileDir, relaySettings })
    try {
      const result = await runLoad({
        ...server,
        ...load,
        kind: 'views-latency',
        sql,
        databaseUrl: postgres?.url ?? null,
        postgresPid: postgres?.pid ?? null,
        metricsUrl: server.metricsUrl!,
      })
      const errors = [...result.errors, ...loggedErrors(server.output())]
      if (sql === null || result.cases.length === 0) return { ...result, errors }
      await server.halt()
      const [visible] = await visibleIn(postgres, server.dataDir)
      const { p50Ms = Number.NaN, p99Ms = Number.NaN, rowsPerCommit = Number.NaN } = visible ?? {}
      const { edits = 0 } = result.cases[0]!.figures
      if (visible?.rows !== edits) errors.push(`${visible?.rows ?? 0} rows of ${edits} edits`)
      const cases = result.cases.map(({ name, figures }) => ({
        name,
        figures: { p50Ms, p99Ms, ...figures, commitP50Ms: p50Ms, commitP99Ms: p99Ms, rowsPerCommit },
      }))
      return { cases, errors }
    } finally {
      await server.stop()
    }
  } finally {
    await postgres?.stop()
  }
}

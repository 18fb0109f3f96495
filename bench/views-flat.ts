/**
 * Does a changed entry cost the same in a document of 1,000 entries as in one of 100,000? CPU time of the relay and of the
 * database for each edit, at 100 a second, and how soon its row is there.
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
import { startSql, viewsSettings, visibleIn, withoutCompaction } from './harness/views.ts'
import { runLoad } from './load/run-load.ts'
import type { LoadResult, SqlName } from './load/spec.ts'

const ratioMax = 2

export const viewsFlat: Question = async (settings) => {
  const sizes = settings.quick ? [1_000, 10_000] : [1_000, 10_000, 100_000]
  const names = ['postgres', 'pglite'] as const
  const samples = await interleaveEach(names, settings, (sql) => ask(sql, sizes, settings))
  const verdicts = judge(samples, names, [{ figure: 'cpuToSmallest', bound: 'atMost', value: ratioMax }])
  return [{ question: 'views-flat', rows: rowsOf(samples), verdicts, samples, notes: [] }]
}

async function ask(
  sql: SqlName,
  sizes: readonly number[],
  { profileDir, quick }: Settings,
): Promise<LoadResult> {
  const postgres = await startSql(sql)
  try {
    const relaySettings = { ...withoutCompaction, ...viewsSettings('stamped', postgres) }
    const server = await startServer('embedded', { profileDir, relaySettings })
    try {
      const result = await runLoad({
        ...server,
        kind: 'views-flat',
        metricsUrl: server.metricsUrl!,
        postgresPid: postgres?.pid ?? null,
        sizes,
        edits: quick ? 300 : 700,
        updatesPerSecond: 100,
      })
      const errors = [...result.errors, ...loggedErrors(server.output())]
      await server.halt()
      const visible = await visibleIn(postgres, server.dataDir, true)
      const cpuOf = (figures: Readonly<Record<string, number>>): number =>
        figures['serverCpuMicrosecondsPerEdit']! + (figures['sqlCpuMicrosecondsPerEdit'] ?? 0)
      const cases = result.cases.map(({ name, figures }, i) => {
        const { p50Ms = Number.NaN, p99Ms = Number.NaN } =
          visible.find(({ document }) => document === `bench/${sizes[i]}`) ?? {}
        const cpuToSmallest = cpuOf(figures) / cpuOf(result.cases[0]!.figures)
        return { name, figures: { p50Ms, p99Ms, cpuToSmallest, ...figures } }
      })
      return { cases, errors }
    } finally {
      await server.stop()
    }
  } finally {
    await postgres?.stop()
  }
}

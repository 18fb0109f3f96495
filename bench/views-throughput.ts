/**
 * How many changed entries a second can one node project? The log is filled while there are no views; then a relay starts
 * that has them, and catches up: first on documents that have no rows yet, then on changes of entries that have. Counted from
 * the first commit to the last. Beside it: a bare loop that upserts the same rows, as many in each transaction.
 */
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
import { runRawRows, startSql, throughputIn, viewsSettings, withoutCompaction } from './harness/views.ts'
import { runLoad } from './load/run-load.ts'
import type { FillSpec, LoadCase, LoadResult, SqlName } from './load/spec.ts'

const names = ['raw-postgres', 'raw-pglite', 'postgres', 'pglite'] as const
const fresh = 'new documents'
const changed = 'changed entries'
/** After so many rows the projector ends its batch. */
const rowsPerCommit = 5_000

interface Sizes {
  readonly documents: number
  readonly entries: number
  readonly changed: number
}

export const viewsThroughput: Question = async (settings) => {
  const sizes: Sizes = settings.quick
    ? { documents: 300, entries: 100, changed: 50 }
    : { documents: 1_000, entries: 200, changed: 100 }
  const { documents, entries } = sizes
  const filled = await prepare('embedded', { relaySettings: withoutCompaction }, (server) => ({
    ...server,
    ...fillOf(sizes, false),
  }))
  const samples = await interleaveEach(names, settings, (name) => {
    if (name === 'postgres' || name === 'pglite') return ask(name, filled, sizes, settings)
    return runRawRows(name === 'raw-postgres' ? 'postgres' : 'pglite', {
      isStamped: true,
      documents,
      rate: null,
      passes: [
        { name: fresh, entries, rowsPerCommit },
        { name: changed, entries: sizes.changed, rowsPerCommit },
      ],
    })
  }).finally(() => filled.remove())
  const verdicts = [
    ...judge(samples, ['postgres'], [{ figure: 'rowsPerSecond', bound: 'atLeast', value: 25_000 }]),
    ...judge(samples, ['pglite'], [{ figure: 'rowsPerSecond', bound: 'atLeast', value: 10_000 }]),
  ]
  return [{ question: 'views-throughput', rows: rowsOf(samples), verdicts, samples, notes: [] }]
}

/** The documents as they are made, or what changes in them later: ten updates each. */
function fillOf(
  sizes: Sizes,
  isChange: boolean,
): Pick<FillSpec, 'kind' | 'prefix' | 'documents' | 'steps' | 'skip'> {
  const first = { from: 0, to: sizes.entries, atOnce: sizes.entries }
  const changes = { from: 0, to: sizes.changed, atOnce: Math.ceil(sizes.changed / 10) }
  const { documents } = sizes
  const steps = isChange ? [first, changes] : [first]
  return { kind: 'fill', prefix: 'bench/', documents, steps, skip: isChange ? 1 : 0 }
}

async function ask(sql: SqlName, filled: Prepared, sizes: Sizes, settings: Settings): Promise<LoadResult> {
  const postgres = await startSql(sql)
  const errors: string[] = []
  const cases: LoadCase[] = []
  let last: RunningServer | null = null
  /** Starts a relay on what the last one stored; resolves when it has ended. */
  const next = async <T>(
    copyOf: string,
    hasViews: boolean,
    during: (server: RunningServer) => Promise<T>,
  ) => {
    const previous = last
    const server = await startServer('embedded', {
      profileDir: hasViews ? settings.profileDir : null,
      copyOf,
      relaySettings: { ...withoutCompaction, ...(hasViews ? viewsSettings('stamped', postgres) : {}) },
    })
    last = server
    await previous?.stop()
    const result = await during(server)
    errors.push(...loggedErrors(server.output()))
    await server.halt()
    return result
  }
  const catchUp = async (copyOf: string, name: string, expected: number): Promise<string> => {
    const sinceMs = Date.now()
    return next(copyOf, true, async (server) => {
      const result = await runLoad({
        ...server,
        kind: 'views-catch-up',
        metricsUrl: server.metricsUrl!,
        postgresPid: postgres?.pid ?? null,
        documents: sizes.documents,
      })
      await server.halt()
      const { rows, commits, rowsPerSecond } = await throughputIn(postgres, server.dataDir, sinceMs)
      errors.push(...result.errors)
      if (rows !== expected) errors.push(`${name}: ${rows} rows instead of ${expected}`)
      const figures = { rowsPerSecond, rowsPerCommit: rows / commits, ...result.cases[0]!.figures }
      cases.push({ name, figures })
      return server.dataDir
    })
  }
  try {
    const built = await catchUp(filled.dir, fresh, sizes.documents * sizes.entries)
    const edited = await next(built, false, async (server) => {
      const result = await runLoad({ ...server, ...fillOf(sizes, true) })
      errors.push(...result.errors)
      return server.dataDir
    })
    await catchUp(edited, changed, sizes.documents * sizes.changed)
    return { cases, errors }
  } finally {
    await (last as RunningServer | null)?.stop()
    await postgres?.stop()
  }
}

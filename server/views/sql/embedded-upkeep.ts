/**
 * What a PostgreSQL server does in the background, and PGlite, which is one process, does not: vacuum, analyze, checkpoints.
 * Without them tables and indexes grow with every update (sixfold after ten updates of each row), and a start after kill -9
 * replays everything since the last start.
 *
 * A step does one thing, the most urgent, so that a batch waits for one table at most. The thresholds are autovacuum's.
 */
import { quoted } from './sql.ts'
import type { Answer, Pipeline } from './transaction.ts'

/** Batches between two looks, which cost about as much as a small batch. */
export const batchesBetweenUpkeep = 500

const walBytesMax = 64 * 1024 * 1024

const walSql = 'select pg_current_wal_lsn() - redo_lsn from pg_control_checkpoint()'
const tableSql = `
  select schemaname, relname from pg_stat_user_tables
  where greatest(n_dead_tup, n_mod_since_analyze) > 1000 + 0.2 * n_live_tup
  order by n_dead_tup desc limit 1`

/** What was done, for the log; null when there was nothing to do. Rejects when it fails. */
export async function upkeep(pipeline: Pipeline): Promise<string | null> {
  const wal = await rowOf(pipeline, walSql)
  if (Number(wal?.[0]) > walBytesMax) {
    await rowOf(pipeline, 'checkpoint')
    return 'checkpoint'
  }
  const table = await rowOf(pipeline, tableSql)
  if (table === undefined) return null
  const name = table.map((part) => quoted(part ?? '')).join('.')
  await rowOf(pipeline, `vacuum (analyze) ${name}`)
  return `vacuum ${name}`
}

async function rowOf(
  pipeline: Pipeline,
  text: string,
): Promise<Extract<Answer, { rows: unknown }>['rows'][number] | undefined> {
  const [answer] = await pipeline([{ text }])
  if (answer === undefined) throw new Error(`No answer to ${text}`)
  if ('refused' in answer) throw new Error(answer.refused.message)
  return answer.rows[0]
}

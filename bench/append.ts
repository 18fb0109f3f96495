/**
 * What are the limits of the log alone? The same entries as LMDB commits, as a journal with group commit,
 * and as Redis appends pipelined by npm redis or by hand, each in a process of its own, in groups of 100
 * and 1,000.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Question, rowsOf, type Sample } from './harness/question.ts'
import { startRedis } from './harness/servers.ts'
import { runLimit } from './load/run-load.ts'

const limits = [
  { server: 'lmdb', limit: 'lmdb', fsync: null },
  { server: 'journal', limit: 'journal', fsync: null },
  { server: 'npm-redis-everysec', limit: 'redis', fsync: 'everysec' },
  { server: 'npm-redis-always', limit: 'redis', fsync: 'always' },
  { server: 'resp-everysec', limit: 'resp', fsync: 'everysec' },
  { server: 'resp-always', limit: 'resp', fsync: 'always' },
] as const

export const append: Question = async (settings) => {
  const samples: Sample[] = []
  const runs = settings.quick ? 1 : settings.runs
  for (let run = 0; run < runs; run++)
    for (const groupEntries of [100, 1000])
      for (const { server, limit, fsync } of limits) {
        const dir = mkdtempSync(join(settings.temporaryDir, 'limit-'))
        const redis = fsync === null ? null : await startRedis(dir, fsync)
        try {
          const result = await runLimit({
            limit,
            dir,
            redisUrl: redis?.url ?? null,
            redisPid: redis?.pid ?? null,
            groupEntries,
            measureMs: settings.quick ? 700 : 2000,
          })
          for (const each of result.cases) samples.push({ run, server, ...each, errors: result.errors })
          if (result.cases.length === 0)
            samples.push({ run, server, name: '', figures: {}, errors: result.errors })
        } finally {
          await redis?.stop()
          rmSync(dir, { recursive: true, force: true })
        }
      }
  return [{ question: 'append', rows: rowsOf(samples), verdicts: [], samples, notes: [] }]
}

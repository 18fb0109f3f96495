/**
 * The projector, killed with -9 at every place of a batch, while documents are edited between its lives: before and after
 * each statement, before the commit and after it. Half of the way a rebuild begins, and both tables are written. Rows, progress
 * and dead letters come to those of a clean rebuild, on both drivers.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { EmbeddedSql } from '../../server/views/sql/embedded-sql.ts'
import { PostgresSql } from '../../server/views/sql/postgres-sql.ts'
import type { Sql } from '../../server/views/sql/sql.ts'
import { dieTogether } from '../support/die-together.ts'
import { start as startPostgres } from '../support/postgres-server.ts'
import { silentLogger } from '../support/silent-logger.ts'

const program = fileURLToPath(new URL('./views-projector.mjs', import.meta.url))

/** How it ended. */
async function project(
  folder: string,
  database: string,
  ...parameters: (string | number)[]
): Promise<'killed' | 'beyond' | 'done'> {
  const child = spawn(process.execPath, [program, folder, database, ...parameters.map(String)])
  dieTogether(child)
  let output = ''
  let errors = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString()
  })
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
  if (signal === 'SIGKILL') return 'killed'
  if (code !== 0) throw new Error(`${parameters.join(' ')}: ended with ${code}: ${errors}`)
  return output.includes('beyond') ? 'beyond' : 'done'
}

const tables = ['deals', 'words', 'facts', 'lines']

/** All that there is of the adapter, in a schema. */
async function dump(sql: Sql, schema: string): Promise<unknown> {
  const of = `where adapter = '${schema}'`
  const results = await sql.batch([
    ...tables.map((table) => ({ text: `select t::text from ${schema}.${table} t order by t::text` })),
    { text: `select document, epoch, "offset" from tidemark.dead_letters ${of} order by document` },
    {
      // A dead letter's rows are of an earlier state, or of none.
      text: `select document, epoch, "offset" from tidemark.progress p ${of}
        and not exists (select from tidemark.dead_letters d where d.document = p.document) order by document`,
    },
  ])
  return results.map(({ rows }) => rows)
}

/** Rows that a dead letter keeps from before are not those of a rebuild: it has none. */
const dropDead = (schema: string) =>
  tables.map((table) => ({
    text: `delete from ${schema}.${table} where document in (select document from tidemark.dead_letters)`,
  }))

/** What is served, and what was filled beside it since a rebuild began. */
async function compareWithRebuild(folder: string, database: string, open: () => Sql): Promise<void> {
  expect(await project(folder, database, 0, 'none', 0, 0)).toBe('done')
  let sql = open()
  await sql.batch([...dropDead('deals'), ...dropDead('deals__next')])
  const projected = await dump(sql, 'deals')
  expect(await dump(sql, 'deals__next')).toEqual(projected)
  await sql.batch([{ text: 'drop schema deals, deals__next, tidemark cascade' }])
  await sql.close()
  expect(await project(folder, database, 0, 'none', 0, 0)).toBe('done')
  sql = open()
  expect(projected).toEqual(await dump(sql, 'deals'))
  expect(JSON.stringify(projected).length).toBeGreaterThan(1_000)
  await sql.close()
}

test('PostgreSQL: killed at every statement of a batch', async () => {
  const postgres = await startPostgres()
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  try {
    expect(await project(folder, postgres.url, 1, 'none', 0, 0)).toBe('done')
    let position = 0
    for (; position < 100; position++) {
      const ended = await project(folder, postgres.url, position + 2, 'write', 1 + (position % 2), position)
      if (ended !== 'killed') break
    }
    // Fence, progress, deletions and rows of four tables, dead letters, cursors; and before, after, and committed.
    expect(position).toBeGreaterThan(10)
    for (let nth = 1; nth <= 6; nth++)
      await project(folder, postgres.url, 100 + nth, 'other', nth * 2, nth % 4)
    const open = (): Sql => new PostgresSql({ url: postgres.url, connectionsMax: 2, logger: silentLogger })
    await compareWithRebuild(folder, postgres.url, open)
  } finally {
    rmSync(folder, { recursive: true })
    await postgres.stop()
  }
})

test('PGlite: killed before, within and after batches', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  try {
    for (const [i, position] of [1, 6, 9, 100].entries()) {
      const ended = await project(folder, 'embedded', i === 1 ? 9 : i + 1, 'write', 1 + (i % 2), position)
      expect(ended).toBe(position === 100 ? 'beyond' : 'killed')
    }
    const open = (): Sql => new EmbeddedSql({ folder: join(folder, 'views'), logger: silentLogger })
    await compareWithRebuild(folder, 'embedded', open)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

/** The tables of views on a real PostgreSQL. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { PostgresSql } from '../../../server/views/sql/postgres-sql.ts'
import type { Sql, SqlError } from '../../../server/views/sql/sql.ts'
import { installAdapter, installTidemark } from '../../../server/views/store/schema.ts'
import { Writer } from '../../../server/views/store/writer.ts'
import { recovered } from '../../contract/sql.ts'
import { adapter, batchOf, viewsStoreContract } from '../../contract/views-store.ts'
import { type PostgresServer, start } from '../../support/postgres-server.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'

let server: PostgresServer
beforeAll(async () => {
  server = await start()
})
afterAll(() => server.stop())

const open = (): Sql => new PostgresSql({ url: server.url, connectionsMax: 4, logger: silentLogger })

viewsStoreContract(async () => open())

describe('a writer that is cut off', () => {
  test('at any statement: rows and progress agree, and the next try goes through', async () => {
    const sql = open()
    await installTidemark(sql)
    const writer = new Writer(sql)
    writer.know('cut', await installAdapter(sql, 'cut', adapter))
    const cutter = open()
    const terminate = `select pg_terminate_backend(pid) from pg_stat_activity
      where backend_type = 'client backend' and pid <> pg_backend_pid() and query not like '%backend_type%'`
    let written = 0
    let failures = 0
    let cuts = 0
    const isDone = (): boolean => cuts >= 8
    const writing = (async () => {
      while (!isDone()) {
        const offset = written + 1
        const rows = Array.from({ length: 30 }, (_, id) => ({ document: 'd', id, label: String(offset) }))
        const tables = { notes: [{ document: 'd', title: String(offset) }], tasks: rows }
        await writer.write(batchOf('cut', 'd', offset, tables)).then(
          () => written++,
          async (error: SqlError) => {
            failures++
            expect(error.retryable, error.message).toBe(true)
            await recovered(sql)
            const state = await sql.batch([
              { text: `select max("offset"), min("offset") from tidemark.progress where adapter = 'cut'` },
              { text: 'select max(title), min(title) from cut.notes' },
              { text: 'select max(label), min(label) from cut.tasks' },
            ])
            const [first, ...others] = state.map(({ rows }) => rows)
            for (const other of others) expect(other).toEqual(first)
          },
        )
      }
    })()
    for (; !isDone(); cuts++) {
      const before = written
      await until('batches between two cuts', () => written > before + 3 || isDone())
      await cutter.batch([{ text: terminate }])
    }
    await writing
    expect(failures).toBeGreaterThan(0)
    await cutter.close()
    await sql.close()
  })
})

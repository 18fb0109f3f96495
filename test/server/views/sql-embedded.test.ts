/** Batches to PGlite: the contract, kill -9, and a folder that cannot be trusted. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { gzipSync } from 'node:zlib'
import { afterAll, describe, expect, test } from 'vitest'
import { openFolder } from '../../../server/views/sql/embedded-folder.ts'
import { EmbeddedSql } from '../../../server/views/sql/embedded-sql.ts'
import { failureOf, recovered, sqlContract } from '../../contract/sql.ts'
import { collectingLogger } from '../../support/collecting-logger.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidemark-views-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const open = (): EmbeddedSql => new EmbeddedSql({ folder, logger: silentLogger })

sqlContract({
  open: async () => open(),
  cutsOthers: false,
  // A thread that is ended is as a process that is killed: what it wrote is in files, the rest is gone.
  async cut(sql) {
    await failureOf(
      sql.batch([{ text: 'select count(*) from generate_series(1, 1000000000000)' }], { batchMs: 100 }),
    )
  },
})

describe('a database that is written for long', () => {
  test('is vacuumed, analyzed and checkpointed in between', async () => {
    const sql = open()
    await sql.batch([
      { text: 'create table busy (id int primary key, n int, pad text)' },
      { text: "insert into busy select g, 0, repeat('x', 500) from generate_series(1, 2000) g" },
    ])
    // Some 100 MB of what a start after kill -9 would replay.
    for (let i = 0; i < 60; i++) await sql.batch([{ text: 'update busy set n = n + 1' }])
    const state = async (): Promise<(number | null)[]> => {
      const [wal, table] = await sql.batch([
        { text: 'select pg_current_wal_lsn() - redo_lsn from pg_control_checkpoint()' },
        {
          text: "select n_dead_tup, last_analyze is not null from pg_stat_user_tables where relname = 'busy'",
        },
      ])
      return [Number(wal?.rows[0]?.[0]), Number(table?.rows[0]?.[0]), table?.rows[0]?.[1] === 't' ? 1 : null]
    }
    expect((await state())[0]).toBeGreaterThan(64 * 1024 * 1024)
    const settled = async (): Promise<boolean> => {
      for (let i = 0; i < 600; i++) await sql.batch([{ text: 'select 1' }])
      const [walBytes, dead, analyzed] = await state()
      return walBytes! < 64 * 1024 * 1024 && dead === 0 && analyzed === 1
    }
    // PostgreSQL counts dead rows up to a second late: those that come after a vacuum are for the next one.
    await until('nothing is left to do', settled)
    await sql.close()
  })
})

describe('a process that is killed', () => {
  test('has committed what it said, whole, and the next one opens its database', async () => {
    let said = 0
    for (let round = 0; round < 2; round++) {
      const child = spawn(process.execPath, [join(import.meta.dirname, 'sql-writer.mjs'), folder], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const lines = createInterface({ input: child.stdout })
      let count = 0
      lines.on('line', (line) => {
        said = Math.max(said, Number(line))
        count++
      })
      await until('the writer has committed batches', () => count >= 30)
      child.kill('SIGKILL')
      await once(child, 'close')
    }
    const sql = open()
    const [first, second] = await sql.batch([
      { text: 'select count(*), coalesce(max(id), 0) from first_half' },
      { text: 'select count(*), coalesce(max(id), 0) from second_half' },
    ])
    expect(first?.rows).toEqual(second?.rows)
    const [count, last] = (first?.rows[0] ?? []).map(Number)
    // Without gap, and nothing that was said is missing.
    expect(count).toBe(last)
    expect(last).toBeGreaterThanOrEqual(said)
    await sql.close()
  })
})

describe('a new database', () => {
  const begun = async (name: string, initial?: string) => {
    const logger = collectingLogger()
    const sql = new EmbeddedSql({ folder: join(folder, name), logger, ...(initial && { initial }) })
    const [result] = await sql.batch([{ text: 'select system_identifier from pg_control_system()' }])
    await sql.close()
    return {
      identity: result?.rows[0]?.[0],
      warnings: logger.lines.filter(({ level }) => level === 'warn').map(({ message }) => message),
    }
  }
  const copied = begun('copied')

  test('is a copy of the one that was built, also after a copy that was interrupted', async () => {
    mkdirSync(join(folder, 'again', 'database.beginning'), { recursive: true })
    writeFileSync(join(folder, 'again', 'database.beginning', 'half'), 'of it')
    const again = await begun('again')
    expect(again).toEqual(await copied)
    expect(again.warnings).toEqual([])
    expect(existsSync(join(folder, 'again', 'database.beginning'))).toBe(false)
  })

  test('is made where there is none to copy, and with a warning where that one does not open', async () => {
    const broken = join(folder, 'broken.tar.gz')
    writeFileSync(broken, gzipSync('no archive'))
    const [none, made] = [await begun('none', join(folder, 'absent')), await begun('made', broken)]
    expect(none.warnings).toEqual([])
    expect(made.warnings).toEqual([expect.stringMatching(/initial database cannot be used/)])
    expect(new Set([none.identity, made.identity, (await copied).identity]).size).toBe(3)
  })
})

describe('the folder', () => {
  test('is for one at a time', async () => {
    const one = open()
    await recovered(one)
    const other = open()
    expect((await failureOf(other.batch([{ text: 'select 1' }]))).message).toMatch(/[Aa]nother/)
    expect(other.unavailable()).toMatch(/[Aa]nother/)
    await one.close()
    await recovered(other)
    await other.close()
  })

  test('a database that the machine went down with is begun anew; one that was closed is kept', async () => {
    const apart = join(folder, 'apart')
    const kept = join(apart, 'database', 'kept')
    const first = await openFolder(apart)
    mkdirSync(first.database)
    writeFileSync(kept, '')
    await first.close(true)
    expect(existsSync(join(apart, 'in-use'))).toBe(false)
    const second = await openFolder(apart)
    await second.close(false)
    const third = await openFolder(apart)
    expect([second.discarded, third.discarded, existsSync(kept)]).toEqual([null, null, true])
    await third.close(false)
    writeFileSync(join(apart, 'in-use'), 'another boot')
    const fourth = await openFolder(apart)
    expect([fourth.discarded, existsSync(kept)]).toEqual([expect.stringMatching(/went down/), false])
    await fourth.close(false)
  })

  test('a database that does not open is put away', async () => {
    rmSync(join(folder, 'database', 'global', 'pg_control'), { force: true })
    mkdirSync(join(folder, 'unreadable'), { recursive: true })
    const sql = open()
    await recovered(sql)
    await sql.close()
    expect(existsSync(join(folder, 'unreadable', 'PG_VERSION'))).toBe(true)
  })
})

/** The tables of views on PGlite, and a process that is killed while it writes them. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, describe, expect, test } from 'vitest'
import { EmbeddedSql } from '../../../server/views/sql/embedded-sql.ts'
import { viewsStoreContract } from '../../contract/views-store.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidemark-views-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const open = (): EmbeddedSql => new EmbeddedSql({ folder, logger: silentLogger })

describe('the contract', () => viewsStoreContract(async () => open()))

describe('a process that is killed while it writes', () => {
  test('rows and progress agree, and are not behind what it said', async () => {
    for (let round = 1; round <= 3; round++) {
      const program = join(import.meta.dirname, 'store-writer.mjs')
      const child = spawn(process.execPath, [program, folder], { stdio: ['ignore', 'pipe', 'inherit'] })
      let said = 0
      let count = 0
      createInterface({ input: child.stdout }).on('line', (line) => {
        said = Number(line)
        count++
      })
      await until('it has written', () => count >= 20 * round)
      child.kill('SIGKILL')
      await once(child, 'close')
      const sql = open()
      const [progress, notes, tasks] = await sql.batch([
        { text: `select "offset", "offset" from tidemark.progress where adapter = 'killed'` },
        { text: 'select max(title), min(title) from killed.notes' },
        { text: 'select max(label), min(label) from killed.tasks having count(*) = 50' },
      ])
      expect(notes?.rows).toEqual(progress?.rows)
      expect(tasks?.rows).toEqual(progress?.rows)
      expect(Number(progress?.rows[0]?.[0])).toBeGreaterThanOrEqual(said)
      await sql.close()
    }
  })
})

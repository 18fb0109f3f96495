/**
 * Tables that are built anew beside those that are served, as a relay does it on PostgreSQL: under live edits, with a reader that
 * never sees less, killed in the middle, from nothing, and with rows that somebody changed by hand.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Client } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import * as Y from 'yjs'
import type { RebuildFigures } from '../../../server/views/rebuild/rebuild.ts'
import { dieTogether } from '../../support/die-together.ts'
import { freePort } from '../../support/free-port.ts'
import { metric } from '../../support/metric.ts'
import { type PostgresServer, start as startPostgres } from '../../support/postgres-server.ts'
import { until } from '../../support/wait.ts'
import { NotesRelay } from './notes-relay.ts'

let postgres: PostgresServer
let database: Client
let notes: NotesRelay

beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.stop())
beforeEach(async () => {
  database = new Client({ connectionString: postgres.url })
  await database.connect()
  notes = new NotesRelay({ DATABASE_URL: postgres.url })
})
afterEach(async () => {
  await notes.stop()
  await database.query('drop schema if exists tidemark, notes, notes__next cascade')
  await database.end()
})

/** Every row of every table of the adapter, as text. */
async function dump(): Promise<string[]> {
  const { rows } = await database.query(`
    select 'notes' as "table", n::text as row from notes.notes n
    union all select 'notes_facts', f::text from notes.notes_facts f order by 1, 2`)
  return rows.map(({ table, row }) => `${table} ${row}`)
}
const count = async (): Promise<number> =>
  Number((await database.query('select count(*) from notes.notes_facts')).rows[0].count)
const made = async (): Promise<string> =>
  (await database.query(`select made_at::text from tidemark.adapters where schema = 'notes'`)).rows[0].made_at

/** Documents of ten facts each. */
async function fill(documents: number): Promise<Y.Doc[]> {
  const docs = Array.from({ length: documents }, () => new Y.Doc())
  for (let i = 0; i < documents; i += 20)
    await Promise.all(
      docs.slice(i, i + 20).map((doc, n) =>
        notes.write(
          `notes/${i + n}`,
          (facts) => {
            for (let fact = 0; fact < 10; fact++) facts.set(`k${fact}`, `${i + n} ${fact}`)
          },
          doc,
        ),
      ),
    )
  return docs
}
async function ran(
  adapters: readonly string[],
  environment: Record<string, string>,
): Promise<{ code: number | null; output: string }> {
  const script = fileURLToPath(new URL('../../../scripts/views-rebuild.mjs', import.meta.url))
  const child = spawn(process.execPath, [script, ...adapters], { env: { ...process.env, ...environment } })
  dieTogether(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, output }
}
/** Slow enough for something to happen meanwhile. */
const slowly = `if (key === 'k0') { const end = Date.now() + 8; while (Date.now() < end); }
  return [{ value: String(value) }]`

test('under live edits: the old rows are served and current until the swap, no reader sees less, and rows are the same', async () => {
  notes.adapter(slowly)
  await notes.start()
  const docs = await fill(150)
  await until('projected', async () => (await count().catch(() => 0)) === 1_500)
  const before = await made()

  let reading = true
  const seen: { rows: number; made: string }[] = []
  const reader = (async () => {
    while (reading) seen.push({ rows: await count(), made: await made() })
  })()
  expect((await notes.ask('/notes/rebuild', 'POST')).status).toBe(202)
  const figures: RebuildFigures[] = []
  let edits = 0
  let slowestMs = 0
  while ((await made()) === before) {
    const adapter = (await notes.adapterStatus())!
    if (adapter.rebuild !== null) figures.push({ adapter: adapter.name, ...adapter.rebuild })
    const n = (edits * 37) % docs.length
    const fromMs = performance.now()
    await notes.write(`notes/${n}`, (facts) => facts.set(`new${edits}`, edits), docs[n])
    const { rows } = await database.query('select facts from notes.notes where document = $1', [`notes/${n}`])
    expect(rows).toHaveLength(1)
    // It is there before the swap: the old rows do not stand still.
    const wanted = `select from notes.notes_facts where document = $1 and entry = $2`
    const isThere = async (): Promise<boolean> =>
      (await database.query(wanted, [`notes/${n}`, `new${edits}`])).rowCount === 1
    await until('the edit is a row', isThere)
    slowestMs = Math.max(slowestMs, performance.now() - fromMs)
    edits++
  }
  reading = false
  await reader
  expect(edits).toBeGreaterThan(3)
  const rows = seen.map((one) => one.rows)
  expect(rows).toEqual(rows.toSorted((a, b) => a - b))
  expect(new Set(seen.map((one) => one.made)).size).toBeLessThanOrEqual(2)
  expect(figures.some(({ why, state }) => why === 'command' && state === 'filling')).toBe(true)
  const ratios = figures.map(({ ratio }) => ratio)
  expect(ratios).toEqual(ratios.toSorted((a, b) => a - b))
  const { lastRebuild } = (await notes.adapterStatus())!
  expect(lastRebuild).toMatchObject({ version: 1, documents: 150, differing: 0, sample: [] })
  expect(await count()).toBe(1_500 + edits)
  await until('it is told', async () => (await metric(notes.relay.url, 'views_rebuild_ratio')) === 1)

  await notes.write('notes/0', (facts) => facts.set('after', 1), docs[0])
  await until('it goes on', async () => (await count()) === 1_501 + edits)
})

test('of nothing: dropped and made again from the log, all rows are the same to the byte', async () => {
  notes.adapter()
  await notes.start()
  const docs = await fill(60)
  for (const [i, doc] of docs.entries())
    await notes.write(
      `notes/${i}`,
      (facts) => {
        facts.delete('k3')
        facts.set('k4', i / 3)
        if (i % 7 === 0) facts.clear()
      },
      doc,
    )
  await fetch(`${notes.relay.url}/v1/documents/notes%2F5`, { method: 'DELETE' })
  await until('projected', async () => (await dump().catch(() => [])).some((row) => row.includes('notes/59')))
  await until('the last one', async () => {
    const { rows } = await database.query(`select count(*) from notes.notes_facts where entry = 'k3'`)
    return rows[0].count === '0'
  })
  await until('it is gone', async () => !(await dump()).some((row) => row.includes('(notes/5,')))
  const before = await dump()
  expect(before.length).toBeGreaterThan(400)
  expect(await notes.rebuilt()).toMatchObject({ differing: 0 })
  expect(await dump()).toEqual(before)

  await notes.kill9()
  await database.query('drop schema tidemark, notes cascade')
  await notes.start()
  await until('all is there', async () => (await dump().catch(() => [])).length === before.length)
  expect(await dump()).toEqual(before)
})

test('killed in the middle, it goes on, and ends right', async () => {
  notes.adapter(slowly)
  await notes.start()
  await fill(100)
  await until('projected', async () => (await count().catch(() => 0)) === 1_000)
  const before = await dump()
  await notes.ask('/notes/rebuild', 'POST')
  const filled = async (): Promise<number> =>
    Number(
      (await database.query(`select count(*) from tidemark.progress where adapter = 'notes__next'`)).rows[0]
        .count,
    )
  for (const wanted of [1, 40]) {
    await until('it is under way', async () => (await filled()) >= wanted)
    await notes.kill9()
    const left = await filled()
    expect(left).toBeLessThan(100)
    await notes.start()
    expect(await filled()).toBeGreaterThanOrEqual(left)
  }
  expect(await notes.rebuilt(false)).toMatchObject({ documents: 100, differing: 0 })
  expect(await dump()).toEqual(before)
})

test('rows that were changed by hand are found, told and put right', async () => {
  notes.adapter()
  await notes.start()
  await fill(40)
  await until('projected', async () => (await count().catch(() => 0)) === 400)
  const before = await dump()
  await database.query(
    `update notes.notes_facts set value = 'mine' where document = 'notes/7' and entry = 'k1'`,
  )
  await database.query(`delete from notes.notes where document = 'notes/8'`)
  await database.query(`insert into notes.notes values ('notes/nobody', 1)`)
  // By the command: it ends with 1, since something was wrong, and says what.
  const command = await ran(['notes'], { URL: notes.relay.url })
  expect(command).toMatchObject({
    code: 1,
    output: expect.stringMatching(/notes 1 .*rows of 3 were not.*notes\/nobody/),
  })
  const { differing, sample } = (await notes.adapterStatus())!.lastRebuild!
  expect({ differing, sample: sample.toSorted() }).toEqual({
    differing: 3,
    sample: ['notes/7', 'notes/8', 'notes/nobody'],
  })
  expect(await dump()).toEqual(before)
  expect(
    notes.relay.lines.some(({ msg, level }) => String(msg).includes('not what the log says') && level === 50),
  ).toBe(true)
})

test('the command without a relay says what to do', async () => {
  const { code, output } = await ran([], { URL: `http://127.0.0.1:${await freePort()}` })
  expect(code).toBe(2)
  expect(output).toMatch(/No relay answers.*npm start/)
})

test('an adapter that is not there, and one whose new version is being built, are said', async () => {
  notes.adapter()
  await notes.start()
  await until('it is up', async () => (await notes.adapterStatus())?.state === 'live')
  expect((await notes.ask('/others/rebuild', 'POST')).status).toBe(404)
  expect((await notes.ask('/rebuild', 'POST')).status).toBe(202)
  expect((await notes.ask('/rebuild', 'POST')).status).toBe(202)
})

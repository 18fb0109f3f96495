/**
 * Views as a relay has them: an adapter in a folder, an edit over a WebSocket, a row; a relay that is killed; a new version
 * of the adapter that takes over when it has everything; a broken one.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as Automerge from '@automerge/automerge'
import { Client } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import * as Y from 'yjs'
import { createClient } from '../../../client/create-client.ts'
import { EmbeddedSql } from '../../../server/views/sql/embedded-sql.ts'
import { metric } from '../../support/metric.ts'
import { type PostgresServer, start as startPostgres } from '../../support/postgres-server.ts'
import { RawClient } from '../../support/raw-client.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'

let postgres: PostgresServer
let database: Client
let folder: string
let relay: RelayProcess | null

beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.stop())
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  mkdirSync(join(folder, 'adapters'))
  database = new Client({ connectionString: postgres.url })
  await database.connect()
  relay = null
})
afterEach(async () => {
  await relay?.stop()
  rmSync(folder, { recursive: true })
  await database.query('drop schema if exists tidemark cascade')
  await database.query('drop schema if exists notes cascade')
  await database.end()
})

/** `shout`: what the second version does otherwise. */
function adapter(version: number, shout = false): void {
  writeFileSync(
    join(folder, 'adapters', 'notes.ts'),
    `import { defineAdapter } from 'tidemark/adapter'
type Note = { text: string; letters: number }
export default defineAdapter<{ notes: Note }>({
  name: 'notes',
  version: ${version},
  documents: 'notes/:id',
  sql: \`create table notes (document text primary key, text text not null, letters int not null);
    create index on notes (letters);\`,
  document(state) {
    const text: string = state.text('t').toString()
    return { notes: [{ text: ${shout ? 'text.toUpperCase()' : 'text'}, letters: text.length }] }
  },
})
`,
  )
}

const start = async (
  settings: Record<string, string> = { DATABASE_URL: postgres.url },
): Promise<RelayProcess> => {
  relay = await startRelay({
    DATA_DIR: join(folder, 'data'),
    ADAPTERS: join(folder, 'adapters'),
    ...settings,
  })
  return relay
}

async function write(to: RelayProcess, document: string, text: string): Promise<void> {
  const client = await RawClient.connect(`${to.webSocketUrl}/${document}?echo=true`)
  await until('synced', () => client.synced)
  const doc = new Y.Doc()
  Y.applyUpdate(doc, Y.encodeStateAsUpdate(client.doc))
  const version = Y.encodeStateVector(doc)
  doc.getText('t').insert(doc.getText('t').length, text)
  client.sendUpdate(Y.encodeStateAsUpdate(doc, version))
  await until('durable', () => client.doc.getText('t').toString().endsWith(text))
  client.close()
}

const notes = async (): Promise<unknown[]> => {
  const { rows } = await database.query('select document, text, letters from notes.notes order by 1')
  return rows
}
const isThere = async (document: string, text: string): Promise<boolean> => {
  const { rows } = await database
    .query('select from notes.notes where document = $1 and text = $2', [document, text])
    .catch(() => ({ rows: [] }))
  return rows.length === 1
}

test('an edit becomes a row; killed, the relay goes on where it was; a new version is served once it has everything', async () => {
  adapter(1)
  let running = await start()
  await write(running, 'notes/a', 'one')
  await write(running, 'other/a', 'no adapter takes it')
  await until('the row', () => isThere('notes/a', 'one'))
  await write(running, 'notes/b', 'two')
  await running.kill9()

  running = await start()
  await write(running, 'notes/a', ' more')
  await until('both', async () => (await isThere('notes/b', 'two')) && (await isThere('notes/a', 'one more')))
  expect(await running.stop()).toBe(0)

  adapter(2, true)
  // Readers see the old rows or the new ones, at no moment none or some of each.
  const seen = new Set<string>()
  running = await start()
  await until('swapped', async () => {
    seen.add(JSON.stringify((await notes()).map((row) => (row as { text: string }).text)))
    return isThere('notes/a', 'ONE MORE')
  })
  expect([...seen].every((texts) => ['["one more","two"]', '["ONE MORE","TWO"]'].includes(texts))).toBe(true)
  expect(await notes()).toEqual([
    { document: 'notes/a', text: 'ONE MORE', letters: 8 },
    { document: 'notes/b', text: 'TWO', letters: 3 },
  ])
  await write(running, 'notes/b', ' and three')
  await until('the new version goes on', () => isThere('notes/b', 'TWO AND THREE'))
  const left = await database.query("select from pg_namespace where nspname like 'notes\\_\\_%'")
  expect(left.rowCount).toBe(0)
  expect(await running.stop()).toBe(0)

  // An older version does not write over a newer one.
  adapter(1)
  running = await start()
  await until('it says so', () => running.lines.some(({ msg }) => String(msg).includes('stands aside')))
  await write(running, 'notes/b', '!')
  expect(await isThere('notes/b', 'TWO AND THREE')).toBe(true)
})

test('an Automerge document has the rows that a Yjs one has, by the same adapter', async () => {
  adapter(1)
  const running = await start()
  const client = createClient({ url: running.url })
  const note = await client.open<{ t: string }>('notes/auto', { engine: 'automerge' })
  note.change((doc) => {
    doc.t = 'of Automerge'
  })
  await note.saved()
  await write(running, 'notes/yjs', 'of Yjs')
  await until(
    'both',
    async () => (await isThere('notes/auto', 'of Automerge')) && isThere('notes/yjs', 'of Yjs'),
  )
  await running.kill9()
  await start({ DATABASE_URL: postgres.url, PORT: String(running.port) })
  note.change((doc) => Automerge.splice(doc, ['t'], 0, 3, 'by '))
  await note.saved()
  await until('it goes on', () => isThere('notes/auto', 'by Automerge'))
  await client.close()
})

test('the database is away: edits go on, and rows come when it is back', async () => {
  adapter(1)
  const running = await start()
  await write(running, 'notes/a', 'one')
  await until('the row', () => isThere('notes/a', 'one'))
  await database.end()
  await postgres.kill9()
  await write(running, 'notes/a', ' two')
  await until('it is noticed', async () => (await metric(running.url, 'views_unavailable')) === 1)
  await postgres.restart()
  database = new Client({ connectionString: postgres.url })
  await database.connect()
  await until('the row', () => isThere('notes/a', 'one two'))
})

test('a broken adapter ends the start, and names file and line', async () => {
  writeFileSync(join(folder, 'adapters', 'notes.ts'), 'const a: number = 1\nthrow new Error("not yet")\n')
  await expect(start()).rejects.toThrow(/notes\.ts:2.*not yet/)
})

test('without DATABASE_URL the rows are in PGlite, and survive kill -9', async () => {
  adapter(1)
  let running = await start({})
  await write(running, 'notes/a', 'one')
  const projected = (count: number) => async (): Promise<boolean> =>
    (await metric(running.url, 'views_projected_documents')) >= count
  await until('projected', projected(1))
  await write(running, 'notes/a', ' two')
  await running.kill9()
  running = await start({})
  await write(running, 'notes/b', 'three')
  await until('both are projected', projected(2))
  expect(await running.stop()).toBe(0)
  relay = null
  const sql = new EmbeddedSql({ folder: join(folder, 'data', 'views'), logger: silentLogger })
  const [result] = await sql.batch([{ text: 'select document, text from notes.notes order by 1' }])
  expect(result?.rows).toEqual([
    ['notes/a', 'one two'],
    ['notes/b', 'three'],
  ])
  await sql.close()
})

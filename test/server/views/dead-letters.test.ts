/**
 * Documents that could not be projected: what is said of them, when they are tried again, and adapters that do not return or take
 * all memory, which hold up nobody for long. The views of a relay, on PostgreSQL, over an embedded log.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as Automerge from '@automerge/automerge'
import { Client } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import * as Y from 'yjs'
import type { DocumentId } from '../../../core/document-id.ts'
import { createEmbeddedLog } from '../../../server/log/lmdb/embedded-log.ts'
import type { Log } from '../../../server/log/log.ts'
import { Metrics } from '../../../server/metrics.ts'
import type { Letters, ViewsStatus } from '../../../server/views/operations.ts'
import { Views } from '../../../server/views/views.ts'
import { anyAdapter, Culprits, Watched } from '../../../server/views/watched.ts'
import { type PostgresServer, start as startPostgres } from '../../support/postgres-server.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'

let postgres: PostgresServer
let database: Client
let folder: string
let log: Log
let views: Views | null

beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.stop())
beforeEach(async () => {
  database = new Client({ connectionString: postgres.url })
  await database.connect()
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  mkdirSync(join(folder, 'adapters'))
  log = createEmbeddedLog({ directory: join(folder, 'log'), logger: silentLogger })
  await log.start()
  views = null
})
afterEach(async () => {
  await views?.close()
  await log.close()
  rmSync(folder, { recursive: true })
  await database.query('drop schema if exists tidemark, notes, others cascade')
  await database.end()
})

/** Does with a document what its text says. */
function adapter(name: string, version = 1): void {
  writeFileSync(
    join(folder, 'adapters', `${name}.ts`),
    `import { defineAdapter } from 'tidemark/adapter'
import { existsSync } from 'node:fs'
export default defineAdapter({
  name: '${name}',
  version: ${version},
  documents: '${name}/:id',
  sql: 'create table ${name} (document text primary key, text text not null check (text <> \\'refused\\'));',
  document(state) {
    const text: string = state.text('t').toString()
    if (text === 'throw' && !existsSync('${join(folder, 'mended')}')) throw new Error('it says so')
    if (text === 'loop') while (!existsSync('${join(folder, 'mended')}'));
    if (text === 'allocate') for (const all: string[][] = []; !existsSync('${join(folder, 'mended')}'); )
      all.push(new Array(100_000).fill(text + all.length))
    return { ${name}: [{ text }] }
  },
} as any)
`,
  )
}

async function start(memoryMb = 128): Promise<Views> {
  await views?.close()
  views = new Views({
    log,
    decide: () => Promise.reject(new Error('not asked')),
    settings: {
      folder: join(folder, 'adapters'),
      databaseUrl: postgres.url,
      dataFolder: join(folder, 'views'),
      connectionsMax: 4,
      queries: {
        readerUrl: null,
        afterTimeoutMs: 1_000,
        limits: { timeoutMs: 1_000, rowsMax: 100, bytesMax: 10_000, runningMax: 1, perUserMax: 1 },
      },
      memoryMb,
      port: 0,
    },
    logger: silentLogger,
    metrics: new Metrics(),
    projectionMsMax: 500,
  })
  await views.start()
  return views
}

const docs = new Map<string, Y.Doc>()
beforeEach(() => docs.clear())
async function say(document: string, text: string): Promise<void> {
  const doc = docs.get(document) ?? new Y.Doc()
  docs.set(document, doc)
  const version = Y.encodeStateVector(doc)
  doc.transact(() => {
    doc.getText('t').delete(0, doc.getText('t').length)
    doc.getText('t').insert(0, text)
  })
  const update = Y.encodeStateAsUpdate(doc, version)
  await log.append(document as DocumentId, [{ timeMs: 1, author: '', origin: 'o', update }])
  views?.wake()
}
const letters = async (): Promise<Letters['letters']> => {
  const answered = await views!
    .operate({ verb: 'letters', adapter: null, after: '', countMax: 10 })
    .catch(() => null)
  return answered === null ? [] : (answered as Letters).letters
}
const textOf = async (document: string): Promise<string | undefined> => {
  const table = document.split('/')[0]
  const found = await database
    .query(`select text from ${table}.${table} where document = $1`, [document])
    .catch(() => ({ rows: [] }))
  return found.rows[0]?.text
}
const mend = (): void => writeFileSync(join(folder, 'mended'), '')

test('it is told with reason and offset, keeps its rows, and is tried again when it changes, by command, and by a new version', async () => {
  adapter('notes')
  await start()
  for (const id of ['changes', 'command', 'all', 'version']) await say(`notes/${id}`, 'before')
  await until('projected', async () => (await textOf('notes/version')) === 'before')
  for (const id of ['changes', 'command', 'all', 'version']) await say(`notes/${id}`, 'throw')
  await say('notes/refused', 'refused')
  await until('dead', async () => (await letters()).length === 5)
  expect((await letters()).map(({ document }) => document)).toEqual(
    ['all', 'changes', 'command', 'refused', 'version'].map((id) => `notes/${id}`),
  )
  expect((await letters())[0]).toMatchObject({
    adapter: 'notes',
    version: 1,
    epoch: 0,
    offset: 2,
    reason: expect.stringContaining('it says so'),
    at: expect.stringMatching(/^\d{4}-.*Z$/),
  })
  expect((await letters())[3]).toMatchObject({
    offset: 1,
    reason: expect.stringContaining('notes_text_check'),
  })
  expect(await textOf('notes/command')).toBe('before')
  const status = (await views!.operate({ verb: 'status' })) as ViewsStatus
  expect(status.adapters).toMatchObject([{ name: 'notes', state: 'live', deadLetters: 5, documents: 4 }])
  const page = (await views!.operate({
    verb: 'letters',
    adapter: 'notes',
    after: '',
    countMax: 2,
  })) as Letters
  const next = { verb: 'letters', adapter: null, after: page.next!, countMax: 9 } as const
  expect(((await views!.operate(next)) as Letters).letters).toHaveLength(3)

  await say('notes/changes', 'after')
  await until('it changed', async () => (await textOf('notes/changes')) === 'after')
  expect(await letters()).toHaveLength(4)

  // Tried again while it still throws, it is dead again, and only it was tried.
  const before = await letters()
  const one = { verb: 'retry', adapter: 'notes', document: 'notes/command' } as const
  expect(await views!.operate(one)).toEqual({ retried: 1 })
  const at = (all: Letters['letters'], id: string) =>
    all.find(({ document }) => document === `notes/${id}`)?.at
  await until('tried', async () => at(await letters(), 'command') !== at(before, 'command'))
  expect(at(await letters(), 'all')).toBe(at(before, 'all'))
  mend()
  await views!.operate(one)
  await until('it is there', async () => (await textOf('notes/command')) === 'throw')
  expect(await letters()).toHaveLength(3)
  await expect(views!.operate(one)).rejects.toMatchObject({ code: 'not_found' })
  expect(await views!.operate({ verb: 'retry', adapter: null, document: null })).toEqual({ retried: 3 })
  await until('all but what the database refuses', async () => (await letters()).length === 1)
  expect(await textOf('notes/all')).toBe('throw')

  await say('notes/refused', 'fits')
  await until('none is dead', async () => (await letters()).length === 0)
  rmSync(join(folder, 'mended'))
  await say('notes/version', 'other')
  await say('notes/version', 'throw')
  await until('dead', async () => (await letters()).length === 1)
  mend()
  adapter('notes', 2)
  await start()
  await until('the new version has it', async () => (await textOf('notes/version')) === 'throw')
  await until('none is dead', async () => (await letters()).length === 0)
})

test('an adapter that does not return, or takes all memory, for some documents: the others go on', async () => {
  adapter('notes')
  adapter('others')
  await start()
  await say('notes/good', 'good')
  await until('projected', async () => (await textOf('notes/good')) === 'good')
  await say('notes/loops', 'loop')
  await say('notes/good', 'better')
  await say('others/good', 'good')
  await until('dead', async () => (await letters()).length === 1)
  expect((await letters())[0]).toMatchObject({
    document: 'notes/loops',
    reason: expect.stringContaining('more than 500 ms'),
  })
  await until(
    'the others',
    async () => (await textOf('notes/good')) === 'better' && (await textOf('others/good')) === 'good',
  )

  await say('notes/grows', 'allocate')
  await until('dead', async () => (await letters()).length === 2)
  expect((await letters())[0]).toMatchObject({
    document: 'notes/grows',
    reason: expect.stringMatching(/more than (128 MiB|500 ms)/),
  })

  // Changed, it is not tried at once: a dead letter with the same reason, and nobody waits.
  await say('notes/loops', 'loop')
  await until('it is noted', async () => (await letters())[1]?.offset === 2)
  await say('notes/good', 'best')
  await until('the other', async () => (await textOf('notes/good')) === 'best')

  mend()
  await views!.operate({ verb: 'retry', adapter: 'notes', document: null })
  await until(
    'both',
    async () => (await textOf('notes/loops')) === 'loop' && (await textOf('notes/grows')) === 'allocate',
  )
  expect(await letters()).toEqual([])
})

test('a document of Automerge that takes all memory is a dead letter, and the others go on', async () => {
  adapter('notes')
  adapter('others')
  await start(64)
  const write = async (document: string, t: string): Promise<void> => {
    const update = Automerge.getLastLocalChange(Automerge.from({ t }))!
    await log.append(document as DocumentId, [{ timeMs: 1, author: '', origin: 'o', update }])
    views?.wake()
  }
  await write('notes/one', 'good')
  await until('projected', async () => (await textOf('notes/one')) === 'good')
  // Each character is one of Automerge's operations: 1 MB, and more than 64 MB in its memory.
  const characters = Array.from({ length: 1_000_000 }, (_, i) => String.fromCharCode(97 + ((i * 7919) % 26)))
  await write('notes/large', characters.join(''))
  await write('notes/two', 'good')
  await until('the others', async () => (await textOf('notes/two')) === 'good')
  await until('dead', async () => (await letters()).length === 1)
  expect((await letters())[0]).toMatchObject({
    document: 'notes/large',
    reason: 'It cannot be opened within 64 MiB: it ended the thread',
  })
  for (const document of ['notes/three', 'others/one']) {
    await write(document, 'good')
    await until('the others', async () => (await textOf(document)) === 'good')
  }
  expect(await letters()).toHaveLength(1)
})

test('who is caught again is refused for longer; an adapter that is caught for three documents, as a whole; until it is forgiven', () => {
  const culprits = new Culprits()
  const of = (document: string) => culprits.refused.find((one) => one.document === document)?.untilMs
  culprits.note({ adapter: 'notes__next', document: 'notes/1' }, 'late', 0)
  expect(culprits.refused).toEqual([
    expect.objectContaining({ adapter: 'notes', document: 'notes/1', untilMs: 60_000 }),
  ])
  culprits.note({ adapter: 'notes', document: 'notes/1' }, 'late', 100_000)
  expect(of('notes/1')).toBe(340_000)
  for (let i = 0; i < 20; i++) culprits.note({ adapter: 'notes', document: 'notes/1' }, 'late', 0)
  expect(of('notes/1')).toBe(24 * 3_600_000)
  culprits.note({ adapter: 'notes', document: 'notes/2' }, 'late', 0)
  expect(of('*')).toBeUndefined()
  culprits.note({ adapter: 'notes', document: 'notes/3' }, 'late', 0)
  expect(of('*')).toBe(60_000)
  culprits.forgive('others', null)
  expect(culprits.refused).toHaveLength(4)
  culprits.forgive('notes', 'notes/1')
  expect(culprits.refused.map(({ document }) => document)).toEqual(['notes/2', 'notes/3'])
  culprits.forgive(null, null)
  expect(culprits.refused).toEqual([])
})

test('a document that ends the thread while it is opened is tried once more alone, then refused to all adapters', () => {
  const culprits = new Culprits()
  const note = (document: string) => culprits.note({ adapter: anyAdapter, document }, 'large', Date.now())
  note('notes/1')
  expect([culprits.refused, culprits.suspects]).toEqual([[], ['notes/1']])
  note('notes/1')
  const inThread = new Watched(undefined, culprits.refused, culprits.suspects)
  expect(inThread.isSuspected('notes/1')).toBe(true)
  expect(inThread.refusal(anyAdapter, 'notes/1')).toBe('large')
  expect(inThread.refusal(anyAdapter, 'notes/2')).toBeNull()
  // However many there are, adapters are not at fault.
  for (let i = 2; i < 9; i++) for (let time = 0; time < 2; time++) note(`notes/${i}`)
  expect(culprits.refused.map(({ document }) => document)).not.toContain('*')
  culprits.forgive('notes', 'notes/1')
  expect(culprits.refused.some(({ document }) => document === 'notes/1')).toBe(false)
  expect(culprits.refused).toHaveLength(7)
})

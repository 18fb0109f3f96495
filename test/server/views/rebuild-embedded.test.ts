/** A relay with PGlite and VIEWS_PORT: rows follow edits for a client of PostgreSQL, and are rebuilt while it reads. */
import { Client } from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import * as Y from 'yjs'
import { freePort } from '../../support/free-port.ts'
import { until } from '../../support/wait.ts'
import { NotesRelay } from './notes-relay.ts'

let notes: NotesRelay
let port: number

beforeAll(async () => {
  port = await freePort()
  notes = new NotesRelay({ VIEWS_PORT: String(port) })
  notes.adapter()
  await notes.start()
})
afterAll(() => notes.stop())

async function connected(): Promise<Client> {
  const client = new Client({ host: '127.0.0.1', port, user: 'anybody', database: 'views' })
  client.on('error', () => undefined)
  await client.connect()
  return client
}

test('an edit is a row for psql and its like; a rebuild gives the same rows, and nobody who reads sees less meanwhile', async () => {
  let client: Client | null = null
  await until('connected', async () => {
    client = await connected().catch(() => null)
    return client !== null
  })
  const reader = client!
  const count = async (): Promise<number> =>
    Number(
      (await reader.query('select count(*) from notes_facts').catch(() => ({ rows: [{ count: -1 }] })))
        .rows[0].count,
    )
  const docs = Array.from({ length: 30 }, () => new Y.Doc())
  for (const [i, doc] of docs.entries())
    await notes.write(
      `notes/${i}`,
      (facts) => {
        for (let fact = 0; fact < 10; fact++) facts.set(`k${fact}`, `${i} ${fact}`)
      },
      doc,
    )
  await until('projected', async () => (await count()) === 300)
  const dump = async () =>
    (await reader.query('select n::text from notes n union all select f::text from notes_facts f order by 1'))
      .rows
  const before = await dump()

  const seen: number[] = []
  let isOver = false
  const reading = (async () => {
    while (!isOver) seen.push(await count())
  })()
  expect(await notes.rebuilt()).toMatchObject({ documents: 30, differing: 0 })
  isOver = true
  await reading
  expect(new Set(seen)).toEqual(new Set([300]))
  expect(await dump()).toEqual(before)
  await notes.write('notes/1', (facts) => facts.set('new', 1), docs[1])
  await until('it goes on', async () => (await count()) === 301)
  await reader.end()
})

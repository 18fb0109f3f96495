/** `client.query` and `client.live` against a relay with the adapter of the notes, on PostgreSQL: tokens, own writes, restarts. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type Client, type ClientOptions, createClient, type LiveQuery } from '../../client/index.ts'
import { freePort } from '../support/free-port.ts'
import { type PostgresServer, start as startPostgres } from '../support/postgres-server.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { token, tokenSecret } from '../support/tokens.ts'
import { until } from '../support/wait.ts'

interface Note {
  readonly document: string
  readonly title: string
}

const folder = mkdtempSync(join(tmpdir(), 'tidemark-client-views-'))
const clients: Client[] = []
let postgres: PostgresServer
let port: number
let relay: RelayProcess

beforeAll(async () => {
  ;[postgres, port] = await Promise.all([startPostgres(), freePort()])
  await start()
  const ann = clientOf('ann')
  await until('the views are there', () =>
    ann.query('select count(*) from notes').then(
      () => true,
      () => false,
    ),
  )
})
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()))
})
afterAll(async () => {
  await relay?.stop()
  await postgres?.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function start(): Promise<void> {
  relay = await startRelay({
    DATA_DIR: folder,
    PORT: String(port),
    ADAPTERS: './adapters',
    DATABASE_URL: postgres.url,
    JWT_SECRET: tokenSecret,
    VIEWS_QUERY_ROWS_MAX: '10',
  })
}

/** Somebody who may do anything with documents below `notes/<name>-`, unless the token says otherwise. */
function clientOf(name: string, given?: ClientOptions['token']): Client {
  const own = (): Promise<string> =>
    token({ subject: name, documents: [{ match: `notes/${name}-*`, access: 'write' }] })
  const url = `http://127.0.0.1:${port}`
  const client = createClient({ url, user: name, storage: 'memory', token: given ?? own })
  clients.push(client)
  return client
}

async function write(client: Client, document: string, title: string): Promise<void> {
  const handle = client.open(document)
  await handle.whenSynced
  const text = handle.doc.getText('title')
  handle.doc.transact(() => {
    text.delete(0, text.length)
    text.insert(0, title)
  })
  await handle.saved()
}

const titles = (live: LiveQuery<Note>): string => live.rows.map(({ title }) => title).join()
const notesSql = 'select document, title from notes where document like $1 order by document'

test('what one has saved is in the next answer, and only those who may read it see it', async () => {
  const [ann, bob] = [clientOf('ann'), clientOf('bob')]
  for (let i = 1; i <= 10; i++) {
    await write(ann, 'notes/ann-own', `Version ${i}`)
    const { rows } = await ann.query<Note>(notesSql, ['notes/%-own'], { after: true })
    expect(rows).toEqual([{ document: 'notes/ann-own', title: `Version ${i}` }])
  }
  expect((await bob.query(notesSql, ['notes/%-own'])).rows).toEqual([])
  await expect(bob.query(notesSql, ['x'], { after: { 'notes/ann-own': 1 } })).rejects.toMatchObject({
    code: 'forbidden',
  })
})

test('more rows than fit an answer come one answer after the other', async () => {
  const ann = clientOf('ann')
  for (let i = 10; i < 35; i++) await write(ann, `notes/ann-many-${i}`, `Note ${i}`)
  const seen: string[] = []
  let answer = await ann.query<Note>(notesSql, ['notes/ann-many-%'], { after: true })
  for (;;) {
    seen.push(...answer.rows.map(({ title }) => title))
    if (answer.more === undefined) break
    answer = await answer.more()
  }
  expect(seen).toEqual(Array.from({ length: 25 }, (_, i) => `Note ${i + 10}`))
})

test('live rows follow what others write, each sees their own, and a relay that starts anew is no end', async () => {
  const [ann, bob] = [clientOf('ann'), clientOf('bob')]
  const [ofAnn, ofBob] = await Promise.all(
    [ann, bob].map((client) => client.live<Note>(notesSql, ['notes/%-live%'])),
  )
  await until('both are live', () => ofAnn!.state === 'live' && ofBob!.state === 'live')
  await Promise.all([write(ann, 'notes/ann-live', 'Tides'), write(bob, 'notes/bob-live', 'Boats')])
  await until('their own', () => titles(ofAnn!) === 'Tides' && titles(ofBob!) === 'Boats')
  await write(ann, 'notes/ann-live-2', 'Lanes')
  await until('another', () => titles(ofAnn!) === 'Tides,Lanes')
  await relay.stop()
  await until('not live', () => ofAnn!.state === 'offline')
  expect(titles(ofAnn!)).toBe('Tides,Lanes')
  await start()
  await write(ann, 'notes/ann-live', 'Ebb')
  await until('live again', () => ofAnn!.state === 'live' && titles(ofAnn!) === 'Ebb,Lanes')
  expect(titles(ofBob!)).toBe('Boats')
})

test('a live query outlives its token by asking for another; when there is none, it ends and says so', async () => {
  const documents = [{ match: 'notes/ann-*', access: 'write' }]
  let asked = 0
  const renewing = clientOf('ann', () => {
    asked++
    return token({ subject: 'ann', documents, expiresIn: asked === 1 ? 2 : 3600 })
  })
  const fixed = clientOf('ann', await token({ subject: 'ann', documents, expiresIn: 2 }))
  const live = await renewing.live<Note>(notesSql, ['notes/ann-token'])
  const ending = await fixed.live<Note>(notesSql, ['notes/ann-token'])
  await until('it ended', () => ending.state === 'refused')
  expect(ending.error).toMatchObject({ code: 'token_expired' })
  await until('it goes on', () => live.state === 'live' && asked === 2)
  await write(clientOf('ann'), 'notes/ann-token', 'After')
  await until('the row', () => titles(live) === 'After')
})

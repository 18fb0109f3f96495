/**
 * Queries as a relay answers them: an edit, its ack, and the row that says so, for users of different roles; on PostgreSQL
 * and on PGlite.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { type PostgresServer, start as startPostgres } from '../../../support/postgres-server.ts'
import { type RelayProcess, startRelay } from '../../../support/relay-process.ts'
import { token, tokenSecret } from '../../../support/tokens.ts'
import { until } from '../../../support/wait.ts'
import { type Answer, adminToken, call, pathOf } from './api-under-test.ts'

const adapter = `import { defineAdapter } from 'tidemark/adapter'
export const deals = defineAdapter({
  name: 'deals',
  version: 1,
  documents: 'deals/:id',
  roles: ['seller', 'buyer'],
  sql: \`
    create table bids (document text, entry text, bidder text not null, price int not null, secret text not null,
      primary key (document, entry));
    create policy own on bids for select to buyer
      using (bidder = current_setting('request.jwt.claims', true)::json ->> 'sub');
    create policy sellers on bids for select to seller using (true);
    grant select (document, entry, bidder, price) on bids to buyer;
    grant select on bids to seller;
    create table titles (document text primary key, title text not null);\`,
  document(state) {
    if (state.text('title').toString() === 'throw') throw new Error('it says so')
    return { titles: [{ title: state.text('title').toString() }] }
  },
  entries: {
    bids: { map: 'bids', rows: (_key, bid: any) => [{ bidder: bid.bidder, price: bid.price, secret: bid.secret }] },
  },
})
`

const folder = mkdtempSync(join(tmpdir(), 'tidemark-query-'))
mkdirSync(join(folder, 'adapters'))
writeFileSync(join(folder, 'adapters', 'deals.ts'), adapter)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let postgres: PostgresServer
beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.stop())

const start = (name: string, settings: Record<string, string>): Promise<RelayProcess> =>
  startRelay({
    DATA_DIR: join(folder, name),
    ADAPTERS: join(folder, 'adapters'),
    JWT_SECRET: tokenSecret,
    VIEWS_QUERY_ROWS_MAX: '3',
    VIEWS_AFTER_TIMEOUT_MS: '10000',
    ...settings,
  })

const ask = async (relay: RelayProcess, bearer: string, body: object): Promise<Answer> =>
  call(relay.url, 'POST', '/v1/query', { token: bearer, body })

/** Resolves with the offset of the ack. */
async function edit(relay: RelayProcess, document: string, change: (doc: Y.Doc) => void): Promise<number> {
  const doc = new Y.Doc()
  change(doc)
  const answer = await call(relay.url, 'POST', pathOf(document, '/updates'), {
    token: await adminToken(),
    body: Y.encodeStateAsUpdate(doc),
  })
  return answer.body.offset as number
}

const bid = (bidder: string, price: number) => (doc: Y.Doc) =>
  void doc.getMap('bids').set(`${bidder}${price}`, { bidder, price, secret: `${bidder}'s` })
const title = (text: string) => (doc: Y.Doc) => void doc.getText('title').insert(0, text)

describe.each([
  ['PostgreSQL', () => ({ DATABASE_URL: postgres.url })],
  ['PGlite', () => ({})],
] as const)('%s', (name, settings) => {
  let relay: RelayProcess
  beforeAll(async () => {
    relay = await start(name, settings())
    const admin = await adminToken()
    await until(
      'queries are answered',
      async () => (await ask(relay, admin, { sql: 'select 1 as a' })).status === 200,
    )
  })
  afterAll(() => relay.stop())

  test('an edit is in the answer that waits for its ack, also when it made no row', async () => {
    const writer = await token()
    for (let i = 1; i <= 3; i++) {
      const document = `deals/${i}`
      const offset = await edit(relay, document, title(`Deal ${i}`))
      const { status, body } = await ask(relay, writer, {
        sql: 'select title from titles where document = $1',
        params: [document],
        after: { [document]: offset },
      })
      expect({ status, body }).toEqual({
        status: 200,
        body: { columns: [{ name: 'title', type: 'text' }], rows: [{ title: `Deal ${i}` }] },
      })
    }
    const noRow = await edit(relay, 'deals/1', (doc) => void doc.getMap('other').set('a', 1))
    expect(
      (await ask(relay, writer, { sql: 'select 1 as a', after: { 'deals/1': noRow, 'none/1': 7 } })).status,
    ).toBe(200)
  })

  test('without policies a token sees the documents that it may read', async () => {
    const sql = 'select document from titles order by 1'
    const seen = async (...match: string[]): Promise<string[]> => {
      const documents = match.map((each) => ({ match: each, access: 'read' }))
      const { body } = await ask(relay, await token({ documents }), { sql })
      return body.rows.map((row: { document: string }) => row.document)
    }
    expect(await seen('**')).toEqual(['deals/1', 'deals/2', 'deals/3'])
    expect(await seen('deals/2', 'notes/**')).toEqual(['deals/2'])
    expect(await seen('deals/*')).toEqual(['deals/1', 'deals/2', 'deals/3'])
    expect(await seen()).toEqual([])
  })

  test('policies and grants of the adapter decide what roles see', async () => {
    await edit(relay, 'deals/1', bid('ann', 10))
    const offset = await edit(relay, 'deals/1', bid('bob', 20))
    const of = (subject: string, ...roles: string[]) =>
      token({ subject, roles, documents: [{ match: 'deals/*', access: 'read' }] })
    const sql = 'select bidder, price from bids order by price'
    const after = { 'deals/1': offset }
    const rows = async (bearer: string): Promise<unknown> =>
      (await ask(relay, bearer, { sql, after })).body.rows
    expect(await rows(await of('ann', 'buyer'))).toEqual([{ bidder: 'ann', price: 10 }])
    expect(await rows(await of('bob', 'other', 'buyer'))).toEqual([{ bidder: 'bob', price: 20 }])
    expect(await rows(await of('cid', 'seller'))).toHaveLength(2)
    expect(await rows(await adminToken())).toHaveLength(2)
    const refused = async (bearer: string, text: string) => (await ask(relay, bearer, { sql: text })).body
    const absent = { code: 'query_refused', status: 400 }
    const one = await refused(await of('ann'), 'select price from bids')
    const two = await refused(await of('ann', 'buyer'), 'select secret from bids')
    const none = await refused(await of('ann'), 'select price from bidz')
    expect([one, two, none]).toMatchObject([absent, absent, absent])
    expect(none.detail).toBe(one.detail.replace('bids', 'bidz'))
    expect(two.detail).toBe(one.detail)
    for (const problem of [one, two, none])
      expect(JSON.stringify(problem)).not.toMatch(/permission|bob|tidemark_|secret/)
  })

  test('more rows come with a cursor', async () => {
    const sql = 'select i from generate_series(1, 7) i order by 1'
    const admin = await adminToken()
    const pages: unknown[] = []
    let cursor: string | undefined
    do {
      const { body } = await ask(relay, admin, { sql, ...(cursor !== undefined && { cursor }) })
      pages.push(body.rows.map((row: { i: number }) => row.i))
      cursor = body.cursor
    } while (cursor !== undefined)
    expect(pages).toEqual([[1, 2, 3], [4, 5, 6], [7]])
  })

  test('views that are behind say how far they are; a document that failed is told as such', async () => {
    const writer = await token()
    const late = await ask(relay, writer, { sql: 'select 1 as a', after: { 'deals/2': 1_000 } })
    expect(late).toMatchObject({ status: 504, body: { code: 'views_behind' } })
    expect(late.body.detail).toMatch(/"deals" have "deals\/2" at offset \d+, not yet at 1000/)
    const offset = await edit(relay, 'deals/bad', title('throw'))
    const dead = await ask(relay, writer, { sql: 'select 1 as a', after: { 'deals/bad': offset } })
    expect(dead).toMatchObject({ status: 504, body: { code: 'views_behind' } })
    expect(dead.body.detail).toMatch(/dead letters/)
    const reader = await token({ documents: [{ match: 'deals/1', access: 'read' }] })
    const forbidden = await ask(relay, reader, { sql: 'select 1 as a', after: { 'deals/2': 1 } })
    expect(forbidden).toMatchObject({ status: 403, body: { code: 'forbidden' } })
  })

  test('what is no query is refused', async () => {
    const reader = await token()
    const code = async (body: object): Promise<string> => (await ask(relay, reader, body)).body.code
    expect(await code({ sql: "select set_config('role', 'postgres', true)" })).toBe('query_refused')
    expect(await code({ sql: 'select 1; select 2' })).toBe('query_refused')
    expect(await code({ sql: 'select * from titles', cursor: 'AAAA' })).toBe('query_refused')
    expect(await code({ sql: 'select nothing from titles' })).toBe('query_failed')
    expect(await code({ sql: 'select $1::int as a' })).toBe('query_refused')
    expect(await code({})).toBe('invalid_request')
    expect(await code({ sql: 'select 1 as a', role: 'x' })).toBe('invalid_request')
    expect(await code({ sql: 'select 1 as a', after: { '': 1 } })).toBe('invalid_document_id')
    expect((await call(relay.url, 'POST', '/v1/query', { body: { sql: 'select 1 as a' } })).status).toBe(401)
    expect((await call(relay.url, 'GET', '/v1/query')).status).toBe(404)
  })
})

test('tables of an earlier release are secured at the next start', async () => {
  const own = new Client({ connectionString: postgres.url })
  await own.connect()
  await own.query('create database earlier')
  const settings = { DATABASE_URL: postgres.url.replace(/[^/]*$/, 'earlier') }
  const admin = await adminToken()
  let relay = await start('earlier', settings)
  const titles = { sql: 'select document from titles' }
  const offset = await edit(relay, 'deals/1', title('One'))
  const seen = async (bearer: string): Promise<unknown> =>
    (await ask(relay, bearer, { ...titles, after: { 'deals/1': offset } })).body.rows
  await until('there', async () => JSON.stringify(await seen(admin)) === '[{"document":"deals/1"}]')
  await relay.stop()
  const past = new Client({ connectionString: settings.DATABASE_URL })
  await past.connect()
  await past.query(`drop policy tidemark_rows on deals.titles; alter table deals.titles disable row level security;
    revoke all on deals.titles from tidemark_reader, tidemark_admin; revoke usage on schema deals from tidemark_reader`)
  await past.end()
  await own.end()
  relay = await start('earlier', settings)
  await until('there again', async () => JSON.stringify(await seen(admin)) === '[{"document":"deals/1"}]')
  expect((await ask(relay, await token({ documents: [] }), titles)).body.rows).toEqual([])
  await relay.stop()
})

test('who hangs up ends the query in the database', async () => {
  const own = new Client({ connectionString: postgres.url })
  await own.connect()
  await own.query('create database gone')
  const relay = await start('gone', { DATABASE_URL: postgres.url.replace(/[^/]*$/, 'gone') })
  const admin = await adminToken()
  await until(
    'queries are answered',
    async () => (await ask(relay, admin, { sql: 'select 1 as a' })).status === 200,
  )
  const running = async (): Promise<number> => {
    const text = `select from pg_stat_activity where state = 'active' and query like '%2000000001%' and query not like '%activity%'`
    return (await own.query(text)).rowCount ?? 0
  }
  const gone = new AbortController()
  const asked = fetch(`${relay.url}/v1/query`, {
    method: 'POST',
    headers: { authorization: `Bearer ${admin}`, 'content-type': 'application/json' },
    body: JSON.stringify({ sql: 'select count(*) from generate_series(1, 2000000001) a' }),
    signal: gone.signal,
  }).catch((error: Error) => error.name)
  await until('it runs', async () => (await running()) === 1)
  gone.abort()
  expect(await asked).toBe('AbortError')
  await until('it has ended', async () => (await running()) === 0)
  expect((await ask(relay, admin, { sql: 'select 1 as a' })).status).toBe(200)
  await relay.stop()
  await own.end()
})

test('without adapters it is said that there are none', async () => {
  const relay = await startRelay({ DATA_DIR: join(folder, 'none'), JWT_SECRET: tokenSecret })
  const { status, body } = await ask(relay, await adminToken(), { sql: 'select 1 as a' })
  expect({ status, code: body.code }).toEqual({ status: 503, code: 'views_unavailable' })
  await relay.stop()
})

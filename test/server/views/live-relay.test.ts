/**
 * Live queries of real relays: two nodes on one PostgreSQL, users with other rights, a database that is restarted, tables that
 * are replaced; and PGlite.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { EventStream, type StreamOptions } from '../../support/event-stream.ts'
import { metric } from '../../support/metric.ts'
import { type PostgresServer, start as startPostgres } from '../../support/postgres-server.ts'
import { type RedisServer, startRedisServer } from '../../support/redis-server.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { token, tokenSecret } from '../../support/tokens.ts'
import { until } from '../../support/wait.ts'

let folder: string
let admin: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-live-'))
  mkdirSync(join(folder, 'adapters'))
  admin = await token({ subject: 'admin', documents: [{ match: '**', access: 'admin' }] })
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/**
 * `notes` are seen by who may read their documents; `deals` by who owns them, whatever else they may do; of `bids` buyers see their
 * own, without titles, and sellers everything.
 */
function adapters(version = 1): void {
  const file = (
    name: string,
    more: string,
    settings = '',
  ): string => `import { defineAdapter } from 'tidemark/adapter'
export default defineAdapter({
  name: '${name}',
  version: ${version},
  documents: '${name}/:id',
  ${settings}
  sql: \`create table ${name} (document text primary key, title text not null, owner text not null${version > 1 ? ', size int not null' : ''});
    ${more}\`,
  document(state: any) {
    const title = state.text('title').toString()
    const owner = String(state.map('meta').get('owner') ?? '')
    return { ${name}: [{ title, owner${version > 1 ? ', size: title.length' : ''} }] }
  },
} as any)
`
  const policy = `create policy own on deals for select
      using (owner = current_setting('request.jwt.claims', true)::json ->> 'sub');`
  const roles = `create policy own on bids for select to buyer
      using (owner = current_setting('request.jwt.claims', true)::json ->> 'sub');
    create policy every on bids for select to seller using (true);
    grant select (document, owner) on bids to buyer;
    grant select on bids to seller;`
  writeFileSync(join(folder, 'adapters', 'bids.ts'), file('bids', roles, "roles: ['buyer', 'seller'],"))
  writeFileSync(join(folder, 'adapters', 'notes.ts'), file('notes', ''))
  writeFileSync(join(folder, 'adapters', 'deals.ts'), file('deals', policy))
}

const relays: RelayProcess[] = []
const streams: EventStream[] = []
afterEach(() => {
  for (const stream of streams.splice(0)) stream.close()
})

async function relay(settings: Record<string, string>): Promise<RelayProcess> {
  const running = await startRelay({
    ADAPTERS: join(folder, 'adapters'),
    JWT_SECRET: tokenSecret,
    ...settings,
  })
  relays.push(running)
  return running
}
const stopRelays = (): Promise<unknown> => Promise.all(relays.splice(0).map((running) => running.stop()))

async function open(
  to: RelayProcess,
  sql: string,
  options: StreamOptions = {},
  before: EventStream | null = null,
): Promise<EventStream> {
  const stream = await EventStream.open(to.url, sql, { token: admin, ...options }, before)
  streams.push(stream)
  if (stream.status === 200 && before === null) await until('the rows', () => stream.list !== null)
  if (stream.status !== 200) await until('the problem', () => stream.problem !== null)
  return stream
}

const docs = new Map<string, Y.Doc>()
/** At this node: what the document says from now on. */
async function say(to: RelayProcess, document: string, title: string, owner = ''): Promise<void> {
  const doc = docs.get(document) ?? new Y.Doc()
  docs.set(document, doc)
  const version = Y.encodeStateVector(doc)
  doc.transact(() => {
    const text = doc.getText('title')
    text.delete(0, text.length)
    text.insert(0, title)
    doc.getMap('meta').set('owner', owner)
  })
  const response = await fetch(`${to.url}/v1/documents/${encodeURIComponent(document)}/updates`, {
    method: 'POST',
    headers: { 'content-type': 'application/octet-stream', authorization: `Bearer ${admin}` },
    body: Buffer.from(Y.encodeStateAsUpdate(doc, version)),
  })
  expect(response.status).toBe(201)
}
const titles = (stream: EventStream): unknown[] | undefined => stream.rows?.map((row) => row['title'])
const shows = (stream: EventStream, ...expected: string[]): Promise<void> =>
  until(`it shows ${expected}`, () => JSON.stringify(titles(stream)) === JSON.stringify(expected))

describe('on PostgreSQL, with two nodes', () => {
  let postgres: PostgresServer
  let redis: RedisServer
  let a: RelayProcess
  let b: RelayProcess
  const settings = (): Record<string, string> => ({ DATABASE_URL: postgres.url, REDIS_URL: redis.url })
  beforeAll(async () => {
    adapters()
    ;[postgres, redis] = await Promise.all([startPostgres(), startRedisServer({})])
    ;[a, b] = await Promise.all([relay(settings()), relay(settings())])
    // Both hold parts before anything is said: what either writes is to be heard by the other.
    await say(a, 'notes/first', 'first')
    for (const node of [a, b])
      await until('there are tables', async () => (await ask(node, 'select 1 as one from notes')) === 200)
  })
  afterAll(async () => {
    await stopRelays()
    await Promise.all([postgres.stop(), redis.stop()])
  })
  const ask = async (to: RelayProcess, sql: string): Promise<number> => {
    const stream = await EventStream.open(to.url, sql, { token: admin })
    stream.close()
    return stream.status
  }

  test('an edit at one node shows at the listeners of both, whoever projects it', async () => {
    const sql = "select document, title from notes where document like 'notes/edit%' order by document"
    const [atA, atB] = [await open(a, sql), await open(b, sql)]
    for (const stream of [atA, atB])
      await until('it shows that there is nothing', () => stream.rows?.length === 0)
    const names = Array.from({ length: 12 }, (_, i) => `notes/edit-${String(i).padStart(2, '0')}`)
    for (const name of names) await say(a, name, name)
    await shows(atB, ...names)
    await shows(atA, ...names)
    await say(b, names[3]!, 'changed')
    const expected = names.with(3, 'changed')
    await shows(atA, ...expected)
    await shows(atB, ...expected)
    expect(atA.events.slice(1).every((event) => event === 'change')).toBe(true)
  })

  test('a listener who comes back to the same node gets what changed, at another all rows', async () => {
    const sql = "select document, title from notes where document = 'notes/back'"
    await say(a, 'notes/back', 'one')
    const first = await open(a, sql)
    await shows(first, 'one')
    first.close()
    await say(a, 'notes/back', 'two')
    const again = await open(a, sql, {}, first)
    await shows(again, 'two')
    expect(again.events[0]).toBe('change')
    const elsewhere = await open(b, sql, {}, first)
    await shows(elsewhere, 'two')
    expect(elsewhere.events[0]).toBe('rows')
  })

  test('users see what they may, also of the same query, and a row that moves to another goes and comes', async () => {
    const [ann, bob] = await Promise.all(
      ['ann', 'bob'].map((subject) =>
        token({ subject, documents: [{ match: `notes/${subject}/**`, access: 'read' }] }),
      ),
    )
    await say(a, 'deals/1', 'wheat', 'ann')
    await say(b, 'deals/2', 'rye', 'bob')
    const sql = 'select document, title from deals order by document'
    const [forAnn, forBob] = [await open(a, sql, { token: ann! }), await open(a, sql, { token: bob! })]
    await shows(forAnn, 'wheat')
    await shows(forBob, 'rye')
    await say(a, 'deals/1', 'wheat', 'bob')
    await shows(forAnn)
    await shows(forBob, 'wheat', 'rye')
    // With the name of what another has seen, nothing of that is told.
    const curious = await open(a, sql, { token: ann!, has: forBob.id }, null)
    expect([curious.events, curious.rows]).toEqual([['rows'], []])

    const notes = 'select title from notes order by title'
    expect((await open(b, notes, { token: ann! })).rows).toEqual([])
    // A table that is not there, and one that nobody may read, are refused alike.
    const refusals = await Promise.all(
      ['nothing', 'tidemark.progress', 'pg_catalog.pg_authid'].map(async (table) => {
        const { status, problem } = await open(a, `select * from ${table}`, { token: ann! })
        return `${status} ${problem?.code} ${problem?.detail.replaceAll(table, '…').replaceAll(/"?…"?/g, '…')}`
      }),
    )
    expect(new Set(refusals).size, refusals.join('\n')).toBe(1)
  })

  test('roles see the rows and columns that they were granted', async () => {
    const holding = (subject: string, role: string): Promise<string> =>
      token({ subject, roles: [role], documents: [] })
    await say(a, 'bids/1', 'secret', 'ann')
    await say(a, 'bids/2', 'secret too', 'bob')
    const sql = 'select document from bids order by document'
    const seller = await open(b, sql, { token: await holding('sue', 'seller') })
    const buyer = await open(b, sql, { token: await holding('ann', 'buyer') })
    await until('the seller sees all', () => seller.rows?.length === 2)
    await until('the buyer sees their own', () => buyer.rows?.length === 1)
    await say(a, 'bids/2', 'secret too', 'ann')
    await until('the buyer sees both', () => buyer.rows?.length === 2)
    const titles = 'select title from bids order by title'
    const refused = await open(b, titles, { token: await holding('ann', 'buyer') })
    expect(refused.problem?.detail).not.toContain('secret')
    expect((await open(b, titles, { token: await holding('sue', 'seller') })).rows).toHaveLength(2)
    const neither = await open(b, sql, { token: await holding('eve', 'other') })
    expect([neither.status, neither.problem?.code]).toEqual([refused.status, refused.problem?.code])
  })

  test('an error that data brings ends it, and says nothing but what PostgreSQL says of the query', async () => {
    await say(a, 'notes/error', '1')
    const sql = "select 10 / length(title) as part from notes where document = 'notes/error'"
    const stream = await open(a, sql)
    await until('the row', () => stream.rows?.[0]?.['part'] === 10)
    await say(a, 'notes/error', '')
    await until('the end', () => stream.ended)
    expect(stream.error?.code).toBe('query_failed')
    expect(stream.error?.message).toMatch(/^division by zero \(22012/)
  })

  test('one that reads other tables is not run, and many that ask the same are run once', async () => {
    const sql = "select document, title from notes where document = 'notes/many'"
    await say(a, 'notes/many', 'one')
    const all = await Promise.all(Array.from({ length: 40 }, () => open(a, sql)))
    const runs = (): Promise<number> => metric(a.url, 'live_runs_total')
    await until('they count', async () => (await metric(a.url, 'live_queries')) === 40)
    await new Promise((done) => setTimeout(done, 1_500))
    const before = await runs()
    await say(a, 'deals/other', 'barley', 'ann')
    await say(a, 'notes/many', 'two')
    await Promise.all(all.map((stream) => shows(stream, 'two')))
    await until('the run is counted', async () => (await runs()) > before)
    // Some that were before may be counted only now.
    expect((await runs()) - before).toBeLessThan(20)
  })

  test('PostgreSQL is restarted: it goes on', async () => {
    const sql = "select document, title from notes where document = 'notes/restart'"
    await say(a, 'notes/restart', 'before')
    const [atA, atB] = [await open(a, sql), await open(b, sql)]
    await shows(atB, 'before')
    await postgres.kill9()
    await say(a, 'notes/restart', 'after')
    await postgres.restart()
    await shows(atB, 'after')
    await shows(atA, 'after')
    await say(b, 'notes/restart', 'and on')
    await shows(atA, 'and on')
    await shows(atB, 'and on')
  })

  test('a new version of the adapter: rows of its tables come when it is served, at the node of the old one too', async () => {
    const sql = "select * from notes where document = 'notes/version'"
    await say(a, 'notes/version', 'title')
    const stream = await open(a, sql)
    await shows(stream, 'title')
    adapters(2)
    await b.stop()
    relays.splice(relays.indexOf(b), 1)
    b = await relay(settings())
    await until('its column is there', () => stream.rows?.[0]?.['size'] === 5)
    expect(stream.columns.map(({ name }) => name)).toContain('size')
    await say(a, 'notes/version', 'longer title')
    await until('it goes on', () => stream.rows?.[0]?.['size'] === 12)
    adapters()
  })

  test('the relay ends: listeners are told to come back', async () => {
    const stream = await open(a, 'select 1 as one')
    await a.stop()
    relays.splice(relays.indexOf(a), 1)
    await until('the end', () => stream.ended)
    expect(stream.error?.code).toBe('shutting_down')
  })
})

test('on PGlite: an edit shows, each user sees what is theirs, and it goes on after a return', async () => {
  adapters()
  docs.clear()
  const only = await relay({ DATA_DIR: join(folder, 'data') })
  await say(only, 'deals/1', 'wheat', 'ann')
  const ann = await token({ subject: 'ann', documents: [] })
  const sql = 'select document, title from deals order by document'
  let stream: EventStream | null = null
  await until('the views are there', async () => {
    stream = await EventStream.open(only.url, sql, { token: ann })
    if (stream.status !== 200) stream.close()
    return stream.status === 200
  })
  const first = stream as unknown as EventStream
  streams.push(first)
  await shows(first, 'wheat')
  await say(only, 'deals/2', 'rye', 'ann')
  await say(only, 'deals/3', 'oats', 'bob')
  await shows(first, 'wheat', 'rye')
  expect(first.events).toContain('change')
  first.close()
  await say(only, 'deals/1', 'wheat', 'bob')
  const again = await open(only, sql, { token: ann }, first)
  await shows(again, 'rye')
  await stopRelays()
})

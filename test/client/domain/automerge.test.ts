/**
 * Documents of facts over Automerge, from end to end: two clients, a relay of its own process, its arbiter, and rows in PostgreSQL. What
 * holds of a Yjs document holds of one of Automerge: the same facts give the same rows.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { createClient } from '../../../client/create-client.ts'
import { ConflictChanged, conflictsOf } from '../../../client/domain/conflicts-of.ts'
import { type Domain, openDomain } from '../../../client/domain/domain.ts'
import { yjsEntries } from '../../../client/domain/yjs-entries.ts'
import type { DocumentEntries, NewEntry } from '../../../client/entries.ts'
import type { AutomergeHandle, Client } from '../../../client/types.ts'
import { factsRoot } from '../../../core/domain/facts/fact.ts'
import { counter } from '../../../core/domain/kinds/counter.ts'
import { multiValue } from '../../../core/domain/kinds/multi-value.ts'
import { workflow } from '../../../core/domain/kinds/workflow.ts'
import { type PostgresServer, start as startPostgres } from '../../support/postgres-server.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { token, tokenSecret } from '../../support/tokens.ts'
import { until } from '../../support/wait.ts'

const declared = `{
  price: multiValue(),
  title: multiValue({ from: { map: 'deal' } }),
  state: workflow({
    states: ['open', 'sold', 'shipped', 'cancelled'],
    initial: 'open',
    transitions: {
      sell: { from: 'open', to: 'sold', consistency: 'free' },
      ship: { from: 'sold', to: 'shipped', consistency: 'decided', roles: ['seller'] },
      cancel: { from: 'sold', to: 'cancelled', consistency: 'decided' },
    },
  }),
}`
const adapter = `
import { counter, defineAdapter, multiValue, workflow } from 'tidemark/adapter'
export default defineAdapter({
  name: 'deals', version: 1, documents: 'deals/:id', fields: ${declared},
  collections: { lines: { count: counter() } },
})`
const fields = {
  fields: {
    price: multiValue<number>(),
    title: multiValue<string>({ from: { map: 'deal' } }),
    state: workflow({
      states: ['open', 'sold', 'shipped', 'cancelled'],
      initial: 'open',
      transitions: {
        sell: { from: 'open', to: 'sold', consistency: 'free' },
        ship: { from: 'sold', to: 'shipped', consistency: 'decided', roles: ['seller'] },
        cancel: { from: 'sold', to: 'cancelled', consistency: 'decided' },
      },
    }),
  },
  collections: { lines: { count: counter() } },
}

interface Person {
  readonly client: Client
  readonly handle: AutomergeHandle<Record<string, Record<string, unknown>>>
  readonly domain: Domain<typeof fields>
}

const folder = mkdtempSync(join(tmpdir(), 'tidemark-automerge-domain-'))
let postgres: PostgresServer
let relay: RelayProcess
const clients: Client[] = []

beforeAll(async () => {
  mkdirSync(join(folder, 'adapters'))
  writeFileSync(join(folder, 'adapters', 'deals.ts'), adapter)
  postgres = await startPostgres()
  relay = await startRelay({
    DATA_DIR: folder,
    ADAPTERS: join(folder, 'adapters'),
    JWT_SECRET: tokenSecret,
    DATABASE_URL: postgres.url,
  })
})
afterEach(() => Promise.all(clients.splice(0).map((client) => client.close())))
afterAll(async () => {
  await relay.stop()
  await postgres.stop()
  rmSync(folder, { recursive: true })
})

async function clientOf(subject: string): Promise<Client> {
  const mine = await token({ subject, roles: [subject === 'ann' ? 'seller' : 'dealer'] })
  const client = createClient({ url: relay.url, token: mine, user: subject, storage: 'memory' })
  clients.push(client)
  return client
}

const acting = (subject: string) => ({
  actor: subject.padEnd(6, '0'),
  subject,
  roles: [subject === 'ann' ? 'seller' : 'dealer'],
})

async function person(subject: string, document: string): Promise<Person> {
  const client = await clientOf(subject)
  const handle: Person['handle'] = await client.open(document, { engine: 'automerge' })
  await handle.whenSynced
  return { client, handle, domain: openDomain(handle, fields, acting(subject)) }
}

async function rows(sql: string): Promise<readonly Record<string, unknown>[]> {
  const admin = await token({ documents: [{ match: '**', access: 'admin' }] })
  const answer = await fetch(`${relay.url}/v1/query`, {
    method: 'POST',
    headers: { authorization: `Bearer ${admin}`, 'content-type': 'application/json' },
    body: JSON.stringify({ sql }),
  })
  return ((await answer.json()) as { rows?: Record<string, unknown>[] }).rows ?? []
}

test('what two do offline is decided, one is told why not, and rows say the same', async () => {
  const [ann, ben] = [await person('ann', 'deals/ship'), await person('ben', 'deals/ship')]
  ann.domain.fields.state.do.move('sell')
  ann.domain.entity('lines', '7').count.do.add(3)
  await ann.handle.saved()
  await until('ben knows', () => ben.domain.fields.state.value.state === 'sold')
  for (const { client } of [ann, ben]) client.pause()
  const moves = [ann.domain.fields.state.do.move('ship'), ben.domain.fields.state.do.move('cancel')]
  ben.domain.entity('lines', '7').count.do.add(2)
  expect(ann.domain.fields.state.expected.state).toBe('shipped')
  expect(ben.domain.fields.state.expected.state).toBe('cancelled')
  expect(ben.domain.fields.state.value.state).toBe('sold')
  for (const { client } of [ann, ben]) client.resume()
  const outcomes = await Promise.all([ann.domain.settled(moves[0]!.key!), ben.domain.settled(moves[1]!.key!)])
  expect(outcomes.map(({ status }) => status).sort()).toEqual(['effective', 'rejected'])
  const state = outcomes[0]!.status === 'effective' ? 'shipped' : 'cancelled'
  for (const { domain } of [ann, ben]) {
    await until('both know', () => domain.fields.state.value.state === state)
    expect(domain.fields.state.expected.state).toBe(state)
    await until('both have all', () => domain.entity('lines', '7').count.value === 5)
  }
  const loser = moves[outcomes.findIndex(({ status }) => status === 'rejected')]!.key!
  for (const { domain } of [ann, ben]) {
    await until('both are told', () => domain.outcome(loser)?.status === 'rejected')
    expect(domain.reports()).toEqual([])
  }
  await until('rows say so', async () => {
    const [deal] = await rows(`select state, count::int from deals join deals_lines using (document)
        where document = 'deals/ship' and id = '7'`)
    return deal?.['state'] === state && deal['count'] === 5
  })
  await until('rows say why not', async () => {
    const [fact] = await rows(
      `select status from deals_facts where document = 'deals/ship' and entry = '${loser}'`,
    )
    return fact?.['status'] === 'rejected'
  })
})

test('values of a key that two assigned at once are a conflict for all, until an assignment', async () => {
  const document = 'deals/title'
  const [ann, ben] = [await person('ann', document), await person('ben', document)]
  const both = [ann, ben]
  const inSql = () => rows(`select sides from tidemark.conflicts where document = '${document}'`)
  const settledAs = async (value: string): Promise<void> => {
    for (const { domain } of both) await until('settled', () => domain.fields.title.value.conflict === null)
    for (const { domain } of both) expect(domain.fields.title.value.value).toBe(value)
    await until('in SQL', async () => (await inSql()).length === 0)
    expect(await rows(`select title from deals where document = '${document}'`)).toEqual([{ title: value }])
  }
  async function collide(mine: string, theirs: string): Promise<readonly string[]> {
    for (const { client } of both) client.pause()
    expect(ann.domain.fields.title.do.set(mine).refusal).toBeNull()
    // As an app that knows nothing of fields.
    ben.handle.change((doc) => {
      doc['deal']!['title'] = theirs
    })
    for (const { client } of both) client.resume()
    for (const { domain } of both) await until('both see both', () => domain.conflicts().length === 1)
    const [seen, same] = both.map(({ domain }) => domain.conflicts()[0]!)
    expect(seen!.sides.map(({ value }) => value).sort()).toEqual([mine, theirs].sort())
    expect(same!.sides).toEqual(seen!.sides)
    await until('SQL too', async () => (await inSql()).length === 1)
    expect((await inSql())[0]!['sides']).toEqual(seen!.sides)
    return seen!.sides.map(({ key }) => key)
  }

  ann.domain.fields.title.do.set('Barley')
  await until('ben has it', () => ben.domain.fields.title.value.value === 'Barley')
  await collide('Rye', 'Wheat')
  expect(ann.domain.fields.title.do.set('Oats')).toMatchObject({ refusal: { reason: 'conflict' } })
  const [conflict] = ben.domain.conflicts()
  const rye = conflict!.sides.find(({ value }) => value === 'Rye')!
  const { key } = conflict!.settle({ side: rye.key })
  expect(await ben.domain.settled(key!)).toEqual({ status: 'effective' })
  await settledAs('Rye')

  const seen = await collide('Oats', 'Hay')
  const inbox = conflictsOf(ann.client)
  const settlement = { document, field: 'title', seen, value: 'Straw' }
  const settled = await Promise.all([inbox.settle(settlement), inbox.settle(settlement)])
  const outcome = { status: 'effective' }
  expect(settled).toMatchObject(settled.map(() => ({ key: settled[0].key, outcome })))
  await settledAs('Straw')
  expect(await inbox.settle(settlement)).toMatchObject({ key: settled[0].key, outcome })
  await expect(inbox.settle({ ...settlement, value: 'Hay' })).rejects.toBeInstanceOf(ConflictChanged)
  expect(await inbox.read(document, { field: 'title' })).toMatchObject({
    sides: [{ key: settled[0].key, value: 'Straw' }],
    earlier: [],
  })
  await settledAs('Straw')
})

test('the same facts in a document of either engine give the same rows', async () => {
  const ann = await person('ann', 'deals/automerge')
  const client = await clientOf('ann')
  const yjs = client.open('deals/yjs')
  await yjs.whenSynced
  const domain = openDomain(yjs, fields, acting('ann'))
  domain.fields.price.do.set(4200.5)
  domain.fields.state.do.move('sell')
  domain.entity('lines', 'é "7"').count.do.add(3)
  domain.fields.price.do.set(2 ** 60)
  const ship = domain.fields.state.do.move('ship')
  const entries: DocumentEntries = yjsEntries(yjs.doc)
  const written: NewEntry[] = []
  entries.follow(factsRoot, (all) => written.push(...all))()
  ann.handle.entries.write(factsRoot, written)
  for (const each of [domain, ann.domain])
    expect(await each.settled(ship.key!)).toMatchObject({ status: 'effective' })
  const of = async (document: string) => {
    const tables = ['deals', 'deals_lines', 'deals_facts', 'deals_conflicts'].map((table) =>
      rows(`select * from ${table} where document = '${document}' order by 1, 2`),
    )
    return (await Promise.all(tables)).map((all) => all.map((row) => ({ ...row, document: '' })))
  }
  const shipped = async (): Promise<boolean> =>
    (await rows(`select from deals where state = 'shipped' and document in ('deals/yjs', 'deals/automerge')`))
      .length === 2
  await until('projected', shipped)
  expect(await of('deals/automerge')).toEqual(await of('deals/yjs'))
  expect((await of('deals/yjs')).map((all) => all.length)).toEqual([1, 1, 5, 0])
})

test('a fact that somebody writes over is refused at the door, and nobody else sees it', async () => {
  const [ann, mallory] = [await person('ann', 'deals/door'), await person('mal', 'deals/door')]
  const { key } = ann.domain.fields.price.do.set(1)
  await ann.handle.saved()
  await until('mallory has it', () => mallory.domain.fields.price.value.value === 1)
  mallory.handle.change((doc) => {
    doc[factsRoot]![key!] = ['', 'price.set', { value: 2 }]
  })
  await expect(mallory.handle.saved()).rejects.toMatchObject({ code: 'fact_refused' })
  // Where it was done it is seen for what it is.
  expect(mallory.domain.reports()).toMatchObject([{ key }])
  const late = await person('ben', 'deals/door')
  for (const { domain } of [ann, late]) {
    expect(domain.fields.price.value).toEqual({ value: 1, conflict: null })
    expect(domain.reports()).toEqual([])
  }
  ann.domain.fields.price.do.set(3)
  await ann.handle.saved()
  await until('it goes on', () => late.domain.fields.price.value.value === 3)
})

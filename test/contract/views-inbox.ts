/**
 * What waits in the documents of all adapters with fields, as queries see it: each row for whoever may read the one underneath, whichever
 * engine the documents have.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Adapter, defineAdapter } from '../../core/domain/adapter.ts'
import { type FactKey, factsRoot } from '../../core/domain/facts/fact.ts'
import type { FactEntry } from '../../core/domain/fold/document-fold.ts'
import { multiValue } from '../../core/domain/kinds/multi-value.ts'
import { offers } from '../../core/domain/kinds/offers.ts'
import { owner } from '../../core/domain/kinds/owner.ts'
import { reference } from '../../core/domain/kinds/reference.ts'
import { register } from '../../core/domain/kinds/register.ts'
import { workflow } from '../../core/domain/kinds/workflow.ts'
import { project } from '../../core/domain/project.ts'
import type { EngineName } from '../../core/engine/engine.ts'
import { engines } from '../../core/engine/engines.ts'
import { dependenciesOf } from '../../server/views/live/dependencies.ts'
import type { QueryRights } from '../../server/views/query/rights.ts'
import { adoptSql } from '../../server/views/store/inbox.ts'
import { dropAdapter, installAdapter } from '../../server/views/store/schema.ts'
import { openInbox, secure } from '../../server/views/store/secure.ts'
import { readTables } from '../../server/views/store/tables.ts'
import { Writer } from '../../server/views/store/writer.ts'
import { swap } from '../../server/views/versions.ts'
import { enginesInTurn, newAuthor } from '../support/author.ts'
import { JudgedWriter } from '../support/judged-writer.ts'
import { type Asked, admin, refusalOf, rightsFor, roles, rowsOf } from './views-query.ts'

const fields = {
  title: multiValue<string>(),
  price: register<number>(),
  harvest: reference('harvests/:id'),
  bids: offers<{ price: number }>(),
  owner: owner({ fields: ['price'] }),
  state: workflow({
    states: ['open', 'sold', 'shipped', 'packed'],
    initial: 'open',
    transitions: {
      sell: { from: 'open', to: 'sold', consistency: 'decided' },
      pack: { from: 'sold', to: 'packed', consistency: 'free' },
      ship: { from: 'packed', to: 'shipped', consistency: 'decided', roles: ['seller'] },
    },
  }),
}

const orders = defineAdapter({
  name: 'orders',
  version: 1,
  documents: 'orders/:id',
  fields,
  collections: { lines: { price: multiValue<number>(), product: reference('products/:id'), bids: offers() } },
  settles: { title: ['seller'], 'lines.price': [] },
})
/** Only sellers read these, and not who wrote what. */
const vault = defineAdapter({
  name: 'vault',
  version: 1,
  documents: 'vault/:id',
  fields,
  sql: `
    create policy sellers on vault_conflicts for select to seller using (document <> 'vault/secret');
    grant select on vault_conflicts to seller;
    grant select (document, entry, entity, field, operation, status, reason, place, payload) on vault_facts to seller;`,
})
const adapters = [orders, vault]

/** At the same clock each. */
const noon = Date.UTC(2026, 0, 2, 12)

function anna(adapter: Adapter): JudgedWriter {
  return new JudgedWriter(adapter.facts!.fields, 'anna00')
}

/** Two who did not know of each other. */
function inConflict(adapter: Adapter, entity = '', field = 'title'): JudgedWriter {
  const [one, other] = [anna(adapter), new JudgedWriter(adapter.facts!.fields, 'bob000')]
  const { set } = multiValue<string | number>().mutators
  one.write(set({ ...one.at(field, entity), nowMs: noon }, 'left'))
  other.write(set({ ...other.at(field, entity), nowMs: noon + 60_000 }, 'right'))
  one.meet(other)
  return one
}

export function inboxContract(under: () => Asked): void {
  describe.each(enginesInTurn)('the inbox, over $name', ({ engineOf }) => inboxOver(engineOf, under))
}

function inboxOver(engineOf: (index: number) => EngineName, under: () => Asked): void {
  let writer: Writer
  let offset = 1
  let written = 0

  async function write(
    adapter: Adapter,
    document: string,
    entries: readonly FactEntry[],
    schema = adapter.name,
  ): Promise<void> {
    const engine = engineOf(written++)
    const author = newAuthor[engine]()
    const live = engines[engine].open(entries.map(({ key, value }) => author.set(factsRoot, key, value!)!))
    const replacements = project(adapter, live.state, adapter.contextOf(document)!)
    await say({ schema, document, progress: { epoch: 0, offset: offset++ }, replacements })
    live.close()
  }

  const say = (document: Parameters<Writer['write']>[0]['documents'][number]) =>
    writer.write({ documents: [document], dead: [], fences: new Map(), cursors: [], partCount: 1 })

  const there = (document: string, progress: { readonly gone?: true } = {}) =>
    say({
      schema: 'orders',
      document,
      progress: { epoch: 0, offset: offset++, ...progress },
      replacements: [],
    })

  async function install(adapter: Adapter, schema = adapter.name): Promise<void> {
    const { name, version, sql, entryTables } = adapter
    const { owner } = under()
    writer.know(schema, await installAdapter(owner, schema, { name, version, sql, entryTables }))
    await secure(owner, schema, roles)
  }

  const ask = (sql: string, rights: QueryRights = admin) => rowsOf(under().queries, sql, rights)

  beforeAll(async () => {
    const { owner } = under()
    writer = new Writer(owner)
    await engines.automerge.load()
    await openInbox(owner)
    for (const adapter of adapters) await install(adapter)
    for (const document of ['orders/1', 'orders/2']) await write(orders, document, inConflict(orders).entries)
    for (const document of ['vault/1', 'vault/secret'])
      await write(vault, document, inConflict(vault).entries)
    under().queries.catalog.forget()
  })
  afterAll(async () => {
    for (const { name } of adapters) await dropAdapter(under().owner, name)
  })

  const readsAll = rightsFor('ann', ['**'])
  const seller = rightsFor('cyd', ['**'], ['seller'])
  const conflicts = 'select document, adapter, field from tidemark.conflicts order by document'
  const intents = 'select fact from tidemark.intents order by document, fact'

  describe('conflicts', () => {
    test('say where, between whom, since when and whose business it is', async () => {
      expect(await ask(`select * from tidemark.conflicts where document = 'orders/1'`)).toEqual([
        {
          document: 'orders/1',
          adapter: 'orders',
          entity: '',
          field: 'title',
          sides: [
            {
              key: 'anna00:1',
              value: 'left',
              subject: 'user of anna00',
              actor: 'anna00',
              at: '2026-01-02T12:00:00.000Z',
            },
            {
              key: 'bob000:1',
              value: 'right',
              subject: 'user of bob000',
              actor: 'bob000',
              at: '2026-01-02T12:01:00.000Z',
            },
          ],
          since: '2026-01-02 12:01:00+00',
          roles: ['seller'],
        },
      ])
    })

    test('are seen by who may read the documents, and by nobody else', async () => {
      const mine = async (rights: QueryRights) =>
        (await ask(conflicts, rights)).map(({ document }) => document)
      expect(await mine(admin)).toEqual(['orders/1', 'orders/2', 'vault/1', 'vault/secret'])
      expect(await mine(rightsFor('ann', ['orders/2']))).toEqual(['orders/2'])
      expect(await mine(rightsFor('nobody', []))).toEqual([])
    })

    test("policies and grants of an adapter's own hold, and keep nobody from the rest", async () => {
      const mine = async (rights: QueryRights) =>
        (await ask(conflicts, rights)).map(({ document }) => document)
      expect(await mine(seller)).toEqual(['orders/1', 'orders/2', 'vault/1'])
      expect(await mine(readsAll)).toEqual(['orders/1', 'orders/2'])
    })

    test('of entities, and by role', async () => {
      await write(orders, 'orders/3', inConflict(orders, 'lines/7', 'price').entries)
      const byRole = (role: string) =>
        ask(
          `select document, entity from tidemark.conflicts where roles = '{}' or '${role}' = any(roles) order by document`,
        )
      expect(await byRole('clerk')).toEqual([
        { document: 'orders/3', entity: 'lines/7' },
        // It says nothing of whose business they are.
        { document: 'vault/1', entity: '' },
        { document: 'vault/secret', entity: '' },
      ])
      expect((await byRole('seller')).map(({ document }) => document)).toContain('orders/1')
      await write(orders, 'orders/3', [])
      expect(await byRole('clerk')).toHaveLength(2)
    })
  })

  describe('intents', () => {
    let mine: JudgedWriter
    let other: JudgedWriter
    let sold: FactKey
    let packed: FactKey
    let shipped: FactKey
    let proposed: FactKey

    beforeAll(async () => {
      mine = anna(orders)
      other = new JudgedWriter(orders.facts!.fields, 'bob000')
      const { handOver } = fields.owner.mutators
      const { move } = fields.state.mutators
      mine.meet(other)
      mine.settle(mine.write(handOver(mine.at('owner'), 'user of anna00')))
      other.meet(mine)
      proposed = other.write(fields.price.mutators.set(other.at('price'), 5))
      mine.meet(other)
      sold = mine.write(move(mine.at('state'), 'sell'))
      packed = mine.write(move(mine.at('state'), 'pack', { at: sold }))
      shipped = mine.write(move(mine.at('state'), 'ship', { at: packed }))
      await write(orders, 'orders/4', mine.entries)
    })

    const waiting = `select fact, field, operation, subject, waits_for, holder, depends_on, roles from tidemark.intents
      where document = 'orders/4' order by fact`

    test('say for what they wait, and for whom', async () => {
      expect(await ask(waiting)).toEqual([
        {
          fact: sold,
          field: 'state',
          operation: 'sell',
          subject: 'user of anna00',
          waits_for: 'server',
          holder: null,
          depends_on: [],
          roles: [],
        },
        {
          fact: packed,
          field: 'state',
          operation: 'pack',
          subject: 'user of anna00',
          waits_for: 'fact',
          holder: null,
          depends_on: [sold],
          roles: [],
        },
        {
          fact: shipped,
          field: 'state',
          operation: 'ship',
          subject: 'user of anna00',
          waits_for: 'server',
          holder: null,
          depends_on: [packed, sold],
          roles: ['seller'],
        },
        {
          fact: proposed,
          field: 'price',
          operation: 'set',
          subject: 'user of bob000',
          waits_for: 'holder',
          holder: 'user of anna00',
          depends_on: [],
          roles: [],
        },
      ])
    })

    test('a proposal waits for whoever holds it by then', async () => {
      const { handOver } = fields.owner.mutators
      mine.settle(mine.write(handOver(mine.at('owner'), 'user of dora00')))
      await write(orders, 'orders/4', mine.entries)
      const [proposal] = await ask(
        `select fact, holder, payload from tidemark.intents where waits_for = 'holder'`,
      )
      expect(proposal).toEqual({ fact: proposed, holder: 'user of dora00', payload: 5 })
    })

    test('what may not be read of them is null', async () => {
      const hers = anna(vault)
      hers.write(fields.state.mutators.move(hers.at('state'), 'sell'))
      await write(vault, 'vault/2', hers.entries)
      const one = `select fact, operation, subject, actor from tidemark.intents where document = 'vault/2'`
      expect(await ask(one, seller)).toEqual([
        { fact: 'anna00:1', operation: 'sell', subject: null, actor: null },
      ])
      expect(await ask(one, readsAll)).toEqual([])
      expect(await ask(one)).toMatchObject([{ subject: 'user of anna00' }])
    })

    test('decided ones are not among them', async () => {
      mine.settle(sold)
      mine.settle(shipped, { accepted: false, reason: 'no' })
      await write(orders, 'orders/4', mine.entries)
      expect((await ask(waiting)).map(({ fact }) => fact)).toEqual([proposed])
      expect(await ask(intents, rightsFor('nobody', []))).toEqual([])
    })
  })

  test('adapters that come, go and change their version are among them as their tables are', async () => {
    const gates = defineAdapter({ name: 'gates', version: 1, documents: 'gates/:id', fields })
    const next = defineAdapter({ name: 'gates', version: 2, documents: 'gates/:id', fields })
    const mine = async () =>
      (await ask(`select document from tidemark.conflicts where adapter = 'gates'`)).map(
        ({ document }) => document,
      )
    await install(gates)
    await write(gates, 'gates/old', inConflict(gates).entries)
    expect(await mine()).toEqual(['gates/old'])
    await install(next, 'gates__next')
    await write(next, 'gates/new', inConflict(next).entries, 'gates__next')
    expect(await mine()).toEqual(['gates/old'])
    const [made] = await under().owner.batch([
      {
        text: `select (extract(epoch from made_at) * 1000000)::bigint::text from tidemark.adapters where schema = 'gates__next'`,
      },
    ])
    const placed = {
      adapter: next,
      schema: 'gates__next',
      tables: [],
      version: 2,
      made: made!.rows[0]![0]!,
    }
    expect(await swap(under().owner, [placed])).toBe(true)
    expect(await mine()).toEqual(['gates/new'])
    await dropAdapter(under().owner, 'gates')
    expect(await mine()).toEqual([])
    expect(await ask(conflicts)).not.toEqual([])
  })

  test('tables that an earlier release made are among them', async () => {
    const { owner } = under()
    const old = {
      name: 'aged',
      version: 1,
      entryTables: new Set(['aged_facts', 'aged_conflicts']),
      sql: `
        create table aged (document text primary key);
        create table aged_facts (document text, entry text, entity text not null, field text, operation text, payload jsonb,
          actor text not null, subject text not null, status text not null, reason text, decided_by text, detail jsonb,
          place bigint not null, primary key (document, entry));
        create table aged_conflicts (document text, entry text, entity text not null, field text not null,
          sides jsonb not null, primary key (document, entry));`,
    }
    await installAdapter(owner, 'aged', old)
    await secure(owner, 'aged', roles)
    await owner.batch([
      { text: `insert into aged.aged_conflicts values ('aged/1', '.title', '', 'title', '[]')` },
    ])
    const mine = () => ask(`select document, since, roles from tidemark.conflicts where adapter = 'aged'`)
    const found = [{ document: 'aged/1', since: null, roles: [] }]
    expect(await mine()).toEqual(found)
    for (const _ of [1, 2]) await owner.batch([{ text: adoptSql, script: true }])
    expect(await mine()).toEqual(found)
    const tables = await readTables(owner, 'aged', old.entryTables)
    const columns = tables.flatMap(({ columns }) => columns.map(({ name }) => name))
    expect(columns).toEqual(expect.arrayContaining(['holder', 'roles', 'since']))
    await dropAdapter(owner, 'aged')
  })

  test('a live query of them runs when a table of theirs is written', async () => {
    const { owner, queries } = under()
    const named = async (sql: string) =>
      dependenciesOf(owner, { tables: await queries.tablesOf(sql), functions: [] })
    expect(await named('select * from tidemark.conflicts')).toEqual(
      new Set(['orders.orders_conflicts', 'vault.vault_conflicts']),
    )
    expect(await named('select * from tidemark.intents')).toEqual(
      new Set(['orders.orders_facts', 'vault.vault_facts']),
    )
    // Whatever is written may be the document that a reference waits for.
    expect(await named('select * from orders_parked')).toBe('any')
  })

  test.each([
    'select * from tidemark.conflict_rows()',
    'select tidemark.served()',
    `select tidemark.is_there('orders/1')`,
    'select * from tidemark.parts',
    'select * from tidemark.decisions',
    'select * from conflicts',
    'select null::tidemark.conflicts',
  ])('nothing else of that schema can be named: %s', async (sql) => {
    expect(await refusalOf(under().queries, sql, readsAll)).toMatch(/^query_refused/)
    // Before the database is asked, with rights that would do.
    if (sql.includes(' from '))
      await expect(under().queries.tablesOf(sql)).rejects.toMatchObject({ code: 'query_refused' })
  })

  describe('offers', () => {
    test('are rows, open or not, of who may read the facts', async () => {
      const seller = new JudgedWriter(orders.facts!.fields, 'sell00')
      const [dora, dirk] = [anna(orders), new JudgedWriter(orders.facts!.fields, 'dirk00')]
      const { bid, counter, withdraw, accept } = fields.bids.mutators
      const first = dora.write(bid(dora.at('bids'), { price: 100 })) as FactKey
      const second = dirk.write(bid(dirk.at('bids'), { price: 105 })) as FactKey
      const other = dirk.write(bid(dirk.at('bids'), { price: 90 })) as FactKey
      const line = dirk.write(bid(dirk.at('bids', 'lines/7'), { price: 1 })) as FactKey
      dirk.write(withdraw(dirk.at('bids'), other))
      seller.meet(dora)
      seller.meet(dirk)
      const answer = seller.write(counter(seller.at('bids'), second, { price: 110 })) as FactKey
      seller.settle(seller.write(accept(seller.at('bids'), first)) as FactKey)
      await write(orders, 'orders/6', seller.entries)
      const told = 'select offer, answers, terms, status from orders_bids order by place, offer'
      expect(await ask(told)).toEqual(
        expect.arrayContaining([
          { offer: first, answers: null, terms: { price: 100 }, status: 'accepted' },
          { offer: second, answers: null, terms: { price: 105 }, status: 'countered' },
          { offer: other, answers: null, terms: { price: 90 }, status: 'withdrawn' },
          { offer: answer, answers: second, terms: { price: 110 }, status: 'not_chosen' },
        ]),
      )
      expect(
        await ask('select bids, bids_accepted->$$terms$$ as terms from orders where document = $$orders/6$$'),
      ).toEqual([{ bids: 'closed', terms: { price: 100 } }])
      expect(await ask('select entry, offer, status from orders_lines_bids')).toEqual([
        { entry: 'lines/7', offer: line, status: 'open' },
      ])
      expect(await ask(told, rightsFor('ann', ['vault/**']))).toEqual([])
    })
  })

  describe('a reference', () => {
    const parked = (rights: QueryRights = admin) =>
      ask('select document, entity, field, target from orders_parked order by document, entity', rights)

    test('is parked until its target comes, in whatever order, and again when that goes', async () => {
      const mine = anna(orders)
      mine.write(fields.harvest.mutators.set(mine.at('harvest'), 'harvests/1'))
      mine.write(reference('products/:id').mutators.set(mine.at('product', 'lines/1'), 'products/9'))
      await there('products/9')
      await write(orders, 'orders/5', mine.entries)
      const harvest = { document: 'orders/5', entity: '', field: 'harvest', target: 'harvests/1' }
      expect(await parked()).toEqual([harvest])
      await there('harvests/1')
      expect(await parked()).toEqual([])
      await there('harvests/1', { gone: true })
      await there('products/9', { gone: true })
      expect(await parked()).toEqual([
        harvest,
        { document: 'orders/5', entity: 'lines/1', field: 'product', target: 'products/9' },
      ])
    })

    test('to what a token may not read is not told to be parked', async () => {
      expect(await parked(readsAll)).toHaveLength(2)
      expect(await parked(rightsFor('ann', ['orders/**', 'products/9']))).toMatchObject([
        { target: 'products/9' },
      ])
      expect(await parked(rightsFor('ann', ['harvests/**']))).toEqual([])
    })
  })
}

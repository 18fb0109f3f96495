/**
 * The field-sales set of adapters, over a real relay and a real PostgreSQL: six kinds of documents, each a file, with what a
 * seller does offline, what the office sees, and what a seller does not.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Adapter } from '../../core/domain/adapter.ts'
import type { FieldsOfDocument } from '../../core/domain/fold/fields.ts'
import { counter } from '../../core/domain/kinds/counter.ts'
import { multiValue } from '../../core/domain/kinds/multi-value.ts'
import { quantity } from '../../core/domain/kinds/quantity.ts'
import { reference } from '../../core/domain/kinds/reference.ts'
import { register } from '../../core/domain/kinds/register.ts'
import { workflow } from '../../core/domain/kinds/workflow.ts'
import { loadAdapters } from '../../server/views/adapters.ts'
import { FactPerson } from '../support/fact-person.ts'
import { type PostgresServer, start as startPostgres } from '../support/postgres-server.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { token, tokenSecret } from '../support/tokens.ts'
import { until } from '../support/wait.ts'

const adapters = './examples/field-sales/adapters'
const data = mkdtempSync(join(tmpdir(), 'tidemark-'))
let postgres: PostgresServer
let relay: RelayProcess
let loaded: readonly Adapter[]

beforeAll(async () => {
  loaded = await loadAdapters(adapters)
  postgres = await startPostgres()
  relay = await startRelay({
    DATA_DIR: data,
    ADAPTERS: adapters,
    JWT_SECRET: tokenSecret,
    DATABASE_URL: postgres.url,
  })
})
afterAll(async () => {
  await relay.stop()
  await postgres.stop()
  rmSync(data, { recursive: true })
})

const readAll = [{ match: '**', access: 'read' }]

/** As the adapter has them; kinds that this test does not touch are left out. */
const customers = { fields: { name: register<string>(), creditLimit: register<number>() } }
const inventory = { fields: { product: reference('products/:id'), stock: quantity() } }
const orders = {
  fields: {
    customer: reference('customers/:id'),
    discount: multiValue<number>(),
    state: workflow({
      states: ['draft', 'submitted', 'approved', 'cancelled'],
      initial: 'draft',
      transitions: {
        submit: { from: 'draft', to: 'submitted', consistency: 'free' },
        approve: { from: 'submitted', to: 'approved', consistency: 'decided' },
        cancel: { from: ['draft', 'submitted', 'approved'], to: 'cancelled', consistency: 'decided' },
      },
    }),
  },
  collections: { lines: { product: reference('products/:id'), count: counter() } },
}

const copyOf = <Of extends FieldsOfDocument>(
  document: string,
  fields: Of,
  subject: string,
  roles: readonly string[],
): FactPerson<Of> => new FactPerson({ url: () => relay.webSocketUrl, document, fields, subject, roles })

async function ask(
  role: string,
  sql: string,
  subject = 'ann',
): Promise<{ status: number; rows: readonly object[] }> {
  const mine = await token({ subject, roles: [role], documents: readAll })
  const answer = await fetch(`${relay.url}/v1/query`, {
    method: 'POST',
    headers: { authorization: `Bearer ${mine}`, 'content-type': 'application/json' },
    body: JSON.stringify({ sql }),
  })
  const { rows = [] } = (await answer.json()) as { rows?: readonly object[] }
  return { status: answer.status, rows }
}

const shows = (role: string, sql: string, rows: readonly object[]): Promise<void> =>
  until(sql, async () => JSON.stringify((await ask(role, sql)).rows) === JSON.stringify(rows))

test('each kind of document is one file', () => {
  expect(loaded.map(({ name }) => name).sort()).toEqual([
    'customers',
    'inventory',
    'orders',
    'prices',
    'products',
    'visits',
  ])
})

describe('who sees what', () => {
  test('a seller sees a customer without its credit, the office with it', async () => {
    const office = await copyOf('customers/1', customers, 'olga', ['office']).connect()
    office.domain.fields.name.do.set('Mill & Sons')
    office.domain.fields.creditLimit.do.set(5000)
    await shows('office', 'select name, credit_limit from customers', [
      { name: 'Mill & Sons', credit_limit: '5000' },
    ])
    await shows('seller', 'select name from customers', [{ name: 'Mill & Sons' }])
    for (const sql of [
      'select credit_limit from customers',
      'select * from customers',
      'select payload from customers_facts',
    ])
      expect((await ask('seller', sql)).status, sql).toBe(400)
  })
})

test('an order that was drafted and submitted offline is approved once; its lines and its customer are rows', async () => {
  const ann = copyOf('orders/1', orders, 'ann', ['seller'])
  ann.domain.fields.customer.do.set('customers/9')
  ann.domain.entity('lines', '1').product.do.set('products/1')
  ann.domain.entity('lines', '1').count.do.add(12)
  ann.domain.fields.discount.do.set(5)
  ann.domain.fields.state.do.move('submit')
  await ann.connect()
  await shows('office', 'select customer, discount, state from orders', [
    { customer: 'customers/9', discount: '5', state: 'submitted' },
  ])
  await shows('office', 'select id, product, count from orders_lines', [
    { id: '1', product: 'products/1', count: '12' },
  ])
  // Its customer is not there yet: the row is, and says so.
  await shows(
    'office',
    'select o.document from orders o left join customers c on c.document = o.customer where c.document is null',
    [{ document: 'orders/1' }],
  )

  const olga = await copyOf('orders/1', orders, 'olga', ['office']).connect()
  const approve = olga.domain.fields.state.do.move('approve')
  const cancel = ann.domain.fields.state.do.move('cancel')
  for (const { domain } of [ann, olga])
    for (const { key } of [approve, cancel])
      await until('decided', () => !['pending', undefined].includes(domain.outcome(key!)?.status))
  const statuses = [approve, cancel].map(({ key }) => olga.domain.outcome(key!)!.status)
  expect([...statuses].sort()).toEqual(['effective', 'rejected'])
  const { state } = olga.domain.fields.state.value
  expect(state).toBe(statuses[0] === 'effective' ? 'approved' : 'cancelled')
  await shows('office', 'select state from orders', [{ state }])
})

test('stock is handed out by the office and taken offline, never more than there is', async () => {
  const olga = await copyOf('inventory/1', inventory, 'olga', ['office']).connect()
  const ann = await copyOf('inventory/1', inventory, 'ann', ['seller']).connect()
  ann.domain.introduce()
  await until('ann is known', () => olga.domain.subjectOf('ann000') === 'ann')
  const supplied = olga.domain.fields.stock.do.supply(100, 'ann000')
  await until('supplied', () => ann.domain.outcome(supplied.key!)?.status === 'effective')
  expect(ann.domain.fields.stock.do.take(70).refusal).toBeNull()
  expect(ann.domain.fields.stock.do.take(31).refusal).toMatchObject({ reason: 'insufficient_rights' })
  expect(olga.domain.fields.stock.do.take(1).refusal).toMatchObject({ reason: 'insufficient_rights' })
  await shows('office', 'select stock from inventory', [{ stock: '30' }])

  // Whoever is no office hands out nothing.
  const own = ann.domain.fields.stock.do.supply(1000, 'ann000')
  await until('refused', () => ann.domain.outcome(own.key!)?.status === 'rejected')
  expect(ann.domain.outcome(own.key!)).toMatchObject({ reason: 'not_allowed' })
})

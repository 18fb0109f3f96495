/**
 * Intents and decisions through a real relay: who ships and who cancels from one version, over a kill -9 at any moment; one of
 * two gets the harvest; what was decided is the same in the document, in SQL and for everybody.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Outcome } from '../../core/domain/facts/outcome.ts'
import type { FieldsOfDocument } from '../../core/domain/fold/fields.ts'
import { register } from '../../core/domain/kinds/register.ts'
import { workflow } from '../../core/domain/kinds/workflow.ts'
import { PostgresSql } from '../../server/views/sql/postgres-sql.ts'
import { FactPerson } from '../support/fact-person.ts'
import { metric } from '../support/metric.ts'
import { type PostgresServer, start as startPostgres } from '../support/postgres-server.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { silentLogger } from '../support/silent-logger.ts'
import { token, tokenSecret } from '../support/tokens.ts'
import { until } from '../support/wait.ts'

const adapter = `
import { defineAdapter, register, workflow } from 'tidemark/adapter'
export default defineAdapter({
  name: 'deals', version: 1, documents: 'deals/:id',
  columns: { harvest: 'text' },
  fields: {
    harvest: register(),
    state: workflow({
      states: ['open', 'sold', 'shipped', 'cancelled'],
      initial: 'open',
      transitions: {
        sell: { from: 'open', to: 'sold', consistency: 'decided' },
        ship: { from: 'sold', to: 'shipped', consistency: 'decided', roles: ['seller'] },
        cancel: { from: ['open', 'sold'], to: 'cancelled', consistency: 'decided' },
      },
    }),
  },
  claims: ({ type }, read) =>
    type === 'state.sell' ? { takes: ['harvest/' + read('harvest')], frees: [] }
    : type === 'state.cancel' ? { takes: [], frees: ['harvest/' + read('harvest')] } : null,
})`
const fields = {
  fields: {
    harvest: register<string>(),
    state: workflow({
      states: ['open', 'sold', 'shipped', 'cancelled'],
      initial: 'open',
      transitions: {
        sell: { from: 'open', to: 'sold', consistency: 'decided' },
        ship: { from: 'sold', to: 'shipped', consistency: 'decided', roles: ['seller'] },
        cancel: { from: ['open', 'sold'], to: 'cancelled', consistency: 'decided' },
      },
    }),
  },
} satisfies FieldsOfDocument

const folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
const adapters = join(folder, 'adapters')
let postgres: PostgresServer
let relay: RelayProcess

const start = (): Promise<RelayProcess> =>
  startRelay({
    DATA_DIR: folder,
    ADAPTERS: adapters,
    JWT_SECRET: tokenSecret,
    DATABASE_URL: postgres.url,
  })

beforeAll(async () => {
  mkdirSync(adapters)
  writeFileSync(join(adapters, 'deals.ts'), adapter)
  postgres = await startPostgres()
  relay = await start()
})
afterAll(async () => {
  await relay.stop()
  await postgres.stop()
  rmSync(folder, { recursive: true })
})

const person = (subject: string, document: string, roles: readonly string[] = []) =>
  new FactPerson({ url: () => relay.webSocketUrl, document, fields, subject, roles })

async function rows(sql: string): Promise<readonly Record<string, unknown>[]> {
  const answer = await fetch(`${relay.url}/v1/query`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${await token({ documents: [{ match: '**', access: 'admin' }] })}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ sql }),
  })
  const said = (await answer.json()) as { rows?: readonly Record<string, unknown>[] }
  return said.rows ?? []
}

test('ship and cancel from one version, with the relay killed around it: one holds, everybody knows which', async () => {
  const ann = person('ann', 'deals/1', ['seller'])
  const ben = person('ben', 'deals/1')
  await Promise.all([ann.connect(), ben.connect()])
  ann.domain.fields.harvest.do.set('42')
  const sold = ann.domain.fields.state.do.move('sell')
  await until('sold', () => ann.domain.outcome(sold.key!)?.status === 'effective')
  await until('ben knows', () => ben.domain.fields.state.value.state === 'sold')

  // Both from what they know; the relay dies at once.
  const ship = ann.domain.fields.state.do.move('ship', { person: { subject: 'ann', roles: ['seller'] } })
  const cancel = ben.domain.fields.state.do.move('cancel')
  expect(ann.domain.fields.state.expected.state).toBe('shipped')
  expect(ben.domain.fields.state.expected.state).toBe('cancelled')
  await relay.kill9()
  relay = await start()
  await Promise.all([ann.connect(), ben.connect()])
  await relay.kill9()
  relay = await start()
  await Promise.all([ann.connect(), ben.connect()])

  const keys = [ship.key!, cancel.key!]
  for (const { domain } of [ann, ben])
    await until('decided', () =>
      keys.every((key) => ['effective', 'rejected'].includes(domain.outcome(key)?.status ?? '')),
    )
  const outcomes = keys.map((key) => ann.domain.outcome(key)!)
  expect(outcomes.map(({ status }) => status).sort()).toEqual(['effective', 'rejected'])
  expect(keys.map((key) => ben.domain.outcome(key))).toEqual(outcomes)
  expect(ben.domain.fields.state.value).toEqual(ann.domain.fields.state.value)
  const state = ann.domain.fields.state.value.state
  expect(state).toBe(outcomes[0]!.status === 'effective' ? 'shipped' : 'cancelled')

  await until(
    'rows',
    async () => (await rows(`select state from deals where document = 'deals/1'`))[0]?.['state'] === state,
  )
  const facts = await rows(
    `select entry, status from deals_facts where document = 'deals/1' and operation in ('ship', 'cancel') order by entry`,
  )
  expect(facts).toEqual(keys.map((entry, i) => ({ entry, status: outcomes[i]!.status })))
})

test('of one harvest in two deals, one is sold', async () => {
  const deals = [person('cyd', 'deals/2'), person('dan', 'deals/3')]
  await Promise.all(deals.map((one) => one.connect()))
  const keys = deals.map(({ domain }) => {
    domain.fields.harvest.do.set('7')
    return domain.fields.state.do.move('sell').key!
  })
  for (const [i, { domain }] of deals.entries())
    await until('decided', () => domain.outcome(keys[i]!)?.status !== 'pending')
  const outcomes = deals.map(({ domain }, i) => domain.outcome(keys[i]!))
  expect(outcomes.map((outcome) => outcome?.status).sort()).toEqual(['effective', 'rejected'])
  expect(outcomes.find((outcome) => outcome?.status === 'rejected')).toMatchObject({ reason: 'claimed' })
  await until('counted', async () => (await metric(relay.url, 'decisions_total{result="claimed"}')) === 1)
  await until('none waits', async () => (await metric(relay.url, 'intents_waiting')) === 0)
})

/** Resolves with what became of an intent to sell the harvest. */
async function soldBy(subject: string, document: string, harvest: string): Promise<Outcome> {
  const { domain } = await person(subject, document).connect()
  domain.fields.harvest.do.set(harvest)
  const key = domain.fields.state.do.move('sell').key!
  await until('decided', () => domain.outcome(key)?.status !== 'pending')
  return domain.outcome(key)!
}

async function ask(method: 'PUT' | 'DELETE', document: string): Promise<void> {
  const answer = await fetch(`${relay.url}/v1/documents/${encodeURIComponent(document)}`, {
    method,
    headers: { authorization: `Bearer ${await token({ documents: [{ match: '**', access: 'admin' }] })}` },
  })
  expect(answer.ok).toBe(true)
}

test('what was claimed is claimed after the database is lost; a deleted document lets go of it', async () => {
  expect(await soldBy('fay', 'deals/10', '11')).toMatchObject({ status: 'effective' })
  expect(await soldBy('gus', 'deals/11', '12')).toMatchObject({ status: 'effective' })
  await relay.stop()
  const sql = new PostgresSql({ url: postgres.url, connectionsMax: 1, logger: silentLogger })
  await sql.start()
  await sql.batch([{ text: 'drop schema tidemark cascade' }, { text: 'drop schema deals cascade' }])
  await sql.close()
  relay = await start()
  expect(await soldBy('hal', 'deals/12', '11')).toMatchObject({ status: 'rejected', reason: 'claimed' })

  await ask('DELETE', 'deals/11')
  await until(
    'the rows are gone',
    async () => (await rows(`select from deals where document = 'deals/11'`)).length === 0,
  )
  expect(await soldBy('ida', 'deals/13', '12')).toMatchObject({ status: 'effective' })
  // The same names, and nothing of what was decided before.
  await ask('PUT', 'deals/11')
  expect(await soldBy('gus', 'deals/11', '13')).toMatchObject({ status: 'effective' })
  expect(await soldBy('jon', 'deals/14', '13')).toMatchObject({ status: 'rejected', reason: 'claimed' })
})

test('while tables are built for a newer adapter, intents are decided', async () => {
  expect(await soldBy('joe', 'deals/19', '19')).toMatchObject({ status: 'effective' })
  const reader = new Client({ connectionString: postgres.url })
  reader.on('error', () => undefined) // When the test has failed, and the server ends before it.
  await reader.connect()
  const served = async () =>
    (await reader.query(`select version from tidemark.adapters where schema = 'deals'`)).rows[0]?.version
  // Whoever reads the old tables keeps the new ones from taking their place.
  await reader.query('begin')
  await reader.query('select from deals.deals')
  await relay.stop()
  writeFileSync(join(adapters, 'deals.ts'), adapter.replace('version: 1', 'version: 2'))
  relay = await start()
  expect(await soldBy('kim', 'deals/20', '20')).toMatchObject({ status: 'effective' })
  expect(await soldBy('lee', 'deals/21', '20')).toMatchObject({ status: 'rejected', reason: 'claimed' })
  expect(await served()).toBe(1)
  await reader.query('commit')
  await until('the new tables are served', async () => (await served()) === 2)
  await reader.end()
  expect(await soldBy('mia', 'deals/22', '20')).toMatchObject({ status: 'rejected', reason: 'claimed' })
})

test('a role that one does not have is not believed', async () => {
  const eve = await person('eve', 'deals/4').connect()
  eve.as(['seller']).fields.state.do.move('sell')
  expect(await eve.refused()).toBe(4422)
})

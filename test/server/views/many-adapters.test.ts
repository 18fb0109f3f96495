/** Twenty-four kinds of documents, each one file in a folder and nothing else anywhere: rows, rules and decisions of each in one server. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { quantity } from '../../../core/domain/kinds/quantity.ts'
import { register } from '../../../core/domain/kinds/register.ts'
import { workflow } from '../../../core/domain/kinds/workflow.ts'
import { FactPerson } from '../../support/fact-person.ts'
import { type PostgresServer, start as startPostgres } from '../../support/postgres-server.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { token, tokenSecret } from '../../support/tokens.ts'
import { until } from '../../support/wait.ts'

const names = Array.from({ length: 24 }, (_, i) => `kind${i + 1}`)

const fileOf = (name: string): string => `
import { defineAdapter, quantity, register, workflow } from 'tidemark/adapter'
export default defineAdapter({
  name: '${name}', version: 1, documents: '${name}/:id',
  fields: {
    title: register(),
    stock: quantity(),
    state: workflow({
      states: ['open', 'done'],
      initial: 'open',
      transitions: { finish: { from: 'open', to: 'done', consistency: 'decided' } },
    }),
  },
  collections: { lines: { title: register() } },
})
`
const entity = {
  fields: {
    title: register<string>(),
    stock: quantity(),
    state: workflow({
      states: ['open', 'done'],
      initial: 'open',
      transitions: { finish: { from: 'open', to: 'done', consistency: 'decided' } },
    }),
  },
  collections: { lines: { title: register<string>() } },
}

const data = mkdtempSync(join(tmpdir(), 'tidemark-'))
const adapters = mkdtempSync(join(tmpdir(), 'tidemark-adapters-'))
let postgres: PostgresServer
let relay: RelayProcess

beforeAll(async () => {
  for (const name of names) writeFileSync(join(adapters, `${name}.ts`), fileOf(name))
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
  rmSync(adapters, { recursive: true })
})

test('each has its tables, its rules and its decisions, beside the others', async () => {
  const people = names.map(
    (name) =>
      new FactPerson({
        url: () => relay.webSocketUrl,
        document: `${name}/1`,
        fields: entity,
        subject: 'ann',
      }),
  )
  await Promise.all(people.map((person) => person.connect()))
  const asked = people.map(({ domain }, i) => {
    domain.fields.title.do.set(`the ${i + 1}.`)
    domain.entity('lines', '7').title.do.set('a line')
    return [domain.fields.stock.do.supply(i + 1).key!, domain.fields.state.do.move('finish').key!]
  })
  for (const [i, { domain }] of people.entries())
    for (const key of asked[i]!) await until(names[i]!, () => domain.outcome(key)?.status === 'effective')

  const mine = await token({ documents: [{ match: '**', access: 'read' }] })
  const rows = async (sql: string): Promise<unknown> => {
    const answer = await fetch(`${relay.url}/v1/query`, {
      method: 'POST',
      headers: { authorization: `Bearer ${mine}`, 'content-type': 'application/json' },
      body: JSON.stringify({ sql }),
    })
    return ((await answer.json()) as { rows?: unknown }).rows
  }
  const all = names
    .map(
      (
        name,
        i,
      ) => `select ${i + 1} as n, d.document, d.title #>> '{}' as title, d.state, d.stock::int as stock, l.id,
        (select count(*)::int from ${name}_facts where status = 'effective') as facts
        from ${name} d join ${name}_lines l using (document)`,
    )
    .join(' union all ')
  const expected = names.map((name, i) => ({
    n: i + 1,
    document: `${name}/1`,
    title: `the ${i + 1}.`,
    state: 'done',
    stock: i + 1,
    id: '7',
    facts: 4,
  }))
  const told = (): Promise<unknown> => rows(`${all} order by n`)
  await until('rows', async () => JSON.stringify(await told()).split('"facts":4').length > names.length)
  expect(await told()).toEqual(expected)
  for (const person of people) person.close()
})

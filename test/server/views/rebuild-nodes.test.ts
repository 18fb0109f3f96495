/**
 * Tables that are filled beside those that are served, by several nodes that come and go, on a real PostgreSQL; and what a change
 * of one entry of a large document writes.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import * as Y from 'yjs'
import type { DocumentId } from '../../../core/document-id.ts'
import { type Adapter, defineAdapter } from '../../../core/domain/adapter.ts'
import { createEmbeddedLog } from '../../../server/log/lmdb/embedded-log.ts'
import type { Log } from '../../../server/log/log.ts'
import { LiveDocuments } from '../../../server/views/live-documents.ts'
import { partCount } from '../../../server/views/parts.ts'
import { Pending } from '../../../server/views/pending.ts'
import { Projector } from '../../../server/views/projector.ts'
import { Rebuild } from '../../../server/views/rebuild/rebuild.ts'
import { PostgresSql } from '../../../server/views/sql/postgres-sql.ts'
import { SqlRowStore } from '../../../server/views/sql-row-store.ts'
import { installTidemark } from '../../../server/views/store/schema.ts'
import { Writer } from '../../../server/views/store/writer.ts'
import { beginRebuild, cursorNameOf, isAt, type Placed, place } from '../../../server/views/versions.ts'
import { type PostgresServer, start as startPostgres } from '../../support/postgres-server.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'

const by = { timeMs: 1, author: '', origin: 'o' }
const adapterOf = (name: string, version = 1): Adapter =>
  defineAdapter<Record<string, { facts: number } | { value: string }>>({
    name,
    version,
    documents: `${name}/:id`,
    sql: `create table ${name} (document text primary key, facts int);
      create table ${name}_facts (document text, entry text, value text, primary key (document, entry));`,
    document: (state) => ({ [name]: [{ facts: state.map('facts').keys().length }] }),
    entries: {
      [`${name}_facts`]: { map: 'facts', rows: (_key, value) => [{ value: `${value} ${version}` }] },
    },
  })
const deals = adapterOf('deals')

let server: PostgresServer
let sql: PostgresSql
let folder: string
let log: Log
let nodes: Node[]

interface Node {
  readonly projector: Projector
  readonly placed: readonly Placed[]
  readonly store: SqlRowStore
  moved: boolean
}

beforeAll(async () => {
  server = await startPostgres()
  sql = new PostgresSql({ url: server.url, connectionsMax: 8, logger: silentLogger })
})
afterAll(async () => {
  await sql.close()
  await server.stop()
})
beforeEach(async () => {
  await sql.batch([
    { text: 'drop schema if exists tidemark, deals, deals__next, others, others__next cascade' },
  ])
  await installTidemark(sql)
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  log = createEmbeddedLog({ directory: folder, logger: silentLogger })
  await log.start()
  nodes = []
})
afterEach(async () => {
  for (const { projector } of nodes) await projector.close()
  await log.close()
  rmSync(folder, { recursive: true })
})

async function startNode(adapters: readonly Adapter[] = [deals]): Promise<Node> {
  const { placed } = await place(sql, adapters)
  const writer = new Writer(sql)
  for (const { schema, tables } of placed) writer.know(schema, tables)
  const store = new SqlRowStore({ sql, writer, placed, leaseMs: 1_000 })
  const projector = new Projector({
    log,
    adapters: placed.map(({ adapter, schema }) => ({ ...adapter, name: schema })),
    documents: new LiveDocuments(log, { documentsMax: 20 }),
    visited: new LiveDocuments(log, { documentsMax: 1 }),
    pending: new Pending(),
    store,
    logger: silentLogger,
    onMoved: () => {
      node.moved = true
    },
    limits: { pollMs: 5, claimMs: 50, backoffMsMax: 50, batchDocumentsMax: 5, pageMax: 20 },
  })
  const node: Node = { projector, placed, store, moved: false }
  nodes.push(node)
  projector.start()
  return node
}
const stopAll = async (): Promise<void> => {
  for (const { projector } of nodes.splice(0)) await projector.close()
}

const docs = new Map<string, Y.Doc>()
beforeEach(() => docs.clear())
async function say(document: string, change: (facts: Y.Map<unknown>) => void): Promise<void> {
  const doc = docs.get(document) ?? new Y.Doc()
  docs.set(document, doc)
  const version = Y.encodeStateVector(doc)
  doc.transact(() => change(doc.getMap('facts')))
  await log.append(document as DocumentId, [{ ...by, update: Y.encodeStateAsUpdate(doc, version) }])
}
const rows = async (text: string): Promise<readonly (readonly (string | null)[])[]> =>
  (await sql.batch([{ text }]))[0]!.rows
const count = async (table: string): Promise<number> =>
  Number((await rows(`select count(*) from ${table}`))[0]![0])
async function end(): Promise<number> {
  let last = 0
  for (let page = await log.changes(0, 1_000); page.length > 0; page = await log.changes(last, 1_000))
    last = page.at(-1)!.sequence
  return last
}

test('filled by nodes that come and go and lose their connections, while documents are edited: both are the same, and current', async () => {
  for (let i = 0; i < 150; i++) await say(`deals/${i}`, (facts) => facts.set('a', i))
  await startNode()
  await until('projected', async () => (await count('deals.deals')) === 150)
  await stopAll()
  await beginRebuild(sql, deals)
  const cutter = new Client({ connectionString: server.url })
  await cutter.connect()
  await startNode()
  await startNode()
  for (let round = 0; round < 12; round++) {
    for (let n = 0; n < 5; n++)
      await say(`deals/${(round * 31 + n * 17) % 160}`, (facts) => {
        facts.set(`k${round % 4}`, round)
        if (round % 3 === 0) facts.delete('a')
      })
    if (round === 2) await startNode()
    if (round % 5 === 3)
      await cutter.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'`,
      )
    if (round % 4 === 1) await nodes.shift()!.projector.close()
    if (round % 4 === 2) await startNode()
  }
  await cutter.end()
  const last = await end()
  const { placed } = nodes[0]!
  expect(placed.map(({ schema }) => schema)).toEqual(['deals', 'deals__next'])
  for (const each of placed) await until('all is there', () => isAt(sql, cursorNameOf(each), partCount, last))
  await stopAll()
  for (const table of ['deals', 'deals_facts'])
    expect(await rows(`select * from deals.${table} order by 1, 2`)).toEqual(
      await rows(`select * from deals__next.${table} order by 1, 2`),
    )
  expect(await count('deals.deals')).toBe(docs.size)
  const progress = (schema: string) =>
    rows(`select document, epoch, "offset" from tidemark.progress where adapter = '${schema}' order by 1`)
  expect(await progress('deals')).toEqual(await progress('deals__next'))
})

test('a new version of one adapter does not hold up the other; after the swap nothing is projected again', async () => {
  const others = adapterOf('others')
  for (let i = 0; i < 60; i++) await say(`deals/${i}`, (facts) => facts.set('a', i))
  await say('others/1', (facts) => facts.set('a', 1))
  await startNode([deals, others])
  await until(
    'projected',
    async () => (await count('deals.deals')) === 60 && (await count('others.others')) === 1,
  )
  await stopAll()

  const newer = adapterOf('deals', 2)
  const node = await startNode([newer, others])
  const rebuild = new Rebuild({
    sql,
    log,
    placed: node.placed,
    documents: new LiveDocuments(log),
    logger: silentLogger,
    rows: () => node.projector.counts.filled,
    isFirst: () => node.store.holds(0),
  })
  await say('others/1', (facts) => facts.set('b', 1))
  await until('the other one', async () => (await count('others.others_facts')) === 2)
  // Somebody reads for long: the swap waits, and no other reader waits behind it.
  const slow = new Client({ connectionString: server.url })
  await slow.connect()
  await slow.query('begin')
  await slow.query('select from deals.deals')
  const running = rebuild.run(new AbortController().signal)
  await until('it is complete', () => rebuild.figures[0]?.state === 'verifying')
  const quick = new Client({ connectionString: server.url, statement_timeout: 5_000 })
  await quick.connect()
  for (let i = 0; i < 30; i++) {
    await quick.query('select from deals.deals')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  expect(await count('tidemark.rebuilds')).toBe(0)
  await slow.query('commit')
  await Promise.all([slow.end(), quick.end()])
  await running
  expect(
    await rows("select distinct value from deals.deals_facts where entry = 'a' and document = 'deals/7'"),
  ).toEqual([['7 2']])
  expect(node.projector.counts.filled).toBe(120)
  expect(await rows('select documents, differing from tidemark.rebuilds')).toEqual([['60', '0']])
  await until('it is noticed', () => node.moved)
  await stopAll()

  const next = await startNode([newer, others])
  await say('others/1', (facts) => facts.set('c', 1))
  await until('the next edit', async () => (await count('others.others_facts')) === 3)
  // Only what was edited: the cursors have come along.
  expect(next.projector.counts.projected).toBe(1)
})

test('one entry of a document of 100,000 is changed: its row is written, and no other, also by a node that has just started', async () => {
  const size = 100_000
  await say('deals/large', (facts) => {
    for (let i = 0; i < size; i++) facts.set(`k${i}`, i)
  })
  await startNode()
  await until('projected', async () => (await count('deals.deals_facts')) === size)
  const written = async (): Promise<unknown> =>
    rows(`select document, entry from deals.deals_facts where xmin::text::bigint > ${before} order by 1, 2`)
  let before = 0n
  const note = async (): Promise<void> => {
    before = BigInt((await rows('select max(xmin::text::bigint) from deals.deals_facts'))[0]![0]!)
  }
  const value = async (entry: string): Promise<unknown> =>
    (
      await rows(`select value from deals.deals_facts where document = 'deals/large' and entry = '${entry}'`)
    )[0]?.[0]

  await note()
  await say('deals/large', (facts) => facts.set('k5', 'new'))
  await until('the entry', async () => (await value('k5')) === 'new 1')
  expect(await written()).toEqual([['deals/large', 'k5']])

  await stopAll()
  await note()
  await say('deals/large', (facts) => {
    facts.set('k7', 'newer')
    facts.delete('k9')
  })
  await startNode()
  await until('the entry', async () => (await value('k7')) === 'newer 1')
  expect(await written()).toEqual([['deals/large', 'k7']])
  expect(await count('deals.deals_facts')).toBe(size - 1)
})

/** The projector's store on a real PostgreSQL: shares of the parts, fences, and rows that come to those of a clean rebuild. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import * as Y from 'yjs'
import type { DocumentId } from '../../../core/document-id.ts'
import { defineAdapter } from '../../../core/domain/adapter.ts'
import { statement } from '../../../server/log/lineage.ts'
import { createEmbeddedLog } from '../../../server/log/lmdb/embedded-log.ts'
import type { Log } from '../../../server/log/log.ts'
import { LiveDocuments } from '../../../server/views/live-documents.ts'
import { partCount } from '../../../server/views/parts.ts'
import { Pending } from '../../../server/views/pending.ts'
import { Projector } from '../../../server/views/projector.ts'
import type { Claimed } from '../../../server/views/row-store.ts'
import { PostgresSql } from '../../../server/views/sql/postgres-sql.ts'
import type { Sql } from '../../../server/views/sql/sql.ts'
import { SqlRowStore } from '../../../server/views/sql-row-store.ts'
import {
  dropAdapter,
  installAdapter,
  installed,
  installTidemark,
  madeSql,
} from '../../../server/views/store/schema.ts'
import { Writer } from '../../../server/views/store/writer.ts'
import { type PostgresServer, start as startPostgres } from '../../support/postgres-server.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'

const by = { timeMs: 1, author: '', origin: 'o' }
const deals = defineAdapter<{ deals: { facts: number }; facts: { value: string } }>({
  name: 'deals',
  version: 1,
  documents: 'deals/:id',
  sql: `create table deals (document text primary key, facts int check (facts < 50));
    create table facts (document text, entry text, value text, primary key (document, entry));`,
  document: (state) => ({ deals: [{ facts: state.map('facts').keys().length }] }),
  entries: { facts: { map: 'facts', rows: (_key, value) => [{ value: String(value) }] } },
})

let server: PostgresServer
let sql: Sql
let folder: string
let log: Log
let projectors: Projector[]

beforeAll(async () => {
  server = await startPostgres()
  sql = new PostgresSql({ url: server.url, connectionsMax: 4, logger: silentLogger })
  await sql.start()
})
afterAll(async () => {
  await sql.close()
  await server.stop()
})
beforeEach(async () => {
  await sql.batch([{ text: 'drop schema if exists tidemark cascade' }])
  await installTidemark(sql)
  await dropAdapter(sql, 'deals')
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  log = createEmbeddedLog({ directory: folder, logger: silentLogger })
  await log.start()
  projectors = []
})
afterEach(async () => {
  for (const projector of projectors) await projector.close()
  await log.close()
  rmSync(folder, { recursive: true })
})

/** Of the schemas of `deals`: what is there already goes on. */
async function storeOn(schemas: readonly string[] = ['deals'], leaseMs = 1_000): Promise<SqlRowStore> {
  const { name, version, sql: text, entries } = deals
  const writer = new Writer(sql)
  const placed = []
  for (const schema of schemas) {
    const own = { name, version, sql: text, entryTables: new Set(entries.keys()) }
    if ((await installed(sql, schema)) === null) tables.set(schema, await installAdapter(sql, schema, own))
    writer.know(schema, tables.get(schema)!)
    placed.push({ adapter: deals, schema, ...(await installed(sql, schema))! })
  }
  return new SqlRowStore({ sql, writer, placed, leaseMs })
}
const tables = new Map<string, Awaited<ReturnType<typeof installAdapter>>>()
function projectorOn(store: SqlRowStore, schemas: readonly string[] = ['deals']): Projector {
  const projector = new Projector({
    log,
    adapters: schemas.map((name) => ({ ...deals, name })),
    documents: new LiveDocuments(log, { documentsMax: 20 }),
    visited: new LiveDocuments(log, { documentsMax: 1 }),
    pending: new Pending(),
    store,
    logger: silentLogger,
    limits: { pollMs: 5, claimMs: 50, backoffMsMax: 50 },
  })
  projectors.push(projector)
  projector.start()
  return projector
}
const rows = async (text: string): Promise<unknown> => (await sql.batch([{ text }]))[0]!.rows

async function say(document: string, doc: Y.Doc, change: () => void): Promise<void> {
  const version = Y.encodeStateVector(doc)
  change()
  await log.append(document as DocumentId, [{ ...by, update: Y.encodeStateAsUpdate(doc, version) }])
}

const parts = async (store: SqlRowStore): Promise<Claimed['parts']> => (await store.claim()).parts

test('each node holds its share; a new one gets one, and those of one that has gone go to the others', async () => {
  const [a, b, c] = [await storeOn(), await storeOn(), await storeOn()] as const
  expect((await parts(a)).size).toBe(partCount)
  expect((await parts(b)).size).toBe(0)
  expect((await parts(a)).size).toBe(partCount / 2)
  const ofB = (await b.claim()).parts
  expect(ofB.size).toBe(partCount / 2)
  expect([...(await parts(a)).keys()].some((part) => ofB.has(part))).toBe(false)
  await c.claim()
  for (const store of [a, b, c]) await store.claim()
  const sizes = [(await parts(a)).size, (await parts(b)).size, (await parts(c)).size]
  expect(sizes.reduce((sum, size) => sum + size)).toBe(partCount)
  expect(Math.max(...sizes)).toBe(6)
  await a.release()
  await b.claim()
  await c.claim()
  expect((await parts(b)).size + (await parts(c)).size).toBe(partCount)
})

test('a holder that was paused writes nothing once another one has its parts', async () => {
  const [paused, other] = [await storeOn(['deals'], 50), await storeOn(['deals'], 50)] as const
  await paused.claim()
  await until('its lease has run out', async () => (await parts(other)).size === partCount)
  const progress = { epoch: 0 as never, offset: 1 as never }
  const replacements = [{ table: 'deals', entries: null, rows: [{ document: 'deals/1', facts: 1 }] }]
  const document = 'deals/1' as DocumentId
  const projected = [{ adapter: deals, document, progress, replacements, isNew: false }]
  await expect(paused.write(projected, [], new Map())).rejects.toMatchObject({ kind: 'fenced' })
  expect(await rows('select * from deals.deals')).toEqual([])
  await other.write(projected, [], new Map([[0, 5]]))
  expect(await rows('select * from deals.deals')).toEqual([['deals/1', '1']])
  await paused.release()
  // What was released by one that holds nothing is still the other's.
  await other.write(projected, [], new Map())
})

test('a node stands aside as soon as somebody makes a newer version, or has made it', async () => {
  const store = await storeOn()
  await store.claim()
  const { name, sql: text, entries } = deals
  const newer = { name, version: 2, sql: text, entryTables: new Set(entries.keys()) }
  await installAdapter(sql, 'deals__next', newer)
  await expect(store.claim()).rejects.toMatchObject({ kind: 'moved' })
  await dropAdapter(sql, 'deals__next')
  await store.claim()
  await dropAdapter(sql, 'deals')
  await installAdapter(sql, 'deals', newer)
  await expect(store.claim()).rejects.toMatchObject({ kind: 'moved' })
})

test('rows come to those of a clean rebuild while connections are cut, nodes come and go, and a document is refused', async () => {
  projectorOn(await storeOn())
  const cutter = new Client({ connectionString: server.url, application_name: 'cutter' })
  await cutter.connect()
  const docs = Array.from({ length: 40 }, () => new Y.Doc())
  for (let round = 0; round < 30; round++) {
    for (let n = 0; n < 10; n++) {
      const i = (round * 7 + n * 3) % docs.length
      const facts = docs[i]!.getMap('facts')
      await say(`deals/${i}`, docs[i]!, () => {
        if ((round + n) % 5 === 4) facts.delete(`k${n}`)
        else facts.set(`k${(round + n) % 12}`, round)
      })
    }
    if (round % 6 === 1)
      await cutter.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'",
      )
    if (round === 10) projectorOn(await storeOn())
    if (round === 20) await projectors.shift()!.close()
  }
  await say('deals/refused', new Y.Doc(), () => undefined)
  const crowded = new Y.Doc()
  await say('deals/crowded', crowded, () => {
    for (let i = 0; i < 60; i++) crowded.getMap('facts').set(`k${i}`, i)
  })
  await log.append('deals/3' as DocumentId, [statement('removal', by)])
  await cutter.end()
  let last = 0
  for (let page = await log.changes(0, 1_000); page.length > 0; page = await log.changes(last, 1_000))
    last = page.at(-1)!.sequence
  const reached = async (schema: string): Promise<boolean> => {
    const text = `select from tidemark.cursors c join tidemark.adapters a
      on c.name = a.name || '@' || a.version || ':' || ${madeSql} where a.schema = $1 and c.sequence >= $2`
    return (await sql.batch([{ text, parameters: [schema, last] }]))[0]!.count === partCount
  }
  await until('all is projected', () => reached('deals'))
  for (const projector of projectors.splice(0)) await projector.close()
  await sql.batch([{ text: 'delete from tidemark.dead_letters' }])
  projectorOn(await storeOn(['deals__next']), ['deals__next'])
  await until('all is rebuilt', () => reached('deals__next'))
  for (const table of ['deals', 'facts'])
    expect(await rows(`select * from deals.${table} order by 1, 2`)).toEqual(
      await rows(`select * from deals__next.${table} order by 1, 2`),
    )
  expect(await rows(`select count(*) from deals.facts`)).not.toEqual([['0']])
  expect(await rows(`select document from deals.deals where document = 'deals/3'`)).toEqual([])
  expect(await rows('select document from tidemark.dead_letters')).toEqual([['deals/crowded']])
  await dropAdapter(sql, 'deals__next')
})

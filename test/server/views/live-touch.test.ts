/** Who hears of which table on a real PostgreSQL: what writers tell, what nodes hear, and what a query depends on. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { dependenciesOf, type Name } from '../../../server/views/live/dependencies.ts'
import { Listening } from '../../../server/views/live/listening.ts'
import { notifyingAll, parseNotification } from '../../../server/views/live/notification.ts'
import type { Touch } from '../../../server/views/live/touch.ts'
import { PostgresSql } from '../../../server/views/sql/postgres-sql.ts'
import { type Sql, SqlError } from '../../../server/views/sql/sql.ts'
import { dropAdapter, installAdapter, installTidemark } from '../../../server/views/store/schema.ts'
import { Writer } from '../../../server/views/store/writer.ts'
import { adapter, batchOf } from '../../contract/views-store.ts'
import { type PostgresServer, start } from '../../support/postgres-server.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'

let server: PostgresServer
let sql: Sql
beforeAll(async () => {
  server = await start()
  sql = new PostgresSql({ url: server.url, connectionsMax: 4, logger: silentLogger })
  await installTidemark(sql)
})
afterAll(async () => {
  await sql.close()
  await server.stop()
})

const listenings: Listening[] = []
afterEach(async () => {
  await Promise.all(listenings.splice(0).map((listening) => listening.close()))
})

/** What a node hears; null: everything may have changed. */
async function listen(node: string): Promise<(Touch | null)[]> {
  const heard: (Touch | null)[] = []
  const onTouched = (touches: readonly Touch[] | null): number => heard.push(...(touches ?? [null]))
  const isOwn = (from: string): boolean => from === node
  const listening = new Listening({ url: server.url, isOwn, onTouched, logger: silentLogger })
  listenings.push(listening)
  listening.start()
  await until('it listens', () => heard.length > 0)
  return heard
}

const notes = (title: string): Record<string, Record<string, string>[]> => ({
  notes: [{ document: 'd', title }],
  tasks: [],
})

test('a batch tells which tables it changed, here and on other nodes, and nothing when it changed nothing', async () => {
  const local: Touch[] = []
  const writer = new Writer(sql, { notifyAs: 'a', onTouched: (touches) => local.push(...touches) })
  writer.know('shop', await installAdapter(sql, 'shop', adapter))
  const [own, other] = await Promise.all([listen('a'), listen('b')])
  const touched = [{ schema: 'shop', table: 'notes' }]
  await writer.write(batchOf('shop', 'd', 1, notes('one')))
  await until('heard', () => other.length > 1)
  expect(local).toEqual(touched)
  expect(other).toEqual([null, ...touched])
  await writer.write(batchOf('shop', 'd', 2, notes('one')))
  await writer.write(batchOf('shop', 'd', 3, notes('two')))
  await until('heard again', () => other.length > 2)
  expect(local).toEqual([...touched, ...touched])
  await writer.write(batchOf('shop', 'd', 4, { notes: [], tasks: [] }))
  await until('rows that go are heard', () => local.length === 3 && other.length > 3)
  // A refused batch is not told.
  await expect(
    writer.write({ ...batchOf('shop', 'd', 5, notes('three')), fences: new Map([[0, 99]]) }),
  ).rejects.toThrow()
  await sql.batch([notifyingAll('shop')])
  const all = { schema: 'shop', table: null }
  await until('all of it', () => own.length > 1 && other.at(-1)?.table === null)
  expect(own).toEqual([null, all])
  expect(local).toHaveLength(3)
  expect(other.slice(0, -1).every((touch) => touch === null || touch.table === 'notes')).toBe(true)
  await dropAdapter(sql, 'shop')
})

test('a batch whose fate is unknown is told here: written again it would change nothing', async () => {
  const tables = await installAdapter(sql, 'fate', adapter)
  const local: Touch[] = []
  const uncertain: Sql = {
    start: () => sql.start(),
    close: () => sql.close(),
    unavailable: () => null,
    batch: async (statements) => {
      await sql.batch(statements)
      throw new SqlError('lost around the commit', { code: '08006', outcome: 'unknown' })
    },
  }
  const onTouched = (touches: readonly Touch[]): number => local.push(...touches)
  for (const over of [uncertain, sql]) {
    const writer = new Writer(over, { onTouched })
    writer.know('fate', tables)
    await writer
      .write(batchOf('fate', 'd', 1, notes('one')))
      .catch((error) => expect(error).toBeInstanceOf(SqlError))
  }
  expect(local).toContainEqual({ schema: 'fate', table: 'notes' })
  await dropAdapter(sql, 'fate')
})

test('after a restart of the database it listens again, and all may have changed', async () => {
  const heard = await listen('b')
  await server.restart()
  await until('it listens again', () => heard.length > 1)
  expect(heard).toEqual([null, null])
  await sql.batch([notifyingAll('shop')]).catch(() => sql.batch([notifyingAll('shop')]))
  await until('it hears', () => heard.length > 2)
})

test.each(['', 'x', '[]', '["a","b"]', '["a","b",1]', '{"a":1}', '[1,"b","c"]', 'null'])(
  'what others send to its channel is left alone: %s',
  (payload) => {
    expect(parseNotification(payload)).toBe(null)
  },
)

describe('what a query depends on', () => {
  beforeAll(async () => {
    await installAdapter(sql, 'library', {
      name: 'library',
      version: 1,
      entryTables: new Set(),
      sql: `create table books (document text primary key, title text);
        create table members (document text primary key, name text);
        create table loans (document text primary key, member text);
        create view titles as select title from books;
        create view lent as select t.title, l.member from titles t, loans l;
        create function plain(text) returns text immutable language sql as $$ select $1 $$;
        create function reading() returns bigint stable language sql as $$ select count(*) from library.members $$;
        create view counted as select title, reading() from books;
        alter table loans enable row level security;
        create policy own on loans using (exists (select from members m where m.name = member));`,
    })
  })
  const on = async (tables: readonly string[], functions: readonly Name[] = []): Promise<unknown> => {
    const named = tables.map((table): Name => {
      const [name = '', schema = null] = table.split('.').reverse()
      return { schema, name }
    })
    const found = await dependenciesOf(sql, { tables: named, functions })
    return found === 'any' ? found : [...found].sort()
  }
  const call = (name: string, schema: string | null = null): Name[] => [{ schema, name }]

  test('are its tables, by either name', async () => {
    expect(await on(['books'])).toEqual(['library.books'])
    expect(await on(['library.books', 'members'])).toEqual(['library.books', 'library.members'])
    expect(await on([], call('lower'))).toEqual([])
  })
  test('are those behind views, and those that policies look into', async () => {
    expect(await on(['titles'])).toEqual(['library.books'])
    expect(await on(['loans'])).toEqual(['library.loans', 'library.members'])
    expect(await on(['lent'])).toEqual(['library.books', 'library.loans', 'library.members'])
  })
  test('cannot be said of what is not found, or of functions that somebody wrote', async () => {
    expect(await on(['books', 'nothing'])).toBe('any')
    expect(await on(['pg_catalog.pg_class'])).toBe('any')
    expect(await on(['tidemark.progress'])).toBe('any')
    expect(await on(['books'], call('plain'))).toBe('any')
    expect(await on([], call('reading', 'library'))).toBe('any')
    expect(await on(['counted'])).toBe('any')
  })
})

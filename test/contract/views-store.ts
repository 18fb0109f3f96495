/** What the tables of views hold to, on both drivers. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { completeRow, type Row } from '../../core/domain/row.ts'
import type { Sql, SqlError } from '../../server/views/sql/sql.ts'
import {
  dropAdapter,
  format,
  installAdapter,
  installedVersion,
  installTidemark,
} from '../../server/views/store/schema.ts'
import { readTables, TablesRefused } from '../../server/views/store/tables.ts'
import { type DocumentRows, RowsRefused, type WriteBatch, Writer } from '../../server/views/store/writer.ts'
import { failureOf } from './sql.ts'

export const adapterSql = `
  create table notes (document text primary key, title text, size int generated always as (length(title)) stored);
  create table tasks (document text, id int, done boolean not null default false, label text, primary key (document, id));
  create index on tasks (label);
  create table bids (document text, entry text, amount numeric, primary key (document, entry));
  create table lines (document text, entry text, n int, word text, primary key (document, entry, n));`

export const adapter = {
  name: 'shop',
  version: 1,
  sql: adapterSql,
  entryTables: new Set(['bids', 'lines']),
}

type Tables = Record<string, Map<string, string>>

export function viewsStoreContract(open: () => Promise<Sql>): void {
  let sql: Sql

  beforeAll(async () => {
    sql = await open()
    await sql.start()
    await Promise.all([installTidemark(sql), installTidemark(sql)])
  })
  afterAll(() => sql.close())

  const rowsOf = async (text: string): Promise<readonly (readonly (string | null)[])[]> =>
    (await sql.batch([{ text }]))[0]?.rows ?? []

  /** A schema of its own, and a writer that knows it. */
  const install = async (schema: string, text = adapterSql, entryTables = adapter.entryTables) => {
    const tables = await installAdapter(sql, schema, { ...adapter, sql: text, entryTables })
    const writer = new Writer(sql)
    writer.know(schema, tables)
    return { schema, tables, writer }
  }

  describe('the schema', () => {
    test('is installed once, and refused when it is of a newer release', async () => {
      await installTidemark(sql)
      expect(await rowsOf('select version from tidemark.format')).toEqual([[String(format)]])
      await sql.batch([{ text: 'update tidemark.format set version = 99' }])
      await expect(installTidemark(sql)).rejects.toThrow(/format 99/)
      await sql.batch([{ text: `update tidemark.format set version = ${format}` }])
    })

    test("an adapter's tables are what the catalog says", async () => {
      const { tables } = await install('catalog')
      expect(tables.map(({ name, key }) => [name, key])).toEqual([
        ['notes', ['document']],
        ['tasks', ['document', 'id']],
        ['bids', ['document', 'entry']],
        ['lines', ['document', 'entry', 'n']],
      ])
      expect(tables[0]).toMatchObject({ generated: ['size'] })
      expect(tables[1]?.columns).toEqual([
        { name: 'document', type: 'text', default: null },
        { name: 'id', type: 'integer', default: null },
        { name: 'done', type: 'boolean', default: 'false' },
        { name: 'label', type: 'text', default: null },
      ])
      expect(await readTables(sql, 'catalog', adapter.entryTables)).toEqual(tables)
      expect(await installedVersion(sql, 'catalog')).toBe(1)
      await dropAdapter(sql, 'catalog')
      expect(await installedVersion(sql, 'catalog')).toBe(null)
    })

    test.each([
      ['create table bids (document text, entry text)', /no primary key/],
      [
        'create table bids (id int primary key, document text)',
        /must begin as primary key \(document, entry\)/,
      ],
      ['create table bids (document text primary key, entry text)', /must begin/],
      ['create table notes (document uuid primary key)', /uuid; it must be text/],
      ['create table notes (document text, id serial, primary key (document, id))', /fills itself in/],
      [
        'create table notes (document text primary key, id int generated always as identity)',
        /fills itself in/,
      ],
      ['create table notes (document text primary key, at timestamptz default now())', /fills itself in/],
      ['create table public.notes (document text primary key)', /outside|not in its own schema: notes/],
      [
        'create table notes (document text primary key); alter table tidemark.progress add column x int',
        /progress/,
      ],
      ['create function public.f() returns int language sql as $$ select 1 $$', /own schema: f/],
      ['create table notes (document text primary key); commit', /"commit"/],
      ['create schema more', /"create schema"/],
      ['set search_path to public', /"set"/],
    ])('refuses %s', async (text, reason) => {
      const refusal = installAdapter(sql, 'refused', { ...adapter, sql: text })
      await expect(refusal).rejects.toThrow(TablesRefused)
      await expect(refusal).rejects.toThrow(reason)
      expect(await rowsOf("select from pg_namespace where nspname = 'refused'")).toEqual([])
      expect(await installedVersion(sql, 'refused')).toBe(null)
    })

    test('words in text and in function bodies are not statements', async () => {
      const text = `create table notes (document text primary key, title text default '; drop it');
        -- ; commit
        create function words() returns int language plpgsql as $f$ begin return 1; end $f$;
        comment on table notes is 'a;set b';`
      await installAdapter(sql, 'quoted', { ...adapter, sql: text })
      const wrong = installAdapter(sql, 'broken', { ...adapter, sql: 'create tabel x (id int)' })
      expect((await failureOf(wrong)).code).toBe('42601')
      expect(await rowsOf("select from pg_namespace where nspname = 'broken'")).toEqual([])
    })
  })

  describe('the writer', () => {
    test('every type of column is written as it is, and not again', async () => {
      const { writer } = await install(
        'types',
        `create domain positive as int check (value > 0);
         create table notes (document text primary key, t text, n numeric, n2 numeric(10,2), i bigint, d double precision, b bytea,
           at timestamptz, day date, j jsonb, raw json, words text[], grid int[][], u uuid, p positive, v varchar(3), ok boolean,
           search tsvector generated always as (to_tsvector('english', coalesce(t, ''))) stored, span int4range, point point)`,
      )
      const row = completeRow(
        {
          t: 'a\0b\ud800"\\\n\u2028',
          n: '123456789012345678901234567890.120',
          n2: 1.5,
          i: 9_007_199_254_740_993n,
          d: 0.1,
          b: Uint8Array.of(0, 1, 255),
          at: new Date(0),
          day: '2024-02-29',
          j: { a: [1, null, 'x\0'] },
          raw: { b: 1, a: 2 },
          words: ['a,b', '"', null, '{}'],
          grid: [
            [1, 2],
            [3, 4],
          ],
          u: '00000000-0000-0000-0000-00000000000A',
          p: 3,
          v: 'abc',
          ok: true,
          span: '[1,5)',
          point: '(1,2)',
        },
        { document: 'd' },
      )
      expect(await writer.write(batchOf('types', 'd', 1, { notes: [row] }))).toEqual({
        rowsWritten: 1,
        rowsDeleted: 0,
      })
      const [found] = await rowsOf(
        'select t, n, n2, i, d, b, at, day, j, raw, words, grid, u, p, v, ok, search, span, point from types.notes',
      )
      expect(found).toEqual([
        'a\ufffdb\ufffd"\\\n\u2028',
        '123456789012345678901234567890.120',
        '1.50',
        '9007199254740993',
        '0.1',
        '\\x0001ff',
        expect.stringMatching(/^1970-01-01 .*\+00$/),
        '2024-02-29',
        '{"a": [1, null, "x\ufffd"]}',
        '{"b":1,"a":2}',
        '{"a,b","\\"",NULL,"{}"}',
        '{{1,2},{3,4}}',
        '00000000-0000-0000-0000-00000000000a',
        '3',
        'abc',
        't',
        expect.any(String),
        '[1,5)',
        '(1,2)',
      ])
      const again = await writer.write(batchOf('types', 'd', 2, { notes: [row] }))
      expect(again).toEqual({ rowsWritten: 0, rowsDeleted: 0 })
      // Equal for SQL, other bytes: what a rebuild would write.
      const longer = { ...row, n: `${row['n']}0` }
      const other = await writer.write(batchOf('types', 'd', 3, { notes: [longer] }))
      expect(other.rowsWritten).toBe(1)
      expect(await rowsOf('select n from types.notes')).toEqual([['123456789012345678901234567890.1200']])
      const empty = await writer.write(batchOf('types', 'd', 4, { notes: [{ document: 'd' }] }))
      expect(empty.rowsWritten).toBe(1)
      expect(await rowsOf('select * from types.notes where t is null and j is null')).toHaveLength(1)
    })

    test('says which column is wrong, and leaves nothing of a batch with a row that is refused', async () => {
      const { writer } = await install('wrong')
      const row = { document: 'd', title: 'x' }
      await expect(
        writer.write(batchOf('wrong', 'd', 1, { notes: [{ ...row, titel: 'x' }] })),
      ).rejects.toThrow(/"notes" has no column "titel"/)
      await expect(writer.write(batchOf('wrong', 'd', 1, { notes: [{ ...row, size: 1 }] }))).rejects.toThrow(
        /generated/,
      )
      await expect(writer.write(batchOf('wrong', 'd', 1, { nots: [] }))).rejects.toThrow(RowsRefused)
      const task = { document: 'd', id: 1 }
      for (const tasks of [[task, task], [{ document: 'd', id: 'no' }], [{ document: 'd' }]]) {
        const error = await failureOf(writer.write(batchOf('wrong', 'd', 1, { notes: [row], tasks })))
        expect(error.retryable).toBe(false)
      }
      expect(
        await rowsOf(
          "select document from wrong.notes union select document from tidemark.progress where adapter = 'wrong'",
        ),
      ).toEqual([])
    })

    test('one entry of many that changed is one row written', async () => {
      const { writer } = await install('many')
      const bids = Array.from({ length: 2_000 }, (_, i) => ({ document: 'd', entry: `e${i}`, amount: i }))
      expect((await writer.write(batchOf('many', 'd', 1, { bids }))).rowsWritten).toBe(2_000)
      const changed = bids.map((bid) => (bid.entry === 'e7' ? { ...bid, amount: -1 } : bid))
      expect(await writer.write(batchOf('many', 'd', 2, { bids: changed }))).toEqual({
        rowsWritten: 1,
        rowsDeleted: 0,
      })
      expect(await rowsOf('select count(distinct xmin::text) from many.bids')).toEqual([['2']])
      const touched = {
        ...batchOf('many', 'd', 3, {}),
        documents: [
          documentOf('many', 'd', 3, [
            { table: 'bids', entries: ['e1', 'e2', 'gone'], rows: [{ ...bids[1], amount: 5 } as Row] },
          ]),
        ],
      }
      expect(await writer.write(touched)).toEqual({ rowsWritten: 1, rowsDeleted: 1 })
      expect(await rowsOf('select count(*) from many.bids')).toEqual([['1999']])
    })

    test('a stale fence writes nothing, and whoever takes a part waits for who writes', async () => {
      const { writer } = await install('fenced')
      await sql.batch([{ text: 'insert into tidemark.parts (part, fence) values (3, 5), (4, 1)' }])
      const one = batchOf('fenced', 'd', 1, { notes: [{ document: 'd', title: 'x' }] })
      const write = (three: number) =>
        writer.write({
          ...one,
          fences: new Map([[3, three]]).set(4, 1),
          cursors: [{ name: 'views', part: 3, sequence: three }],
        })
      await write(5)
      await sql.batch([{ text: 'update tidemark.parts set fence = 6 where part = 3' }])
      const error = await failureOf(write(5))
      expect(error).toMatchObject({ code: 'TM001', statement: 0, outcome: 'rolled_back' })
      const after = batchOf('fenced', 'd', 2, { notes: [] })
      await failureOf(writer.write({ ...after, fences: new Map([[9, 1]]) }))
      expect(await rowsOf('select title from fenced.notes')).toEqual([['x']])
      await write(6)
      expect(await rowsOf("select sequence from tidemark.cursors where name = 'views'")).toEqual([['6']])
    })

    test('progress follows the log, back as well: a log that lost its end has the last word', async () => {
      const { writer } = await install('back')
      const write = (offset: number, title: string, epoch = 0) =>
        writer.write(batchOf('back', 'd', offset, { notes: [{ document: 'd', title }] }, epoch))
      await write(5, 'five')
      await write(4, 'four')
      expect(await rowsOf('select title from back.notes')).toEqual([['four']])
      await write(7, 'seven', 6)
      expect(await rowsOf(`select epoch, "offset" from tidemark.progress where adapter = 'back'`)).toEqual([
        ['6', '7'],
      ])
    })

    test('dead letters stay until the document is projected', async () => {
      const { writer } = await install('dead')
      const none = batchOf('dead', 'd', 1, {})
      const dead = [{ schema: 'dead', document: 'd', version: 1, progress: null, reason: 'threw \0' }]
      await writer.write({ ...none, documents: [], dead })
      await writer.write({
        ...none,
        documents: [],
        dead: [{ ...dead[0]!, progress: { epoch: 0, offset: 4 } }],
      })
      const letters = `select document, "offset", reason from tidemark.dead_letters where adapter = 'dead'`
      expect(await rowsOf(letters)).toEqual([['d', '4', 'threw \ufffd']])
      await writer.write(none)
      expect(await rowsOf(letters)).toEqual([])
    })

    test('rows equal the model, and only what changed is written, whatever comes', async () => {
      const { writer } = await install('model')
      let run = 0
      await fc.assert(
        fc.asyncProperty(fc.array(fc.array(change, { maxLength: 4 }), { maxLength: 6 }), async (batches) => {
          const prefix = `${run++}-`
          const model: Tables = { notes: new Map(), tasks: new Map(), bids: new Map(), lines: new Map() }
          for (const [offset, changes] of batches.entries()) {
            const byDocument = new Map(changes.map((each) => [prefix + each.document, each.replacements]))
            const documents = [...byDocument].map(([document, replacements]) =>
              documentOf(
                'model',
                document,
                offset,
                replacements.map((each) => ({
                  ...each,
                  rows: each.rows.map((row) => ({ document, ...row })),
                })),
              ),
            )
            const expected = applied(model, documents)
            const written = await writer.write({ ...batchOf('model', 'd', offset, {}), documents })
            expect(written).toEqual(expected)
          }
          for (const [table, columns] of Object.entries(columnsOf)) {
            const own = `where starts_with(document, '${prefix}')`
            expect(new Set(await rowsOf(`select ${columns.join(', ')} from model.${table} ${own}`))).toEqual(
              new Set([...model[table]!.values()].map((row) => JSON.parse(row))),
            )
          }
        }),
        { numRuns: 40 },
      )
    })

    test('two writers at once come to the rows of both', async () => {
      const { writer, tables } = await install('both')
      const other = new Writer(sql)
      other.know('both', tables)
      const run = async (one: Writer, name: string): Promise<void> => {
        for (let offset = 1; offset <= 15; offset++) {
          const documents = [`${name}-b`, 'shared', `${name}-a`].map((document) =>
            documentOf('both', document, offset, [
              { table: 'notes', entries: null, rows: [{ document, title: String(offset) }] },
              { table: 'tasks', entries: null, rows: [{ document, id: offset, label: name }] },
            ]),
          )
          // The shared document goes on in one of them only: the other's batch is refused when it is behind.
          await one.write({ ...batchOf('both', 'd', 1, {}), documents }).catch((error: SqlError) => {
            expect(error.code, error.message).toBe('TM001')
          })
        }
      }
      await Promise.all([run(writer, 'x'), run(other, 'y')])
      const disagreeing = await rowsOf(
        `select document from "both".notes join tidemark.progress p using (document) join "both".tasks t using (document)
         where p.adapter = 'both' and (title <> p."offset"::text or t.id <> p."offset")`,
      )
      expect(disagreeing).toEqual([])
      expect(await rowsOf(`select count(*) from "both".notes where title = '15'`)).not.toEqual([['0']])
    })
  })
}

const columnsOf = {
  notes: ['document', 'title'],
  tasks: ['document', 'id', 'done', 'label'],
  bids: ['document', 'entry', 'amount'],
  lines: ['document', 'entry', 'n', 'word'],
}

const text = fc.constantFrom(null, 'a', 'b', 'ä"\\')
const number = fc.integer({ min: 0, max: 3 })
const entry = fc.constantFrom('p', 'q', 'r')
const unique = <T>(arbitrary: fc.Arbitrary<T>, key: (row: T) => string): fc.Arbitrary<T[]> =>
  fc.uniqueArray(arbitrary, { selector: key, maxLength: 5 })

const notes = fc.array(fc.record({ title: text }), { maxLength: 1 })
const tasks = unique(fc.record({ id: number, done: fc.boolean(), label: text }), ({ id }) => String(id))
const bids = unique(fc.record({ entry, amount: number }), (row) => row.entry)
const lines = unique(fc.record({ entry, n: number, word: text }), (row) => `${row.entry} ${row.n}`)

const whole = (table: string, rows: fc.Arbitrary<Row[]>) =>
  rows.map((each) => ({ table, entries: null as readonly string[] | null, rows: each }))
const touched = (table: string, rows: fc.Arbitrary<Row[]>) =>
  fc.tuple(fc.uniqueArray(entry), rows).map(([entries, each]) => ({
    table,
    entries: entries as readonly string[] | null,
    rows: each.filter((row) => (entries as string[]).includes(String(row['entry']))),
  }))
const change = fc.record({
  document: fc.constantFrom('a', 'b', 'c/d'),
  replacements: fc
    .tuple(
      fc.option(whole('notes', notes)),
      fc.option(whole('tasks', tasks)),
      fc.option(fc.oneof(whole('bids', bids), touched('bids', bids))),
      fc.option(fc.oneof(whole('lines', lines), touched('lines', lines))),
    )
    .map((each) => each.filter((one) => one !== null)),
})

/** Changes the model; gives how many rows that takes. */
function applied(model: Tables, documents: readonly DocumentRows[]) {
  let rowsWritten = 0
  let rowsDeleted = 0
  for (const { document, replacements } of documents)
    for (const { table, entries, rows } of replacements) {
      const own = model[table]!
      const columns = columnsOf[table as keyof typeof columnsOf]
      const keyOf = (row: Row): string => JSON.stringify([row['document'], row['entry'], row['id'], row['n']])
      const there = new Set(rows.map(keyOf))
      for (const key of [...own.keys()]) {
        const [of, entry] = JSON.parse(key) as [string, string]
        if (of !== document || there.has(key) || (entries !== null && !entries.includes(entry))) continue
        own.delete(key)
        rowsDeleted++
      }
      for (const row of rows) {
        const asText = columns.map((column) => {
          const value = row[column]
          return value === null ? null : typeof value === 'boolean' ? String(value)[0] : String(value)
        })
        const before = own.get(keyOf(row))
        own.set(keyOf(row), JSON.stringify(asText))
        if (before !== own.get(keyOf(row))) rowsWritten++
      }
    }
  return { rowsWritten, rowsDeleted }
}

export function documentOf(
  schema: string,
  document: string,
  offset: number,
  replacements: DocumentRows['replacements'],
  epoch = 0,
): DocumentRows {
  return { schema, document, progress: { epoch, offset }, replacements }
}

/** One document, whose tables are given whole. */
export function batchOf(
  schema: string,
  document: string,
  offset: number,
  tables: Readonly<Record<string, readonly Row[]>>,
  epoch = 0,
): WriteBatch {
  const replacements = Object.entries(tables).map(([table, rows]) => ({ table, entries: null, rows }))
  return {
    documents: [documentOf(schema, document, offset, replacements, epoch)],
    dead: [],
    fences: new Map(),
    cursors: [],
    partCount: 16,
  }
}

/** A wrong definition is refused with a sentence; TypeScript refuses columns that are missing or of another type. */
import { describe, expect, expectTypeOf, test } from 'vitest'
import { type Adapter, defineAdapter, isAdapter } from '../../../core/domain/adapter.ts'
import { counter } from '../../../core/domain/kinds/counter.ts'
import { multiValue } from '../../../core/domain/kinds/multi-value.ts'
import { offers } from '../../../core/domain/kinds/offers.ts'
import { reference } from '../../../core/domain/kinds/reference.ts'
import { tablesIn } from '../../../core/domain/tables-in-sql.ts'

interface Note {
  title: string
  words?: number
}
const sql = 'create table notes (document text primary key, title text, words integer)'
const good = {
  name: 'notes',
  version: 1,
  documents: 'notes/:id',
  sql,
  document: () => ({ notes: [{ title: '' }] }),
}

describe('defineAdapter', () => {
  test('gives an adapter that knows its tables and its documents', () => {
    const adapter = defineAdapter({
      ...good,
      sql: `${sql}; create table lines (document text, entry text, primary key (document, entry))`,
      entries: { lines: { list: 'lines', rows: () => [] } },
    })
    expect(isAdapter(adapter)).toBe(true)
    expect(isAdapter({ ...good })).toBe(false)
    expect(adapter).toMatchObject({ tables: ['notes', 'lines'], documentTables: ['notes'] })
    expect(adapter.contextOf('notes/a')).toEqual({ document: 'notes/a', parameters: { id: 'a' } })
    expect(adapter.contextOf('other/a')).toBeNull()
  })

  test.each<[string, object]>([
    ['without a name', { name: undefined }],
    ['Adapter "Notes": a name begins with', { name: 'Notes' }],
    ['a name begins with', { name: 'a__next' }],
    ['a name begins with', { name: 'a'.repeat(41) }],
    ['this name is not free', { name: 'tidemark' }],
    ['this name is not free', { name: 'pg_notes' }],
    ['its version must be an integer from 1', { version: 0 }],
    ['its version must be an integer from 1', { version: 1.5 }],
    ['"roles" must be a list', { roles: 'seller' }],
    ['the role "tidemark_admin" is not free', { roles: ['seller', 'tidemark_admin'] }],
    ['the role "pg_read_all_data" is not free', { roles: ['pg_read_all_data'] }],
    ['the role "postgres" is not free', { roles: ['postgres'] }],
    ['the role "Seller" is not free, or not of', { roles: ['Seller'] }],
    ['the role 7 is not free', { roles: [7] }],
    ['which documents it takes', { documents: undefined }],
    ['the pattern "notes-:id"', { documents: 'notes-:id' }],
    ['must have the SQL', { sql: undefined }],
    ['makes no table', { sql: 'select 1' }],
    ['makes the table "notes" twice', { sql: `${sql};${sql}` }],
    ['leave the schema out', { sql: 'create table public.notes (document text)' }],
    ['names a table "Notes"', { sql: 'create table "Notes" (document text)' }],
    ['nothing fills the table "notes"', { document: undefined }],
    ['"document" must be a function', { document: {} }],
    ['has no table to fill', { entries: { notes: { map: 'm', rows: () => [] } } }],
    ['"entries" has "others"', { entries: { others: { map: 'm', rows: () => [] } } }],
    ['"entries" must be an object', { entries: null }],
    ['"entries.notes" needs', { document: undefined, entries: { notes: { rows: () => [] } } }],
    ['"entries.notes" needs', { document: undefined, entries: { notes: { map: 'm' } } }],
    [
      '"entries.notes" needs',
      { document: undefined, entries: { notes: { map: 'm', list: 'l', rows: () => [] } } },
    ],
  ])('refuses: %s', (why, change) => {
    expect(() => defineAdapter({ ...good, ...change } as typeof good)).toThrow(why)
  })

  test('lets TypeScript check columns, tables and parameters', () => {
    const adapter = defineAdapter<{ notes: Note }>({
      ...good,
      document: (state, { parameters }) => ({
        notes: [{ title: state.text('title').toString() + parameters['id'] }],
      }),
    })
    expectTypeOf(adapter).toEqualTypeOf<Adapter>()
    defineAdapter<{ notes: Note }>({
      ...good,
      // @ts-expect-error A number is no title.
      document: () => ({ notes: [{ title: 1 }] }),
    })
    defineAdapter<{ notes: Note }>({
      ...good,
      // @ts-expect-error A note has a title.
      document: () => ({ notes: [{ words: 1 }] }),
    })
    expect(() =>
      // @ts-expect-error There is no such table.
      defineAdapter<{ notes: Note }>({ ...good, entries: { other: { map: '', rows: () => [] } } }),
    ).toThrow('"entries" has "other"')
    // @ts-expect-error A function is nothing for a column.
    defineAdapter<{ notes: { title: () => string } }>({ ...good, document: () => ({}) })
    defineAdapter({
      ...good,
      documents: 'teams/:team/:rest*',
      document: (_, { parameters }) => {
        expectTypeOf(parameters).toEqualTypeOf<{ readonly team: string; readonly rest: string }>()
        return { notes: [{ title: parameters.team }] }
      },
    })
    defineAdapter<{ lines: { text: string } }>({
      ...good,
      sql: 'create table lines (document text, entry text, text text, primary key (document, entry))',
      document: undefined as never,
      entries: { lines: { map: 'lines', rows: (key, value) => [{ text: key + String(value) }] } },
    })
  })
})

test('tables are found in SQL as people write it, and in nothing else', () => {
  const tables = tablesIn(`
    -- create table commented (x int)
    /* create table blocked (x int) */
    CREATE TABLE IF NOT EXISTS Notes (document text primary key, note text default 'create table quoted (');
    create unlogged table "lines" (document text, e text default E'\\'; create table escaped (');
    create table lines_1 partition of lines for values in ('x');
    create function f() returns text language sql as $body$ create table inner_one (x int) $body$;
    create index on notes (note); create view v as select 1;
  `)
  expect(tables).toEqual(['notes', 'lines'])
})

describe('whose business a conflict is', () => {
  const definition = {
    name: 'deals',
    version: 1,
    documents: 'deals/:id',
    fields: { title: multiValue<string>(), count: counter() },
    collections: { lines: { price: multiValue<number>() } },
  }

  test('is said of fields of multiValue, in collections too', () => {
    expect(() =>
      defineAdapter({ ...definition, settles: { title: ['seller'], 'lines.price': ['clerk'] } }),
    ).not.toThrow()
  })

  test.each([{ count: ['seller'] }, { nothing: ['seller'] }, { 'lines.nothing': ['seller'] }])(
    'and of nothing else: %j',
    (settles) => {
      expect(() => defineAdapter({ ...definition, settles })).toThrow('no field of multiValue')
    },
  )

  test('goes with fields', () => {
    const { fields, collections, ...rest } = definition
    expect(() =>
      defineAdapter({ ...rest, sql: 'create table deals (document text primary key)', settles: {} }),
    ).toThrow('"settles"')
  })

  test('no collection is called as a field of offers', () => {
    expect(() =>
      defineAdapter({
        ...definition,
        fields: { lines: offers() },
        collections: { lines: { price: counter() } },
      }),
    ).toThrow('two tables "deals_lines"')
  })

  test('an adapter has no table of its own where fields have a view', () => {
    expect(() =>
      defineAdapter({
        ...definition,
        fields: { harvest: reference('harvests/:id') },
        sql: 'create table deals_parked (document text primary key)',
      }),
    ).toThrow('deals_parked')
  })
})

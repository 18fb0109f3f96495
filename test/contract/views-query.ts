/** What a query sees and may do, the same on both drivers. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { DocumentId } from '../../core/document-id.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import type { QueryRow, QueryValue } from '../../core/protocol/query.ts'
import { rightsOf as accessOf, openIdentity } from '../../server/access/grants.ts'
import { type Pattern, parsePattern } from '../../server/access/pattern.ts'
import { Queries, type QueryLimits } from '../../server/views/query/queries.ts'
import { type QueryRights, rightsOf } from '../../server/views/query/rights.ts'
import type { Sql } from '../../server/views/sql/sql.ts'
import { installRoles } from '../../server/views/store/roles.ts'
import { installAdapter, installTidemark } from '../../server/views/store/schema.ts'
import { secure } from '../../server/views/store/secure.ts'
import { silentLogger } from '../support/silent-logger.ts'

export const queryLimits: QueryLimits = {
  timeoutMs: 5_000,
  rowsMax: 100,
  bytesMax: 100_000,
  runningMax: 4,
  waitingMax: 20,
  perUserMax: 8,
}

const notesSql = `
  create type mood as enum ('calm', 'rough');
  create table notes (document text primary key, title text not null, mood mood not null default 'calm');
  create table tags (document text, position int, tag text, primary key (document, position));
  create view titles with (security_invoker = true) as select document, title from notes;
  create view every_title as select document, title from notes;
  create view given_titles as select title from notes;
  grant select on given_titles to tidemark_reader;
  create materialized view counts as select count(*) as notes from notes;
  create function shout(text) returns text language sql immutable as $$ select upper($1) $$;
  create function touch() returns int language sql volatile as $$ select 1 $$;
  create function leak() returns bigint stable security definer language sql as $$ select count(*) from notes $$;
  create table parts (document text, at int, primary key (document, at)) partition by range (at);
  create table parts_1 partition of parts for values from (0) to (10);`

const dealsSql = `
  create table bids (document text, entry text, bidder text not null, price int not null, secret text not null,
    primary key (document, entry));
  create policy own on bids for select to buyer
    using (bidder = current_setting('request.jwt.claims', true)::json ->> 'sub');
  create policy sellers on bids for select to seller using (true);
  grant select (document, entry, bidder, price) on bids to buyer;
  grant select on bids to seller;
  create table offers (document text primary key, price int not null);
  grant select on offers to seller;
  create table hidden (document text primary key);
  grant select on hidden to tidemark_admin;`

export const roles = ['seller', 'buyer']

export interface Grant {
  readonly match: string
  readonly access: 'read' | 'write' | 'admin'
}

export function rightsFor(
  subject: string,
  readable: readonly string[],
  own: readonly string[] = [],
): QueryRights {
  const grants = readable.map((match) => ({ match: parsePattern(match) as Pattern, access: 'read' as const }))
  return rightsOf({ ...openIdentity, subject, roles: own, claims: { sub: subject }, ...accessOf(grants) })
}

export const admin = rightsOf(openIdentity)
const nobody = rightsFor('nobody', [])

export interface UnderTest {
  readonly owner: Sql
  readonly reader: Sql
  readonly isEmbedded: boolean
}

export function queriesOf(
  { owner, reader, isEmbedded }: UnderTest,
  limits: Partial<QueryLimits> = {},
): Queries {
  return new Queries({
    sql: owner,
    reader,
    declaredRoles: roles,
    limits: { ...queryLimits, ...limits },
    logger: silentLogger,
    isEmbedded,
  })
}

export const never = new AbortController().signal

export async function rowsOf(
  queries: Queries,
  sql: string,
  rights: QueryRights,
  params: readonly QueryValue[] = [],
): Promise<QueryRow[]> {
  const { rows } = await queries.run({ sql, params, rights, cursor: null }, never)
  return rows.map((row) => JSON.parse(row) as QueryRow)
}

export async function refusalOf(
  queries: Queries,
  sql: string,
  rights: QueryRights,
  params: readonly QueryValue[] = [],
): Promise<string> {
  try {
    return `answered: ${JSON.stringify(await rowsOf(queries, sql, rights, params))}`
  } catch (error) {
    if (error instanceof TidemarkError) return `${error.code}: ${error.message}`
    throw error
  }
}

/** Makes the tables of two adapters, with rows. */
export async function prepare(owner: Sql): Promise<void> {
  await installTidemark(owner)
  await installRoles(owner, roles)
  await installAdapter(owner, 'notes', { name: 'notes', version: 1, sql: notesSql, entryTables: new Set() })
  await installAdapter(owner, 'deals', {
    name: 'deals',
    version: 1,
    sql: dealsSql,
    entryTables: new Set(['bids']),
  })
  for (const schema of ['notes', 'deals']) {
    await secure(owner, schema, roles)
    // As at the next start.
    await secure(owner, schema, roles)
  }
  await owner.batch([
    {
      text: `insert into notes.notes (document, title) select 'notes/' || i, 'Note ' || i from generate_series(1, 6) i`,
    },
    {
      text: `insert into notes.notes (document, title) values ('teams/a/x', 'Team'), ('notes/deep/1', 'Deep')`,
    },
    { text: `insert into notes.tags values ('notes/1', 0, 'tide'), ('notes/2', 0, 'moon')` },
    { text: `insert into notes.parts values ('notes/1', 1), ('notes/2', 2)` },
    {
      text: `insert into deals.bids values ('deals/1', 'a', 'ann', 10, 's1'), ('deals/1', 'b', 'bob', 20, 's2'),
        ('deals/2', 'c', 'ann', 30, 's3')`,
    },
    { text: `insert into deals.offers values ('deals/1', 5), ('deals/2', 6)` },
    { text: `insert into deals.hidden values ('deals/1')` },
  ])
}

export interface Asked {
  readonly owner: Sql
  readonly queries: Queries
}

/** `further`: of the same database, which takes long to start. */
export function viewsQueryContract(
  open: () => Promise<UnderTest>,
  further: (asked: () => Asked) => void,
): void {
  let under: UnderTest
  let queries: Queries
  beforeAll(async () => {
    under = await open()
    await prepare(under.owner)
    queries = queriesOf(under)
  })
  afterAll(async () => {
    await under.reader.close()
    await under.owner.close()
  })
  describe('and', () => further(() => ({ owner: under.owner, queries })))

  const documents = async (sql: string, rights: QueryRights): Promise<unknown[]> =>
    (await rowsOf(queries, sql, rights)).map((row) => row['document'])

  describe('rows', () => {
    const all = 'select document from notes order by document'

    test('without policies, are those of documents that the token reads', async () => {
      const everything = [
        'notes/1',
        'notes/2',
        'notes/3',
        'notes/4',
        'notes/5',
        'notes/6',
        'notes/deep/1',
        'teams/a/x',
      ]
      expect(await documents(all, rightsFor('a', ['**']))).toEqual(everything)
      expect(await documents(all, admin)).toEqual(everything)
      expect(await documents(all, nobody)).toEqual([])
      expect(await documents(all, rightsFor('a', ['notes/2', 'notes/7']))).toEqual(['notes/2'])
      expect(await documents(all, rightsFor('a', ['teams/**', 'notes/3']))).toEqual(['notes/3', 'teams/a/x'])
      expect(await documents(all, rightsFor('a', ['notes/*']))).toEqual(everything.slice(0, 6))
      expect(await documents(all, rightsFor('a', ['**/x', 'notes/*/1']))).toEqual([
        'notes/deep/1',
        'teams/a/x',
      ])
      expect(await documents(all, rightsFor('a', ['deals/**']))).toEqual([])
      expect(await documents(all.replace('notes', 'notes.notes'), rightsFor('a', ['notes/2']))).toEqual([
        'notes/2',
      ])
    })

    test('of every way to reach them', async () => {
      const one = rightsFor('a', ['notes/1'])
      for (const sql of [
        'select count(*)::int as n from notes',
        'with a as (select * from notes) select count(*)::int as n from a',
        'select (select count(*) from notes)::int as n',
        'select count(*)::int as n from titles',
        'select count(*)::int as n from notes a join tags b using (document)',
        "select count(*)::int as n from (select * from notes union all select * from notes where title = '') x",
        'select count(*)::int as n from parts',
        'select cardinality(array(select document from notes)) as n',
        'select count(*)::int as n from tags t, lateral (select * from notes n where n.document = t.document) x',
        "select count(*)::int as n from tags where tag in (select 'tide' from notes)",
      ])
        expect(await rowsOf(queries, sql, one), sql).toEqual([{ n: 1 }])
    })

    test('of a table with policies, are what these say for the role and the claims', async () => {
      const bids = 'select document, entry from bids order by entry'
      expect(await documents(bids, rightsFor('ann', ['**'], ['buyer']))).toEqual(['deals/1', 'deals/2'])
      expect(await documents(bids, rightsFor('bob', [], ['x', 'buyer', 'seller']))).toEqual(['deals/1'])
      expect(await documents(bids, rightsFor('cid', [], ['seller']))).toHaveLength(3)
      expect(await documents(bids, admin)).toHaveLength(3)
      expect(await refusalOf(queries, bids, rightsFor('ann', ['**']))).toMatch(/^query_refused: .*not there/)
    })

    test('have the columns that the role was granted', async () => {
      const ann = rightsFor('ann', ['**'], ['buyer'])
      expect(await rowsOf(queries, 'select bidder, price from bids order by price', ann)).toEqual([
        { bidder: 'ann', price: 10 },
        { bidder: 'ann', price: 30 },
      ])
      for (const sql of [
        'select secret from bids',
        'select * from bids',
        "select price from bids where secret = 's1'",
        'select b from bids b',
        'select price from bids order by secret',
        'select count(secret) from bids',
        'select row_to_json(b) from bids b',
        'select a.price from bids a join bids b using (secret)',
      ])
        expect(await refusalOf(queries, sql, ann), sql).toBe(
          'query_refused: Not a query: one of these is not there, or this token may not read it: "bids"',
        )
      const [row] = await rowsOf(queries, 'select * from bids', rightsFor('cid', [], ['seller']))
      expect(Object.keys(row ?? {})).toEqual(['document', 'entry', 'bidder', 'price', 'secret'])
    })

    test('of a table with grants of its own, only for those; of views that read as the owner too', async () => {
      const reader = rightsFor('a', ['**'])
      const absent = (name: string): string =>
        `query_refused: Not a query: one of these is not there, or this token may not read it: "${name}"`
      for (const name of [
        'offers',
        'hidden',
        'bids',
        'every_title',
        'counts',
        'parts_1',
        'nothing',
        'pg_class',
      ])
        expect(await refusalOf(queries, `select * from ${name}`, reader), name).toBe(absent(name))
      expect(
        await documents('select * from offers order by 1', rightsFor('a', ['deals/2'], ['seller'])),
      ).toEqual(['deals/2'])
      expect(
        await rowsOf(queries, 'select title from given_titles', rightsFor('a', ['notes/1'])),
      ).toHaveLength(8)
      for (const name of ['offers', 'hidden', 'bids', 'every_title', 'counts', 'parts_1'])
        expect(await refusalOf(queries, `select * from ${name}`, admin), name).toMatch(/^answered/)
    })
  })

  test('a pattern says the same in SQL as at every other door', async () => {
    const segment = fc.constantFrom('a', 'b', 'ab', 'a%', 'a_b', '\\', '"', 'é', 'aa', '{', ',')
    const part = fc.oneof(segment, fc.constantFrom('*', 'a*', '*b', 'a*b', '*a*', '%*', '**', '**'))
    const document = fc.array(segment, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/'))
    const pattern = fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('/'))
    const given = fc.tuple(
      fc.uniqueArray(document, { minLength: 1, maxLength: 30 }),
      fc.array(pattern, { maxLength: 4 }),
    )
    await fc.assert(
      fc.asyncProperty(given, async ([ids, patterns]) => {
        const rights = rightsFor('p', patterns)
        const { accessTo } = accessOf(
          patterns.map((match) => ({ match: parsePattern(match) as Pattern, access: 'read' as const })),
        )
        await under.owner.batch([
          { text: 'truncate notes.notes' },
          {
            text: `insert into notes.notes (document, title) select value, '' from json_array_elements_text($1::json)`,
            parameters: [JSON.stringify(ids)],
          },
        ])
        const seen = await documents('select document from notes', rights)
        const expected = ids.filter((id) => accessTo(id as DocumentId) !== 'none')
        expect([...seen].sort()).toEqual([...expected].sort())
      }),
      {
        numRuns: 100,
        examples: [1, 2, 3, 4].map((depth) => {
          const ids = ['a', 'a/b', 'a/b/ab', 'a/b/ab/aa', 'a/b/ab/aa/a', 'aa/b/ab/aa/a', 'a/bb/ab']
          return [[ids, [`${ids[depth - 1]}/**`, 'a//**', '/**']]]
        }),
      },
    )
    await under.owner.batch([
      { text: 'truncate notes.notes' },
      {
        text: `insert into notes.notes (document, title) select 'notes/' || i, 'Note ' || i from generate_series(1, 6) i`,
      },
    ])
  })

  test('a token with a thousand patterns is answered; one with absurd ones in time or not at all', async () => {
    await under.owner.batch([
      {
        text: `insert into notes.notes (document, title)
          select 'teams/t' || i || '/a/notes/' || j, '' from generate_series(1, 20) i, generate_series(1, 20) j`,
      },
      {
        text: `insert into notes.notes (document, title) select repeat('a', 400) || i, '' from generate_series(1, 5) i`,
      },
      {
        text: `insert into notes.notes (document, title) select repeat('x/', 200) || i, '' from generate_series(1, 5) i`,
      },
    ])
    const usual = Array.from({ length: 1_000 }, (_, i) => `teams/t${i + 11}/*/notes/**`)
    const counted = await rowsOf(queries, 'select count(*)::int as n from notes', rightsFor('p', usual))
    expect(counted).toEqual([{ n: 200 }])
    const stars = Array.from({ length: 500 }, (_, i) => `${'a*'.repeat(250)}${i}`)
    const deep = Array.from({ length: 500 }, (_, i) => `**/${'*x/'.repeat(150)}${i}`)
    const short = queriesOf(under, { timeoutMs: 1_000 })
    const said = await refusalOf(
      short,
      'select count(*)::int from notes',
      rightsFor('p', [...stars, ...deep]),
    )
    expect(said).toMatch(/^(answered|query_timeout)/)
    await under.owner.batch([{ text: `delete from notes.notes where title = ''` }])
  })

  describe('values', () => {
    test('are JSON by their type', async () => {
      const { columns, rows } = await queries.run(
        {
          sql: `select 1::smallint as a, 2 as b, 3::bigint as c, 1.50 as d, 0.1::float8 as e, 'NaN'::float8 as f,
            true as g, null::int as h, '{"x": [1, "y"]}'::jsonb as i, array[1, null, 3] as j, array['a"b', 'c,d', 'NULL', null, ''] as k,
            array[[1, 2], [3, 4]] as l, array[9007199254740993] as m, date '2024-02-29' as n, 'calm'::notes.mood as o,
            timestamptz '2024-01-01 12:00+02' as p, interval '1 day 2 hours' as q, '\\xff00'::bytea as r, array[true] as s,
            '[2:3]={7,8}'::int[] as t, 1e300::float8 as u, array[]::text[] as v, array['calm']::notes.mood[] as w,
            array['{"a": "\\""}'::jsonb] as x, row(1, 'a') as y, '-Infinity'::float4 as z`,
          params: [],
          rights: admin,
          cursor: null,
        },
        never,
      )
      expect(rows.map((row) => JSON.parse(row))).toEqual([
        {
          a: 1,
          b: 2,
          c: '3',
          d: '1.50',
          e: 0.1,
          f: 'NaN',
          g: true,
          h: null,
          i: { x: [1, 'y'] },
          j: [1, null, 3],
          k: ['a"b', 'c,d', 'NULL', null, ''],
          l: [
            [1, 2],
            [3, 4],
          ],
          m: ['9007199254740993'],
          n: '2024-02-29',
          o: 'calm',
          p: '2024-01-01 10:00:00+00',
          q: '1 day 02:00:00',
          r: '\\xff00',
          s: [true],
          t: [7, 8],
          u: 1e300,
          v: [],
          w: ['calm'],
          x: [{ a: '"' }],
          y: '(1,a)',
          z: '-Infinity',
        },
      ])
      expect(Object.fromEntries(columns.map(({ name, type }) => [name, type]))).toMatchObject({
        a: 'smallint',
        c: 'bigint',
        i: 'jsonb',
        j: 'integer[]',
        o: expect.stringMatching(/mood$/),
        p: 'timestamp with time zone',
        w: expect.stringMatching(/mood\[\]$/),
      })
    })

    test('go in as parameters, of every type', async () => {
      const sql = `select $1::int + 1 as a, $2::text as b, $3::boolean as c, $4::text[] as d, $5::jsonb as e, $6::text as f,
        $7::int[][] as g, 'x' = any ($8) as h`
      const params = [
        1,
        `it's "$1" \\ ; --`,
        false,
        ['a', 'b,"c\\', null],
        { k: [1] },
        null,
        [[1], [2]],
        ['x'],
      ]
      expect(await rowsOf(queries, sql, admin, params)).toEqual([
        {
          a: 2,
          b: `it's "$1" \\ ; --`,
          c: false,
          d: ['a', 'b,"c\\', null],
          e: { k: [1] },
          f: null,
          g: [[1], [2]],
          h: true,
        },
      ])
      expect(await refusalOf(queries, 'select $1::int', admin, [])).toMatch(/^query_refused: .*1 parameters/)
      expect(await refusalOf(queries, 'select 1', admin, [1])).toMatch(/^query_refused: .*0 parameters/)
      expect(await refusalOf(queries, 'select $1::text', admin, ['\0'])).toMatch(/^query_failed/)
      expect(await refusalOf(queries, 'select $1::int', admin, ['x'])).toMatch(/^query_failed: .*22P02/)
    })
  })

  describe('answers', () => {
    const pages = async (sql: string, limits: Partial<QueryLimits>): Promise<number[][]> => {
      const small = queriesOf(under, limits)
      const found: number[][] = []
      let cursor: string | null = null
      do {
        const page = await small.run({ sql, params: [], rights: admin, cursor }, never)
        found.push(page.rows.map((row) => Number((JSON.parse(row) as QueryRow)['i'])))
        cursor = page.cursor
      } while (cursor !== null && found.length < 20)
      return found
    }

    test('end at a number of rows, and go on where they ended', async () => {
      const sql = (count: number) => `select i from generate_series(1, ${count}) i order by i -- and no more`
      expect(await pages(sql(5), { rowsMax: 2 })).toEqual([[1, 2], [3, 4], [5]])
      expect(await pages(sql(4), { rowsMax: 2 })).toEqual([
        [1, 2],
        [3, 4],
      ])
      expect(await pages(sql(0), { rowsMax: 2 })).toEqual([[]])
    })

    test('end at a number of bytes', async () => {
      const sql = `select i, repeat('x', 400) as x from generate_series(1, 5) i`
      expect(await pages(sql, { bytesMax: 1_000 })).toEqual([[1, 2], [3, 4], [5]])
      // As JSON these take six times what they take as text.
      const control = `select i, repeat(chr(1), 100) as x from generate_series(1, 5) i`
      expect(await pages(control, { bytesMax: 1_500 })).toEqual([[1, 2], [3, 4], [5]])
      const queries = queriesOf(under, { bytesMax: 1_000 })
      expect(await refusalOf(queries, `select repeat('x', 2000000) as x`, admin)).toBe(
        'query_refused: A row is larger than an answer may be: 1000 bytes',
      )
      expect(await refusalOf(queries, `select repeat(chr(1), 900) as x`, admin)).toMatch(
        /larger than an answer/,
      )
    })

    test('may have no rows and no columns', async () => {
      expect(await rowsOf(queries, 'select from notes limit 1', admin)).toEqual([{}])
      expect(await rowsOf(queries, 'select 1 as a where false', admin)).toEqual([])
    })

    test('have columns of different names', async () => {
      expect(await refusalOf(queries, 'select 1 as a, 2 as a', admin)).toMatch(/^query_refused: .*"a".*as/)
      const row = await rowsOf(queries, `select 1 as "__proto__", 2 as "a""b", 3 as "constructor"`, admin)
      expect(JSON.stringify(row)).toBe('[{"__proto__":1,"a\\"b":2,"constructor":3}]')
    })

    test('go on only for the query and the user that they were for', async () => {
      const small = queriesOf(under, { rowsMax: 1 })
      const ask = { sql: 'select i from generate_series(1, 3) i', params: [], rights: admin }
      const { cursor } = await small.run({ ...ask, cursor: null }, never)
      const again = (changed: object) =>
        small.run({ ...ask, cursor, ...changed }, never).then(
          ({ rows }) => rows[0],
          (error: TidemarkError) => error.code,
        )
      expect(await again({})).toBe('{"i":2}')
      expect(await again({ sql: 'select i from generate_series(2, 3) i' })).toBe('query_refused')
      expect(await again({ rights: rightsFor('b', ['**']) })).toBe('query_refused')
      for (const made of ['', 'x', 'AAAAAAAA', `${cursor}A`, cursor!.slice(2)])
        expect(await again({ cursor: made })).toBe('query_refused')
    })

    test('say what is wrong in words of PostgreSQL, at the place in the query', async () => {
      const said = await refusalOf(queries, '/* ß */ select titel from notes', admin)
      expect(said).toBe('query_failed: column "titel" does not exist (42703, character 16)')
      expect(await refusalOf(queries, 'select 1 /0', admin)).toBe('query_failed: division by zero (22012)')
      expect(await refusalOf(queries, 'select * fro notes', admin)).toMatch(
        /^query_failed: syntax error.*character/,
      )
      expect(await refusalOf(queries, 'select nothing(1)', admin)).toMatch(/^query_failed: function .*42883/)
    })
  })

  describe('what a query may not do', () => {
    const hidden = (call: string): string[] => [
      `select ${call}`,
      `select * from (select ${call}) x`,
      `with a as (select ${call}) select 1`,
      `with a as materialized (select ${call}) select * from a`,
      `select 1 where (select ${call}) is not null`,
      `select count(*) filter (where (${call}) is not null) from notes`,
      `select * from notes n, lateral (select ${call} || n.title) x`,
      `select case when true then ${call}::text end`,
      `select array[${call}::text]`,
      `select 1 order by ${call}`,
      `select 1 group by ${call}`,
      `values (${call}::text)`,
      `select 1 union select 1 limit (select length(${call}::text))`,
      `select sum(length(${call}::text)) over (order by ${call})`,
      `select coalesce(null, ${call}::text)`,
      `select json_build_object('a', ${call})`,
      `select '' like ${call}::text`,
      `select row(${call})`,
    ]
    test.each([
      ...hidden(`set_config('role', 'postgres', true)`),
      ...hidden(`set_config('tidemark.readable_all', 'true', true)`),
    ])('%s', async (sql) => {
      expect(await refusalOf(queries, sql, nobody)).toMatch(/^query_refused: .*set_config/)
    })

    test.each([
      `select pg_catalog.set_config('role', 'x', true)`,
      `select "set_config"('role', 'x', true)`,
      `select U&"set\\005fconfig"('role', 'x', true)`,
      `select U&"set!005fconfig" uescape '!' ('role', 'x', true)`,
      `select SET_CONFIG('role', 'x', true)`,
      `select set_config(variadic array['role', 'x'])`,
      `select set_config(setting_name => 'role', new_value => 'x', is_local => true)`,
      `select * from set_config('role', 'x', true)`,
      `select * from rows from (set_config('role', 'x', true), generate_series(1, 2)) as x`,
      `select * from set_config('role', 'x', true) with ordinality`,
      `select (set_config('role', 'x', true)).x`,
      `select current_setting('request.jwt.claims')`,
      `select current_setting('tidemark.readable_ids')`,
      `select pg_sleep(1)`,
      `select pg_sleep_for('1 second')`,
      `select pg_read_file('/etc/passwd')`,
      `select pg_read_binary_file('/etc/passwd')`,
      `select * from pg_ls_dir('/')`,
      `select pg_stat_file('/')`,
      `select lo_import('/etc/passwd')`,
      `select lo_export(1, '/x')`,
      `select lo_get(1)`,
      `select lo_creat(1)`,
      `select query_to_xml('select 1', true, true, '')`,
      `select table_to_xml('notes.notes', true, true, '')`,
      `select database_to_xml(true, true, '')`,
      `select schema_to_xml('notes', true, true, '')`,
      `select cursor_to_xml('x', 1, true, true, '')`,
      `select * from ts_stat('select set_config(''role'', ''x'', true)')`,
      `select ts_rewrite('a'::tsquery, 'select 1')`,
      `select * from dblink('', 'select 1') as t (a int)`,
      `select pg_advisory_lock(1)`,
      `select pg_try_advisory_xact_lock(1)`,
      `select pg_notify('a', 'b')`,
      `select pg_terminate_backend(1)`,
      `select pg_cancel_backend(1)`,
      `select pg_reload_conf()`,
      `select pg_logical_emit_message(true, 'a', 'b')`,
      `select pg_export_snapshot()`,
      `select nextval('x')`,
      `select lastval()`,
      `select lowrite(1, 'x')`,
      `select txid_current()`,
      `select setseed(0.5)`,
      `select version()`,
      `select inet_server_addr()`,
      `select current_database()`,
      `select has_table_privilege('deals.bids', 'select')`,
      `select to_regclass('deals.bids')`,
      `select 'deals.bids'::regclass`,
      `select cast('postgres' as regrole)`,
      `select regclass 'deals.bids'`,
      `select 'x'::pg_catalog.regproc`,
      `select array['x']::regclass[]`,
      `select '{x}'::_regclass`,
      `select '{x}'::pg_catalog._regrole`,
      `select _regclass('{x}')`,
      `select json_populate_record(null::pg_class, '{"relacl": ["postgres=r/postgres"]}')`,
      `select * from jsonb_to_recordset('[{"a": "pg_class"}]') as x (a regclass)`,
      `select * from rows from (jsonb_to_recordset('[{"a": "pg_class"}]') as (a regclass)) as x`,
      `select null::information_schema.sql_identifier`,
      `select regclass('deals.bids')`,
      `select '{=r/postgres}'::aclitem[]`,
      `select null::tidemark.logins`,
      `select pg_get_viewdef(1)`,
      `select n.pg_column_size from notes n`,
      `select (n).pg_sleep from notes n`,
      `select obj_description(1, 'pg_class')`,
      `select * from pg_show_all_settings()`,
      `select * from pg_stat_get_activity(null)`,
      `select * from pg_stat_activity`,
      `select * from pg_catalog.pg_class`,
      `select * from pg_roles`,
      `select * from information_schema.tables`,
      `select * from tidemark.logins`,
      `select * from tidemark.progress`,
      `select tidemark.matches('a', 'b')`,
      `select * from public.anything`,
      `select * from pg_temp.anything`,
      `select notes.touch()`,
      `select touch()`,
      `with recursive a as (select touch() as i union all select i from a) select * from a limit 1`,
      `set role postgres`,
      `set local role postgres`,
      `set session authorization default`,
      `select 1; set role postgres`,
      `copy notes.notes to program 'cat'`,
      `do $$ begin perform 1; end $$`,
      `explain analyze select 1`,
      `prepare x as select 1`,
      `create temp table x (a int)`,
      `select * into temp x from notes`,
      `select * from notes for update`,
      `insert into notes.notes values ('x', 'y')`,
      `with x as (delete from notes.notes returning *) select * from x`,
      `) as a; select set_config('role', 'x', true) as b; select * from (select 1`,
      `select 1) x, (select set_config('role', 'x', true)`,
      `select 1 /* ) */ -- )\n) x; select 1; --`,
    ])('%s', async (sql) => {
      expect(await refusalOf(queries, sql, nobody)).toMatch(
        /^query_(refused|failed): (Not a query|syntax error|function dblink)/,
      )
      // An administrator sees all rows, and may do no more than read them.
      expect(await refusalOf(queries, sql, admin)).toMatch(
        /^query_(refused|failed): (Not a query|syntax error|function dblink)/,
      )
    })

    test('call what runs as the owner, unless the adapter says so', async () => {
      expect(await refusalOf(queries, 'select leak()', nobody)).toMatch(/not there, or this token may not/)
    })

    test('but it may call what only reads, and what an adapter made for it', async () => {
      expect(
        await rowsOf(
          queries,
          `select shout('a') as a, notes.shout('b') as b, random() < 2 as c, now() is not null as d,
            to_tsvector('english', 'tides')::text as e, 'abc' ~ '^a' as f, jsonb_path_query_first('{"a":1}', '$.a') as g,
            extract(year from date '2024-01-01')::int as h, max(1) as i, current_user is not null as j,
            pg_typeof(1)::text as k, percentile_cont(0.5) within group (order by 1) as l, trim(' x ') as m`,
          nobody,
        ),
      ).toEqual([
        {
          a: 'A',
          b: 'B',
          c: true,
          d: true,
          e: "'tide':1",
          f: true,
          g: 1,
          h: 2024,
          i: 1,
          j: true,
          k: 'integer',
          l: 1,
          m: 'x',
        },
      ])
    })

    test('nothing that can be called as if it were a column is refused as a function', async () => {
      const [result] = await under.owner.batch([
        {
          text: `select distinct proname from pg_proc
            where pronargs >= 1 and pronargs - pronargdefaults <= 1 and provolatile = 'v' and pronamespace = 'pg_catalog'::regnamespace
              and proargtypes[0]::regtype::text in ('"any"', 'anyelement', 'record', 'anycompatible', 'anynonarray')`,
        },
      ])
      // Those are looked at as functions are.
      expect(result?.rows.flat().filter((name) => !name?.startsWith('pg_'))).toEqual([])
      const [signs] = await under.owner.batch([
        { text: `select from pg_operator o join pg_proc p on p.oid = o.oprcode where p.provolatile = 'v'` },
      ])
      expect(signs?.count).toBe(0)
    })
  })

  test('a query that takes too long is ended, and the next one is answered', async () => {
    const short = queriesOf(under, { timeoutMs: 500 })
    const slow = 'select count(*) from generate_series(1, 30000000) a'
    expect(await refusalOf(short, slow, admin)).toBe('query_timeout: The query took more than 500 ms')
    expect(await rowsOf(queries, 'select 1 as a', admin)).toEqual([{ a: 1 }])
  })

  test('one user has few places, and so have all together', async () => {
    const few = queriesOf(under, { runningMax: 1, waitingMax: 2, perUserMax: 2 })
    const ask = (subject: string): Promise<string> => refusalOf(few, 'select 1 as a', rightsFor(subject, []))
    const said = await Promise.all(['a', 'a', 'a', 'b', 'c'].map(ask))
    const [first, second, third, other, last] = said.map((text) => text.split(':')[0])
    expect([first, second, third]).toEqual(['answered', 'answered', 'rate_limited'])
    expect([other, last]).toEqual(['answered', 'overloaded'])
  })

  test('whatever is asked, what comes back is an answer or a refusal', async () => {
    const words =
      `select * from notes where document title = 'notes/1' $1 and or ( ) , with a as union all count(*) set_config pg_sleep(9) ` +
      `tags lateral join on true null array[1] row(1) :: int text order by 1 limit 2 -- /* */ ; "notes" bids . secret`
    const word = fc.constantFrom(...words.split(' '))
    await fc.assert(
      fc.asyncProperty(fc.array(word, { maxLength: 14 }), async (parts) => {
        const said = await refusalOf(queries, `select ${parts.join(' ')}`, nobody)
        expect(said).toMatch(/^(answered|query_(refused|failed))/)
        expect(said).not.toMatch(/Note |s1|s2/)
      }),
      { numRuns: 400 },
    )
  })
}

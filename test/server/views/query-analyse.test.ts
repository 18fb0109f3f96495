/** What is taken for a query, and what it is found to name. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import { type Analysis, analyse } from '../../../server/views/query/analyse.ts'
import { sqlBytesMax } from '../../../server/views/query/parser.ts'

const names = (found: Analysis['tables']): string[] =>
  found.map(({ schema, name }) => (schema === null ? name : `${schema}.${name}`)).sort()

async function codeOf(sql: string): Promise<string> {
  try {
    await analyse(sql)
    return 'taken'
  } catch (error) {
    if (error instanceof TidemarkError) return error.code
    throw error
  }
}

describe('finds', () => {
  test.each([
    ['select * from notes', ['notes']],
    ['table notes', ['notes']],
    ['select * from Notes, "Notes", boards.cards c', ['Notes', 'boards.cards', 'notes']],
    ['select (select 1 from a) from b where exists (select from c) order by (select 1 from d)', 'abcd'],
    ['select * from a join (b join lateral (select * from c) x on true) on true', 'abc'],
    ['select 1 from a union select 1 from b except (values (1), ((select 2 from c)))', 'abc'],
    ['select * from U&"\\006eotes"', ['notes']],
    ['select sum(x) filter (where exists (select from a)) over (order by (select 1 from b)) from c', 'abc'],
    [
      'select array(select 1 from a), row((select 1 from b)), case when (select true from c) then 1 end',
      'abc',
    ],
    ['select f(x => (select 1 from a)) from g((select 1 from b)) limit (select 1 from c)', 'abc'],
    ['select json_array(select 1 from a), json_object(1: (select 1 from b))', 'ab'],
    ["select * from json_table((select '[]' from a)::jsonb, '$' columns (x int)) t", 'a'],
  ])('the tables of %s', async (sql, tables) => {
    expect(names((await analyse(sql)).tables)).toEqual([...tables])
  })

  test.each([
    ['with a as (select * from b) select * from a', ['b']],
    // Before its own definition, and outside of the statement that has it, a name is a table.
    ['with a as (select * from a) select 1', ['a']],
    ['with recursive a as (select * from a union select * from c) select * from a', ['c']],
    ['with a as (select * from b), b as (select 1) select * from a', ['b']],
    ['with recursive a as (select * from b), b as (select 1) select * from a', []],
    ['select * from pg_class, (with pg_class as (select 1) select * from pg_class) x', ['pg_class']],
    ['with x as (with y as (select 1) select * from y) select * from y', ['y']],
    ['with a as (select 1) select * from public.a', ['public.a']],
    ['with a as (select 1) select (select count(*) from a) union select 1 from a', []],
    ['with a as (select 1) select * from "A"', ['A']],
  ])('tables and not names of common table expressions in %s', async (sql, tables) => {
    expect(names((await analyse(sql)).tables)).toEqual([...tables])
  })

  test('functions, operators and types, wherever they are', async () => {
    const found = await analyse(`
      with c as (select f1() as x)
      select f2(f3()) filter (where f4()), pg_catalog.f5(), "F6"(), U&"\\0066\\0037"(), sum(f8()) over (partition by f9()),
        1 operator(pg_catalog.+) 2, x <@ any (select f10()), cast(1 as t1), 1::s.t2[], (f11()).x, x[f12()],
        array[f13()], t3 '1', x between f14() and f15(), x in (f16(), 1), interval '1 day'
      from c, f17() as g(a t4), rows from (f18(), f19()) join d on f20() where not f21() or f22() is null
      group by rollup (f23()), f24() having f25() window w as (order by f26()) order by f27() using ~<~
      limit f28() offset f29()`)
    expect(names(found.functions).join(' ')).toBe(
      [
        'F6',
        ...Array.from({ length: 29 }, (_, i) => `f${i + 1}`).filter((name) => !/^f[56]$/.test(name)),
        'pg_catalog.f5',
        'sum',
      ]
        .sort()
        .join(' '),
    )
    expect(names(found.operators)).toEqual(['<@', '=', 'pg_catalog.+', '~<~'])
    expect(names(found.types)).toEqual(['pg_catalog.interval', 's.t2', 't1', 't3', 't4'])
  })

  test('what is syntax here and a function to older servers', async () => {
    const found = await analyse(
      "select json_value(a, '$'), json_object(1: 2), json_array(select 1), json_arrayagg(x), json_scalar(1) from json_table('[]', '$' columns (x int))",
    )
    expect(names(found.functions)).toEqual([
      'json_array',
      'json_arrayagg',
      'json_object',
      'json_scalar',
      'json_table',
      'json_value',
    ])
  })

  test('how many parameters there are, and the statement without what is around it', async () => {
    const found = await analyse('  /* größer */ select $2::int, \'ß$7\', "$8" ;  -- and no more')
    expect(found.parameterCount).toBe(2)
    expect(found.statement.trim()).toBe('select $2::int, \'ß$7\', "$8"')
    expect(found.statementStart).toBe(15)
    const second = await analyse('; ;; select 1')
    expect(second.statement.trim()).toBe('select 1')
  })
})

describe('is no query', () => {
  test.each([
    '',
    ';',
    '-- nothing',
    'select 1; select 2',
    'select 1; drop table notes',
    'insert into notes values (1)',
    'update notes set a = 1',
    'delete from notes',
    'merge into a using b on true when matched then delete',
    'with a as (insert into notes values (1) returning *) select * from a',
    'with a as (delete from notes returning *) select 1',
    'select * from (with a as (update t set x = 1 returning *) select * from a) b',
    'select 1 into t',
    'select * into temp t from notes',
    '(select 1 into t) union select 1',
    'select * from notes for update',
    'select * from (select * from notes for share) x',
    'select * from notes for no key update skip locked',
    'create temp table t (a int)',
    'create table t as select 1',
    'explain select 1',
    'explain (analyze) select 1',
    'prepare p as select 1',
    'execute p',
    'deallocate all',
    'declare c cursor for select 1',
    'fetch all from c',
    "copy notes to program 'sh'",
    "copy (select 1) to '/etc/x'",
    'do $$ begin end $$',
    'call p()',
    "set role 'postgres'",
    'set session authorization default',
    'reset role',
    'show all',
    'begin',
    'commit',
    'lock table notes',
    "notify x, 'y'",
    'listen x',
    "load 'x'",
    'vacuum',
    'truncate notes',
    'grant select on notes to public',
    'alter role x superuser',
    'select * from other.public.notes',
    'select * from notes tablesample system (1)',
    "select xmlparse(document '<a/>')",
    "select * from xmltable('/a' passing '<a/>' columns b int)",
    'select session_user',
    'select current_catalog',
    'select cast(1 as setof int)',
    'select a.b.c.d()',
    'select * from notes where current of c',
    'select $0',
    'select 1\0; drop table notes',
    "select '\ud800'",
    `select '${'x'.repeat(sqlBytesMax)}'`,
  ])('%j', async (sql) => {
    expect(['query_refused', 'query_failed']).toContain(await codeOf(sql))
  })

  test('what is nested too deeply, in each way there is', async () => {
    const half = Math.floor((sqlBytesMax - 100) / 2)
    const shapes: readonly (readonly [string, string, string])[] = [
      ['', '1', '+1'],
      ['- ', '1', ''],
      ['(', '1', ')'],
      ['not ', 'true', ''],
      ['', 'a', '::a'],
      ['f(', '1', ')'],
      ['array[', '1', ']'],
      ['(select ', '1', ')'],
      ['case when ', 'true', ' then true end'],
      ['', 'a', ' isnull'],
      ['', '1', ' union select 1'],
      ['(select 1 from ', 'a', ') x'],
    ]
    for (const [before, middle, after] of shapes) {
      const count = Math.floor((half * 2) / (before.length + after.length))
      const sql = `select ${before.repeat(count)}${middle}${after.repeat(count)}`
      // Parentheses alone are not nested once they are read.
      if (before !== '(') expect(await codeOf(sql), sql.slice(0, 30)).not.toBe('taken')
    }
    expect(await codeOf('select 1')).toBe('taken')
  })
})

test('whatever the text, the answer is a refusal or an analysis, and the next text is read', async () => {
  const words =
    'select from where with recursive as ( ) , ; . * \' " $$ $1 :: -- /* */ a notes "x y" U&"\\0061" e\'\\\'\' 1 1e5 union ' +
    'lateral join on true null array[ ] row( insert update into values case when then end :: operator( + ) json_object( : over'
  const word = fc.constantFrom(...words.split(' '))
  const text = fc.oneof(
    fc.array(word, { maxLength: 40 }).map((parts) => `select ${parts.join(' ')}`),
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  )
  await fc.assert(
    fc.asyncProperty(text, async (sql) => {
      expect(['taken', 'query_refused', 'query_failed']).toContain(await codeOf(sql))
    }),
    { numRuns: 3_000 },
  )
  expect(await codeOf('select * from notes')).toBe('taken')
})

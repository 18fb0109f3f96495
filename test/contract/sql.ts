/** What both drivers of SQL promise. `cut` takes away, without warning, what the driver is talking to. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Sql, SqlError } from '../../server/views/sql/sql.ts'
import { until } from '../support/wait.ts'

export interface SqlUnderTest {
  open(): Promise<Sql>
  /** Everything that runs now loses its connection; what comes later finds the database again. */
  cut(sql: Sql): Promise<void>
  /** Batches at once run at once, so that some are in the middle when it is cut. */
  readonly cutsOthers: boolean
}

export function sqlContract(driver: SqlUnderTest): void {
  describe('the contract of Sql', () => {
    let sql: Sql

    beforeAll(async () => {
      sql = await driver.open()
      await sql.start()
      await sql.batch([
        { text: 'create table pairs (id int primary key, side text not null)' },
        { text: 'create table others (id int primary key, side text not null)' },
      ])
    })
    afterAll(() => sql.close())

    const rowsOf = async (text: string): Promise<readonly (readonly (string | null)[])[]> =>
      (await sql.batch([{ text }]))[0]?.rows ?? []

    test('gives rows as PostgreSQL writes them, with names and types', async () => {
      const [result] = await sql.batch([
        {
          text: `select $1::numeric as n, $2::bigint, $3::bytea as b, $4::text, $5::boolean, $6::jsonb as j, null, array['a','b']
                 where $7::int = 7`,
          parameters: [
            '1.50',
            9_007_199_254_740_993n,
            Uint8Array.of(0, 255),
            'ä\n"\\',
            true,
            '{"a":1.0}',
            '7',
          ],
        },
      ])
      expect(result?.rows).toEqual([
        ['1.50', '9007199254740993', '\\x00ff', 'ä\n"\\', 't', '{"a": 1.0}', null, '{a,b}'],
      ])
      expect(result?.columns.map(({ type }) => type)).toEqual([
        'numeric',
        'bigint',
        'bytea',
        'text',
        'boolean',
        'jsonb',
        'text',
        'text[]',
      ])
      expect(result?.columns[0]?.name).toBe('n')
      expect(result?.count).toBe(1)
    })

    test('counts the rows that were written', async () => {
      const results = await sql.batch([
        { text: 'insert into pairs select g, $1 from generate_series(100, 104) g', parameters: ['x'] },
        { text: 'update pairs set side = side where id > 101' },
        { text: 'select 1 where false' },
        { text: 'delete from pairs where id >= 100' },
      ])
      expect(results.map(({ count }) => count)).toEqual([5, 3, 0, 5])
    })

    test('is all or nothing when a statement is refused, and names it', async () => {
      const error = await failureOf(
        sql.batch([
          { text: "insert into pairs values (1, 'a')" },
          { text: "insert into others values (1, 'a')" },
          { text: 'insert into others values (1, null)' },
          { text: "insert into others values (2, 'a')" },
        ]),
      )
      expect(error).toMatchObject({ code: '23502', statement: 2, retryable: false, outcome: 'rolled_back' })
      expect(await rowsOf('select id from pairs union all select id from others')).toEqual([])
    })

    test('rolls back when a statement meets other rows than expected', async () => {
      const error = await failureOf(
        sql.batch([
          { text: "insert into pairs values (1, 'a')" },
          { text: 'select 1 where false', rowsExpected: 1 },
        ]),
      )
      expect(error).toMatchObject({ code: 'TM001', statement: 1, retryable: false, outcome: 'rolled_back' })
      expect(await rowsOf('select id from pairs')).toEqual([])
      await sql.batch([{ text: 'select 1', rowsExpected: 1 }])
    })

    test('rolls back what fails at the commit', async () => {
      await sql.batch([
        { text: 'create table children (id int references pairs(id) deferrable initially deferred)' },
      ])
      const error = await failureOf(sql.batch([{ text: 'insert into children values (77)' }]))
      expect(error).toMatchObject({ code: '23503', retryable: false, outcome: 'rolled_back' })
      expect(await rowsOf('select * from children')).toEqual([])
    })

    test('a script is several statements, and part of the transaction', async () => {
      const script = 'create table first (id int); create table second (id int);'
      await failureOf(sql.batch([{ text: script, script: true }, { text: 'select 1/0' }]))
      await sql.batch([{ text: script, script: true }, { text: 'insert into second values (1)' }])
      expect(await rowsOf('select * from second')).toEqual([['1']])
      const error = await failureOf(sql.batch([{ text: 'select 1; select 2' }]))
      expect(error.code).toBe('42601')
    })

    test('a read-only batch writes nothing, and that is its own fault', async () => {
      const error = await failureOf(
        sql.batch([{ text: "insert into pairs values (1, 'a')" }], { readOnly: true }),
      )
      expect(error).toMatchObject({ code: '25006', retryable: false })
      await failureOf(
        sql.batch([{ text: 'set transaction read write' }, { text: "insert into pairs values (1, 'a')" }], {
          readOnly: true,
        }),
      )
      expect(await rowsOf('select id from pairs')).toEqual([])
    })

    test('role, claims and search path hold for their batch only', async () => {
      await sql.batch([
        {
          script: true,
          text: `create role reader; create schema apart; grant usage on schema apart to reader;
            create table apart.secrets (owner text, word text);
            insert into apart.secrets values ('ann', 'a'), ('bob', 'b');
            grant select on apart.secrets to reader;
            alter table apart.secrets enable row level security;
            create policy own on apart.secrets using (owner = current_setting('request.jwt.claims')::jsonb->>'sub');`,
        },
      ])
      const options = { role: 'reader', claims: '{"sub":"bob"}', searchPath: ['apart'], readOnly: true }
      const [seen] = await sql.batch([{ text: 'select word, current_user from secrets' }], options)
      expect(seen?.rows).toEqual([['b', 'reader']])
      const deletion = sql.batch([{ text: 'delete from secrets' }], { ...options, readOnly: false })
      expect((await failureOf(deletion)).code).toBe('42501')
      for (let i = 0; i < 8; i++) {
        const error = await failureOf(sql.batch([{ text: 'select word from secrets' }]))
        expect(error.code).toBe('42P01')
      }
      expect(await rowsOf('select word from apart.secrets order by 1')).toEqual([['a'], ['b']])
    })

    test('batches beyond the limits are refused before they are sent', async () => {
      const many = Array.from({ length: 1_001 }, () => ({ text: 'select 1' }))
      expect((await failureOf(sql.batch(many))).code).toBe('54000')
      const large = 'x'.repeat(65 * 1024 * 1024)
      expect((await failureOf(sql.batch([{ text: 'select $1', parameters: [large] }]))).code).toBe('54000')
    })

    test('batches at once do not mix', async () => {
      await sql.batch([
        { text: 'create table counters (n int)' },
        { text: 'insert into counters values (0)' },
      ])
      const batches = Array.from({ length: 40 }, () =>
        sql.batch([{ text: 'update counters set n = n + 1' }, { text: 'select 1', rowsExpected: 1 }]),
      )
      await Promise.all(batches)
      expect(await rowsOf('select n from counters')).toEqual([['40']])
    })

    test('a statement without end is ended, and leaves nothing', async () => {
      const endless = 'select count(*) from generate_series(1, 1000000000000)'
      const error = await failureOf(
        sql.batch([{ text: "insert into pairs values (5, 'a')" }, { text: endless }], {
          statementTimeoutMs: 300,
          batchMs: 2_000,
        }),
      )
      expect(error).toMatchObject({ code: '57014', retryable: true })
      await recovered(sql)
      expect(await rowsOf('select id from pairs')).toEqual([])
    })

    test('batches that are cut off are all or nothing, and say which', async () => {
      let id = 1_000
      const fates: { id: number; fate: string }[] = []
      let cuts = 0
      const cutsMax = driver.cutsOthers ? 3 : 1
      const writer = async (): Promise<void> => {
        while (cuts < cutsMax) {
          const mine = id++
          const parameters = [mine]
          const statements = [
            { text: "insert into pairs values ($1, 'p')", parameters },
            { text: "insert into others values ($1, 'o')", parameters },
          ]
          const fate = await sql.batch(statements).then(
            () => 'committed',
            (error: SqlError) => {
              expect(error.retryable, error.message).toBe(true)
              return error.outcome
            },
          )
          fates.push({ id: mine, fate })
          if (fate !== 'committed') await recovered(sql)
        }
      }
      const writers = [writer(), writer(), writer()]
      for (; cuts < cutsMax; cuts++) {
        const before = fates.length
        await until('batches between two cuts', () => fates.length > before + 20)
        await driver.cut(sql)
      }
      await Promise.all(writers)
      await recovered(sql)
      const pairs = new Set((await rowsOf('select id from pairs')).flat())
      const others = new Set((await rowsOf('select id from others')).flat())
      expect(pairs).toEqual(others)
      for (const { id, fate } of fates) {
        if (fate === 'committed') expect(pairs.has(String(id)), `${id} was committed`).toBe(true)
        if (fate === 'rolled_back') expect(pairs.has(String(id)), `${id} was rolled back`).toBe(false)
      }
      if (driver.cutsOthers) expect(fates.some(({ fate }) => fate !== 'committed')).toBe(true)
    })
  })
}

export async function failureOf(batch: Promise<unknown>): Promise<SqlError> {
  const error = await batch.then(
    () => {
      throw new Error('the batch was committed')
    },
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(SqlError)
  return error as SqlError
}

/** Waits for a batch to succeed; each failure until then must be one that is worth a retry. */
export async function recovered(sql: Sql): Promise<void> {
  const isThere = (): Promise<boolean> =>
    sql.batch([{ text: 'select 1' }]).then(
      () => true,
      (error: SqlError) => {
        expect(error.retryable, error.message).toBe(true)
        return false
      },
    )
  await until('the database is there', isThere)
  expect(sql.unavailable()).toBe(null)
}

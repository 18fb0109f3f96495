/** Batches to a real PostgreSQL: the contract, and what a server does that goes away. */
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { PostgresSql } from '../../../server/views/sql/postgres-sql.ts'
import type { Sql, SqlError } from '../../../server/views/sql/sql.ts'
import { failureOf, recovered, sqlContract } from '../../contract/sql.ts'
import { freePort } from '../../support/free-port.ts'
import { type PostgresServer, start } from '../../support/postgres-server.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'

let server: PostgresServer
beforeAll(async () => {
  server = await start()
})
afterAll(() => server.stop())

const open = (url = server.url): Sql => new PostgresSql({ url, connectionsMax: 4, logger: silentLogger })

sqlContract({
  open: async () => open(),
  cutsOthers: true,
  async cut() {
    const admin = open()
    await admin.batch([
      {
        text: `select pg_terminate_backend(pid) from pg_stat_activity
               where backend_type = 'client backend' and pid <> pg_backend_pid()`,
      },
    ])
    await admin.close()
  },
})

describe('a server that is not there', () => {
  test('never was: batches are refused, retryably, and the reason is told', async () => {
    const sql = open(`postgres://tidemark@127.0.0.1:${await freePort()}/postgres`)
    await sql.start()
    const error = await failureOf(sql.batch([{ text: 'select 1' }]))
    expect(error).toMatchObject({ code: '08006', retryable: true, outcome: 'rolled_back' })
    expect(sql.unavailable()).toMatch(/ECONNREFUSED/)
    await sql.close()
  })

  test('is killed and comes back: batches are found again without help', async () => {
    const sql = open()
    await sql.batch([{ text: 'create table survivors (id int)' }])
    await server.kill9()
    // Who served the connection may live a moment longer than the server.
    await until('the server is gone', () =>
      sql.batch([{ text: 'select 1' }]).then(
        () => false,
        (error: SqlError) => error.retryable,
      ),
    )
    expect(sql.unavailable()).not.toBe(null)
    await server.restart()
    await recovered(sql)
    await sql.batch([{ text: 'insert into survivors values (1)', rowsExpected: 1 }])
    await sql.close()
  })

  test('goes while it commits: nobody can know, and that is said', async () => {
    const sql = open()
    await sql.batch([
      {
        script: true,
        text: `create table slow (id int);
          create function pause() returns trigger language plpgsql as $$ begin perform pg_sleep(20); return null; end $$;
          create constraint trigger pause after insert on slow deferrable initially deferred
            for each row execute function pause();`,
      },
    ])
    const committing = async (): Promise<boolean> => {
      const text = "select 1 from pg_stat_activity where query = 'commit' and state = 'active'"
      const [result] = await sql.batch([{ text }])
      return result?.count === 1
    }
    const insert = (): Promise<SqlError> => failureOf(sql.batch([{ text: 'insert into slow values (1)' }]))
    const terminated = insert()
    await until('it commits', committing)
    await sql.batch([
      { text: "select pg_terminate_backend(pid) from pg_stat_activity where query = 'commit'" },
    ])
    expect(await terminated).toMatchObject({ retryable: true, outcome: 'unknown' })
    const killed = insert()
    await until('it commits', committing)
    await server.kill9()
    expect(await killed).toMatchObject({ retryable: true, outcome: 'unknown' })
    await server.restart()
    await recovered(sql)
    await sql.close()
  })

  test('goes in the packet that ends the handshake: the batch is refused, and nothing else happens', async () => {
    const message = (type: string, body: string): Buffer => {
      const bytes = Buffer.from(`${type}0000${body}`)
      bytes.writeUInt32BE(bytes.length - 1, 1)
      return bytes
    }
    // No real one can be made to do it at will.
    const goes = createServer((socket) =>
      socket.once('data', () =>
        socket.end(
          Buffer.concat([
            message('R', '\0\0\0\0'),
            message('Z', 'I'),
            message('E', 'SFATAL\0C57P01\0Mterminating connection due to administrator command\0\0'),
          ]),
        ),
      ),
    ).listen(0, '127.0.0.1')
    await once(goes, 'listening')
    const sql = open(`postgres://tidemark@127.0.0.1:${(goes.address() as AddressInfo).port}/postgres`)
    expect(await failureOf(sql.batch([{ text: 'select 1' }]))).toMatchObject({ retryable: true })
    await sql.close()
    goes.close()
  })

  test('is read-only for a while: refused, retryably, then taken', async () => {
    const sql = open()
    await recovered(sql)
    const setTo = async (value: string): Promise<void> => {
      const admin = new pg.Client(server.url)
      await admin.connect()
      await admin.query('set default_transaction_read_only = off')
      await admin.query(`alter role tidemark set default_transaction_read_only = ${value}`)
      await admin.end()
    }
    await setTo('on')
    const fresh = open()
    const error = await failureOf(fresh.batch([{ text: 'create table late (id int)' }]))
    expect(error).toMatchObject({ code: '25006', retryable: true, outcome: 'rolled_back' })
    expect(fresh.unavailable()).toMatch(/read-only/)
    await setTo('off')
    await recovered(fresh)
    await fresh.batch([{ text: 'create table late (id int)' }])
    await fresh.close()
    await sql.close()
  })

  test('a batch that waits for a lock beyond its time is given up, and the connections are not used up', async () => {
    const sql = open()
    await sql.batch([{ text: 'create table held (id int)' }])
    const holder = sql.batch([{ text: 'lock table held' }, { text: 'select pg_sleep(3)' }])
    const locks = { text: "select from pg_locks where relation = 'held'::regclass and granted" }
    await until('it is locked', async () => (await sql.batch([locks]))[0]?.rows.length === 1)
    const waiting = Array.from({ length: 12 }, () =>
      failureOf(sql.batch([{ text: 'select * from held' }], { batchMs: 200 })),
    )
    for (const error of await Promise.all(waiting)) expect(error).toMatchObject({ retryable: true })
    await holder
    await recovered(sql)
    await sql.close()
  })

  test('after close nothing is taken', async () => {
    const sql = open()
    await sql.close()
    expect((await failureOf(sql.batch([{ text: 'select 1' }]))).retryable).toBe(true)
  })
})

/** Queries on a real PostgreSQL: the contract, and what only a server with roles has. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { TidemarkError } from '../../../core/protocol/errors.ts'
import { loginUrl } from '../../../server/views/query/login-url.ts'
import { QueriesInThread } from '../../../server/views/query/queries-in-thread.ts'
import { PostgresSql } from '../../../server/views/sql/postgres-sql.ts'
import { installLogin, installRoles, type Login } from '../../../server/views/store/roles.ts'
import { installAdapter, installTidemark } from '../../../server/views/store/schema.ts'
import { inboxContract } from '../../contract/views-inbox.ts'
import {
  admin,
  never,
  prepare,
  queriesOf,
  queryLimits,
  refusalOf,
  roles,
  rowsOf,
  type UnderTest,
  viewsQueryContract,
} from '../../contract/views-query.ts'
import { type PostgresServer, start } from '../../support/postgres-server.ts'
import { silentLogger } from '../../support/silent-logger.ts'

let server: PostgresServer
beforeAll(async () => {
  server = await start()
})
afterAll(() => server.stop())

const sqlOf = (url: string): PostgresSql => new PostgresSql({ url, connectionsMax: 4, logger: silentLogger })

async function open(url: string): Promise<UnderTest & { readonly login: Login }> {
  const owner = sqlOf(url)
  await installTidemark(owner)
  await installRoles(owner, roles)
  const login = await installLogin(owner, roles)
  return { owner, reader: sqlOf(loginUrl(url, login)), isEmbedded: false, login }
}

describe('the contract', () => viewsQueryContract(() => open(server.url), inboxContract))

async function newDatabase(name: string): Promise<string> {
  const client = new Client({ connectionString: server.url })
  await client.connect()
  await client.query(`create database ${name}`)
  await client.end()
  return server.url.replace(/[^/]*$/, name)
}

test('past the parser, the login of queries writes nothing and becomes nobody else', async () => {
  const url = await newDatabase('past')
  const under = await open(url)
  await prepare(under.owner)
  const client = new Client({ connectionString: loginUrl(url, under.login) })
  await client.connect()
  const fails = async (sql: string): Promise<string> => {
    try {
      await client.query(sql)
      return 'done'
    } catch (error) {
      return (error as { code: string }).code
    }
  }
  for (const sql of [
    'set role tidemark',
    'set session authorization tidemark',
    'select * from notes.notes',
    'select * from tidemark.logins',
    `insert into notes.notes (document, title) values ('x', 'y')`,
    'create table public.x (a int)',
    'create role x',
    'create schema x',
    `alter role "${under.login.role}" superuser`,
    'grant tidemark to current_user',
    `copy (select 1) to program 'cat'`,
    `select pg_read_file('/etc/passwd')`,
    'create function pg_temp.f() returns int language c as $$x$$',
    'alter table notes.notes disable row level security',
    'drop policy tidemark_rows on notes.notes',
  ])
    expect(await fails(sql), sql).toBe('42501')
  for (const role of ['tidemark_reader', 'tidemark_admin', 'seller'])
    for (const sql of [
      `insert into notes.notes (document, title) values ('x', 'y')`,
      'delete from notes.notes',
      'select * from tidemark.logins',
      'alter table notes.notes disable row level security',
    ]) {
      expect(await fails(`set role ${role}`)).toBe('done')
      expect(await fails(sql), `${role}: ${sql}`).toBe('42501')
    }
  await client.end()
  await under.reader.close()
  await under.owner.close()
})

test('several nodes, and several Tidemarks in one cluster, start at once', async () => {
  const urls = [await newDatabase('one'), await newDatabase('two')]
  const logins = await Promise.all(
    [...urls, ...urls, ...urls].map(async (url) => {
      const owner = sqlOf(url)
      await installTidemark(owner)
      await installRoles(owner, ['grower'])
      const login = await installLogin(owner, ['grower'])
      await owner.close()
      return { ...login, url }
    }),
  )
  expect(new Set(logins.map(({ role }) => role)).size).toBe(2)
  for (const login of logins) {
    const client = new Client({ connectionString: loginUrl(login.url, login) })
    await client.connect()
    await client.query('set role grower')
    await client.end()
  }
})

test('the server knows the password, also after another node has started', async (context) => {
  const url = await newDatabase('password')
  const owner = sqlOf(url)
  await installTidemark(owner)
  await installRoles(owner, [])
  const login = await installLogin(owner, [])
  const [shown] = await owner.batch([{ text: `select current_setting('hba_file')` }])
  const file = shown?.rows[0]?.[0] ?? ''
  if (!existsSync(file)) return context.skip('the server is on another machine')
  const rules = readFileSync(file, 'utf8')
  writeFileSync(file, `host all "${login.role}" 127.0.0.1/32 scram-sha-256\n${rules}`)
  await owner.batch([{ text: 'select pg_reload_conf()' }])
  const connect = async (password: string): Promise<string> => {
    const client = new Client({ connectionString: loginUrl(url, { ...login, password }) })
    try {
      await client.connect()
      return 'connected'
    } catch (error) {
      return (error as { code: string }).code
    } finally {
      await client.end()
    }
  }
  await expect.poll(() => connect('wrong'), { timeout: 100_000 }).toBe('28P01')
  expect(await connect(login.password)).toBe('connected')
  await owner.batch([{ text: `alter role "${login.role}" password 'lost'` }])
  expect(await connect(login.password)).toBe('28P01')
  expect(await installLogin(owner, [])).toEqual(login)
  expect(await connect(login.password)).toBe('connected')
  writeFileSync(file, rules)
  await owner.close()
})

test('a role that could do more than read is refused, and said which', async () => {
  const url = await newDatabase('roles')
  const owner = sqlOf(url)
  await installTidemark(owner)
  await owner.batch([
    { text: 'create role mighty superuser' },
    { text: 'create role person login' },
    { text: 'create role bypass bypassrls' },
    { text: 'create role member in role pg_read_all_data' },
    { text: 'create role holder' },
    { text: 'create schema held authorization holder' },
  ])
  const refusals: Record<string, RegExp> = {
    mighty: /"mighty" that is a superuser/,
    person: /"person" that can log in/,
    bypass: /"bypass" that bypasses row security/,
    member: /"member" is a member of pg_read_all_data/,
    holder: /"holder" that owns something/,
  }
  for (const [role, said] of Object.entries(refusals))
    await expect(installRoles(owner, [role])).rejects.toThrow(said)
  await installRoles(owner, ['harmless'])
  await owner.close()
})

test('an owner that may not make roles is told what to do; one with CREATEROLE may', async () => {
  const url = await newDatabase('plain')
  const own = new Client({ connectionString: url })
  await own.connect()
  await own.query(`create role plain login; grant create on database plain to plain`)
  const owner = sqlOf(url.replace('tidemark@', 'plain@'))
  await installTidemark(owner)
  await expect(installRoles(owner, ['fisher'])).rejects.toThrow(/CREATEROLE.*DATABASE_READER_URL/)
  await own.query('alter role plain createrole')
  await installRoles(owner, ['fisher'])
  const { role } = await installLogin(owner, ['fisher'])
  // Again, as at the next start.
  expect((await installLogin(owner, ['fisher'])).role).toBe(role)
  await owner.close()
  await own.end()
})

test('a query that nobody waits for any more is cancelled', async () => {
  const url = await newDatabase('cancelled')
  const under = await open(url)
  const queries = queriesOf(under, { timeoutMs: 60_000 })
  const gone = new AbortController()
  const sql = 'select count(*) from generate_series(1, 2000000000) a'
  const asked = queries.run({ sql, params: [], rights: admin, cursor: null }, gone.signal)
  const running = async (): Promise<number> => {
    const text = `select from pg_stat_activity where state = 'active' and query like '%2000000000%' and query not like '%activity%'`
    return (await under.owner.batch([{ text }]))[0]?.count ?? 0
  }
  await expect.poll(running, { timeout: 100_000 }).toBe(1)
  gone.abort(new Error('gone'))
  await expect(asked).rejects.toThrow('gone')
  await expect.poll(running, { timeout: 100_000 }).toBe(0)
  expect(await rowsOf(queries, 'select 1 as a', admin)).toEqual([{ a: 1 }])
  await under.reader.close()
  await under.owner.close()
})

test('a query that takes more disk than it may is at fault itself', async () => {
  const url = await newDatabase('disk')
  const under = await open(url)
  await under.owner.batch([{ text: `alter role "${under.login.role}" set temp_file_limit = '1MB'` }])
  const queries = queriesOf(under)
  const sql = 'select count(*) from generate_series(1, 3000000) a'
  expect(await refusalOf(queries, sql, admin)).toMatch(/^query_failed: .*53400/)
  await under.reader.close()
  await under.owner.close()
})

test('what text a server takes backslashes for does not depend on its settings', async () => {
  const url = await newDatabase('slashes')
  const own = new Client({ connectionString: url })
  await own.connect()
  await own.query(`alter database slashes set standard_conforming_strings = off`)
  await own.end()
  const under = await open(url)
  const queries = queriesOf(under)
  const sql = `select '\\' || set_config('role', 'x', true) || '\\'`
  expect(await refusalOf(queries, sql, admin)).toMatch(/set_config/)
  expect(await rowsOf(queries, `select '\\' as a, '); --' as b`, admin)).toEqual([{ a: '\\', b: '); --' }])
  await under.reader.close()
  await under.owner.close()
})

test('with a login made by hand; one that could do more is refused', async () => {
  const url = await newDatabase('byhand')
  const own = new Client({ connectionString: url })
  await own.connect()
  await own.query(`create role modest login; grant create on database byhand to modest`)
  const ownerUrl = url.replace('tidemark@', 'modest@')
  const readerUrl = url.replace('tidemark@', 'hand@')
  const logged: string[] = []
  const logger = {
    ...silentLogger,
    error: ({ err }: { err?: Error }) => void logged.push(String(err?.message)),
  }
  const owner = sqlOf(ownerUrl)
  const queries = (): QueriesInThread =>
    new QueriesInThread({
      sql: owner,
      databaseUrl: ownerUrl,
      settings: { readerUrl, afterTimeoutMs: 100, limits: queryLimits },
      adapters: [{ name: 'notes', roles: ['picker'], contextOf: () => null }],
      logger,
      tell: () => undefined,
      retryMs: 0,
    })
  const start = async (): Promise<QueriesInThread> => {
    const started = queries()
    await started.makeRoles()
    await started.open(['notes'])
    return started
  }
  const ask = async (asked: QueriesInThread): Promise<string> => {
    const query = { sql: 'select count(*)::int as n from notes', params: [], rights: admin, cursor: null }
    try {
      return (await asked.run(query, never)).rows.join()
    } catch (error) {
      return (error as TidemarkError).code
    }
  }
  await installTidemark(owner)
  const notes = { name: 'notes', version: 1, sql: 'create table notes (document text primary key)' }
  await installAdapter(owner, 'notes', { ...notes, entryTables: new Set() })

  // Rows are kept all the same.
  const shut = await start()
  expect(await ask(shut)).toBe('views_unavailable')
  expect(logged.join()).toMatch(/CREATEROLE.*DATABASE_READER_URL/)
  // As docs/views.md says.
  await own.query(`
    do $$ begin create role tidemark_reader; exception when duplicate_object then null; end $$;
    do $$ begin create role tidemark_admin; exception when duplicate_object then null; end $$;
    create role picker in role tidemark_reader;
    create role hand login noinherit;
    grant tidemark_reader, tidemark_admin to hand;`)
  // Nothing has to be started again.
  const opened = shut
  expect(await ask(opened)).toBe('views_unavailable')
  expect(logged.at(-1)).toMatch(/no member of picker/)
  await own.query('grant picker, modest to hand')
  expect(await ask(opened)).toBe('views_unavailable')
  expect(logged.at(-1)).toMatch(/is a member of modest/)
  await own.query('revoke modest from hand; alter role hand bypassrls')
  expect(await ask(opened)).toBe('views_unavailable')
  expect(logged.at(-1)).toMatch(/bypasses row security/)
  await own.query('alter role hand nobypassrls')
  expect(await ask(opened)).toBe('{"n":0}')
  await opened.close()
  await owner.close()
  await own.end()
})

/**
 * The embedded database on a port of its own: psql and pg as clients, while the projector's batches go on beside them. Whoever
 * connects reads, and neither writes, nor becomes somebody else, nor keeps the session.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FrameReader, marked, message, sqlOf, withSql } from '../../../server/views/socket/frames.ts'
import { EmbeddedSql } from '../../../server/views/sql/embedded-sql.ts'
import { freePort } from '../../support/free-port.ts'
import { postgresFolder } from '../../support/postgres-server.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'

let folder: string
let port: number
let sql: EmbeddedSql

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  port = await freePort()
  sql = new EmbeddedSql({ folder, port, logger: silentLogger })
  await sql.batch([
    {
      script: true,
      text: `create schema tidemark;
        create table tidemark.adapters (schema text, name text);
        insert into tidemark.adapters values ('notes', 'notes');
        create schema notes;
        create table notes.notes (document text primary key, title text, at timestamptz);
        insert into notes.notes select 'notes/' || i, 'title ' || i, '2026-01-02 03:04:05Z' from generate_series(1, 20) i;`,
    },
  ])
})
afterAll(async () => {
  await sql.close()
  rmSync(folder, { recursive: true })
})

const connected = async (): Promise<pg.Client> => {
  const client = new pg.Client({ host: '127.0.0.1', port, user: 'anybody', database: 'views' })
  client.on('error', () => undefined)
  await client.connect()
  return client
}
const rename = (title: string) =>
  sql.batch([
    { text: 'update notes.notes set title = $1 where document = $2', parameters: [title, 'notes/1'] },
  ])

/** What psql writes, both streams. */
async function psql(...commands: string[]): Promise<string> {
  const program = join(postgresFolder() ?? '', 'psql')
  const parameters = ['-h', '127.0.0.1', '-p', String(port), '-U', 'anybody', '-d', 'views', '-X']
  return new Promise((resolve) => {
    const all = [...parameters, ...commands.flatMap((command) => ['-c', command])]
    execFile(program, all, (_error, stdout, stderr) => resolve(stdout + stderr))
  })
}

test('psql: the tables are found without their schema, described, read, copied; an error is one', async () => {
  const shown = await psql(
    '\\dt',
    '\\d notes',
    'select count(*) as "how many" from notes',
    'select 1 / 0',
    'copy notes to stdout',
  )
  expect(shown).toMatch(/notes +\| notes +\| table/)
  expect(shown).toMatch(/"notes_pkey" PRIMARY KEY, btree \(document\)/)
  expect(shown).toMatch(/how many\s+-+\s+20/)
  expect(shown).toContain('ERROR:  division by zero')
  expect(shown).toMatch(/notes\/20\ttitle 20/)
})

test('pg: parameters, prepared statements of one name in two clients, their own settings, a transaction', async () => {
  const [one, other] = [await connected(), await connected()]
  const named = async (client: pg.Client, text: string) =>
    (await client.query({ name: 'same', text, values: ['notes/2'] })).rows
  expect(await named(one, 'select title from notes where document = $1')).toEqual([{ title: 'title 2' }])
  expect(await named(other, 'select document from notes where document = $1')).toEqual([
    { document: 'notes/2' },
  ])
  expect(await named(one, 'select title from notes where document = $1')).toEqual([{ title: 'title 2' }])
  await one.query("set timezone = 'Asia/Tokyo'")
  const at = 'select at::text from notes limit 1'
  expect((await one.query(at)).rows[0].at).toBe('2026-01-02 12:04:05+09')
  expect((await other.query(at)).rows[0].at).not.toContain('+09')
  const [own] = await sql.batch([{ text: 'show timezone' }])
  expect(own?.rows[0]?.[0]).not.toBe('Asia/Tokyo')

  await one.query('begin isolation level repeatable read')
  expect((await one.query('select count(*) from notes')).rows[0].count).toBe('20')
  await expect(one.query('select * from nothing')).rejects.toMatchObject({ code: '42P01' })
  await expect(one.query('select 1')).rejects.toMatchObject({ code: '25P02' })
  await one.query('rollback')
  expect((await one.query('select 1 as one')).rows).toEqual([{ one: 1 }])
  await one.end()
  await other.end()
})

test('many at once, while the projector writes: all see what is committed, and nobody waits for ever', async () => {
  const clients = await Promise.all(Array.from({ length: 6 }, connected))
  let isOver = false
  const writing = (async () => {
    for (let i = 0; !isOver; i++) await rename(`written ${i}`)
  })()
  await Promise.all(
    clients.map(async (client) => {
      for (let i = 0; i < 20; i++)
        expect((await client.query('select count(*) from notes where title is not null')).rows[0].count).toBe(
          '20',
        )
      await client.end()
    }),
  )
  isOver = true
  await writing
})

test('who keeps a transaction open is cut off, and the projector goes on', async () => {
  const client = await connected()
  await client.query('begin')
  const waiting = rename('in time')
  const ended = new Promise((resolve) => client.once('error', resolve))
  await waiting
  expect(await ended).toMatchObject({ code: '25P03' })
  // One that vanishes in the middle of a transaction costs nothing.
  const vanishing = await connected()
  await vanishing.query('begin')
  vanishing.connection.stream.destroy()
  await rename('at once')
  const next = await connected()
  expect((await next.query("select title from notes where document = 'notes/1'")).rows).toEqual([
    { title: 'at once' },
  ])
  await next.end()
})

describe('nobody writes, or becomes somebody else', () => {
  test.each([
    `insert into notes values ('x', 'y')`,
    `update notes set title = ''`,
    `with gone as (delete from notes returning *) select * from gone`,
    'truncate notes',
    'drop table notes',
    'create table mine (id int)',
    'create temp table mine (id int)',
    'select * into mine from notes',
    'set role postgres',
    'reset role',
    'set session authorization postgres',
    'reset session authorization',
    `select set_config('role', 'postgres', false)`,
    `select pg_catalog.set_config('ro' || 'le', 'postgres', false)`,
    `select * from query_to_xml('delete from notes', false, false, '')`,
    `select * from ts_stat('delete from notes returning null::tsvector')`,
    `do $$ begin execute 'set role postgres'; end $$`,
    'discard all',
    `copy notes from '/etc/passwd'`,
    `copy notes to '/var/notes'`,
    `copy notes to program 'cat'`,
    `select pg_read_file('/etc/passwd')`,
    'select lo_create(1)',
    'listen anything',
    'prepare p as delete from notes; execute p',
    'begin read write; delete from notes',
    'vacuum',
    'alter role tidemark_port superuser',
    `explain analyze delete from notes`,
    'select pg_sleep(1)',
    'delete from tidemark.adapters',
  ])('%s', async (text) => {
    const client = await connected()
    await expect(client.query(text)).rejects.toMatchObject({
      code: expect.stringMatching(/^(42501|25006|42601)$/),
    })
    // Also as a prepared one, which goes another way.
    if (!text.includes(';'))
      await expect(client.query({ text, values: [], name: 'refused' })).rejects.toThrow()
    await client.query('rollback')
    const { rows } = await client.query('select current_user, (select count(*) from notes) as count')
    expect(rows).toEqual([{ current_user: 'tidemark_port', count: '20' }])
    await client.end()
    const [own] = await sql.batch([{ text: 'select current_user' }])
    expect(own?.rows).toEqual([['postgres']])
  })
})

test('what is no PostgreSQL client is refused, and does no harm', async () => {
  for (const bytes of [
    'GET / HTTP/1.1\r\n\r\n',
    '\0\0\0\x08\x04\xd2\x16\x2e',
    '\xff\xff\xff\xff',
    '\0\0\0\x08\0\x03\0\0Q\x7f\xff\xff\xff',
  ]) {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.on('data', () => undefined)
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.write(Buffer.from(bytes, 'latin1'))
    await closed
  }
  const client = await connected()
  expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
  await client.end()
})

test('killed and started again, the port is there again', async () => {
  await sql.close()
  sql = new EmbeddedSql({ folder, port, logger: silentLogger })
  await rename('after')
  let client: pg.Client | null = null
  await until('connected', async () => {
    client = await connected().catch(() => null)
    return client !== null
  })
  expect((await client!.query("select title from notes where document = 'notes/1'")).rows[0].title).toBe(
    'after',
  )
  await client!.end()
})

test('messages are cut from any chunks, and written with other SQL and names', () => {
  const parse = message('P', 'name', 'select 1', Buffer.from([0, 0]))
  const bind = message('B', '', 'name', Buffer.alloc(6))
  const all = Buffer.concat([parse, bind, message('S')])
  for (let size = 1; size < all.length; size++) {
    const reader = new FrameReader(1_000)
    const types: string[] = []
    for (let at = 0; at < all.length; at += size) {
      reader.push(all.subarray(at, at + size))
      for (let frame = reader.frame(); frame !== null; frame = reader.frame()) types.push(frame.type)
    }
    expect(types.join('')).toBe('PBS')
  }
  const frame = { type: 'P', bytes: parse }
  expect(sqlOf(frame)).toBe('select 1')
  expect(withSql(frame, 'select 2')).toEqual(message('P', 'name', 'select 2', Buffer.from([0, 0])))
  expect(marked(frame, 'c1_')).toEqual({
    bytes: message('P', 'c1_name', 'select 1', Buffer.from([0, 0])),
    statement: 'c1_name',
  })
  expect(marked({ type: 'B', bytes: bind }, 'c1_').bytes).toEqual(
    message('B', '', 'c1_name', Buffer.alloc(6)),
  )
  const unnamed = message('D', Buffer.from('S'), '')
  expect(marked({ type: 'D', bytes: unnamed }, 'c1_')).toEqual({ bytes: unnamed, statement: null })
})

/** `client.query`: what it asks, what it makes of answers and refusals. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { addressOf } from '../../client/asking.ts'
import { type Client, createClient } from '../../client/index.ts'
import { json, problem, ViewsServer } from './views-server.ts'

let server: ViewsServer
let client: Client

beforeEach(async () => {
  server = new ViewsServer()
  await server.start()
  client = createClient({ url: server.url, storage: 'memory' })
})
afterEach(async () => {
  await client.close()
  await server.stop()
})

const columns = [{ name: 'title', type: 'text' }]
const answer = { columns, rows: [{ title: 'Tides' }] }

test('a question goes to /v1/query beside the door, and its rows and columns come back', async () => {
  server.answers = [json(answer)]
  const { rows, ...result } = await client.query<{ title: string }>('select title from notes', [])
  expect(rows[0]?.title).toBe('Tides')
  expect(result).toEqual({ columns })
  expect(server.asked).toMatchObject([
    { path: '/v1/query', body: { sql: 'select title from notes', params: [] } },
  ])
  expect(server.asked[0]?.headers.authorization).toBeUndefined()
})

test('with a cursor there is more, asked with the same question', async () => {
  server.answers = [json({ ...answer, cursor: 'c1' }), json({ columns, rows: [{ title: 'Last' }] })]
  const first = await client.query('select title from notes where words > $1', [3], {
    after: { 'notes/a': 7 },
  })
  const second = await first.more?.()
  expect(second).toEqual({ columns, rows: [{ title: 'Last' }] })
  expect(server.asked.map(({ body }) => body)).toEqual([
    { sql: 'select title from notes where words > $1', params: [3], after: { 'notes/a': 7 } },
    { sql: 'select title from notes where words > $1', params: [3], after: { 'notes/a': 7 }, cursor: 'c1' },
  ])
})

test('a refusal is an error of its code; one that nobody knows yet is forbidden, or internal when it may pass', async () => {
  server.answers = [
    problem('query_refused', 400),
    problem('too_curious', 400),
    problem('too_busy', 503),
    (_asked, response) => response.writeHead(502).end('<h1>Bad gateway</h1>'),
  ]
  const refusals = []
  for (let i = 0; i < 4; i++) refusals.push(await client.query('select 1').catch((error: unknown) => error))
  expect(refusals).toMatchObject([
    { code: 'query_refused', message: 'because of query_refused' },
    { code: 'forbidden', message: 'because of too_curious' },
    { code: 'internal', message: 'because of too_busy' },
    { code: 'internal', message: 'The server answered 502' },
  ])
})

test('an old token is asked for anew once, and only where there is a function to ask', async () => {
  let asked = 0
  const ann = createClient({ url: server.url, storage: 'memory', token: () => `token-${++asked}` })
  server.answers = [problem('token_expired', 401), json(answer), problem('token_expired', 401)]
  expect((await ann.query('select 1')).rows).toEqual(answer.rows)
  expect(server.asked.map(({ headers }) => headers.authorization)).toEqual([
    'Bearer token-1',
    'Bearer token-2',
  ])
  await expect(ann.query('select 1')).rejects.toMatchObject({ code: 'token_expired' })
  expect(server.asked).toHaveLength(4)
  const fixed = createClient({ url: server.url, storage: 'memory', token: 'token' })
  await expect(fixed.query('select 1')).rejects.toMatchObject({ code: 'token_expired' })
  expect(server.asked).toHaveLength(5)
  await Promise.all([ann.close(), fixed.close()])
})

test('parameters that JSON has not are the app’s mistake, and said to be', async () => {
  const params = [1n] as unknown as number[]
  await expect(client.query('select $1', params)).rejects.toThrow(TypeError)
  await expect(client.live('select $1', params)).rejects.toThrow(TypeError)
  expect(server.asked).toEqual([])
})

test('a client that is paused asks nobody', async () => {
  client.pause()
  await expect(client.query('select 1')).rejects.toMatchObject({ code: 'views_unavailable' })
  client.resume()
  server.answers = [json(answer)]
  await client.query('select 1')
  expect(server.asked).toHaveLength(1)
})

test('a server that is away is an error that may pass; a question given up rejects with its reason', async () => {
  server.answers = [() => undefined]
  const given = new AbortController()
  const waiting = client.query('select 1', [], { signal: given.signal })
  given.abort(new Error('typed on'))
  await expect(waiting).rejects.toThrow('typed on')
  const closing = client.query('select 1')
  await client.close()
  await expect(closing).rejects.toMatchObject({ code: 'shutting_down' })
  await server.stop()
  const other = createClient({ url: server.url, storage: 'memory' })
  await expect(other.query('select 1')).rejects.toMatchObject({ code: 'views_unavailable' })
  await other.close()
})

test.each([
  ['wss://relay.example/v1/sync', 'https://relay.example/v1/query'],
  ['ws://127.0.0.1:8080/v1/sync', 'http://127.0.0.1:8080/v1/query'],
  ['wss://example.com/notes/v1/sync', 'https://example.com/notes/v1/query'],
  ['wss://example.com/relay', 'https://example.com/relay/v1/query'],
])('the door %s has its queries at %s', (door, expected) => {
  expect(addressOf(door, 'query')).toBe(expected)
})

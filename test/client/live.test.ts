/** `client.live`: rows that follow, through streams that end, tokens that end, and servers that are away. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createClientIn } from '../../client/create-client.ts'
import { browserOrNode, type PageEvent } from '../../client/environment.ts'
import type { Client, ClientOptions, LiveQuery } from '../../client/index.ts'
import type { LiveEvent } from '../../core/protocol/query.ts'
import { until } from '../support/wait.ts'
import { problem, stream, ViewsServer } from './views-server.ts'

interface Task {
  readonly text: string
}

let server: ViewsServer
let client: Client
let pageListeners: Set<(event: PageEvent) => void>
const clients: Client[] = []

beforeEach(async () => {
  server = new ViewsServer()
  await server.start()
  client = open()
})
afterEach(async () => {
  await Promise.all(clients.splice(0).map((each) => each.close()))
  await server.stop()
})

/** What waits, waits a tenth as long. */
function open(options: Partial<ClientOptions> = {}, haste = 10): Client {
  const listeners = new Set<(event: PageEvent) => void>()
  pageListeners = listeners
  const own = browserOrNode(undefined)
  const opened = createClientIn(
    {
      ...own,
      random: () => 0.5,
      after: (delayMs, then) => own.after(Math.max(0, delayMs) / haste, then),
      listen: (listener) => {
        listeners.add(listener)
        return () => listeners.delete(listener)
      },
    },
    { url: server.url, storage: 'memory', ...options },
  )
  clients.push(opened)
  return opened
}
const page = (event: PageEvent): void => {
  for (const listener of [...pageListeners]) listener(event)
}

const columns = [{ name: 'text', type: 'text' }]
const row = (text: string) => ({ key: text, row: { text } })
const rows = (id: string, ...texts: string[]): LiveEvent & { id: string } => ({
  event: 'rows',
  data: { columns, rows: texts.map(row) },
  id,
})
const added = (id: string, text: string, at: number): LiveEvent & { id: string } => ({
  event: 'change',
  data: { added: [{ ...row(text), at }], changed: [], removed: [] },
  id,
})
const texts = (live: LiveQuery<Task>): string[] => live.rows.map(({ text }) => text)
const is = (live: LiveQuery<Task>, ...expected: string[]) =>
  until(`rows ${expected}`, () => live.state === 'live' && texts(live).join() === expected.join())

test('rows come, change, and stay the same objects where nothing changed', async () => {
  const events = stream(rows('1', 'boots', 'water'))
  server.answers = [events.answer]
  const states: string[] = []
  const live = await client.live<Task>('select text from tasks', ['x'], ({ state }) => states.push(state), {
    key: ['document', 'position'],
  })
  expect(live.loaded).toBe(false)
  await is(live, 'boots', 'water')
  expect([live.loaded, live.columns]).toEqual([true, columns])
  const [boots] = live.rows
  events.say(added('2', 'rope', 1))
  await is(live, 'boots', 'rope', 'water')
  expect(live.rows[0]).toBe(boots)
  expect(states).toEqual(['connecting', 'connecting', 'live', 'live'])
  const [asked] = server.asked
  expect(asked).toMatchObject({
    path: '/v1/live',
    body: { sql: 'select text from tasks', params: ['x'], key: 'document,position' },
    headers: { accept: 'text/event-stream' },
  })
  live.close()
  expect([live.state, states.at(-1)]).toEqual(['closed', 'closed'])
})

test('a stream that ends is opened again at its last event; while the server is away the last rows stay, and are not called live', async () => {
  const events = stream(rows('1', 'boots'))
  const again = stream(added('2', 'rope', 1))
  const third = stream()
  server.answers = [events.answer, again.answer, third.answer]
  const live = await client.live<Task>('select text from tasks')
  await is(live, 'boots')
  events.end()
  await is(live, 'boots', 'rope')
  expect(server.asked.map(({ headers }) => headers['last-event-id'])).toEqual([undefined, '1'])
  await server.stop()
  await until('offline', () => live.state === 'offline')
  expect(texts(live)).toEqual(['boots', 'rope'])
  await server.start()
  // Nothing changed meanwhile: the server says nothing, and the rows are current.
  await is(live, 'boots', 'rope')
  expect(server.asked.at(-1)?.headers['last-event-id']).toBe('2')
})

test('what does not fit the rows that are here is asked for anew', async () => {
  const events = stream(rows('1', 'boots'))
  const anew = stream(rows('9', 'water'))
  server.answers = [events.answer, anew.answer]
  const live = await client.live<Task>('select text from tasks')
  await is(live, 'boots')
  events.say(added('2', 'rope', 7))
  await is(live, 'water')
  expect(server.asked.at(-1)?.headers['last-event-id']).toBeUndefined()
})

test('a refusal that another moment may change is tried again; one that is for good is not, until somebody asks', async () => {
  const events = stream(rows('1', 'boots'))
  server.answers = [problem('views_unavailable', 503, { 'retry-after': '1' }), problem('query_refused', 400)]
  const live = await client.live<Task>('select 1')
  await until('refused', () => live.state === 'refused')
  expect(server.asked).toHaveLength(2)
  expect(live.error).toMatchObject({ code: 'query_refused' })
  await expect(
    (async () => {
      for await (const _ of live) expect.unreachable()
    })(),
  ).rejects.toMatchObject({ code: 'query_refused' })
  server.answers = [events.answer]
  page('online')
  expect(live.state).toBe('refused')
  live.retry()
  await is(live, 'boots')
  expect(live.error).toBeNull()
})

test('a query that the server ends says why, and a token that ended is asked for anew', async () => {
  let asked = 0
  const ann = open({ token: () => `token-${++asked}`, user: 'ann' })
  const ended = { event: 'error', data: { code: 'token_expired', message: 'It ended' } } as const
  const events = stream(rows('1', 'boots'))
  const anew = stream(rows('2', 'boots', 'rope'))
  server.answers = [events.answer, anew.answer]
  const live = await ann.live<Task>('select text from tasks')
  await is(live, 'boots')
  events.say(ended)
  await is(live, 'boots', 'rope')
  expect(server.asked.map(({ headers }) => headers.authorization)).toEqual([
    'Bearer token-1',
    'Bearer token-2',
  ])
  anew.say({ event: 'error', data: { code: 'revoked', message: 'Signed out' } })
  await until('refused', () => live.state === 'refused')
  expect(live.error).toMatchObject({ code: 'revoked', message: 'Signed out' })
})

test('without a network nothing is asked; with one again it goes on; pausing the client pauses it', async () => {
  const events = stream(rows('1', 'boots'))
  server.answers = [events.answer]
  const live = await client.live<Task>('select text from tasks')
  await is(live, 'boots')
  page('offline')
  expect(live.state).toBe('offline')
  page('online')
  await is(live, 'boots')
  expect(server.asked).toHaveLength(2)
  client.pause()
  expect(live.state).toBe('offline')
  page('online')
  live.retry()
  expect(live.state).toBe('offline')
  client.resume()
  await is(live, 'boots')
  expect(server.asked).toHaveLength(3)
})

test('silence ends a stream, and another is asked for', async () => {
  const dead = stream(rows('1', 'boots'))
  const good = stream(added('2', 'rope', 1))
  server.answers = [dead.answer, good.answer]
  const live = await open({}, 100).live<Task>('select text from tasks')
  await is(live, 'boots', 'rope')
  expect(server.asked[1]?.headers['last-event-id']).toBe('1')
})

test('iterating gives the newest rows, and ends with the client', async () => {
  const events = stream(rows('1', 'boots'))
  server.answers = [events.answer]
  const live = await client.live<Task>('select text from tasks')
  const seen: string[] = []
  for await (const tasks of live) {
    seen.push(tasks.map(({ text }) => text).join())
    if (seen.length === 1) events.say(added('2', 'rope', 1))
    else void client.close()
  }
  expect(seen).toEqual(['boots', 'boots,rope'])
  expect(live.state).toBe('closed')
  await expect(client.live('select 1')).rejects.toMatchObject({ code: 'invalid_request' })
})

test('a signal ends it, and a listener that throws keeps nobody from hearing', async () => {
  const given = new AbortController()
  const events = stream(rows('1', 'boots'))
  server.answers = [events.answer]
  const error = console.error
  const said: unknown[] = []
  console.error = (...what) => said.push(what)
  try {
    const live = await client.live<Task>(
      'select text from tasks',
      [],
      () => {
        throw new Error('not now')
      },
      { signal: given.signal },
    )
    await is(live, 'boots')
    given.abort()
    expect(live.state).toBe('closed')
    expect(said.length).toBeGreaterThan(0)
  } finally {
    console.error = error
  }
})

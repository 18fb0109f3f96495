/**
 * Live queries over real HTTP: who may listen and for how long, what is sent to whom comes back or reads slowly, and how many
 * there may be. What is asked is a list here, a row for each right; test/server/views/live-relay.test.ts has databases.
 */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { TidemarkError } from '../../../../core/protocol/errors.ts'
import type { QueryRow } from '../../../../core/protocol/query.ts'
import type { Identity } from '../../../../server/access/access.ts'
import type { LiveAsked, LiveSource } from '../../../../server/gateway/http/live-source.ts'
import { LiveListeners } from '../../../../server/views/live/listeners.ts'
import { LiveViews } from '../../../../server/views/live/live-views.ts'
import { EventStream, type StreamOptions } from '../../../support/event-stream.ts'
import { silentLogger } from '../../../support/silent-logger.ts'
import { token } from '../../../support/tokens.ts'
import { until } from '../../../support/wait.ts'
import { type ApiUnderTest, type ApiUnderTestOptions, adminToken, call, startApi } from './api-under-test.ts'

type Rights = string

/** Rows of each subject. */
class Table {
  rows = new Map<string, QueryRow[]>()
  runs = 0
  asked: LiveAsked | null = null
  failure: TidemarkError | null = null
  private readonly listeners = new LiveListeners<Rights>()
  private readonly thread = (): LiveViews<Rights> =>
    new LiveViews<Rights>({
      run: async ({ rights }) => {
        this.runs++
        if (this.failure !== null) throw this.failure
        const rows = this.rows.get(rights) ?? []
        const names = Object.keys(rows[0] ?? {})
        return {
          columns: names.map((name) => ({ name, type: 'text' })),
          rows: rows.map((row) => JSON.stringify(row)),
          cursor: rows.length > 2_000 ? 'x' : null,
        }
      },
      subjectOf: (rights) => rights,
      heapMb: 1_024,
      named: async () => ({ tables: [], functions: [] }),
      sql: {
        start: async () => undefined,
        close: async () => undefined,
        unavailable: () => null,
        batch: async () => [],
      },
      databaseUrl: null,
      node: '',
      tell: (message) => setImmediate(() => this.listeners.heard(message)),
      logger: silentLogger,
      limits: { intervalMs: 1 },
    })

  private views = this.thread()

  constructor() {
    this.attach()
  }
  private attach(): void {
    const { views } = this
    this.listeners.attach({ postMessage: (message) => setImmediate(() => views.heard(message)) })
  }
  /** The thread of the views dies, and another one is started a moment later. */
  async restart(meanwhile: () => void): Promise<void> {
    this.listeners.attach(null)
    await this.views.close()
    meanwhile()
    this.views = this.thread()
    this.attach()
  }
  readonly source: LiveSource = {
    open: (identity, asked, has, sink) => {
      this.asked = asked
      const rightsOf = ({ subject, claims }: Identity): Rights => String(claims['team'] ?? subject)
      const opened = this.listeners.open({ ...asked, rights: rightsOf(identity) }, has, sink)
      return { ...opened, become: (now) => opened.become(rightsOf(now)) }
    },
  }
  set(subject: string, rows: QueryRow[]): void {
    this.rows.set(subject, rows)
    this.views.replaced()
  }
  get listening(): number {
    return this.listeners.size
  }
  close(): Promise<void> {
    return this.views.close()
  }
}

const sql = 'select title from notes'
let table: Table
let api: ApiUnderTest
const streams: EventStream[] = []

/** For most tests; those that need other settings, or leave something behind, start one of their own. */
let shared: ApiUnderTest
const source: LiveSource = { open: (...asked) => table.source.open(...asked) }
const start = async (options: ApiUnderTestOptions = {}): Promise<void> => {
  api = await startApi({ live: source, ...options })
}
beforeAll(async () => {
  await start()
  shared = api
})
beforeEach(() => {
  table = new Table()
  table.set('ann', [{ title: 'a' }, { title: 'b' }])
  api = shared
})
afterEach(async () => {
  for (const stream of streams.splice(0)) stream.close()
  if (api !== shared) await api.close()
  await table.close()
})
afterAll(() => shared.close())

async function open(options: StreamOptions = {}, before: EventStream | null = null): Promise<EventStream> {
  const held = options.token === undefined ? await token() : options.token
  const stream = await EventStream.open(api.url, sql, { ...options, token: held }, before)
  streams.push(stream)
  return stream
}

describe('who listens', () => {
  test('gets the rows, then what became of them, in an answer that nobody holds back', async () => {
    const stream = await open()
    expect(stream.status).toBe(200)
    expect(stream.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
    })
    await until('the rows', () => stream.rows?.length === 2)
    expect(stream.columns).toEqual([{ name: 'title', type: 'text' }])
    expect(stream.retryMs).toBeGreaterThanOrEqual(1_000)
    table.set('ann', [{ title: 'b' }, { title: 'c' }])
    await until('the change', () => stream.events.length > 1)
    expect(stream.events).toEqual(['rows', 'change'])
    expect(stream.rows).toEqual([{ title: 'b' }, { title: 'c' }])
    stream.close()
    await until('it left', () => table.listening === 0)
  })

  test('asks with parameters and a key, in the address or in a body', async () => {
    const options = { params: ['x', 1, null, { y: [true] }], key: 'title, other' }
    const asked = { sql, params: options.params, key: ['title', 'other'] }
    for (const post of [false, true]) {
      await open({ ...options, post })
      expect(table.asked).toEqual(asked)
    }
    await open({ post: true })
    expect(table.asked).toEqual({ sql, params: [], key: null })
  })

  test('is refused with a problem like by any route, before anything is sent', async () => {
    await start({ environment: { ALLOWED_ORIGINS: 'https://app.example' } })
    const cases: [StreamOptions, number, string][] = [
      [{ token: null }, 401, 'unauthenticated'],
      [{ token: await token({ expiresIn: -60 }) }, 401, 'token_expired'],
      [{ headers: { origin: 'https://evil.example' } }, 403, 'origin_forbidden'],
    ]
    for (const [options, status, code] of cases) {
      const stream = await open(options)
      await until(`the problem ${code}`, () => stream.problem !== null)
      expect(stream.status).toBe(status)
      expect(stream.problem?.code).toBe(code)
    }
    for (const [path, code] of [
      ['/v1/live', 'invalid_request'],
      ['/v1/live?sql=', 'invalid_request'],
      ['/v1/live?sql=x&params=no', 'invalid_request'],
      ['/v1/live?sql=x&params={}', 'invalid_request'],
      ['/v1/live?sql=x&parms=[]', 'invalid_request'],
    ])
      expect(await call(api.url, 'GET', path!, { token: await token() })).toMatchObject({
        status: 400,
        body: { code },
      })
    table.failure = new TidemarkError('query_refused', 'Not this')
    const refused = await open()
    await until('the problem', () => refused.problem !== null)
    expect(refused.status).toBe(400)
    expect(refused.problem).toMatchObject({ code: 'query_refused', detail: 'Not this' })
    table.failure = null
    table.set(
      'ann',
      Array.from({ length: 2_001 }, (_, i) => ({ title: String(i) })),
    )
    const much = await open()
    await until('the problem', () => much.problem !== null)
    expect(much.problem?.detail).toMatch(/only 2001 of its rows fit/)
    expect(table.listening).toBe(0)
  })

  test('hears something while nothing changes', async () => {
    await start({ limits: { updateBytesMax: 1_000, heartbeatMs: 1 } })
    const stream = await open()
    await until('it hears', () => stream.comments > 1)
    expect(stream.events).toEqual(['rows'])
  })

  test('hears of an error as an event, and then the end', async () => {
    const stream = await open()
    await until('the rows', () => stream.list !== null)
    table.failure = new TidemarkError('query_failed', 'division by zero')
    table.set('ann', [])
    await until('the end', () => stream.ended)
    expect(stream.error).toEqual({ code: 'query_failed', message: 'division by zero' })
  })

  test('from a page of an allowed origin, may send the id of its last event', async () => {
    await start({ environment: { ALLOWED_ORIGINS: 'https://app.example' } })
    const origin = 'https://app.example'
    const preflight = await fetch(`${api.url}/v1/live`, { method: 'OPTIONS', headers: { origin } })
    expect(preflight.headers.get('access-control-allow-headers')).toContain('last-event-id')
    const stream = await open({ headers: { origin } })
    expect(stream.headers['access-control-allow-origin']).toBe(origin)
  })
})

describe('who comes back', () => {
  test('gets nothing when nothing changed, what changed, or all when that is not known', async () => {
    const first = await open()
    await until('the rows', () => first.list !== null)
    first.close()
    await until('it left', () => table.listening === 0)
    const same = await open({}, first)
    await until('it listens', () => same.status === 200 && table.listening === 1)
    table.set('ann', [{ title: 'a' }, { title: 'c' }])
    await until('the change', () => same.events.length > 0)
    expect(same.events).toEqual(['change'])
    const behind = await open({}, first)
    await until('the change', () => behind.events.length > 0)
    expect(behind.events).toEqual(['change'])
    expect(behind.rows).toEqual(same.rows)
    for (const has of ['x'.repeat(22), 'no name', '../..']) {
      const lost = await open({ has })
      await until('the rows', () => lost.events.length > 0)
      expect(lost.events).toEqual(['rows'])
    }
  })
})

test('the thread of the views dies: who listens hears what changed meanwhile, and nothing else of it', async () => {
  const [ann, bob] = [await open(), await open({ token: await token({ subject: 'bob' }) })]
  await until('both have rows', () => ann.list !== null && bob.list !== null)
  await table.restart(() => {
    table.rows.set('ann', [{ title: 'c' }])
    table.failure = new TidemarkError('views_unavailable', 'The views are starting')
  })
  const runs = table.runs
  await until('it tries', () => table.runs > runs)
  table.failure = null
  await until('the rows', () => ann.rows?.[0]?.['title'] === 'c')
  table.set('bob', [{ title: 'd' }])
  await until('it goes on', () => bob.rows?.[0]?.['title'] === 'd')
  expect(bob.events.length).toBe(2)
  await table.restart(() => undefined)
  bob.close()
  await until('it left', () => table.listening === 1)
})

describe('how long', () => {
  test('until the token expires', async () => {
    await start({ environment: { JWT_CLOCK_TOLERANCE_SECONDS: '0' } })
    const stream = await open({ token: await token({ expiresIn: 2 }) })
    await until('the rows', () => stream.list !== null)
    await until('the end', () => stream.ended)
    expect(stream.error?.code).toBe('token_expired')
    expect(table.listening).toBe(0)
  })

  test('until an administrator ends the sessions of its user', async () => {
    await start()
    const [ann, bob] = [await open(), await open({ token: await token({ subject: 'bob' }) })]
    await until('both have rows', () => ann.list !== null && bob.list !== null)
    const body = { subject: 'ann' }
    expect(
      (await call(api.url, 'POST', '/v1/sessions/end', { token: await adminToken(), body })).status,
    ).toBe(204)
    await until('the end', () => ann.ended)
    expect(ann.error?.code).toBe('revoked')
    expect(bob.ended).toBe(false)
    const again = await open({ token: await token({ issuedAgo: 10 }) })
    expect(again.status).toBe(401)
  })

  test('until the server ends, which says so', async () => {
    await start()
    const stream = await open()
    await until('the rows', () => stream.list !== null)
    await api.close()
    await until('the end', () => stream.ended)
    expect(stream.error?.code).toBe('shutting_down')
    api = shared
  })

  test('an authorisation service is asked again, and its new answer decides what there is', async () => {
    let team = 'red'
    let status = 200
    const service = await serve((_request, response) => {
      response.statusCode = status
      response.end(JSON.stringify({ subject: 'ann', team, documents: [{ match: '**', access: 'read' }] }))
    })
    const address = `http://127.0.0.1:${(service.address() as AddressInfo).port}`
    await start({ environment: { JWT_SECRET: '', AUTHORIZE_URL: address, AUTHORIZE_CACHE_SECONDS: '1' } })
    table.set('red', [{ title: 'for red' }])
    table.set('blue', [{ title: 'for blue' }])
    const stream = await open({ token: 'anything' })
    await until('the rows of red', () => stream.rows?.[0]?.['title'] === 'for red')
    team = 'blue'
    await until('the rows of blue', () => stream.rows?.[0]?.['title'] === 'for blue')
    status = 401
    await until('the end', () => stream.ended)
    expect(stream.error?.code).toBe('unauthenticated')
    service.close()
  })
})

describe('how many', () => {
  test('500 of one query cost one run, and one more for a change', async () => {
    await start({ environment: { ALLOW_UNAUTHENTICATED: 'true', JWT_SECRET: '' } })
    table.set('', [{ title: 'a' }])
    const all = await Promise.all(Array.from({ length: 500 }, () => open({ token: null })))
    await until('all have the rows', () => all.every(({ list }) => list !== null))
    expect(table.runs).toBe(1)
    table.set('', [{ title: 'b' }])
    await until('all have the change', () => all.every(({ rows }) => rows?.[0]?.['title'] === 'b'))
    expect(table.runs).toBe(2)
  })

  test('no more of one user, nor on the node, than its limits; who leaves makes room', async () => {
    await start({ limits: { updateBytesMax: 1_000, listenersMax: 3, listenersPerUserMax: 2 } })
    const [first] = [await open(), await open()]
    const third = await open()
    expect(third.status).toBe(429)
    const bob = await token({ subject: 'bob' })
    expect((await open({ token: bob })).status).toBe(200)
    expect((await open({ token: bob })).status).toBe(503)
    // Apart from other requests.
    expect((await call(api.url, 'GET', '/v1/documents', { token: await token() })).status).toBe(200)
    first!.close()
    await until('there is room', async () => (await open({ token: bob })).status === 200)
  })
})

describe('who reads slowly', () => {
  const megabyte = (value: string): QueryRow[] =>
    Array.from({ length: 1_000 }, (_, i) => ({ title: `${i} ${value} ${'x'.repeat(1_000)}` }))

  test('is sent no more until it reads, and then what is missing in one piece', async () => {
    table.set('ann', megabyte('0'))
    const slow = await open()
    const fast = await open()
    slow.pause()
    let sent = 0
    for (let i = 1; i <= 12; i++) {
      table.set('ann', megabyte(String(i)))
      await until('the other has it', () => String(fast.rows?.[0]?.['title']).startsWith(`0 ${i} `))
      sent = i
    }
    expect(slow.events.length).toBeLessThan(5)
    slow.resume()
    await until('it has it too', () => String(slow.rows?.[0]?.['title']).startsWith(`0 ${sent} `))
    expect(slow.events.length).toBeLessThan(10)
    expect(slow.rows).toEqual(fast.rows)
  })

  test('is cut off when it takes nothing for too long', async () => {
    await start({ limits: { updateBytesMax: 1_000, sendMsMax: 500 } })
    table.set('ann', megabyte('0'))
    const slow = await open()
    const fast = await open()
    slow.pause()
    // As much as the sockets on the way hold.
    for (let i = 1; i <= 10 && table.listening === 2; i++) {
      table.set('ann', megabyte(String(i)))
      await until('the other has it', () => String(fast.rows?.[0]?.['title']).startsWith(`0 ${i} `))
    }
    await until('it is gone', () => table.listening === 1)
    expect(fast.ended).toBe(false)
  })
})

function serve(answer: Parameters<typeof createServer>[1]): Promise<Server> {
  const server = createServer(answer as Parameters<typeof createServer>[0] & typeof answer)
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)))
}

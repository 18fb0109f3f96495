/** Who may do what over HTTP: a table of tokens × routes, what refusals give away, and who is told what. */
import { SignJWT } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { collectingLogger } from '../../../support/collecting-logger.ts'
import { RawClient } from '../../../support/raw-client.ts'
import { token, tokenSecret, unsignedToken } from '../../../support/tokens.ts'
import { until } from '../../../support/wait.ts'
import {
  type Answer,
  type ApiUnderTest,
  adminToken,
  call,
  type Method,
  pathOf,
  startApi,
  textUpdate,
} from './api-under-test.ts'

const logger = collectingLogger()
let api: ApiUnderTest
beforeAll(async () => {
  api = await startApi({
    logger,
    environment: { JWT_AUDIENCE: 'docs', ALLOWED_ORIGINS: 'https://app.example' },
  })
})
afterAll(() => api.close())

const audience = 'docs'
const holding = (access: 'read' | 'write' | 'admin', match = 'deals/*'): Promise<string> =>
  token({ audience, subject: access, documents: [{ match, access }] })
const expired = (): Promise<string> => token({ audience, expiresIn: -60 })

/** The least access that each route needs, and what it answers then; all of the document `deals/a`, which is there. */
const routes: [Method, string, 'read' | 'write' | 'admin', number][] = [
  ['GET', '', 'read', 200],
  ['GET', '/update', 'read', 200],
  ['GET', '/history', 'read', 200],
  ['GET', '/quarantine', 'read', 200],
  ['POST', '/updates', 'write', 201],
  ['PUT', '', 'write', 409],
  ['POST', '/quarantine/1/release', 'admin', 404],
  ['POST', '/quarantine/1/discard', 'admin', 404],
  ['DELETE', '', 'admin', 204],
]
const levels = ['none', 'read', 'write', 'admin']

describe.each(routes)('%s %s', (method, rest, needed, status) => {
  const document = 'deals/a'
  beforeEach(async () => {
    const admin = await adminToken({ audience })
    await call(api.url, 'PUT', pathOf(document), { token: admin })
  })
  const asked = async (held: string | null, id = document): Promise<Answer> =>
    call(api.url, method, pathOf(id, rest), {
      token: held,
      // Another one each time, or it would be there already.
      ...(rest === '/updates' && { body: textUpdate(`${Math.random()}`) }),
    })

  test.each(levels)('with %s access', async (level) => {
    const held = level === 'none' ? await holding('admin', 'other/*') : await holding(level as 'read')
    const answer = await asked(held)
    if (levels.indexOf(level) >= levels.indexOf(needed)) expect(answer.status).toBe(status)
    else {
      const code = needed === 'write' && level === 'read' ? 'read_only' : 'forbidden'
      expect(answer).toMatchObject({ status: 403, body: { code } })
      // The same of a document that does not exist, but for the time it takes.
      expect((await asked(held, 'deals/nothing')).body).toEqual(answer.body)
    }
  })

  test('with a token that is none', async () => {
    const bad: [string | null, string][] = [
      [null, 'unauthenticated'],
      ['nonsense', 'unauthenticated'],
      [unsignedToken(), 'unauthenticated'],
      [await token({ audience: 'another' }), 'unauthenticated'],
      [await token({ audience, secret: `${tokenSecret}!` }), 'unauthenticated'],
      [await expired(), 'token_expired'],
    ]
    for (const [held, code] of bad) {
      const answer = await asked(held)
      expect(answer, code).toMatchObject({ status: 401, body: { code, status: 401 } })
      expect(answer.headers.get('www-authenticate')).toBe('Bearer')
    }
  })
})

test('a token in the query is as good as one in the header', async () => {
  const answer = await call(api.url, 'GET', `/v1/documents?token=${await adminToken({ audience })}`)
  expect(answer.status).toBe(200)
})

test('lists show what the token may read, and refuse prefixes under which there is nothing for it', async () => {
  const admin = await adminToken({ audience })
  for (const id of ['deals/list', 'secret/list', 'deals/deep/list'])
    await call(api.url, 'PUT', pathOf(id), { token: admin })
  const list = async (held: string, prefix = '') =>
    call(api.url, 'GET', `/v1/documents?prefix=${encodeURIComponent(prefix)}`, { token: held })
  const reader = await holding('read')
  const ids = ({ body }: Answer): string[] => body.documents.map(({ id }: { id: string }) => id)
  expect(ids(await list(admin))).toEqual(expect.arrayContaining(['secret/list', 'deals/list']))
  expect(ids(await list(reader))).toContain('deals/list')
  expect(ids(await list(reader)).every((id) => /^deals\/[^/]*$/.test(id))).toBe(true)
  expect(await list(reader, 'secret/')).toMatchObject({ status: 403, body: { code: 'forbidden' } })
  expect((await call(api.url, 'GET', '/v1/documents', { token: null })).status).toBe(401)
})

describe('ending sessions', () => {
  const end = async (held: string, body: object): Promise<Answer> =>
    call(api.url, 'POST', '/v1/sessions/end', { token: held, body })

  test("a document's sessions close with 4401, for its administrator only", async () => {
    const held = await holding('write')
    const client = await RawClient.connect(`${api.webSocketUrl}/deals%2Fend?token=${held}`)
    await until('synced', () => client.synced)
    expect(await end(held, { document: 'deals/end' })).toMatchObject({ status: 403 })
    expect(await end(await holding('admin', 'other/*'), { document: 'deals/end' })).toMatchObject({
      status: 403,
    })
    expect(client.closeCode).toBe(null)
    expect((await end(await holding('admin'), { document: 'deals/end' })).status).toBe(204)
    await client.closed
    expect(client.closeCode).toBe(4401)
  })

  test("a user's sessions close and its tokens are refused, for who administers everything", async () => {
    const held = await token({ audience, subject: 'mallory' })
    const client = await RawClient.connect(`${api.webSocketUrl}/deals%2Fend?token=${held}`)
    await until('synced', () => client.synced)
    for (const pattern of ['*', 'deals/**', '**/a'])
      expect(await end(await holding('admin', pattern), { subject: 'mallory' })).toMatchObject({
        status: 403,
        body: { code: 'forbidden' },
      })
    expect((await end(await adminToken({ audience }), { subject: 'mallory' })).status).toBe(204)
    await client.closed
    expect(client.closeCode).toBe(4401)
    expect(await call(api.url, 'GET', pathOf('deals/end'), { token: held })).toMatchObject({
      status: 401,
      body: { code: 'revoked' },
    })
  })

  test.each([{}, { subject: 'a', document: 'b' }, { subject: '' }, { else: 1 }, []])(
    'a body that is not one of the two is refused: %j',
    async (body) => {
      const answer = await end(await adminToken({ audience }), body)
      expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request' } })
    },
  )
})

describe('pages of other origins', () => {
  const from = async (method: Method, origin: string, path = '/v1/documents'): Promise<Answer> =>
    call(api.url, method, path, { token: await adminToken({ audience }), headers: { origin } })

  test('an allowed one may ask and read, errors too', async () => {
    const preflight = await call(api.url, 'OPTIONS', pathOf('deals/a', '/updates'), {
      headers: { origin: 'https://app.example', 'access-control-request-method': 'POST' },
    })
    expect(preflight.status).toBe(204)
    expect(preflight.headers.get('access-control-allow-origin')).toBe('https://app.example')
    expect(preflight.headers.get('access-control-allow-methods')).toContain('POST')
    expect(preflight.headers.get('access-control-allow-headers')).toContain('idempotency-key')
    for (const path of ['/v1/documents', '/v1/nothing', pathOf('not/there')]) {
      const { headers } = await from('GET', 'https://app.example', path)
      expect(headers.get('access-control-allow-origin')).toBe('https://app.example')
      expect(headers.get('access-control-expose-headers')).toContain('Tidemark-Offset')
      expect(headers.get('vary')).toBe('Origin')
    }
  })

  test('any other one is refused, whatever it asks', async () => {
    for (const method of ['GET', 'POST', 'OPTIONS', 'DELETE'] as const) {
      const answer = await from(method, 'https://evil.example', pathOf('deals/a'))
      expect(answer, method).toMatchObject({ status: 403, body: { code: 'origin_forbidden' } })
      expect(answer.headers.get('access-control-allow-origin')).toBe(null)
    }
  })
})

test('no token and no content is in any log line', async () => {
  const tokens = [await adminToken({ audience }), await expired(), 'nonsense-that-is-no-token']
  for (const held of tokens)
    for (const path of ['/v1/documents', '/v1/nothing', pathOf('a//b'), '/v1/documents/%zz'])
      await call(api.url, 'GET', `${path}?token=${held}`)
  await call(api.url, 'POST', pathOf('deals/log', '/updates'), {
    token: tokens[0]!,
    body: new TextEncoder().encode('content of somebody'),
  })
  const lines = JSON.stringify(logger.lines)
  expect(logger.lines.length).toBeGreaterThan(0)
  for (const held of tokens) expect(lines).not.toContain(held)
  expect(lines).not.toContain('content of somebody')
})

test('a key for the tests alone signs what they hold', async () => {
  const forged = await new SignJWT({ documents: [{ match: '**', access: 'admin' }] })
    .setProtectedHeader({ alg: 'HS512' })
    .setSubject('root')
    .setAudience(audience)
    .setExpirationTime('1h')
    .sign(new TextEncoder().encode('another secret of more than thirty-two bytes'))
  expect((await call(api.url, 'GET', '/v1/documents', { token: forged })).status).toBe(401)
})

/** What is too much, too slow, or no request at all is refused with a row of the table, and the next one works. */
import { once } from 'node:events'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { until } from '../../../support/wait.ts'
import {
  type Answer,
  type ApiUnderTest,
  adminToken,
  call,
  pathOf,
  startApi,
  textUpdate,
} from './api-under-test.ts'

const updateBytesMax = 64 * 1024
let api: ApiUnderTest
let admin: string
/** JSON waits for this, when it is not null. */
let gate: Promise<void> | null = null
let jsonRunning = 0
let jsonRunningMax = 0

beforeAll(async () => {
  api = await startApi({
    environment: { UPDATE_BYTES_MAX: String(updateBytesMax) },
    limits: {
      requestsMax: 12,
      requestsPerUserMax: 8,
      readsMax: 2,
      bodyBytesMax: 2 * updateBytesMax,
      sendMsMax: 500,
    },
    json: async () => {
      jsonRunningMax = Math.max(jsonRunningMax, ++jsonRunning)
      await gate
      jsonRunning--
      return new TextEncoder().encode('{}')
    },
  })
  admin = await adminToken()
  await call(api.url, 'PUT', pathOf('there'), { token: admin })
})
afterAll(() => api.close())

const post = (body: Uint8Array, headers: Record<string, string> = {}): Promise<Answer> =>
  call(api.url, 'POST', pathOf('there', '/updates'), { token: admin, body, headers })
/** So many letters by a client whose number always takes five bytes. */
const textOf = (letters: number): Uint8Array => {
  const doc = new Y.Doc()
  doc.clientID = 0x8000_0000 + Math.floor(Math.random() * 0x7fff_ffff)
  return textUpdate('x'.repeat(letters), doc)
}
const works = async (): Promise<void> => {
  expect((await post(textUpdate(`${Math.random()}`))).status).toBe(201)
}

describe('bodies', () => {
  test('an update at the limit is taken, one past it is not, whether its length is declared or not', async () => {
    const frame = textOf(updateBytesMax - 100).length - (updateBytesMax - 100)
    const largest = textOf(updateBytesMax - frame)
    expect(largest.length).toBe(updateBytesMax)
    expect((await post(largest)).status).toBe(201)
    const larger = textOf(updateBytesMax - frame + 1)
    expect(await post(larger)).toMatchObject({ status: 413, body: { code: 'update_too_large' } })
    expect(await chunked(larger)).toBe(413)
    expect(await chunked(textUpdate('small'))).toBe(201)
    await works()
  })

  test.each([
    ['text/plain', 400, 'invalid_request'],
    ['application/json', 400, 'invalid_request'],
    ['application/x-www-form-urlencoded', 400, 'invalid_request'],
    ['application/octet-stream', 422, 'malformed_update'],
  ])('bytes of no update as %s', async (type, status, code) => {
    const answer = await post(new TextEncoder().encode('{"half'), { 'content-type': type })
    expect(answer).toMatchObject({ status, body: { code } })
  })

  test('a body of a type that nobody takes is told which to send', async () => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded'])
      expect(await post(textUpdate('small'), { 'content-type': type })).toMatchObject({
        body: { detail: expect.stringMatching(/application\/octet-stream.*application\/json/) },
      })
  })

  test('whatever comes as an update is refused as malformed, or is one', async () => {
    const valid = textUpdate('something to damage')
    const damaged = fc
      .tuple(fc.nat(valid.length - 1), fc.nat(255), fc.nat(valid.length))
      .map(([at, byte, end]) => {
        const bytes = valid.slice(0, end)
        if (at < end) bytes[at] = byte
        return bytes
      })
    const before = (await api.log.load('there' as never)).offset
    let taken = 0
    await fc.assert(
      fc.asyncProperty(fc.oneof(damaged, fc.uint8Array({ maxLength: 64 })), async (bytes) => {
        const { status, body } = await post(bytes)
        if (status === 201) taken++
        else if (status !== 200) expect([400, 422]).toContain(status)
        if (status === 422) expect(body.code).toBe('malformed_update')
      }),
      { numRuns: 150 },
    )
    expect((await api.log.load('there' as never)).offset).toBe(before + taken)
    await works()
  })

  test('many at once are not read all at once', async () => {
    const slow = [await halfSent(), await halfSent(), await halfSent()]
    await until('one is refused', () => slow.some(({ bytesRead }) => bytesRead > 0))
    expect(await post(textUpdate('one more'))).toMatchObject({ status: 503, body: { code: 'overloaded' } })
    expect(slow.filter(({ bytesRead }) => bytesRead > 0)).toHaveLength(1)
    for (const socket of slow) socket.destroy()
    await until('their room is free again', async () => (await post(textUpdate('x'))).status === 201)
  })
})

describe('at the same time', () => {
  test('so many requests of one user and of all, then Retry-After; whole documents a few at a time', async () => {
    let open: () => void = () => undefined
    gate = new Promise((resolve) => {
      open = resolve
    })
    const other = await adminToken({ subject: 'other' })
    const held: Promise<void>[] = []
    const insist = async (token: string): Promise<void> => {
      // The probes below may be in its place.
      while ((await call(api.url, 'GET', pathOf('there'), { token })).status !== 200);
    }
    const hold = (token: string): void => {
      held.push(insist(token))
    }
    for (let i = 0; i < 8; i++) hold(admin)
    const probe = (token: string) => call(api.url, 'GET', '/v1/documents', { token })
    await until('the user is full', async () => (await probe(admin)).status === 429)
    const refused = await probe(admin)
    expect(refused).toMatchObject({ status: 429, body: { code: 'rate_limited', status: 429 } })
    expect(Number(refused.headers.get('retry-after'))).toBe(refused.body.retryAfter)
    expect(refused.body.retryAfter).toBeGreaterThan(0)

    for (let i = 0; i < 4; i++) hold(other)
    await until('the node is full', async () => (await probe(other)).status === 503)
    expect((await probe(other)).body).toMatchObject({
      code: 'overloaded',
      retryAfter: expect.any(Number),
    })
    expect((await fetch(`${api.url}/healthz`)).status).toBe(200)
    open()
    gate = null
    await Promise.all(held)
    expect(jsonRunningMax).toBe(2)
    await works()
  })

  test('who leaves while waiting gives the place back', async () => {
    let open: () => void = () => undefined
    gate = new Promise((resolve) => {
      open = resolve
    })
    const leaving = new AbortController()
    const path = `${api.url}${pathOf('there')}`
    const asked = Array.from({ length: 8 }, () =>
      fetch(path, { headers: { authorization: `Bearer ${admin}` }, signal: leaving.signal }).catch(
        () => null,
      ),
    )
    const probe = () => call(api.url, 'GET', '/v1/documents/there/update', { token: admin })
    await until('the user is full', async () => (await probe()).status === 429)
    leaving.abort()
    await Promise.all(asked)
    open()
    gate = null
    await until('there is room', async () => (await probe()).status === 200)
  })

  test('a reader that takes nothing is cut off', async () => {
    const updates = 200
    for (let i = 0; i < updates; i++)
      await call(api.url, 'POST', pathOf('large', '/updates'), {
        token: admin,
        body: textUpdate('x'.repeat(65_000)),
      })
    const socket = connect(Number(new URL(api.url).port), '127.0.0.1')
    const closed = once(socket, 'close')
    socket.on('error', () => undefined)
    socket.pause()
    socket.write(
      `GET ${pathOf('large', '/update')} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${admin}\r\nconnection: close\r\n\r\n`,
    )
    const allPlacesFree = async () =>
      (
        await Promise.all(
          Array.from({ length: 8 }, () => call(api.url, 'GET', pathOf('there'), { token: admin })),
        )
      ).every(({ status }) => status === 200)
    await until('it has a place', async () => !(await allPlacesFree()))
    await until('its place is free', allPlacesFree)
    socket.resume()
    await closed
    expect(socket.bytesRead).toBeLessThan(updates * 65_000)
  })
})

/** Without a Content-Length. */
async function chunked(body: Uint8Array): Promise<number | undefined> {
  const asked = request(`${api.url}${pathOf('there', '/updates')}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${admin}`, 'content-type': 'application/octet-stream' },
  })
  // The answer may come, and the connection go, before all is sent.
  asked.on('error', () => undefined)
  asked.write(body.subarray(0, 10))
  asked.end(body.subarray(10))
  const [response] = await once(asked, 'response')
  response.resume()
  return response.statusCode
}

/** Declares as much as it may, sends little, and waits; what it reads is an early refusal. */
async function halfSent(): Promise<Socket> {
  const socket = connect(Number(new URL(api.url).port), '127.0.0.1')
  socket.on('error', () => undefined)
  socket.resume()
  await once(socket, 'connect')
  socket.write(
    `POST ${pathOf('there', '/updates')} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${admin}\r\n` +
      `content-type: application/octet-stream\r\ncontent-length: ${updateBytesMax}\r\n\r\nbegin`,
  )
  return socket
}

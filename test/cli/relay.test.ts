/** What the command line makes of a relay's answers, and of none. */
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { Relay, RelayError } from '../../cli/relay.ts'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

interface Asked {
  readonly method: string
  readonly url: string
  readonly body: string
  readonly authorization: string | undefined
}

type Answer = (response: ServerResponse) => void

/** Gives the answers one after the other, the last one for ever. */
async function answering(...answers: readonly Answer[]): Promise<{ url: string; asked: Asked[] }> {
  const asked: Asked[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString()
    })
    request.on('end', () => {
      const { method = '', url = '', headers } = request
      asked.push({ method, url, body, authorization: headers.authorization })
      answers[Math.min(asked.length, answers.length) - 1]!(response)
    })
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
}

const problem =
  (status: number, code: string, headers: Record<string, string> = {}): Answer =>
  (response) =>
    response
      .writeHead(status, { 'content-type': 'application/problem+json', ...headers })
      .end(JSON.stringify({ code, detail: `It is ${code}`, advice: 'Do something.' }))
const appended: Answer = (response) => response.writeHead(201).end('{"offset":7,"duplicate":false}')
const cut: Answer = (response) => response.socket?.destroy()

function relayAt(url: string, retriesMax = 8, signal = new AbortController().signal) {
  const waits: string[] = []
  const relay = new Relay({
    url,
    token: 'secret',
    retriesMax,
    signal,
    waitMsMin: 1,
    waiting: (why) => waits.push(why),
  })
  return { relay, waits }
}

const update = Uint8Array.of(1, 2, 3)

test('what cannot be answered now is asked again, with all of its bytes, until it is', async () => {
  const { url, asked } = await answering(
    problem(503, 'overloaded', { 'retry-after': '0' }),
    problem(429, 'rate_limited', { 'retry-after': '0' }),
    cut,
    (response) => response.writeHead(502).end('<html>a proxy</html>'),
    appended,
  )
  const { relay, waits } = relayAt(url)
  expect(await relay.append('deals/harvest 42', update)).toEqual({ offset: 7, duplicate: false })
  expect(asked).toHaveLength(5)
  expect(new Set(asked.map((each) => JSON.stringify(each))).size).toBe(1)
  expect(asked[0]).toEqual({
    method: 'POST',
    url: '/v1/documents/deals%2Fharvest%2042/updates',
    body: '\x01\x02\x03',
    authorization: 'Bearer secret',
  })
  expect(waits).toHaveLength(4)
})

test('as long as it is told to wait, it waits', async () => {
  const { url, asked } = await answering(problem(503, 'overloaded', { 'retry-after': '3600' }), appended)
  const ended = new AbortController()
  const { relay, waits } = relayAt(url, 8, ended.signal)
  const answer = relay.append('a', update)
  await expect.poll(() => waits).toHaveLength(1)
  ended.abort()
  await expect(answer).rejects.toThrow()
  expect(asked).toHaveLength(1)
})

test('what is refused is not asked again, and the relay says why', async () => {
  const { url, asked } = await answering(problem(413, 'update_too_large'))
  const { relay } = relayAt(url)
  const refused = await relay.append('a', update).catch((error: unknown) => error)
  expect(refused).toBeInstanceOf(RelayError)
  expect(refused).toMatchObject({
    code: 'update_too_large',
    isFatal: false,
    message: expect.stringMatching(/^It is/),
  })
  expect(asked).toHaveLength(1)
})

test('a token that is not taken ends everything; so does a relay that stays away', async () => {
  const { url } = await answering(problem(401, 'token_expired'))
  await expect(relayAt(url).relay.append('a', update)).rejects.toMatchObject({
    code: 'token_expired',
    isFatal: true,
  })
  const { url: away, asked } = await answering(cut)
  await expect(relayAt(away, 3).relay.append('a', update)).rejects.toMatchObject({
    code: null,
    isFatal: true,
  })
  // And once to see whether it answers anybody.
  expect(asked).toHaveLength(5)
})

test('a request that is cut off by a relay that answers others is a failure of its own', async () => {
  const greeted: Answer = (response) => response.writeHead(200).end('{"documents":[],"next":null}')
  const { url } = await answering(cut, cut, greeted)
  await expect(relayAt(url, 1).relay.append('a', update)).rejects.toMatchObject({
    code: null,
    isFatal: false,
  })
})

test('a redirect is not followed: the token would go along', async () => {
  const { url: elsewhere, asked } = await answering(appended)
  const { url } = await answering((response) => response.writeHead(307, { location: elsewhere }).end())
  await expect(relayAt(url).relay.append('a', update)).rejects.toThrow(/307/)
  expect(asked).toEqual([])
})

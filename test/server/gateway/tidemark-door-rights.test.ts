/**
 * Rights at the tidemark.v1 door that change while documents are open: tokens that end, are renewed, or allow less than
 * before, users and documents whose sessions an administrator ends, an authorisation service that changes its mind.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { refusalOf, TidemarkClient } from '../../support/tidemark-client.ts'
import { token, tokenSecret } from '../../support/tokens.ts'
import { until } from '../../support/wait.ts'

const firstMessageMsMax = 1_000
let folder: string
let relay: RelayProcess
const opened: { close(): void }[] = []
const settings = {
  JWT_SECRET: tokenSecret,
  JWT_CLOCK_TOLERANCE_SECONDS: '0',
  FIRST_MESSAGE_MS_MAX: String(firstMessageMsMax),
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  relay = await startRelay({ DATA_DIR: folder, ...settings })
})
afterAll(async () => {
  for (const one of opened.splice(0)) one.close()
  expect(await relay.stop()).toBe(0)
  rmSync(folder, { recursive: true })
})

async function connect(bearer?: string, to = relay): Promise<TidemarkClient> {
  const client = await TidemarkClient.connect(to.webSocketUrl, bearer === undefined ? {} : { bearer })
  opened.push(client)
  return client
}

const tokenHints = (client: TidemarkClient): number[] =>
  client.of('hint').flatMap(({ hint, milliseconds }) => (hint === 'token' ? [milliseconds] : []))

async function end(target: { subject: string } | { document: string }): Promise<void> {
  const admin = await token({ subject: 'admin', documents: [{ match: '**', access: 'admin' }] })
  const answer = await fetch(`${relay.url}/v1/sessions/end`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${admin}` },
    body: JSON.stringify(target),
  })
  expect(answer.status).toBe(204)
}

// Together: they mostly wait for tokens to end.
describe.concurrent('a token that ends', () => {
  test('is announced, ends its documents, and after a while the socket', async () => {
    const client = await connect(await token({ expiresIn: 2 }))
    const replica = await client.join('e/ends')
    await until('announced', () => tokenHints(client).length > 0)
    expect(tokenHints(client)[0]).toBeLessThanOrEqual(2_000)
    await until('closed', () => replica.closed !== null)
    expect(replica.closed).toMatchObject({ code: 'token_expired', retryMs: null })
    expect(await client.end()).toBe('4401 token_expired')
    expect(tokenHints(client)).toHaveLength(1)
  })

  test('can be replaced by another within that while', async () => {
    const client = await connect(await token({ expiresIn: 2 }))
    const replica = await client.join('e/replaced')
    await until('closed', () => replica.closed !== null)
    const early = client.open('e/replaced')
    await early.answered()
    expect(refusalOf(early).code).toBe('token_expired')
    client.auth(await token())
    await (await client.join('e/replaced')).write('again')
    await new Promise((passed) => setTimeout(passed, firstMessageMsMax + 1_500))
    expect(client.closeCode).toBe(null)
  })

  test('is not noticed when it is renewed in time, and the new one is announced', async () => {
    const client = await connect(await token({ expiresIn: 2 }))
    const replica = await client.join('e/renewed')
    client.auth(await token({ expiresIn: 5 }))
    await until('announced twice', () => tokenHints(client).length === 2)
    const typing = Date.now() + 3_000
    while (Date.now() < typing) await replica.write('x')
    expect(replica.closed).toBe(null)
    await until('closed', () => replica.closed !== null)
    expect(replica.closed!.code).toBe('token_expired')
  })

  test('of one document ends that one', async () => {
    const client = await connect(await token())
    const stays = await client.join('e/stays')
    const own = await client.join('e/own', { token: await token({ expiresIn: 1 }) })
    await until('closed', () => own.closed !== null)
    expect(own.closed!.code).toBe('token_expired')
    await stays.write('here')
    expect(tokenHints(client)).toEqual([])
  })
})

describe.concurrent('another token', () => {
  test('closes what it does not allow, keeps what it does, leaves what has its own', async () => {
    const client = await connect(await token())
    const [stays, goes] = [await client.join('o/stays'), await client.join('o/goes')]
    const own = await client.join('o/own', { token: await token() })
    client.auth(await token({ documents: [{ match: 'o/stays', access: 'write' }] }))
    await until('closed', () => goes.closed !== null)
    expect(goes.closed).toMatchObject({ code: 'forbidden', retryMs: null })
    const other = await (await connect(await token())).join('o/goes')
    await other.write('not for you')
    await stays.write('mine')
    await own.write('mine too')
    expect(goes.text).toBe('')
    const again = client.open('o/goes')
    await again.answered()
    expect(refusalOf(again).code).toBe('forbidden')
  })

  test('that allows less takes no more pushes', async () => {
    const client = await connect(await token())
    const replica = await client.join('o/less')
    await replica.write('a')
    client.auth(await token({ documents: [{ match: '**', access: 'read' }] }))
    replica.push(replica.type('b'))
    await until('nack', () => replica.nacks.length > 0)
    expect(replica.nacks[0]).toMatchObject({ sequence: 2, problem: { code: 'read_only' } })
    expect((await (await connect(await token())).join('o/less')).text).toBe('a')
  })

  test('counts for an open that was sent before it and is still being judged', async () => {
    const client = await connect(await token())
    const allowed = [{ match: 'o/none', access: 'write' }]
    const opening = Array.from({ length: 20 }, (_, i) => client.open(`o/race-${i}`))
    client.auth(await token({ documents: allowed }))
    await client.ping()
    await until('none is open', () =>
      opening.every((replica) => replica.refused !== null || replica.closed !== null),
    )
  })
})

describe.concurrent('an administrator', () => {
  test('ends all that a user has, and the documents opened with a token of theirs', async () => {
    const theirs = await token({ subject: 'eve' })
    const client = await connect(theirs)
    await client.join('r/one')
    const other = await connect(await token())
    const [stays, goes] = [await other.join('r/stays'), await other.join('r/goes', { token: theirs })]
    await end({ subject: 'eve' })
    expect(await client.end()).toBe('4401 revoked')
    await until('closed', () => goes.closed !== null)
    expect(goes.closed).toMatchObject({ code: 'revoked', retryMs: null })
    await stays.write('here')
  })

  test("ends a document's sessions, which may come back", async () => {
    const client = await connect(await token())
    const [stays, goes] = [await client.join('r/other'), await client.join('r/document')]
    await end({ document: 'r/document' })
    await until('closed', () => goes.closed !== null)
    expect(goes.closed!.code).toBe('revoked')
    await stays.write('here')
    await (await client.join('r/document')).write('back')
  })
})

test.concurrent('where nobody needs a token, a socket stays without a document, and opens and closes as often as it likes', async () => {
  const data = mkdtempSync(join(tmpdir(), 'tidemark-'))
  const open = await startRelay({ DATA_DIR: data, FIRST_MESSAGE_MS_MAX: String(firstMessageMsMax) })
  const client = await connect(undefined, open)
  const document = 'x'.repeat(400)
  for (let i = 0; i < 60; i++) {
    const replica = await client.join(document)
    client.send({ kind: 'close', channel: replica.channel })
  }
  await new Promise((passed) => setTimeout(passed, firstMessageMsMax + 1_500))
  await client.join(document)
  expect(client.closeCode).toBe(null)
  client.close()
  expect(await open.stop()).toBe(0)
  rmSync(data, { recursive: true })
})

test.concurrent('an authorisation service is asked for each document, and again when its answer has aged', async () => {
  const allowed = new Set(['s/one', 's/two'])
  const service = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString()
    })
    request.on('end', () => {
      const { document } = JSON.parse(body) as { document: string | null }
      const may = document !== null && allowed.has(document)
      response.writeHead(may ? 200 : 403, { 'content-type': 'application/json' })
      response.end(
        JSON.stringify({ subject: 'ann', documents: may ? [{ match: document, access: 'write' }] : [] }),
      )
    })
  })
  await new Promise<void>((listening) => service.listen(0, '127.0.0.1', listening))
  const data = mkdtempSync(join(tmpdir(), 'tidemark-'))
  const asking = await startRelay({
    DATA_DIR: data,
    AUTHORIZE_URL: `http://127.0.0.1:${(service.address() as AddressInfo).port}/`,
    AUTHORIZE_CACHE_SECONDS: '1',
    FIRST_MESSAGE_MS_MAX: String(firstMessageMsMax),
  })
  const client = await connect('opaque', asking)
  const [one, two] = [await client.join('s/one'), await client.join('s/two')]
  const other = client.open('s/three')
  await other.answered()
  expect(refusalOf(other).code).toBe('forbidden')
  allowed.delete('s/two')
  await until('closed', () => two.closed !== null)
  expect(two.closed).toMatchObject({ code: 'forbidden' })
  await one.write('still here')
  expect(tokenHints(client)).toEqual([])
  client.close()
  expect(await asking.stop()).toBe(0)
  service.close()
  rmSync(data, { recursive: true })
})

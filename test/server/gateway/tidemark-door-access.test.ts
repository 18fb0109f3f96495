/**
 * Who gets through the tidemark.v1 door, and what they may do behind it: every state a token can be in, in every place
 * where one can stand, and what ends or renews the rights of a socket and of the documents that are open on it.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { metric } from '../../support/metric.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { type ConnectOptions, TidemarkClient } from '../../support/tidemark-client.ts'
import { token, tokenSecret, unsignedToken } from '../../support/tokens.ts'
import { until } from '../../support/wait.ts'

let folder: string
let relay: RelayProcess
const opened: { close(): void }[] = []

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  relay = await startRelay({
    DATA_DIR: folder,
    JWT_SECRET: tokenSecret,
    JWT_AUDIENCE: 'notes',
    JWT_CLOCK_TOLERANCE_SECONDS: '0',
    ALLOWED_ORIGINS: 'https://app.example',
    FIRST_MESSAGE_MS_MAX: '2000',
    SESSIONS_PER_USER_MAX: '3',
    LOG_LEVEL: 'debug',
  })
  const writer = await (await connect({ bearer: await sign({ subject: 'owner' }) })).join('a/secret')
  await writer.write('the secret')
})
afterEach(() => {
  for (const one of opened.splice(0)) one.close()
})
afterAll(async () => {
  expect(await relay.stop()).toBe(0)
  rmSync(folder, { recursive: true })
})

let subjects = 0
/** Of a user of its own, who may read and write everything unless told otherwise. */
const sign = (options: Parameters<typeof token>[0] = {}): Promise<string> =>
  token({ audience: 'notes', subject: `user-${subjects++}`, ...options })

async function connect(options: ConnectOptions = {}, query = ''): Promise<TidemarkClient> {
  const client = await TidemarkClient.connect(`${relay.webSocketUrl}${query}`, options)
  opened.push(client)
  return client
}

async function connectAs(options: Parameters<typeof token>[0] = {}): Promise<TidemarkClient> {
  return connect({ bearer: await sign(options) })
}

const reading = [{ match: 'a/*', access: 'read' }]

/** 'opened', or why not: the refusal of the open or the close of the socket. */
async function outcome(client: TidemarkClient, ownToken = ''): Promise<string> {
  const replica = client.open('a/secret', { token: ownToken })
  await replica.answered()
  // Whoever was not let in has seen nothing of what is inside.
  if (replica.opened === null) {
    expect(replica.text).toBe('')
    expect(client.of('updates').length + client.of('awareness').length + client.of('caught-up').length).toBe(
      0,
    )
  }
  if (replica.refused !== null) return `refused ${replica.refused.code}`
  return replica.opened === null ? await client.end() : `opened for ${replica.opened.access}`
}

const states: [state: string, code: string, make: () => Promise<string>][] = [
  ['garbage', 'unauthenticated', async () => 'garbage'],
  ['expired', 'token_expired', () => sign({ expiresIn: -10 })],
  ['for another audience', 'unauthenticated', () => sign({ audience: 'mail' })],
  ['without the audience', 'unauthenticated', () => token()],
  ['that nobody signed', 'unauthenticated', async () => unsignedToken()],
  [
    'signed with another key',
    'unauthenticated',
    () => sign({ secret: 'another secret of at least thirty-two bytes' }),
  ],
  ['longer than any', 'unauthenticated', async () => 'x'.repeat(9_000)],
]

describe('a token', () => {
  test.each(states)(
    '%s in a message or at the handshake closes the socket: %s',
    async (_state, code, make) => {
      const jwt = await make()
      const talking = await connect()
      talking.auth(jwt)
      expect(await outcome(talking)).toBe(`4401 ${code}`)
      expect(await outcome(await connect({ bearer: jwt }))).toBe(`4401 ${code}`)
      expect(await outcome(await connect({}, `?token=${jwt}`))).toBe(`4401 ${code}`)
    },
  )

  test.each(states)('%s of an open refuses the document and no other: %s', async (_state, code, make) => {
    const client = await connectAs()
    expect(await outcome(client, await make())).toBe(`refused ${code}`)
    expect(await outcome(client)).toBe('opened for write')
  })

  test.each(states)('%s that is to renew one closes the socket', async (_state, code, make) => {
    const client = await connectAs()
    const replica = await client.join('a/renewed')
    client.auth(await make())
    replica.push(replica.type('too late'))
    expect(await client.end()).toBe(`4401 ${code}`)
    expect((await (await connectAs()).join('a/renewed')).text).toBe('')
  })

  test('that there is none of refuses the document', async () => {
    expect(await outcome(await connect())).toBe('refused unauthenticated')
  })

  test.each<[string, (jwt: string) => Promise<TidemarkClient>]>([
    ['in a header', (jwt) => connect({ bearer: jwt })],
    ['in the URL', (jwt) => connect({}, `?token=${jwt}`)],
    [
      'in a message, before the opens that follow at once',
      async (jwt) => {
        const client = await connect()
        client.auth(jwt)
        return client
      },
    ],
  ])('that is valid opens %s', async (_where, connectWith) => {
    expect(await outcome(await connectWith(await sign()))).toBe('opened for write')
    expect(await outcome(await connectWith(await sign({ documents: reading })))).toBe('opened for read')
  })

  test('is judged before what follows it at once, which may be as large as from somebody known', async () => {
    const client = await connect()
    const jwt = await sign()
    // What a replica has of a document with 5,000 authors.
    const version = Y.encodeStateVector(new Map(Array.from({ length: 5_000 }, (_, i) => [i + 1e6, 1e6])))
    expect(version.length).toBeGreaterThan(16 * 1024)
    // The server reads both at once.
    process.kill(relay.pid, 'SIGSTOP')
    client.auth(jwt)
    const replica = client.open('a/authors', { have: { version } })
    await until('sent', () => client.socket.bufferedAmount === 0)
    process.kill(relay.pid, 'SIGCONT')
    await replica.answered()
    expect(client.closeCode).toBe(null)
    expect(replica.opened).not.toBe(null)
  })

  test('of an open opens its document only', async () => {
    const client = await connect()
    const own = await client.join('a/own', {
      token: await sign({ documents: [{ match: 'a/own', access: 'write' }] }),
    })
    await own.write('x')
    expect(await outcome(client)).toBe('refused unauthenticated')
  })

  test.each<[string, Parameters<typeof token>[0]]>([
    ['for other documents', { documents: [{ match: 'b/*', access: 'admin' }] }],
    ['for no document', { documents: [] }],
  ])('%s is forbidden here', async (_what, options) => {
    expect(await outcome(await connectAs(options))).toBe('refused forbidden')
  })

  test('of a user who was revoked lets nobody in', async () => {
    const before = { subject: 'gone', issuedAgo: 60 }
    await revoke({ subject: 'gone' })
    expect(await outcome(await connectAs(before))).toBe('4401 revoked')
    const talking = await connect()
    talking.auth(await sign(before))
    expect(await outcome(talking)).toBe('4401 revoked')
    expect(await outcome(await connectAs(), await sign(before))).toBe('refused revoked')
  })

  test('never stands in the log', async () => {
    const jwt = await sign({ documents: [] })
    const client = await connect()
    client.auth(jwt)
    await outcome(client)
    await outcome(client, `${jwt}x`)
    const signature = jwt.split('.')[2]!
    expect(relay.lines.length).toBeGreaterThan(1)
    expect(JSON.stringify(relay.lines)).not.toContain(signature)
  })
})

async function revoke(target: { subject: string } | { document: string }): Promise<void> {
  const answer = await fetch(`${relay.url}/v1/sessions/end`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${await sign({ documents: [{ match: '**', access: 'admin' }] })}`,
    },
    body: JSON.stringify(target),
  })
  expect(answer.status).toBe(204)
}

describe('access to read', () => {
  test('takes no push, and shows what others write and who is there', async () => {
    const writer = await (await connectAs()).join('a/read')
    await writer.write('known')
    const client = await connectAs({ documents: reading })
    const reader = await client.join('a/read')
    const appends = await metric(relay.url, 'appends_total')
    // What the document has already is no change.
    reader.push(Y.encodeStateAsUpdate(writer.doc))
    await reader.settled()
    reader.push(reader.type('!'))
    await until('nack', () => reader.nacks.length > 0)
    expect(reader.nacks[0]).toMatchObject({ sequence: 2, problem: { code: 'read_only', retryMs: null } })
    expect(await metric(relay.url, 'appends_total')).toBe(appends)
    const state = Buffer.from('{"name":"bob"}')
    const awareness = Buffer.concat([Buffer.from([1, 7, 1, state.length]), state])
    client.send({ kind: 'awareness', channel: reader.channel, awareness })
    await until('seen', () => writer.awareness.some((bytes) => Buffer.from(bytes).includes('bob')))
    await writer.write(' and new')
    await until('followed', () => reader.received.length === 1)
    expect(writer.text).toBe('known and new')
  })

  test('becomes access to write with another token, from the refused push on', async () => {
    const subject = 'promoted'
    const client = await connectAs({ subject, documents: reading })
    const replica = await client.join('a/promoted')
    const update = replica.type('at last')
    replica.push(update)
    await until('nack', () => replica.nacks.length > 0)
    client.auth(await sign({ subject }))
    replica.pushAt(1, [update])
    await until('ack', () => replica.acked === 1)
    expect((await (await connectAs()).join('a/promoted')).text).toBe('at last')
  })
})

test('two users whose replicas have one name are two', async () => {
  const [ann, bob] = [await connectAs(), await connectAs()]
  const [one, two] = [
    await ann.join('a/names', { replica: 'same' }),
    await bob.join('a/names', { replica: 'same' }),
  ]
  await one.write('a')
  await two.write('b')
  expect((await (await connectAs()).join('a/names')).text).toHaveLength(2)
})

test('one user has so many sockets, whichever way the token came', async () => {
  const jwt = await sign()
  const three = [await connect({ bearer: jwt }), await connect({}, `?token=${jwt}`), await connect()]
  three[2]!.auth(jwt)
  await Promise.all(three.map((client) => client.ping()))
  const fourth = await connect()
  fourth.auth(jwt)
  expect(await fourth.end()).toBe('1013 rate_limited')
  three[0]!.close()
  await until('there is room', async () => {
    const again = await connect()
    again.auth(jwt)
    await again.ping()
    return again.closeCode === null
  })
})

test.each([
  ['https://app.example', 'opened for write'],
  ['https://evil.example', '4403 origin_forbidden'],
])('a page of %s: %s', async (origin, expected) => {
  expect(await outcome(await connect({ origin, bearer: await sign() }))).toBe(expected)
})

/**
 * Who gets through the y-websocket door, and what they may do behind it: every access level with every operation,
 * every state a token can be in, and what ends a session that was let in.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import WebSocket from 'ws'
import { WebsocketProvider as ProviderV3 } from 'y-websocket'
import { WebsocketProvider as ProviderV2 } from 'y-websocket-2'
import * as Y from 'yjs'
import { metric } from '../../support/metric.ts'
import { RawClient } from '../../support/raw-client.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
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
    LOG_LEVEL: 'debug',
  })
})
afterEach(() => {
  for (const one of opened.splice(0)) one.close()
})
afterAll(async () => {
  expect(await relay.stop()).toBe(0)
  rmSync(folder, { recursive: true })
})

const sign = (options: Parameters<typeof token>[0] = {}): Promise<string> =>
  token({ audience: 'notes', ...options })

async function connect(document: string, jwt: string | null, doc = new Y.Doc()): Promise<RawClient> {
  const query = jwt === null ? '' : `?token=${jwt}`
  const client = await RawClient.connect(`${relay.webSocketUrl}/${document}${query}`, { doc })
  opened.push(client)
  return client
}

/** 'synced', or the code with which the door closed. */
async function outcome(client: RawClient): Promise<string> {
  await until('let in or closed', () => client.synced || client.closeCode !== null)
  return client.synced ? 'synced' : `${client.closeCode} ${client.closeReason.split(':')[0]}`
}

const textUpdate = (text: string): Uint8Array => {
  const doc = new Y.Doc()
  doc.getText('t').insert(0, text)
  return Y.encodeStateAsUpdate(doc)
}

describe('a token', () => {
  test.each<[string, () => Promise<string | null>, string]>([
    ['none', async () => null, '4401 unauthenticated'],
    ['garbage', async () => 'garbage', '4401 unauthenticated'],
    ['valid', () => sign(), 'synced'],
    ['expired', () => sign({ expiresIn: -10 }), '4401 token_expired'],
    ['for another audience', () => sign({ audience: 'mail' }), '4401 unauthenticated'],
    ['without the audience', () => token(), '4401 unauthenticated'],
    ['that nobody signed', async () => unsignedToken(), '4401 unauthenticated'],
    [
      'signed with another key',
      () => sign({ secret: 'another secret of at least thirty-two bytes' }),
      '4401 unauthenticated',
    ],
    ['for other documents', () => sign({ documents: [{ match: 'b/*', access: 'admin' }] }), '4403 forbidden'],
    ['without documents', () => sign({ documents: [] }), '4403 forbidden'],
  ])('%s: %s', async (_state, make, expected) => {
    expect(await outcome(await connect('a/tokens', await make()))).toBe(expected)
  })

  test('is taken from the Authorization header as well', async () => {
    const socket = new WebSocket(`${relay.webSocketUrl}/a/header`, {
      headers: { authorization: `Bearer ${await sign()}` },
    })
    opened.push(socket)
    const messages: unknown[] = []
    socket.on('message', (data) => messages.push(data))
    await until('the server sends its version', () => messages.length > 0)
  })

  test('never stands in the log', async () => {
    const jwt = await sign({ documents: [] })
    await outcome(await connect('a/secret', jwt))
    await outcome(await connect('a/secret', `${jwt}x`))
    const signature = jwt.split('.')[2]!
    expect(relay.lines.length).toBeGreaterThan(1)
    expect(JSON.stringify(relay.lines)).not.toContain(signature)
  })
})

describe('access', () => {
  test.each([
    ['read', '4403 read_only'],
    ['write', 'stored'],
    ['admin', 'stored'],
  ])('%s: an update is %s', async (access, expected) => {
    const document = `a/update-${access}`
    const writer = await connect(document, await sign({ documents: [{ match: 'a/*', access }] }))
    await until('synced', () => writer.synced)
    const before = await metric(relay.url, 'appends_total')
    writer.sendUpdate(textUpdate('x'))
    if (expected === 'stored') {
      const reader = await connect(document, await sign())
      await until('another sees it', () => reader.doc.getText('t').toString() === 'x')
    } else {
      await writer.closed
      expect(`${writer.closeCode} ${writer.closeReason.split(':')[0]}`).toBe(expected)
      expect(writer.denials).toHaveLength(1)
      expect(await metric(relay.url, 'appends_total')).toBe(before)
    }
  })

  test('to read shows what others write, and lets its presence be seen', async () => {
    const writer = await connect('a/presence', await sign())
    const reader = await connect('a/presence', await sign({ documents: [{ match: 'a/*', access: 'read' }] }))
    await until('both synced', () => writer.synced && reader.synced)
    writer.sendUpdate(textUpdate('shared'))
    await until('read', () => reader.doc.getText('t').toString() === 'shared')
    const seen = writer.awareness.length
    // awareness: one client, id 7, clock 1, {"name":"ann"}
    const state = Buffer.from('{"name":"ann"}')
    reader.socket.send(Buffer.concat([Buffer.from([1, state.length + 4, 1, 7, 1, state.length]), state]))
    await until('the writer sees it', () => writer.awareness.length > seen)
    expect(Buffer.from(writer.awareness.at(-1)!).toString()).toContain('"name":"ann"')
    expect(reader.closeCode).toBe(null)
  })

  test('to read may say again what the document has', async () => {
    const writer = await connect('a/known', await sign())
    await until('synced', () => writer.synced)
    const update = textUpdate('known')
    writer.sendUpdate(update)
    const reader = await connect('a/known', await sign({ documents: [{ match: '**', access: 'read' }] }))
    await until('read', () => reader.doc.getText('t').toString() === 'known')
    reader.sendUpdate(update)
    writer.sendUpdate(textUpdate('more'))
    await until('still there', () => reader.doc.getText('t').length > 5)
    expect(reader.closeCode).toBe(null)
  })
})

describe('a session ends', () => {
  test('with 4401 when its token does', async () => {
    const client = await connect('a/expiring', await sign({ expiresIn: 2 }))
    await until('synced', () => client.synced)
    await client.closed
    expect(`${client.closeCode} ${client.closeReason}`).toBe('4401 token_expired: The token has expired')
  })
})

test.each([
  ['https://app.example', 'synced'],
  ['https://evil.example', '4403 origin_forbidden'],
])('a page of %s: %s', async (origin, expected) => {
  const client = await connectFrom(origin, `${relay.webSocketUrl}/a/origin?token=${await sign()}`)
  expect(await outcome(client)).toBe(expected)
})

async function connectFrom(origin: string, url: string): Promise<RawClient> {
  const client = await RawClient.connect(url, { origin })
  opened.push(client)
  return client
}

describe.each(Object.entries({ '2.x': ProviderV2, '3.x': ProviderV3 }))(
  'y-websocket %s',
  (_name, Provider) => {
    const provider = async (room: string, jwt: string) => {
      const doc = new Y.Doc()
      const made = new Provider(relay.webSocketUrl, room, doc, {
        WebSocketPolyfill: WebSocket as unknown as typeof globalThis.WebSocket,
        disableBc: true,
        maxBackoffTime: 100,
        params: { token: jwt },
      })
      opened.push({ close: () => made.destroy() })
      const closes: { code: number; reason: string }[] = []
      // The two versions declare their events in different ways.
      const on = made.on.bind(made) as (name: string, then: (event: CloseEvent | null) => void) => void
      on('connection-close', (event) => {
        if (event !== null) closes.push({ code: event.code, reason: event.reason })
      })
      return { provider: made, doc, text: doc.getText('t'), closes }
    }

    test('with a reading token follows, and its own edit is refused with 4403', async () => {
      const room = `a/provider-${_name}`
      const writer = await provider(room, await sign())
      const reader = await provider(room, await sign({ documents: [{ match: '**', access: 'read' }] }))
      writer.text.insert(0, 'hello')
      await until('followed', () => reader.text.toString() === 'hello')
      reader.text.insert(5, '!')
      await until('refused', () => reader.closes.some(({ code }) => code === 4403))
      expect(writer.text.toString()).toBe('hello')
    })

    test('is told 4401 when its token ends, and goes on with a new one', async () => {
      const room = `a/renewed-${_name}`
      const one = await provider(room, await sign({ expiresIn: 2 }))
      one.text.insert(0, 'first')
      await until('told', () => one.closes.some(({ code }) => code === 4401))
      one.provider.params = { token: await sign() }
      one.text.insert(5, ' and second')
      one.provider.connect()
      const other = await provider(room, await sign())
      await until('all of it is there', () => other.text.toString() === 'first and second')
    })
  },
)

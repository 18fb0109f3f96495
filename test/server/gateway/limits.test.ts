/** Every limit of a node and of a session: what is at it passes, what is past it is refused with a reason, and others go on. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect as connectSocket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import WebSocket from 'ws'
import * as Y from 'yjs'
import { metric } from '../../support/metric.ts'
import { RawClient } from '../../support/raw-client.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { token, tokenSecret } from '../../support/tokens.ts'
import { until } from '../../support/wait.ts'

const endings: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end()
})

async function relayWith(environment: Record<string, string>): Promise<RelayProcess> {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  const relay = await startRelay({ DATA_DIR: folder, ...environment })
  endings.push(async () => {
    expect(await relay.stop()).toBe(0)
    rmSync(folder, { recursive: true })
  })
  return relay
}

async function joining(relay: RelayProcess, path: string): Promise<RawClient> {
  const client = await RawClient.connect(`${relay.webSocketUrl}/${path}`)
  endings.push(() => client.close())
  return client
}

async function synced(relay: RelayProcess, path: string): Promise<RawClient> {
  const client = await joining(relay, path)
  await until('synced', () => client.synced)
  return client
}

/** The status of an upgrade that is turned away, with its Retry-After. */
function turnedAway(
  url: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; retryAfter: number }> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { headers })
    socket.on('unexpected-response', (_request, response) => {
      resolve({ status: response.statusCode ?? 0, retryAfter: Number(response.headers['retry-after']) })
      response.resume()
    })
    socket.on('open', () => {
      socket.terminate()
      reject(new Error('it was let in'))
    })
    socket.on('error', () => undefined)
  })
}

const closed = async (client: RawClient): Promise<string> => {
  await client.closed
  return `${client.closeCode} ${client.closeReason.split(':')[0]}`
}

const text = (length: number): Uint8Array => {
  const doc = new Y.Doc()
  doc.getText('t').insert(0, 'x'.repeat(length))
  return Y.encodeStateAsUpdate(doc)
}

/** An awareness message of so many clients. */
function presence(first: number, clients: number): Buffer {
  const states = Array.from({ length: clients }, (_, i) => Buffer.from([first + i, 1, 2, 0x7b, 0x7d]))
  const body = Buffer.concat([Buffer.from([clients]), ...states])
  return Buffer.concat([Buffer.from([1, body.length]), body])
}

describe('of a node', () => {
  test('SESSIONS_MAX: the next connection is told to come again, and gets in when one has left', async () => {
    const relay = await relayWith({ SESSIONS_MAX: '2' })
    const first = await synced(relay, 'a')
    await synced(relay, 'b')
    const { status, retryAfter } = await turnedAway(`${relay.webSocketUrl}/c`)
    expect(status).toBe(503)
    expect(retryAfter).toBeGreaterThan(0)
    first.close()
    await until('one has left', async () => (await metric(relay.url, 'connections')) === 1)
    await synced(relay, 'c')
  })

  test('SESSIONS_PER_ADDRESS_MAX: counted by the address that a trusted proxy names', async () => {
    const relay = await relayWith({ SESSIONS_PER_ADDRESS_MAX: '1', TRUSTED_PROXIES: 'loopback' })
    const open = async (address: string): Promise<void> => {
      const socket = new WebSocket(`${relay.webSocketUrl}/a`, { headers: { 'x-forwarded-for': address } })
      endings.push(() => socket.terminate())
      await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
    }
    await open('192.0.2.1')
    await open('192.0.2.2')
    const { status } = await turnedAway(`${relay.webSocketUrl}/a`, { 'x-forwarded-for': '192.0.2.1' })
    expect(status).toBe(429)
  })

  test('SESSIONS_PER_ADDRESS_MAX: X-Forwarded-For of a stranger counts for nothing', async () => {
    const relay = await relayWith({ SESSIONS_PER_ADDRESS_MAX: '1' })
    await synced(relay, 'a')
    const { status } = await turnedAway(`${relay.webSocketUrl}/a`, { 'x-forwarded-for': '192.0.2.1' })
    expect(status).toBe(429)
  })

  test('SESSIONS_PER_USER_MAX', async () => {
    const relay = await relayWith({ SESSIONS_PER_USER_MAX: '1', JWT_SECRET: tokenSecret })
    const [ann, bob] = [await token({ subject: 'ann' }), await token({ subject: 'bob' })]
    const first = await synced(relay, `a?token=${ann}`)
    await synced(relay, `a?token=${bob}`)
    expect(await closed(await joining(relay, `a?token=${ann}`))).toBe('1013 rate_limited')
    first.close()
    await until('she has left', async () => (await metric(relay.url, 'connections')) === 1)
    await synced(relay, `a?token=${ann}`)
  })

  test('ROOMS_MAX: one document more is refused, those that are open go on', async () => {
    const relay = await relayWith({ ROOMS_MAX: '2', ROOM_LINGER_MS: '0' })
    const one = await synced(relay, 'a')
    await synced(relay, 'b')
    expect(await closed(await joining(relay, 'c'))).toBe('1013 overloaded')
    await synced(relay, 'a')
    one.close()
  })

  test('HANDSHAKES_MAX: while tokens are being checked, so many wait and the others are turned away', async () => {
    const waiting: (() => void)[] = []
    const service = await serviceThat((answer) => waiting.push(answer))
    const relay = await relayWith({ HANDSHAKES_MAX: '2', AUTHORIZE_URL: service })
    const first = joining(relay, 'a?token=one')
    const second = joining(relay, 'b?token=two')
    await until('both are being checked', () => waiting.length === 2)
    expect((await turnedAway(`${relay.webSocketUrl}/c?token=three`)).status).toBe(503)
    for (const answer of waiting) answer()
    for (const client of await Promise.all([first, second])) await until('let in', () => client.synced)
  })

  test('FIRST_MESSAGE_MS_MAX: whoever says nothing is closed with 4408, whoever speaks stays', async () => {
    const relay = await relayWith({ FIRST_MESSAGE_MS_MAX: '1000' })
    const speaks = await synced(relay, 'a')
    const silent = await RawClient.connect(`${relay.webSocketUrl}/a`, { handshake: false, mute: true })
    endings.push(() => silent.close())
    expect(await closed(silent)).toBe('4408 first_message_late')
    expect(speaks.closeCode).toBe(null)
  })

  test('sockets that never finish a request are closed, and cost no session', async () => {
    const relay = await relayWith({})
    const halfOpen = Array.from({ length: 200 }, () => connectSocket(relay.port, '127.0.0.1'))
    let open = halfOpen.length
    for (const socket of halfOpen) {
      socket.on('error', () => undefined)
      socket.on('close', () => open--)
      socket.resume()
      socket.write('GET /a HTTP/1.1\r\nHost: x\r\n')
    }
    endings.push(() => {
      for (const socket of halfOpen) socket.destroy()
    })
    await synced(relay, 'a')
    await until('all are closed', () => open === 0)
  })
})

describe('of a session', () => {
  test('AWARENESS_CLIENTS_MAX: one state more than that closes it', async () => {
    const relay = await relayWith({ AWARENESS_CLIENTS_MAX: '3' })
    const other = await synced(relay, 'a')
    const client = await synced(relay, 'a')
    client.socket.send(presence(1, 3))
    await until('they are seen', () => other.awareness.length > 0)
    client.socket.send(presence(4, 1))
    expect(await closed(client)).toBe('4422 malformed_awareness')
    expect(other.closeCode).toBe(null)
  })

  test('DOCUMENT_BYTES_MAX: a document at twice of it, not yet compacted, takes no more; reading goes on', async () => {
    const relay = await relayWith({ DOCUMENT_BYTES_MAX: '2048', COMPACTION_TAIL_BYTES_MAX: '1048576' })
    const writer = await synced(relay, 'a')
    const reader = await synced(relay, 'a')
    writer.sendUpdate(text(2_000))
    writer.sendUpdate(text(2_200))
    await until('both are there', () => reader.doc.getText('t').length === 4_200)
    writer.sendUpdate(text(10))
    expect(await closed(writer)).toBe('4413 document_too_large')
    await synced(relay, 'a')
    expect(reader.closeCode).toBe(null)
  })

  test('SESSION_MESSAGES_PER_SECOND_MAX: a flood is read more slowly, none of it is lost, others are not held up', async () => {
    const relay = await relayWith({ SESSION_MESSAGES_PER_SECOND_MAX: '20' })
    const flood = await synced(relay, 'a')
    const other = await synced(relay, 'a')
    // Ten seconds' worth is free; what lies in one read of the socket (64 KiB) passes as well.
    const letters = 1_000
    for (const update of typed(300, letters)) flood.sendUpdate(update)
    other.sendUpdate(text(7))
    await until('the other is not held up', () => flood.doc.getText('t').length >= 7)
    const all = 300 * letters + 7
    expect(other.doc.getText('t').length).toBeLessThan(all)
    // A batch of several authors brings everybody their own as well.
    await until('all of it comes', () => other.doc.getText('t').length >= all - 7)
  })

  test('SESSION_BYTES_PER_SECOND_MAX: large updates are read more slowly', async () => {
    const relay = await relayWith({ SESSION_BYTES_PER_SECOND_MAX: '102400' })
    const flood = await synced(relay, 'a')
    const other = await synced(relay, 'a')
    // 1,000 KiB at once, then 100 KiB a second; the kernel's buffers hold the rest of what was sent.
    for (let i = 0; i < 13; i++) flood.sendUpdate(text(100_000))
    await until('what is free has come', () => other.doc.getText('t').length >= 1_000_000)
    expect(other.doc.getText('t').length).toBeLessThan(1_300_000)
    await until('all of it comes', () => other.doc.getText('t').length === 1_300_000)
  })
})

/** Updates of one person who pastes so many times so many letters. */
function typed(count: number, letters: number): Uint8Array[] {
  const doc = new Y.Doc()
  const updates: Uint8Array[] = []
  doc.on('update', (update: Uint8Array) => updates.push(update))
  for (let i = 0; i < count; i++) doc.getText('t').insert(0, 'x'.repeat(letters))
  return updates
}

/** An authorisation service; `ask` gets what lets the request pass. */
async function serviceThat(ask: (answer: () => void) => void): Promise<string> {
  const server: Server = createServer((request, response) => {
    request.resume()
    ask(() => response.end(JSON.stringify({ subject: 'ann', documents: [{ match: '**', access: 'write' }] })))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  endings.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

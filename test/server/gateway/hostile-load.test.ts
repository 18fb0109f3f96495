/**
 * Clients that keep to the protocol and mean harm: after each kind, and while it goes on, two people type to one
 * another, and the server's memory stays within a bound that is far below what was thrown at it.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import * as Y from 'yjs'
import { metric } from '../../support/metric.ts'
import { RawClient } from '../../support/raw-client.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { residentBytes } from '../../support/resident-bytes.ts'
import { until } from '../../support/wait.ts'

const roomsMax = 300
const mib = 1024 * 1024
let folder: string
let relay: RelayProcess
let typist: RawClient
let reader: RawClient
let residentBefore: number
const opened: { close(): void }[] = []

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  relay = await startRelay({ DATA_DIR: folder, ROOMS_MAX: String(roomsMax), ROOM_LINGER_MS: '0' })
  typist = await RawClient.connect(`${relay.webSocketUrl}/shared`)
  reader = await RawClient.connect(`${relay.webSocketUrl}/shared`)
  typist.doc.on('update', (update: Uint8Array, origin: unknown) => {
    if (origin === null) typist.sendUpdate(update)
  })
  await until('both are synced', () => typist.synced && reader.synced)
})
afterAll(async () => {
  expect(await relay.stop()).toBe(0)
  rmSync(folder, { recursive: true })
})
beforeEach(async () => {
  await othersWork()
  residentBefore = residentBytes(relay.pid)
})
afterEach(async () => {
  for (const one of opened.splice(0)) one.close()
  await othersWork()
})

let typed = 0
async function othersWork(): Promise<void> {
  typed++
  typist.doc.getMap('m').set('typed', typed)
  await until('the other sees it', () => reader.doc.getMap('m').get('typed') === typed)
}

/** What the server has taken since the test began. */
const grown = (): number => residentBytes(relay.pid) - residentBefore

async function joining(document: string): Promise<RawClient> {
  const client = await RawClient.connect(`${relay.webSocketUrl}/${document}`)
  opened.push(client)
  return client
}

async function deaf(document: string): Promise<RawClient> {
  const client = await RawClient.connect(`${relay.webSocketUrl}/${document}`, {
    handshake: false,
    mute: true,
  })
  opened.push(client)
  return client
}

test('fifty large updates whose dependencies never come hold up nobody, and a joiner gets them', async () => {
  const letters = 400_000
  // They listen to nothing: Yjs takes long over pending updates, in this process.
  const senders = await Promise.all(Array.from({ length: 50 }, () => deaf('pending')))
  const before = await metric(relay.url, 'appends_total')
  for (const sender of senders) {
    const doc = new Y.Doc()
    const updates: Uint8Array[] = []
    doc.on('update', (update: Uint8Array) => updates.push(update))
    doc.getText('t').insert(0, 'never sent')
    doc.getText('t').insert(10, 'x'.repeat(letters))
    sender.sendUpdate(updates[1]!)
    await othersWork()
  }
  await until('all are stored', async () => (await metric(relay.url, 'appends_total')) >= before + 100)
  const joiner = await deaf('pending')
  let received = 0
  joiner.socket.on('message', (data: Buffer) => {
    received = Math.max(received, data.length)
  })
  joiner.sendStep1()
  await until('a joiner gets all of it', () => received > 50 * letters)
  expect(grown()).toBeLessThan(400 * mib)
})

test('presence in floods goes out twenty times a second, whatever comes in', async () => {
  const bomber = await joining('shared')
  await until('synced', () => bomber.synced)
  const seen = reader.awareness.length
  const state = Buffer.alloc(20_000, 0x20)
  state[0] = 0x7b
  state[state.length - 1] = 0x7d
  const startedMs = Date.now()
  for (let clock = 1; clock <= 2_000; clock++) {
    bomber.socket.send(awarenessMessage(clock, state))
    if (clock % 200 === 0) await othersWork()
  }
  await until('the last state is seen', () => clockOf(reader.awareness.at(-1)!) === 2_000)
  const frames = reader.awareness.length - seen
  expect(frames).toBeLessThanOrEqual(((Date.now() - startedMs) / 1000) * 20 + 3)
})

test('thousands of documents at once: as many as the limit are opened, the rest is told to come again', async () => {
  const codes: number[] = []
  for (let i = 0; i < 1_500; i++) {
    const client = await joining(`rooms/${i}`)
    void client.closed.then(() => codes.push(client.closeCode ?? 0))
  }
  // One of the rooms is the one that the others type in.
  await until('the rest is refused', () => codes.length === 1_500 - roomsMax + 1)
  expect(new Set(codes)).toEqual(new Set([1013]))
  expect(await metric(relay.url, 'rooms')).toBe(roomsMax)
  await othersWork()
  expect(grown()).toBeLessThan(300 * mib)
})

test('a message in a hundred thousand fragments is cut off', async () => {
  const socket = await upgraded('/shared')
  let closed = false
  socket.on('close', () => {
    closed = true
  })
  // fin 0, opcode 2 first, then 0; masked, one byte each.
  socket.write(Buffer.from([0x02, 0x81, 0, 0, 0, 0, 1]))
  const more = Buffer.from([0x00, 0x81, 0, 0, 0, 0, 1])
  for (let i = 0; i < 100 && !closed; i++) {
    socket.write(Buffer.concat(Array.from({ length: 1_000 }, () => more)))
    if (i % 10 === 0) await othersWork()
  }
  await until('it is closed', () => closed)
  expect(grown()).toBeLessThan(100 * mib)
})

test('a hundred clients that announce a large message and send it a byte at a time cost what they have sent', async () => {
  const sockets = await Promise.all(Array.from({ length: 100 }, () => upgraded('/shared')))
  const length = Buffer.alloc(8)
  length.writeBigUInt64BE(BigInt(30 * mib))
  for (const socket of sockets)
    socket.write(Buffer.concat([Buffer.from([0x82, 0xff]), length, Buffer.alloc(4)]))
  for (let i = 0; i < 20; i++) {
    for (const socket of sockets) socket.write(Buffer.of(0))
    await othersWork()
  }
  expect(grown()).toBeLessThan(100 * mib)
})

function awarenessMessage(clock: number, state: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from([1, 9]), varUint(clock), varUint(state.length), state])
  return Buffer.concat([Buffer.from([1]), varUint(body.length), body])
}

/** Of an update with one client, whose id takes one byte. */
function clockOf(update: Uint8Array): number {
  if (update[1] !== 9) return 0
  return update[2]! < 0x80 ? update[2]! : (update[2]! & 0x7f) | (update[3]! << 7)
}

function varUint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest > 0x7f; rest >>>= 7) bytes.push(0x80 | (rest & 0x7f))
  return Buffer.from([...bytes, rest])
}

/** A socket after the handshake, to write frames on by hand. */
async function upgraded(path: string): Promise<Socket> {
  const socket = connect(relay.port, '127.0.0.1')
  opened.push({ close: () => socket.destroy() })
  socket.on('error', () => undefined)
  let answer = ''
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString('latin1')
  })
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`,
  )
  await until('upgraded', () => answer.includes('101 Switching'))
  return socket
}

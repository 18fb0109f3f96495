/**
 * Large messages, slow readers and those who ask without reading at the tidemark.v1 door: what the server keeps for
 * each is bounded, nothing is lost, and small messages pass large ones.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { Offset } from '../../../core/offset.ts'
import { encodeClientMessage } from '../../../core/protocol/tidemark-v1/encode.ts'
import { splitMessage } from '../../../core/protocol/tidemark-v1/parts.ts'
import { metric } from '../../support/metric.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { residentBytes } from '../../support/resident-bytes.ts'
import { TidemarkClient } from '../../support/tidemark-client.ts'
import { until } from '../../support/wait.ts'

const mib = 1024 * 1024
const sessionBufferBytesMax = 256 * 1024
let folder: string
let relay: RelayProcess
const opened: TidemarkClient[] = []

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  relay = await startRelay({
    DATA_DIR: folder,
    SESSION_BUFFER_BYTES_MAX: String(sessionBufferBytesMax),
    COMPACTION_TAIL_BYTES_MAX: String(64 * mib),
    SESSION_MESSAGES_PER_SECOND_MAX: '10000000',
    SESSION_BYTES_PER_SECOND_MAX: String(1024 * mib),
  })
})
afterEach(() => {
  for (const client of opened.splice(0)) client.close()
})
afterAll(async () => {
  expect(await relay.stop()).toBe(0)
  rmSync(folder, { recursive: true })
})

async function connect(): Promise<TidemarkClient> {
  const client = await TidemarkClient.connect(relay.webSocketUrl)
  opened.push(client)
  return client
}

const awarenessOf = (clock: number): Uint8Array => Uint8Array.of(1, 7, clock, 2, 0x7b, 0x7d)

test('an update of 5 MB goes in parts both ways, with presence between them', async () => {
  const [one, two] = [await connect(), await connect()]
  const [writer, reader] = [await one.join('l/parts'), await two.join('l/parts')]
  const update = writer.type('The quick brown fox. '.repeat((5 * mib) / 21))
  const push = encodeClientMessage({ kind: 'push', channel: writer.channel, sequence: 1, updates: [update] })
  const parts = splitMessage(push, 64 * 1024)
  expect(parts.length).toBeGreaterThan(80)
  for (const [i, part] of parts.entries()) {
    one.sendBytes(part)
    one.send({ kind: 'awareness', channel: writer.channel, awareness: awarenessOf(i + 1) })
    // The presence that came between is there before the update is.
    if (i === 40) await until('seen', () => reader.awareness.length > 0)
  }
  expect(reader.received).toEqual([])
  await until('ack', () => writer.acked === 1)
  await until('read', () => reader.received.length === 1)
  expect(reader.text === writer.text).toBe(true)
  const newcomer = await (await connect()).join('l/parts')
  expect(newcomer.text === writer.text).toBe(true)
})

test('whoever reads slowly costs a bounded buffer, gets everything later, and no other waits', async () => {
  const slow = await connect()
  const [fast, writing] = [await connect(), await connect()]
  const names = ['l/slow-a', 'l/slow-b']
  const slowReplicas = await Promise.all(names.map((name) => slow.join(name)))
  const fastReplicas = await Promise.all(names.map((name) => fast.join(name)))
  const writers = await Promise.all(names.map((name) => writing.join(name)))
  const fellBehind = await metric(relay.url, 'sessions_behind_total')
  slow.pause()
  for (let i = 0; i < 120; i++) {
    for (const writer of writers) writer.push(writer.type(`${i % 10}`.repeat(200_000)))
    // It writes, too, and shall hear of that when it reads again.
    if (i % 20 === 10) {
      await Promise.all(writers.map((writer) => writer.settled()))
      for (const replica of slowReplicas) replica.push(replica.type('mine'))
    }
  }
  await Promise.all(writers.map((writer) => writer.settled()))
  await until('the fast one has it', () => fastReplicas.every(({ text }) => text.length === 24_000_024))
  // Of the 48 MB that went past it: what a socket is given before it counts as full, and what came in the same turn.
  expect(await metric(relay.url, 'buffered_bytes')).toBeGreaterThan(sessionBufferBytesMax)
  expect(await metric(relay.url, 'buffered_bytes')).toBeLessThan(sessionBufferBytesMax + 2 * mib)
  expect(await metric(relay.url, 'sessions_behind_total')).toBeGreaterThan(fellBehind)
  expect(slow.of('updates').length).toBeLessThan(120)
  slow.resume()
  await until('the slow one has it', () => slowReplicas.every(({ text }) => text.length === 24_000_024))
  await Promise.all(slowReplicas.map((replica) => replica.settled()))
  for (const replica of fastReplicas) replica.assertNoGap()
})

test('whoever asks and does not read is cut', async () => {
  const client = await connect()
  await client.join('l/asking')
  const before = residentBytes(relay.pid)
  client.pause()
  const have = { epoch: 0 as Offset, offset: 0 as Offset, version: Uint8Array.of(0) }
  // Each is refused with a reason that is longer than the question.
  const ask = {
    kind: 'open',
    request: 1,
    document: '/',
    engine: 'yjs',
    token: '',
    replica: 'r',
    have,
  } as const
  const question = encodeClientMessage(ask)
  await until('cut', async () => {
    if (client.socket.bufferedAmount < mib) for (let i = 0; i < 5_000; i++) client.sendBytes(question)
    return (await metric(relay.url, 'connections')) === 0
  })
  expect(residentBytes(relay.pid) - before).toBeLessThan(100 * mib)
  client.resume()
  await client.closed
})

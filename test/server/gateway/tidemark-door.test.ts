/**
 * The tidemark.v1 door with a client that keeps to the protocol: open, push, ack, nack, close, ping and
 * awareness of one document.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { metric } from '../../support/metric.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { type ConnectOptions, refusalOf, TidemarkClient } from '../../support/tidemark-client.ts'
import { until } from '../../support/wait.ts'

let folder: string
let relay: RelayProcess
const opened: { close(): void }[] = []

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  relay = await startRelay({ DATA_DIR: folder })
})
afterEach(() => {
  for (const one of opened.splice(0)) one.close()
})
afterAll(async () => {
  expect(await relay.stop()).toBe(0)
  rmSync(folder, { recursive: true })
})

async function connect(options: ConnectOptions = {}): Promise<TidemarkClient> {
  const client = await TidemarkClient.connect(relay.webSocketUrl, options)
  opened.push(client)
  return client
}

const awarenessOf = (client: number, clock: number, json: string): Uint8Array => {
  const state = Buffer.from(json)
  return Buffer.concat([Buffer.from([1, client, clock, state.length]), state])
}

describe('a socket', () => {
  test('is welcomed with the limits that hold', async () => {
    const client = await connect()
    expect(client.socket.protocol).toBe('tidemark.v1')
    expect(client.messages[0]).toEqual({
      kind: 'welcome',
      version: 1,
      partBytes: 65536,
      messageBytesMax: expect.any(Number),
      pingMs: 15000,
      durability: 'fsync',
    })
  })

  test('answers each ping with its number', async () => {
    const client = await connect()
    client.send({ kind: 'ping', nonce: 0 })
    client.send({ kind: 'ping', nonce: 2 ** 53 - 1 })
    await until('two pongs', () => client.of('pong').length === 2)
    expect(client.of('pong').map(({ nonce }) => nonce)).toEqual([0, 2 ** 53 - 1])
  })

  test('is told to drain before the server ends', async () => {
    const data = mkdtempSync(join(tmpdir(), 'tidemark-'))
    const other = await startRelay({ DATA_DIR: data })
    const client = await TidemarkClient.connect(other.webSocketUrl)
    await client.join('a')
    expect(await other.stop()).toBe(0)
    expect(await client.end()).toBe('1012 shutting_down')
    expect(client.messages.at(-1)).toMatchObject({ kind: 'hint', hint: 'drain' })
    rmSync(data, { recursive: true })
  })
})

describe('a document', () => {
  test('is new: opened with nothing, and may be written', async () => {
    const client = await connect()
    const replica = await client.join('d/new')
    expect(replica.opened).toMatchObject({ epoch: 0, offset: 0, access: 'write', acked: 0 })
  })

  test('passes edits on with their offsets, and acknowledges them', async () => {
    const writer = await (await connect()).join('d/edits')
    const reader = await (await connect()).join('d/edits')
    for (const letter of 'abcdef') await writer.write(letter)
    await until('read', () => reader.text === 'abcdef')
    reader.assertNoGap()
    expect(writer.acked).toBe(6)
    expect(writer.offset).toBe(6)
    expect(reader.offset).toBe(6)
    expect(writer.received).toEqual([])
  })

  test('gives a newcomer everything, and then what follows', async () => {
    const writer = await (await connect()).join('d/late')
    await writer.write('early ')
    const reader = await (await connect()).join('d/late')
    expect(reader.text).toBe('early ')
    expect(reader.opened!.offset).toBe(1)
    await writer.write('late')
    await until('read', () => reader.text === 'early late')
  })

  test('takes many updates in one push, and acknowledges the last', async () => {
    const client = await connect()
    const replica = await client.join('d/many')
    const updates = Array.from({ length: 1_000 }, (_, i) => replica.type(`${i % 10}`))
    replica.push(...updates)
    await replica.settled()
    expect(client.of('ack').length).toBeLessThan(1_000)
    expect(replica.offset).toBe(1_000)
  })

  test('acknowledges what the log contains already, without an append', async () => {
    const writer = await (await connect()).join('d/contained')
    const update = writer.type('x')
    writer.push(update)
    await writer.settled()
    const before = await metric(relay.url, 'appends_total')
    const other = await (await connect()).join('d/contained')
    other.push(update)
    await other.settled()
    expect(await metric(relay.url, 'appends_total')).toBe(before)
  })

  test('refuses a bad update with its sequence, keeps those before it, stays open', async () => {
    const client = await connect()
    const replica = await client.join('d/bad')
    const good = replica.type('good')
    const after = replica.type(' and after')
    replica.push(good, Uint8Array.of(1, 2, 3), after)
    await until('nack and ack', () => replica.nacks.length > 0 && replica.acked > 0)
    expect(replica.acked).toBe(1)
    expect(replica.nacks[0]).toMatchObject({
      sequence: 2,
      problem: { code: 'malformed_update', retryMs: null },
    })
    // What was on its way is ignored, a push from the refused one on is taken.
    replica.pushAt(4, [replica.type('!')])
    replica.pushAt(2, [after])
    await until('ack', () => replica.acked === 2)
    const reader = await (await connect()).join('d/bad')
    expect(reader.text).toBe('good and after')
    expect(replica.nacks).toHaveLength(1)
  })

  test('relays presence, and takes it away when its author closes', async () => {
    const [one, two] = [await connect(), await connect()]
    const here = await one.join('d/presence')
    const there = await two.join('d/presence')
    one.send({ kind: 'awareness', channel: here.channel, awareness: awarenessOf(7, 1, '{"name":"ann"}') })
    await until('seen', () => there.awareness.some((bytes) => Buffer.from(bytes).includes('ann')))
    const late = await (await connect()).join('d/presence')
    await until('seen by whoever joins', () => late.awareness.some((b) => Buffer.from(b).includes('ann')))
    one.send({ kind: 'close', channel: here.channel })
    await until('gone', () => Buffer.from(there.awareness.at(-1)!).includes('null'))
    expect(one.closeCode).toBe(null)
  })

  test('gets nothing more once it is closed, and can be opened again', async () => {
    const client = await connect()
    const replica = await client.join('d/closed')
    const writer = await (await connect()).join('d/closed')
    client.send({ kind: 'close', channel: replica.channel })
    await client.ping()
    await writer.write('unseen')
    await client.ping()
    expect(replica.received).toEqual([])
    // What comes for it is ignored.
    replica.push(replica.type('ignored'))
    client.send({ kind: 'close', channel: replica.channel })
    const again = await client.join('d/closed')
    expect(again.text).toBe('unseen')
  })

  test('has one channel for all its sessions, and another one than any other document', async () => {
    const [one, two] = [await connect(), await connect()]
    const a = await one.join('d/channel-a')
    expect((await two.join('d/channel-a')).channel).toBe(a.channel)
    expect((await one.join('d/channel-b')).channel).not.toBe(a.channel)
  })
})

describe('an open', () => {
  test.each<[string, string, object, string]>([
    ['with an id that is none', 'a//b', {}, 'invalid_document_id'],
    [
      'with a version that is none',
      'd/version',
      { have: { version: Uint8Array.of(255) } },
      'malformed_frame',
    ],
  ])('%s is refused, and the socket stays', async (_what, document, options, code) => {
    const client = await connect()
    const replica = client.open(document, options)
    await replica.answered()
    expect(refusalOf(replica)).toMatchObject({ code, retryMs: null, epoch: 0 })
    await client.join('d/fine')
  })

  test('of a document of another engine is refused, and the socket stays', async () => {
    const client = await connect()
    const one = await client.join('d/engine')
    await one.write('it is of Yjs')
    const two = (await connect()).open('d/engine', { engine: 'automerge' })
    await two.answered()
    expect(refusalOf(two)).toMatchObject({ code: 'wrong_engine', retryMs: null })
    await one.write('and goes on')
  })

  test('of what is open on the socket, or opening, is refused', async () => {
    const client = await connect()
    await client.join('d/first')
    const [one, two] = [client.open('d/twice'), client.open('d/twice')]
    await Promise.all([one.answered(), two.answered()])
    expect(one.opened).not.toBe(null)
    expect(refusalOf(two).code).toBe('invalid_request')
  })
})

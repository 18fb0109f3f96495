/**
 * What a hostile or broken client sends through the tidemark.v1 door ends its socket with a code and a reason, leaves
 * nothing in the log, and disturbs nobody else. One server process takes it all, while two people type.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import type { Offset } from '../../../core/offset.ts'
import { errorTable } from '../../../core/protocol/errors.ts'
import { encodeClientMessage } from '../../../core/protocol/tidemark-v1/encode.ts'
import type { ClientMessage } from '../../../core/protocol/tidemark-v1/messages.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { type Replica, TidemarkClient } from '../../support/tidemark-client.ts'
import { token, tokenSecret } from '../../support/tokens.ts'
import { until } from '../../support/wait.ts'

const updateBytesMax = 128 * 1024
let folder: string
let relay: RelayProcess
let jwt: string
/** Two people who only want to work. */
let typist: Replica
let reader: Replica
const people: TidemarkClient[] = []
const opened: TidemarkClient[] = []

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  relay = await startRelay({
    DATA_DIR: folder,
    JWT_SECRET: tokenSecret,
    UPDATE_BYTES_MAX: String(updateBytesMax),
    FIRST_MESSAGE_MS_MAX: '1000',
  })
  jwt = await token()
  for (const _ of [1, 2]) people.push(await TidemarkClient.connect(relay.webSocketUrl, { bearer: jwt }))
  typist = await people[0]!.join('shared')
  reader = await people[1]!.join('shared')
})
afterEach(async () => {
  for (const client of opened.splice(0)) client.close()
  await typist.write('a line\n')
  await until('the reader has it', () => reader.text === typist.text)
})
afterAll(async () => {
  for (const client of people) client.close()
  expect(await relay.stop()).toBe(0)
  rmSync(folder, { recursive: true })
})

async function connect(bearer: string | null = jwt): Promise<TidemarkClient> {
  const client = await TidemarkClient.connect(relay.webSocketUrl, bearer === null ? {} : { bearer })
  opened.push(client)
  return client
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
/** A part with so many bytes to come after it. */
const part = (left: number, bytes: Uint8Array): Buffer => {
  const varUint: number[] = []
  let rest = left
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) varUint.push(0x80 | (rest % 128))
  return Buffer.concat([Buffer.of(0x0f, ...varUint, rest), bytes])
}
const ping = encodeClientMessage({ kind: 'ping', nonce: 1 })

describe('what is no message closes the socket', () => {
  test.each<[string, Buffer[]]>([
    ['an empty frame', [Buffer.alloc(0)]],
    ['an unknown kind', [hex('07')]],
    ['a message of the server', [hex('4a 00')]],
    ['bytes after a message', [hex('06 01 00')]],
    ['a message that is cut off', [hex('03 01')]],
    ['a push of nothing', [hex('03 01 01 00')]],
    ['a push of 2^40 updates', [hex('03 01 01 808080808020')]],
    ['a push of sequence 0', [hex('03 01 00 01 01 00')]],
    ['a replica without a name', [hex('02 01 0161 00 00 00 00 00 0100')]],
    ['an engine that nobody has', [hex('02 01 0161 07 00 0172 00 00 0100')]],
    ['an empty part', [part(10, Buffer.alloc(0))]],
    ['a part of a part', [part(3, Buffer.of(0x0f, 1, 2)), part(0, Buffer.of(1, 2, 3))]],
    ['a part that is not the next one', [part(9, ping), part(3, ping)]],
    ['two messages in parts that mix', [part(100, ping), part(200, ping)]],
    ['a message larger than any may be', [part(updateBytesMax + 100, ping)]],
  ])('%s', async (_what, frames) => {
    const client = await connect()
    for (const frame of frames) client.sendBytes(frame)
    expect(await client.end()).toBe('4400 malformed_frame')
  })

  test('text', async () => {
    const client = await connect()
    client.socket.send('hello')
    expect(await client.end()).toBe('4400 malformed_frame')
  })

  test('a frame larger than a part may be', async () => {
    const client = await connect()
    client.sendBytes(Buffer.alloc(64 * 1024 + 1))
    await client.closed
    expect(client.closeCode).toBe(1009)
  })
})

test('an update that is too large is refused with its sequence, one at the limit is taken', async () => {
  const client = await connect()
  const replica = await client.join('h/large')
  const overhead = replica.type('').length + 40
  replica.push(replica.type('x'.repeat(updateBytesMax - overhead)))
  await replica.settled()
  replica.push(replica.type('x'.repeat(updateBytesMax - 10)))
  await until('nack', () => replica.nacks.length > 0)
  expect(replica.nacks[0]).toMatchObject({
    sequence: 2,
    problem: { code: 'update_too_large', retryMs: null },
  })
})

test('awareness that is none closes the document and not the socket', async () => {
  const client = await connect()
  const replica = await client.join('h/awareness')
  client.send({ kind: 'awareness', channel: replica.channel, awareness: Uint8Array.of(1, 2) })
  await until('closed', () => replica.closed !== null)
  expect(replica.closed!.code).toBe('malformed_awareness')
  await client.join('h/awareness')
})

describe('somebody unknown', () => {
  test('may say 16 KiB and no more', async () => {
    const client = await connect(null)
    for (let i = 0; i < 60; i++) client.send({ kind: 'close', channel: 2 ** 50 })
    await client.ping()
    expect(client.closeCode).toBe(null)
    const talker = await connect(null)
    for (let i = 0; i < 2_000; i++) talker.send({ kind: 'close', channel: 2 ** 50 })
    expect(await talker.end()).toBe('4401 unauthenticated')
  })

  test('may send no larger message, neither whole nor in parts', async () => {
    const whole = await connect(null)
    whole.sendBytes(encodeClientMessage({ kind: 'auth', token: 'x'.repeat(16 * 1024) }))
    const parts = await connect(null)
    parts.sendBytes(part(16 * 1024, Buffer.from([1])))
    expect(await Promise.all([whole.end(), parts.end()])).toEqual(Array(2).fill('4400 malformed_frame'))
  })

  test('may not keep a socket, whatever it says', async () => {
    const [silent, pinging, refused] = [await connect(null), await connect(null), await connect(null)]
    const timer = setInterval(() => pinging.send({ kind: 'ping', nonce: 1 }), 100)
    refused.open('shared')
    const ends = await Promise.all([silent.end(), pinging.end(), refused.end()])
    clearInterval(timer)
    expect(ends).toEqual(Array(3).fill('4408 first_message_late'))
  })
})

test('fuzzed messages break nothing: neither the server, nor documents, nor what others do', async () => {
  const doc = new Y.Doc()
  doc.getText('t').insert(0, 'The quick brown fox jumps over the lazy dog. 🦊')
  const update = Y.encodeStateAsUpdate(doc)
  const have = { epoch: 0 as Offset, offset: 3 as Offset, version: Y.encodeStateVector(doc) }
  const messages = (channel: number): ClientMessage[] => [
    { kind: 'auth', token: jwt },
    { kind: 'open', request: 9, document: 'h/other', engine: 'yjs', token: '', replica: 'r', have },
    { kind: 'push', channel, sequence: 1, updates: [update, update] },
    { kind: 'awareness', channel, awareness: Uint8Array.of(1, 7, 1, 2, 0x7b, 0x7d) },
    { kind: 'close', channel },
    { kind: 'ping', nonce: 77 },
  ]
  const mutation = fc.record({
    message: fc.nat({ max: 5 }),
    kind: fc.constantFrom('flip', 'cut', 'insert', 'random', 'parts'),
    at: fc.nat(),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }),
  })
  const mutate = (base: Uint8Array, { kind, at, bytes }: { kind: string; at: number; bytes: Uint8Array }) => {
    const position = at % base.length
    const [head, tail] = [base.subarray(0, position), base.subarray(position)]
    if (kind === 'flip')
      return [base.map((byte, i) => (i === position ? byte ^ (1 << (bytes[0]! & 7)) : byte))]
    if (kind === 'cut') return [head]
    if (kind === 'insert') return [Buffer.concat([head, bytes, tail])]
    if (kind === 'random') return [bytes]
    return [part(tail.length + (bytes[0]! % 3) - 1, head), part(0, tail)]
  }
  let number = 0
  await fc.assert(
    fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 4 }), async (mutations) => {
      const client = await connect()
      const replica = await client.join(`h/fuzz-${number++ % 20}`)
      for (const one of mutations)
        for (const frame of mutate(encodeClientMessage(messages(replica.channel)[one.message]!), one))
          client.sendBytes(frame)
      client.sendBytes(ping)
      await until(
        'answered or closed',
        () => client.of('pong').length > 0 || client.closeCode !== null,
        5_000,
      )
      if (client.closeCode !== null)
        expect([errorTable.malformed_frame.closeCode, errorTable.unauthenticated.closeCode]).toContain(
          client.closeCode,
        )
      const told = [...client.of('nack'), ...client.of('closed'), ...client.of('refused')]
      for (const { problem } of told) expect(problem.code).not.toBe('internal')
      client.close()
    }),
    { numRuns: 300, endOnFailure: true },
  )
  expect(relay.lines.filter(({ msg }) => /failed/.test(String(msg)))).toEqual([])
  // What was stored can be read.
  for (let i = 0; i < 20; i++) await (await connect()).join(`h/fuzz-${i}`)
})

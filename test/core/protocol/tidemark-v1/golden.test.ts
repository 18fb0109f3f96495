/** The wire as bytes: what these tests show is what deployed clients send and expect. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { Offset } from '../../../../core/offset.ts'
import { decodeClientMessage, decodeServerMessage } from '../../../../core/protocol/tidemark-v1/decode.ts'
import {
  encodeClientMessage,
  encodeServerMessage,
  encodeWithChunks,
} from '../../../../core/protocol/tidemark-v1/encode.ts'
import {
  type ClientMessage,
  protocolVersion,
  type ServerMessage,
  subprotocol,
} from '../../../../core/protocol/tidemark-v1/messages.ts'

const offset = (value: number): Offset => value as Offset
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
const hex = (value: Uint8Array): string => Buffer.from(value).toString('hex')
const problem = { code: 'read_only', reason: 'no', retryMs: null, epoch: offset(0) }

test('the grammar changes only together with the version', () => {
  const document = readFileSync(new URL('../../../../PROTOCOL.md', import.meta.url), 'utf8')
  const grammar = /## The tidemark\.v1 door[\s\S]*?```\n([\s\S]*?)```/.exec(document)?.[1] ?? ''
  expect(grammar).toContain('; client to server')
  const hash = createHash('sha256').update(`${subprotocol} ${protocolVersion}\n${grammar}`).digest('hex')
  // Before changing this line: does a deployed client still understand? If not, raise protocolVersion or the subprotocol.
  expect(hash).toBe('eca6ca02e7b9d6e610fc647f201391a90d90b779e5a80f4e8a22f3fec8679e19')
})

const clientMessages: readonly [string, ClientMessage][] = [
  ['01 02 6a77', { kind: 'auth', token: 'jw' }],
  [
    '02 07 03 612f62 00 01 74 02 7231 05 ac02 01 00',
    {
      kind: 'open',
      request: 7,
      document: 'a/b',
      engine: 'yjs',
      token: 't',
      replica: 'r1',
      have: { epoch: offset(5), offset: offset(300), version: bytes(0) },
    },
  ],
  [
    '02 00 01 61 01 00 01 72 00 00 00',
    {
      kind: 'open',
      request: 0,
      document: 'a',
      engine: 'automerge',
      token: '',
      replica: 'r',
      have: { epoch: offset(0), offset: offset(0), version: bytes() },
    },
  ],
  [
    '03 09 8001 02 01 aa 02 bb cc',
    { kind: 'push', channel: 9, sequence: 128, updates: [bytes(0xaa), bytes(0xbb, 0xcc)] },
  ],
  ['04 09 02 01 02', { kind: 'awareness', channel: 9, awareness: bytes(1, 2) }],
  ['05 09', { kind: 'close', channel: 9 }],
  ['06 ac02', { kind: 'ping', nonce: 300 }],
]

const serverMessages: readonly [string, ServerMessage][] = [
  [
    '41 01 80 80 04 80 80 80 10 b0 ea 01 05 66 73 79 6e 63',
    {
      kind: 'welcome',
      version: 1,
      partBytes: 65_536,
      messageBytesMax: 33_554_432,
      pingMs: 30_000,
      durability: 'fsync',
    },
  ],
  ['42 07 09 00 2a 01 03 01 00 00', { ...opened(), catchUp: { kind: 'nothing' } }],
  [
    '42 07 09 00 2a 01 03 01 00 01 29 02 01 aa 01 bb',
    { ...opened(), catchUp: { kind: 'entries', offset: offset(41), updates: [bytes(0xaa), bytes(0xbb)] } },
  ],
  [
    '42 07 09 00 2a 01 03 01 00 02 02 aa bb',
    { ...opened(), catchUp: { kind: 'update', update: bytes(0xaa, 0xbb) } },
  ],
  ['43 09 2a 01 02 aa bb', { kind: 'updates', channel: 9, offset: offset(42), updates: [bytes(0xaa, 0xbb)] }],
  ['44 09 03 2a', { kind: 'ack', channel: 9, sequence: 3, offset: offset(42) }],
  ['45 09 03 09 726561645f6f6e6c79 02 6e6f 00 00 00', { kind: 'nack', channel: 9, sequence: 3, problem }],
  ['46 09 02 01 02', { kind: 'awareness', channel: 9, awareness: bytes(1, 2) }],
  [
    '47 09 09 726561645f6f6e6c79 02 6e6f 01 e807 05',
    { kind: 'closed', channel: 9, problem: { ...problem, retryMs: 1000, epoch: offset(5) } },
  ],
  ['48 07 09 726561645f6f6e6c79 02 6e6f 00 00 00', { kind: 'refused', request: 7, problem }],
  ['49 00 e807', { kind: 'hint', hint: 'drain', milliseconds: 1000 }],
  ['49 01 e0d403', { kind: 'hint', hint: 'token', milliseconds: 60_000 }],
  ['4a ac02', { kind: 'pong', nonce: 300 }],
  ['4b 09 2a 02 aa bb', { kind: 'caught-up', channel: 9, offset: offset(42), update: bytes(0xaa, 0xbb) }],
  ['4c 06 6d656d6f7279', { kind: 'durability', durability: 'memory' }],
]

function opened() {
  const at = { epoch: offset(0), offset: offset(42) }
  const { kind, access } = { kind: 'opened', access: 'write' } as const
  return { kind, request: 7, channel: 9, ...at, access, acked: 3, version: bytes(0) }
}

const joined = (text: string): string => text.replaceAll(' ', '')

test.each(clientMessages)('%s is what the client says', (text, message) => {
  expect(hex(encodeClientMessage(message))).toBe(joined(text))
  expect(decodeClientMessage(Uint8Array.from(Buffer.from(joined(text), 'hex')))).toEqual(message)
})

test.each(serverMessages)('%s is what the server says', (text, message) => {
  expect(hex(encodeServerMessage(message))).toBe(joined(text))
  expect(decodeServerMessage(Uint8Array.from(Buffer.from(joined(text), 'hex')))).toEqual(message)
})

test('an update in chunks is the same bytes, and the chunks are not copied', () => {
  const chunks = [bytes(0xaa), bytes(0xbb)]
  const at = { kind: 'caught-up', channel: 9, offset: offset(42) } as const
  for (const message of [opened(), at]) {
    const encoded = encodeWithChunks(message, chunks)
    expect(encoded.slice(1)).toEqual(chunks)
    expect(encoded[1]).toBe(chunks[0])
    const update = bytes(0xaa, 0xbb)
    const whole: ServerMessage =
      message.kind === 'opened' ? { ...message, catchUp: { kind: 'update', update } } : { ...message, update }
    expect(hex(Buffer.concat(encoded))).toBe(hex(encodeServerMessage(whole)))
  }
})

test.each([
  ['nothing', ''],
  ['an unknown kind', '07'],
  ['a message of the other direction', '44 09 03 2a'],
  ['a part, where a whole message is due', '0f 00 06 01'],
  ['bytes after the message', '05 09 00'],
  ['an integer that does not end', '05 80'],
  ['an integer beyond 2^53 - 1', '05 ff ff ff ff ff ff ff 7f'],
  ['a string that is not UTF-8', '01 01 ff'],
  ['a string longer than the message', '01 05 61'],
  ['an engine without a name', '02 00 01 61 02 00 01 72 00 00 00'],
  ['a replica without a name', '02 00 01 61 00 00 00 00 00 00'],
  ['a replica of 65 bytes', `02 00 01 61 00 00 41 ${'72'.repeat(65)} 00 00 00`],
  ['a push of nothing', '03 09 01 00'],
  ['a push with sequence 0', '03 09 00 01 00'],
  ['a push whose sequences run out', `03 09 ff ff ff ff ff ff ff 0f 01 01 aa`],
  ['a push of 4,097 updates', `03 09 01 81 20 ${'00'.repeat(4_097)}`],
  ['a push that promises more than it has', '03 09 01 80 20 01 aa'],
])('%s is refused', (_what, text) => {
  expect(() => decodeClientMessage(Buffer.from(joined(text), 'hex'))).toThrow(
    expect.objectContaining({ code: 'malformed_frame' }),
  )
})

test.each([
  ['updates from offset 0', '43 09 00 01 01 aa'],
  ['updates whose offsets run out', '43 09 ff ff ff ff ff ff ff 0f 01 01 aa'],
  ['a time to retry never', '48 07 01 61 01 61 00 01 00'],
  ['an access without a name', '42 07 09 00 2a 02 03 01 00 00'],
  ['a catch-up of no kind', '42 07 09 00 2a 01 03 01 00 03'],
  ['a hint of no kind', '49 02 00'],
  ['an ack of sequence 0', '44 09 00 2a'],
])('%s: the client refuses it too', (_what, text) => {
  expect(() => decodeServerMessage(Buffer.from(joined(text), 'hex'))).toThrow(
    expect.objectContaining({ code: 'malformed_frame' }),
  )
})

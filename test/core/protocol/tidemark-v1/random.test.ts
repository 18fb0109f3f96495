/** What must hold for all messages and all bytes. fast-check prints the seed and the smallest case of a failure. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Offset } from '../../../../core/offset.ts'
import { TidemarkError } from '../../../../core/protocol/errors.ts'
import { decodeClientMessage, decodeServerMessage } from '../../../../core/protocol/tidemark-v1/decode.ts'
import { encodeClientMessage, encodeServerMessage } from '../../../../core/protocol/tidemark-v1/encode.ts'
import type { ClientMessage, ServerMessage } from '../../../../core/protocol/tidemark-v1/messages.ts'
import { Assembler, framesOf, splitMessage } from '../../../../core/protocol/tidemark-v1/parts.ts'

const number = fc.maxSafeNat()
const small = fc.nat(1_000_000)
const offset = number.map((value) => value as Offset)
const from1 = fc.integer({ min: 1, max: 2 ** 50 })
const first = from1.map((value) => value as Offset)
const text = fc.string({ unit: 'grapheme', maxLength: 40 })
const bytes = fc.uint8Array({ maxLength: 200 })
const updates = fc.array(bytes, { minLength: 1, maxLength: 20 })
const problem = fc.record({
  code: text,
  reason: text,
  retryMs: fc.option(small),
  epoch: offset,
})
const kind = <K extends string>(name: K) => fc.constant(name)

const clientMessage: fc.Arbitrary<ClientMessage> = fc.oneof(
  fc.record({ kind: kind('auth'), token: text }),
  fc.record({
    kind: kind('open'),
    request: number,
    document: text,
    engine: fc.constantFrom('yjs' as const, 'automerge' as const),
    token: text,
    replica: fc.stringMatching(/^[A-Za-z0-9_.-]{1,64}$/),
    have: fc.record({ epoch: offset, offset, version: bytes }),
  }),
  fc.record({ kind: kind('push'), channel: number, sequence: from1, updates }),
  fc.record({ kind: kind('awareness'), channel: number, awareness: bytes }),
  fc.record({ kind: kind('close'), channel: number }),
  fc.record({ kind: kind('ping'), nonce: number }),
)

const serverMessage: fc.Arbitrary<ServerMessage> = fc.oneof(
  fc.record({
    kind: kind('welcome'),
    version: small,
    partBytes: number,
    messageBytesMax: number,
    pingMs: number,
    durability: text,
  }),
  fc.record({
    kind: kind('opened'),
    request: number,
    channel: number,
    epoch: offset,
    offset,
    access: fc.constantFrom('read' as const, 'write' as const),
    acked: number,
    version: bytes,
    catchUp: fc.oneof(
      fc.record({ kind: kind('nothing') }),
      fc.record({ kind: kind('entries'), offset: first, updates }),
      fc.record({ kind: kind('update'), update: bytes }),
    ),
  }),
  fc.record({ kind: kind('updates'), channel: number, offset: first, updates }),
  fc.record({ kind: kind('ack'), channel: number, sequence: from1, offset }),
  fc.record({ kind: kind('nack'), channel: number, sequence: from1, problem }),
  fc.record({ kind: kind('awareness'), channel: number, awareness: bytes }),
  fc.record({ kind: kind('closed'), channel: number, problem }),
  fc.record({ kind: kind('refused'), request: number, problem }),
  fc.record({
    kind: kind('hint'),
    hint: fc.constantFrom('drain' as const, 'token' as const),
    milliseconds: number,
  }),
  fc.record({ kind: kind('pong'), nonce: number }),
  fc.record({ kind: kind('caught-up'), channel: number, offset, update: bytes }),
  fc.record({ kind: kind('durability'), durability: text }),
)

/** Decodes, or throws nothing but `malformed_frame`. */
function tries(decode: (bytes: Uint8Array) => unknown, message: Uint8Array): void {
  try {
    decode(message)
  } catch (error) {
    expect(error).toBeInstanceOf(TidemarkError)
    expect((error as TidemarkError).code).toBe('malformed_frame')
  }
}

test('what is encoded decodes to the same', () => {
  fc.assert(
    fc.property(clientMessage, (message) => {
      expect(decodeClientMessage(encodeClientMessage(message))).toEqual(message)
    }),
    { numRuns: 500 },
  )
  fc.assert(
    fc.property(serverMessage, (message) => {
      expect(decodeServerMessage(encodeServerMessage(message))).toEqual(message)
    }),
    { numRuns: 1_000 },
  )
})

test('a message that is cut anywhere is refused', () => {
  const cut = <T>(decode: (bytes: Uint8Array) => T, whole: Uint8Array): void => {
    for (let end = 0; end < whole.length; end++)
      expect(() => decode(whole.subarray(0, end)), `${end} of ${whole.length}`).toThrow(TidemarkError)
  }
  fc.assert(fc.property(clientMessage, (message) => cut(decodeClientMessage, encodeClientMessage(message))))
  fc.assert(fc.property(serverMessage, (message) => cut(decodeServerMessage, encodeServerMessage(message))))
})

test('random bytes and flipped bits are refused, or are a message', () => {
  fc.assert(
    fc.property(fc.nat(0x50), fc.uint8Array({ maxLength: 100 }), (first, rest) => {
      const message = Uint8Array.of(first, ...rest)
      tries(decodeClientMessage, message)
      tries(decodeServerMessage, message)
    }),
    { numRuns: 5_000 },
  )
  fc.assert(
    fc.property(clientMessage, serverMessage, number, fc.nat(7), (client, server, at, bit) => {
      for (const [decode, whole] of [
        [decodeClientMessage, encodeClientMessage(client)],
        [decodeServerMessage, encodeServerMessage(server)],
      ] as const) {
        const flipped = whole.slice()
        flipped[at % flipped.length]! ^= 1 << bit
        tries(decode, flipped)
      }
    }),
    { numRuns: 1_000 },
  )
})

test('a huge count allocates nothing', () => {
  // 2^48 updates, a string of 2^48 bytes, a part of 2^48 bytes: refused before anything is made of that size.
  const huge = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40]
  tries(decodeClientMessage, Uint8Array.of(0x03, 1, 1, ...huge))
  tries(decodeServerMessage, Uint8Array.of(0x43, 1, 1, ...huge))
  tries(decodeClientMessage, Uint8Array.of(0x01, ...huge))
  const before = process.memoryUsage().arrayBuffers
  const assembler = new Assembler(2 ** 50)
  expect(assembler.take(Uint8Array.of(0x0f, ...huge, 1, 2, 3))).toBe(null)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000)
})

test('a message in parts is the same message, whatever comes between its parts', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 3_000 }), { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 10, max: 2_000 }),
      (chunks, partBytes) => {
        // No message begins as a part does.
        const whole = Buffer.concat([Uint8Array.of(0x03), ...chunks])
        const split = splitMessage(whole, partBytes)
        const views = framesOf([Uint8Array.of(0x03), ...chunks], partBytes)
        expect(views.map((pieces) => Buffer.concat(pieces))).toEqual(split.map((frame) => Buffer.from(frame)))
        const assembler = new Assembler(whole.length)
        const between = Uint8Array.of(0x06, 0x01)
        split.forEach((frame, i) => {
          expect(frame.length).toBeLessThanOrEqual(partBytes)
          const message = assembler.take(frame)
          if (i < split.length - 1) {
            expect(message).toBe(null)
            expect(assembler.take(between)).toBe(between)
          } else expect(Buffer.from(message!)).toEqual(whole)
        })
      },
    ),
    { numRuns: 300 },
  )
})

test.each([
  ['a message beyond the limit', [[0x06, ...new Array<number>(10).fill(1)]]],
  ['parts of a message beyond the limit', [[0x0f, 10, 1]]],
  ['an empty part', [[0x0f, 0]]],
  [
    'an empty part on the way',
    [
      [0x0f, 2, 3],
      [0x0f, 2],
    ],
  ],
  [
    'a part that is not the next one',
    [
      [0x0f, 2, 3],
      [0x0f, 0, 3],
    ],
  ],
  [
    'a part of another message',
    [
      [0x0f, 2, 3],
      [0x0f, 5, 3],
    ],
  ],
  ['parts of parts', [[0x0f, 2, 0x0f]]],
  ['a part without a number', [[0x0f, 0x80]]],
])('%s: refused', (_what, frames) => {
  const assembler = new Assembler(10)
  const last = frames.at(-1)!
  for (const frame of frames.slice(0, -1)) expect(assembler.take(Uint8Array.from(frame))).toBe(null)
  expect(() => assembler.take(Uint8Array.from(last))).toThrow(
    expect.objectContaining({ code: 'malformed_frame' }),
  )
})

test('random parts are put together or refused, and never exceed the limit', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(40), fc.uint8Array({ maxLength: 40 })), { maxLength: 20 }),
      (frames) => {
        const assembler = new Assembler(50)
        for (const [left, payload] of frames)
          tries(
            (frame) => {
              const message = assembler.take(frame)
              if (message !== null) expect(message.length).toBeLessThanOrEqual(50)
            },
            Uint8Array.of(0x0f, left, ...payload),
          )
      },
    ),
    { numRuns: 2_000 },
  )
})

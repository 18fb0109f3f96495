/**
 * The Hocuspocus codec against lib0's own coding: it reads what providers write, writes what they read, and refuses everything
 * else as `malformed_frame`, whatever the bytes.
 */
import fc from 'fast-check'
import * as decoding from 'lib0/decoding'
import { describe, expect, test } from 'vitest'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import {
  type ClientMessage,
  decodeClientFrame,
  decodeMessageTo,
  documentNameOf,
  encodeAddress,
  encodeServerMessage,
  type ServerMessage,
} from '../../../core/protocol/hocuspocus.ts'
import { encode } from '../../support/hocuspocus-client.ts'

const text = fc.string({ unit: 'binary', maxLength: 60 }).filter((string) => string.isWellFormed())
const address = fc.oneof(
  text,
  fc.tuple(text, text).map(([name, session]) => `${name}\0${session}`),
)
const bytes = fc.uint8Array({ maxLength: 200 })

type Parts = (number | string | Uint8Array)[]
const clientMessage: fc.Arbitrary<[ClientMessage, Parts]> = fc.oneof(
  bytes.map((version): [ClientMessage, Parts] => [{ kind: 'sync-step-1', version }, [0, 0, version]]),
  bytes.map((update): [ClientMessage, Parts] => [{ kind: 'sync-step-2', update }, [0, 1, update]]),
  bytes.map((update): [ClientMessage, Parts] => [{ kind: 'update', update }, [0, 2, update]]),
  bytes.map((awareness): [ClientMessage, Parts] => [{ kind: 'awareness', awareness }, [1, awareness]]),
  text.map((token): [ClientMessage, Parts] => [{ kind: 'auth', token, client: null }, [2, 0, token]]),
  fc
    .tuple(text, text)
    .map(([token, client]): [ClientMessage, Parts] => [
      { kind: 'auth', token, client },
      [2, 0, token, client],
    ]),
  text.map((payload): [ClientMessage, Parts] => [{ kind: 'stateless', payload }, [5, payload]]),
  fc.constant<[ClientMessage, Parts]>([{ kind: 'query-awareness' }, [3]]),
  fc.constant<[ClientMessage, Parts]>([{ kind: 'close' }, [7]]),
)

describe('frames of a client', () => {
  test('are read as they were written', () => {
    fc.assert(
      fc.property(address, clientMessage, (to, [message, parts]) => {
        expect(decodeClientFrame(encode(to, ...parts))).toEqual({ kind: 'message', address: to, message })
      }),
      { numRuns: 500 },
    )
  })

  test('to an address that is known are read alike, and those to any other are left alone', () => {
    fc.assert(
      fc.property(address, address, clientMessage, (to, other, [message, parts]) => {
        const frame = encode(to, ...parts)
        expect(decodeMessageTo(encodeAddress(to), frame)).toEqual(message)
        if (other !== to) expect(decodeMessageTo(encodeAddress(other), frame)).toBe(null)
        expect(() => decodeMessageTo(encodeAddress(to), Buffer.concat([frame, Buffer.of(0x80)]))).toThrow(
          TidemarkError,
        )
      }),
      { numRuns: 500 },
    )
  })

  test('a ping and a pong are one byte', () => {
    expect(decodeClientFrame(Uint8Array.of(9))).toEqual({ kind: 'ping' })
    expect(decodeClientFrame(Uint8Array.of(10))).toEqual({ kind: 'pong' })
  })

  test('cut off anywhere, or with a byte too many, are refused; but a token says its version or not', () => {
    fc.assert(
      fc.property(address, clientMessage, fc.nat(), (to, [message, parts], at) => {
        const frame = encode(to, ...parts)
        const longer = new Uint8Array(frame.length + 1)
        longer.set(frame)
        longer[frame.length] = 0x80
        expect(outcome(longer)).toBe('malformed_frame')
        const shorter = frame.subarray(0, at % frame.length)
        const bare = message.kind === 'auth' && shorter.length === encode(to, ...parts.slice(0, 3)).length
        const signal = shorter.length === 1 && (shorter[0] === 9 || shorter[0] === 10)
        expect(outcome(shorter)).toBe(bare || signal ? 'taken' : 'malformed_frame')
      }),
      { numRuns: 500 },
    )
  })

  test('of random bytes are taken or refused, and nothing else happens', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (frame) => {
        expect(['taken', 'malformed_frame']).toContain(outcome(frame))
      }),
      { numRuns: 3_000 },
    )
  })

  test.each([
    ['a broadcast, which only servers send', '01610601 61'],
    ['a status, which only servers send', '0161 0801'],
    ['an answer to a token', '0161 02020461626364'],
    ['a length of 2^53', '0161 0002 ffffffffffffff0f00'],
    ['an address longer than any may be', `${'8a05'}${'61'.repeat(650)}07`],
  ])('%s is refused', (_what, hex) => {
    expect(outcome(Buffer.from(hex.replaceAll(' ', ''), 'hex'))).toBe('malformed_frame')
  })

  test('the longest name with the longest session is none too long', () => {
    const to = `${'a'.repeat(512)}\0${'b'.repeat(128)}`
    expect(decodeClientFrame(encode(to, 7))).toEqual({
      kind: 'message',
      address: to,
      message: { kind: 'close' },
    })
  })
})

test('an address begins with the name of its document', () => {
  expect(documentNameOf('deals/1')).toBe('deals/1')
  expect(documentNameOf('deals/1\0session')).toBe('deals/1')
  expect(documentNameOf('\0session')).toBe('')
})

test.each<[ServerMessage, string]>([
  [{ kind: 'sync-step-1', version: Uint8Array.of(0) }, '0000 0100'],
  [{ kind: 'awareness', awareness: Uint8Array.of(0) }, '01 0100'],
  [{ kind: 'token-request' }, '0200'],
  [{ kind: 'denied', reason: 'no' }, '0201 026e6f'],
  [{ kind: 'authenticated', scope: 'readonly' }, '0202 08726561646f6e6c79'],
  [{ kind: 'authenticated', scope: 'read-write' }, '0202 0a726561642d7772697465'],
  [{ kind: 'stateless', payload: 'é' }, '05 02c3a9'],
  [{ kind: 'closed', reason: 'bye' }, '07 03627965'],
  [{ kind: 'sync-status', applied: true }, '0801'],
  [{ kind: 'sync-status', applied: false }, '0800'],
])('a server writes %o', (message, hex) => {
  const frame = encodeServerMessage(encodeAddress('d\0s'), message)
  const decoder = decoding.createDecoder(frame)
  expect(decoding.readVarString(decoder)).toBe('d\0s')
  expect(Buffer.from(decoding.readTailAsUint8Array(decoder)).toString('hex')).toBe(hex.replaceAll(' ', ''))
})

function outcome(frame: Uint8Array): string {
  try {
    decodeClientFrame(frame)
    return 'taken'
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error
    return error.code
  }
}

/** The CBOR of automerge-repo's messages, against what its own clients write and read. */
import { cbor } from '@automerge/automerge-repo/slim'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decodeClientFrame,
  encodeTarget,
  ephemeralMessage,
  errorMessage,
  peerMessage,
  remoteHeadsMessage,
  syncMessageHead,
  targeted,
  type Untargeted,
  unavailableMessage,
} from '../../../core/protocol/automerge-repo.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'

const bytes = Uint8Array.of(1, 2, 3)
const ids = { senderId: 'peer', targetId: 'server' }
const told = { ...ids, documentId: 'doc' }
const read = (message: unknown) => decodeClientFrame(Uint8Array.from(cbor.encode(message)))
const refused = (frame: Uint8Array): string => {
  try {
    decodeClientFrame(frame)
    return 'taken'
  } catch (error) {
    expect(error).toBeInstanceOf(TidemarkError)
    return (error as TidemarkError).code
  }
}

test('reads what clients write', () => {
  const peerMetadata = { storageId: undefined, isEphemeral: true }
  expect(read({ type: 'join', senderId: 'peer', peerMetadata, supportedProtocolVersions: ['1'] })).toEqual({
    type: 'join',
    senderId: 'peer',
    metadata: { isEphemeral: true },
    versions: ['1'],
  })
  expect(read({ type: 'join', senderId: 'peer' })).toMatchObject({ metadata: {}, versions: null })
  for (const type of ['sync', 'request'])
    expect(read({ type, ...told, data: bytes })).toEqual({
      type,
      senderId: 'peer',
      documentId: 'doc',
      data: bytes,
    })
  expect(read({ type: 'doc-unavailable', ...told })).toEqual({
    type: 'doc-unavailable',
    senderId: 'peer',
    documentId: 'doc',
  })
  expect(read({ type: 'ephemeral', ...told, count: 2 ** 40, sessionId: 's', data: bytes })).toMatchObject({
    count: 2 ** 40,
    sessionId: 's',
    data: bytes,
  })
  expect(read({ type: 'remote-subscription-change', ...ids, add: ['a'], remove: undefined })).toMatchObject({
    add: ['a'],
    remove: [],
  })
  const newHeads = { storage: { heads: ['h'], timestamp: 1_700_000_000_000 } }
  expect(read({ type: 'remote-heads-changed', ...told, newHeads })).toMatchObject({
    newHeads: new Map([['storage', newHeads.storage]]),
  })
  expect(read({ type: 'of-tomorrow', ...told })).toEqual({ type: 'unknown', senderId: 'peer' })
})

test('writes what clients read', () => {
  const target = encodeTarget('peer')
  const ephemeral = { senderId: 'other', count: 7, sessionId: 's', documentId: 'doc', data: bytes }
  const newHeads = { storage: { heads: ['h'], timestamp: 1_700_000_000_000 } }
  const written = [
    [
      Buffer.concat([syncMessageHead('server', 'doc', 3), bytes]) as Uint8Array as Untargeted,
      { type: 'sync', senderId: 'server', documentId: 'doc', data: bytes },
    ],
    [unavailableMessage('server', 'doc'), { type: 'doc-unavailable', senderId: 'server', documentId: 'doc' }],
    [ephemeralMessage(ephemeral), { type: 'ephemeral', ...ephemeral }],
    [errorMessage('server', 'why'), { type: 'error', senderId: 'server', message: 'why' }],
    [
      peerMessage('server', { storageId: 'x', isEphemeral: false }),
      {
        type: 'peer',
        senderId: 'server',
        peerMetadata: { storageId: 'x', isEphemeral: false },
        selectedProtocolVersion: '1',
      },
    ],
    [
      remoteHeadsMessage('server', 'doc', newHeads),
      { type: 'remote-heads-changed', senderId: 'server', documentId: 'doc', newHeads },
    ],
  ] as const
  for (const [message, expected] of written) {
    const decoded = cbor.decode(targeted(message, target)) as Record<string, unknown>
    expect({
      ...decoded,
      ...('data' in decoded ? { data: Uint8Array.from(decoded['data'] as Uint8Array) } : {}),
    }).toEqual({
      ...expected,
      targetId: 'peer',
    })
  }
})

describe('what nobody sends is refused', () => {
  test.each([
    ['nothing', Uint8Array.of()],
    ['no map', cbor.encode(['sync'])],
    ['a truncated map', cbor.encode({ type: 'sync', ...told, data: bytes }).subarray(0, -1)],
    ['bytes behind the map', Uint8Array.from([...cbor.encode({ type: 'doc-unavailable', ...told }), 0])],
    ['no type', cbor.encode(told)],
    ['no sender', cbor.encode({ type: 'doc-unavailable', documentId: 'd' })],
    ['an endless id', cbor.encode({ type: 'doc-unavailable', senderId: 'x'.repeat(257), documentId: 'd' })],
    ['no data', cbor.encode({ type: 'sync', ...told })],
    ['data of no bytes', cbor.encode({ type: 'sync', ...told, data: Uint8Array.of() })],
    ['a text as data', cbor.encode({ type: 'sync', ...told, data: 'abc' })],
    ['a count below 0', cbor.encode({ type: 'ephemeral', ...told, count: -1, sessionId: 's', data: bytes })],
    ['versions that are none', cbor.encode({ type: 'join', ...ids, supportedProtocolVersions: 'all' })],
    ['heads that are none', cbor.encode({ type: 'remote-heads-changed', ...told, newHeads: { s: [] } })],
    ['a list said to be long', Buffer.from('9b00000000ffffffff', 'hex')],
    ['bytes said to be long', Buffer.from('5b0000001fffffffff00', 'hex')],
    ['a million lists in each other', Buffer.from('81'.repeat(1_000_000), 'hex')],
    ['a million lists side by side', Buffer.from(`9a000f4240${'80'.repeat(1_000_000)}`, 'hex')],
    ['a key said twice', Buffer.from('a2617801617802', 'hex')],
  ])('%s', (_, frame) => {
    expect(refused(frame)).toBe('malformed_frame')
  })

  test('whatever it is, it is refused or read, and nothing else is thrown', () => {
    const whole = cbor.encode({ type: 'ephemeral', ...told, count: 1, sessionId: 's', data: bytes })
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (frame) => {
        refused(frame)
      }),
      { numRuns: 500 },
    )
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), (at, value) => {
        const damaged = Uint8Array.from(whole)
        damaged[at] = value
        refused(damaged)
      }),
      { numRuns: 1000 },
    )
  })
})

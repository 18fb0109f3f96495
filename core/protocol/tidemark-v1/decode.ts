/**
 * Bytes to messages, for both ends. Everything that is not exactly a message of the grammar throws
 * `malformed_frame`: an unknown kind, a number out of its range, a count that the bytes cannot hold, bytes after
 * the end. A count allocates nothing before its items are read, so what decoding takes is bounded by the bytes.
 */
import { ByteReader, MalformedBytes } from '../../bytes.ts'
import type { Offset } from '../../offset.ts'
import { TidemarkError } from '../error-codes.ts'
import {
  type CatchUp,
  type ClientMessage,
  type Have,
  kinds,
  type Problem,
  replicaName,
  type ServerMessage,
  unackedUpdatesMax,
  updatesPerMessageMax,
  wireEngines,
} from './messages.ts'

export function decodeClientMessage(message: Uint8Array): ClientMessage {
  return decodeWhole(message, clientMessage)
}

export function decodeServerMessage(message: Uint8Array): ServerMessage {
  return decodeWhole(message, serverMessage)
}

function decodeWhole<T>(bytes: Uint8Array, decode: (reader: ByteReader) => T): T {
  try {
    const reader = new ByteReader(bytes)
    const message = decode(reader)
    if (reader.remaining > 0) throw new MalformedBytes(`${reader.remaining} bytes after the message`)
    return message
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error
    throw new TidemarkError('malformed_frame', `Malformed tidemark.v1 message: ${error.message}`)
  }
}

function clientMessage(reader: ByteReader): ClientMessage {
  const kind = reader.uint8()
  switch (kind) {
    case kinds.auth:
      return { kind: 'auth', token: reader.varString() }
    case kinds.open:
      return {
        kind: 'open',
        request: reader.varUint(),
        document: reader.varString(),
        engine: wireEngines[oneOf(reader, wireEngines.length, 'engine')]!,
        token: reader.varString(),
        replica: replica(reader),
        have: have(reader),
      }
    case kinds.push: {
      const channel = reader.varUint()
      const sequence = sequenceFrom(reader)
      const updates = byteStrings(reader, unackedUpdatesMax)
      if (sequence > Number.MAX_SAFE_INTEGER - updates.length)
        throw new MalformedBytes('sequence out of range')
      return { kind: 'push', channel, sequence, updates }
    }
    case kinds.clientAwareness:
      return { kind: 'awareness', channel: reader.varUint(), awareness: reader.varBytes() }
    case kinds.close:
      return { kind: 'close', channel: reader.varUint() }
    case kinds.ping:
      return { kind: 'ping', nonce: reader.varUint() }
    default:
      throw new MalformedBytes(`unknown kind ${kind}`)
  }
}

function serverMessage(reader: ByteReader): ServerMessage {
  const kind = reader.uint8()
  switch (kind) {
    case kinds.welcome:
      return {
        kind: 'welcome',
        version: reader.varUint(),
        partBytes: reader.varUint(),
        messageBytesMax: reader.varUint(),
        pingMs: reader.varUint(),
        durability: reader.varString(),
      }
    case kinds.opened:
      return {
        kind: 'opened',
        request: reader.varUint(),
        channel: reader.varUint(),
        epoch: offset(reader),
        offset: offset(reader),
        access: oneOf(reader, 2, 'access') === 0 ? 'read' : 'write',
        acked: reader.varUint(),
        version: reader.varBytes(),
        catchUp: catchUp(reader),
      }
    case kinds.updates:
      return { kind: 'updates', channel: reader.varUint(), ...entries(reader) }
    case kinds.ack:
      return {
        kind: 'ack',
        channel: reader.varUint(),
        sequence: sequenceFrom(reader),
        offset: offset(reader),
      }
    case kinds.nack:
      return {
        kind: 'nack',
        channel: reader.varUint(),
        sequence: sequenceFrom(reader),
        problem: problem(reader),
      }
    case kinds.serverAwareness:
      return { kind: 'awareness', channel: reader.varUint(), awareness: reader.varBytes() }
    case kinds.closed:
      return { kind: 'closed', channel: reader.varUint(), problem: problem(reader) }
    case kinds.refused:
      return { kind: 'refused', request: reader.varUint(), problem: problem(reader) }
    case kinds.hint: {
      const hint = oneOf(reader, 2, 'hint') === 0 ? 'drain' : 'token'
      return { kind: 'hint', hint, milliseconds: reader.varUint() }
    }
    case kinds.pong:
      return { kind: 'pong', nonce: reader.varUint() }
    case kinds.caughtUp:
      return {
        kind: 'caught-up',
        channel: reader.varUint(),
        offset: offset(reader),
        update: reader.varBytes(),
      }
    case kinds.durability:
      return { kind: 'durability', durability: reader.varString() }
    default:
      throw new MalformedBytes(`unknown kind ${kind}`)
  }
}

function have(reader: ByteReader): Have {
  return { epoch: offset(reader), offset: offset(reader), version: reader.varBytes() }
}

function catchUp(reader: ByteReader): CatchUp {
  switch (oneOf(reader, 3, 'catch-up')) {
    case 0:
      return { kind: 'nothing' }
    case 1:
      return { kind: 'entries', ...entries(reader) }
    default:
      return { kind: 'update', update: reader.varBytes() }
  }
}

/** The first one's offset, and updates whose offsets follow one another. */
function entries(reader: ByteReader): { offset: Offset; updates: Uint8Array[] } {
  const first = offset(reader)
  const updates = byteStrings(reader, updatesPerMessageMax)
  if (first === 0 || first > Number.MAX_SAFE_INTEGER - updates.length)
    throw new MalformedBytes('offset out of range')
  return { offset: first, updates }
}

function problem(reader: ByteReader): Problem {
  const code = reader.varString()
  const reason = reader.varString()
  const retry = oneOf(reader, 2, 'retry')
  const milliseconds = reader.varUint()
  if (retry === 0 && milliseconds !== 0) throw new MalformedBytes('a time, but no retry')
  return { code, reason, retryMs: retry === 0 ? null : milliseconds, epoch: offset(reader) }
}

function byteStrings(reader: ByteReader, countMax: number): Uint8Array[] {
  const count = reader.varUint()
  if (count === 0) throw new MalformedBytes('no updates')
  if (count > countMax) throw new MalformedBytes(`${count} updates exceed ${countMax}`)
  const list: Uint8Array[] = []
  for (let i = 0; i < count; i++) list.push(reader.varBytes())
  return list
}

function replica(reader: ByteReader): string {
  const name = reader.varString()
  if (!replicaName.test(name)) throw new MalformedBytes('a replica has 1 to 64 letters, digits, _, . or -')
  return name
}

function sequenceFrom(reader: ByteReader): number {
  const sequence = reader.varUint()
  if (sequence === 0) throw new MalformedBytes('sequences begin at 1')
  return sequence
}

function oneOf(reader: ByteReader, count: number, what: string): number {
  const value = reader.varUint()
  if (value >= count) throw new MalformedBytes(`unknown ${what} ${value}`)
  return value
}

/** Every varUint is one. */
const offset = (reader: ByteReader): Offset => reader.varUint() as Offset

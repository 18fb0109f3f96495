/**
 * Messages to bytes, for both ends. What is encoded is taken as valid: limits are the sender's business, and the
 * receiver's decoding refuses what breaks them.
 */
import { ByteWriter } from '../../bytes.ts'
import {
  type CatchUp,
  type CaughtUp,
  type ClientMessage,
  kinds,
  type Opened,
  type Problem,
  type ServerMessage,
  wireEngines,
} from './messages.ts'

export function encodeClientMessage(message: ClientMessage): Uint8Array {
  const writer = new ByteWriter()
  switch (message.kind) {
    case 'auth':
      writer.uint8(kinds.auth).varString(message.token)
      break
    case 'open': {
      const { epoch, offset, version } = message.have
      writer.uint8(kinds.open).varUint(message.request).varString(message.document)
      writer.varUint(wireEngines.indexOf(message.engine)).varString(message.token).varString(message.replica)
      writer.varUint(epoch).varUint(offset).varBytes(version)
      break
    }
    case 'push':
      writer.uint8(kinds.push).varUint(message.channel).varUint(message.sequence)
      byteStrings(writer, message.updates)
      break
    case 'awareness':
      writer.uint8(kinds.clientAwareness).varUint(message.channel).varBytes(message.awareness)
      break
    case 'close':
      writer.uint8(kinds.close).varUint(message.channel)
      break
    case 'ping':
      writer.uint8(kinds.ping).varUint(message.nonce)
      break
    default:
      message satisfies never
  }
  return writer.finish()
}

export function encodeServerMessage(message: ServerMessage): Uint8Array {
  const writer = new ByteWriter()
  switch (message.kind) {
    case 'welcome':
      writer.uint8(kinds.welcome).varUint(message.version).varUint(message.partBytes)
      writer.varUint(message.messageBytesMax).varUint(message.pingMs).varString(message.durability)
      break
    case 'opened':
      opened(writer, message)
      catchUp(writer, message.catchUp)
      break
    case 'updates':
      writer.uint8(kinds.updates).varUint(message.channel).varUint(message.offset)
      byteStrings(writer, message.updates)
      break
    case 'ack':
      writer.uint8(kinds.ack).varUint(message.channel).varUint(message.sequence).varUint(message.offset)
      break
    case 'nack':
      writer.uint8(kinds.nack).varUint(message.channel).varUint(message.sequence)
      problem(writer, message.problem)
      break
    case 'awareness':
      writer.uint8(kinds.serverAwareness).varUint(message.channel).varBytes(message.awareness)
      break
    case 'closed':
      problem(writer.uint8(kinds.closed).varUint(message.channel), message.problem)
      break
    case 'refused':
      problem(writer.uint8(kinds.refused).varUint(message.request), message.problem)
      break
    case 'hint':
      writer
        .uint8(kinds.hint)
        .varUint(message.hint === 'drain' ? 0 : 1)
        .varUint(message.milliseconds)
      break
    case 'pong':
      writer.uint8(kinds.pong).varUint(message.nonce)
      break
    case 'caught-up':
      caughtUp(writer, message).varBytes(message.update)
      break
    case 'durability':
      writer.uint8(kinds.durability).varString(message.durability)
      break
    default:
      assertNever(message)
  }
  return writer.finish()
}

/**
 * A message that ends with one update, which is given in chunks: its beginning, then the chunks themselves, not
 * copied. For `opened` the catch-up is that update.
 */
export function encodeWithChunks(
  message: Omit<Opened, 'catchUp'> | Omit<CaughtUp, 'update'>,
  chunks: readonly Uint8Array[],
): Uint8Array[] {
  const writer = new ByteWriter()
  if (message.kind === 'opened') opened(writer, message).varUint(catchUpKinds.update)
  else caughtUp(writer, message)
  writer.varUint(chunks.reduce((sum, chunk) => sum + chunk.length, 0))
  return [writer.finish(), ...chunks]
}

const catchUpKinds = { nothing: 0, entries: 1, update: 2 } as const

function opened(writer: ByteWriter, message: Omit<Opened, 'catchUp'>): ByteWriter {
  writer.uint8(kinds.opened).varUint(message.request).varUint(message.channel)
  writer
    .varUint(message.epoch)
    .varUint(message.offset)
    .varUint(message.access === 'read' ? 0 : 1)
  return writer.varUint(message.acked).varBytes(message.version)
}

function caughtUp(writer: ByteWriter, message: Omit<CaughtUp, 'update'>): ByteWriter {
  return writer.uint8(kinds.caughtUp).varUint(message.channel).varUint(message.offset)
}

function catchUp(writer: ByteWriter, value: CatchUp): void {
  writer.varUint(catchUpKinds[value.kind])
  switch (value.kind) {
    case 'nothing':
      return
    case 'entries':
      return byteStrings(writer.varUint(value.offset), value.updates)
    case 'update':
      writer.varBytes(value.update)
  }
}

function problem(writer: ByteWriter, { code, reason, retryMs, epoch }: Problem): void {
  writer.varString(code).varString(reason)
  writer
    .varUint(retryMs === null ? 0 : 1)
    .varUint(retryMs ?? 0)
    .varUint(epoch)
}

function byteStrings(writer: ByteWriter, list: readonly Uint8Array[]): void {
  writer.varUint(list.length)
  for (const bytes of list) writer.varBytes(bytes)
}

function assertNever(message: never): never {
  throw new TypeError(`no such message: ${JSON.stringify(message)}`)
}

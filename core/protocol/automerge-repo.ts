/**
 * The messages of automerge-repo's WebSocket adapter: one CBOR map a binary frame.
 *
 *   client to server                                         server to client
 *   join    {type, senderId, peerMetadata,                   peer  {type, senderId, peerMetadata,
 *            supportedProtocolVersions}                             selectedProtocolVersion, targetId}
 *                                                            error {type, senderId, message, targetId}
 *   sync, request {type, senderId, targetId, documentId, data}                    sync the same
 *   doc-unavailable {type, senderId, targetId, documentId}                        the same
 *   ephemeral {type, senderId, targetId, count, sessionId, documentId, data}      the same, relayed
 *   remote-subscription-change {type, senderId, targetId, add?, remove?}
 *   remote-heads-changed {type, senderId, targetId, documentId, newHeads}         the same
 *
 * `data` of sync and request is a message of automerge-sync.ts; `newHeads` maps a storage id to {heads: base58check…,
 * timestamp}. Clients write with cbor-x: maps with a length of two bytes, bytes without a tag, `undefined` for what is not
 * there. Unknown keys are ignored, as clients do. Whatever a frame holds, at most `tokensMax` values are made of it.
 * Source: @automerge/automerge-repo-network-websocket 2.5.6.
 */
import { decode, encode, Token, Tokenizer, Type } from 'cborg'
import { TidemarkError } from './error-codes.ts'

export const protocolVersion = '1'

export interface PeerMetadata {
  /** Of the storage that the peer keeps what it knows in. */
  readonly storageId?: string
  readonly isEphemeral?: boolean
}

export interface RemoteHeads {
  readonly heads: readonly string[]
  readonly timestamp: number
}

export type ClientMessage =
  | {
      readonly type: 'join'
      readonly senderId: string
      readonly metadata: PeerMetadata
      /** Null: it does not say. */
      readonly versions: readonly string[] | null
    }
  | {
      readonly type: 'sync' | 'request'
      readonly senderId: string
      readonly documentId: string
      readonly data: Uint8Array
    }
  | { readonly type: 'doc-unavailable'; readonly senderId: string; readonly documentId: string }
  | ({ readonly type: 'ephemeral' } & Ephemeral)
  | {
      readonly type: 'remote-subscription-change'
      readonly senderId: string
      readonly add: readonly string[]
      readonly remove: readonly string[]
    }
  | {
      readonly type: 'remote-heads-changed'
      readonly senderId: string
      readonly documentId: string
      readonly newHeads: ReadonlyMap<string, RemoteHeads>
    }
  /** Of a later version: to be ignored. */
  | { readonly type: 'unknown'; readonly senderId: string }

export interface Ephemeral {
  /** Who made it; not always who brings it. */
  readonly senderId: string
  readonly count: number
  readonly sessionId: string
  readonly documentId: string
  readonly data: Uint8Array
}

/** Values in one frame: a message has a dozen, one that subscribes to storages or tells their heads has more. */
const tokensMax = 4_096
/** Ids of peers, sessions and storages: automerge-repo makes them of 15 to 40 characters. */
export const idLengthMax = 256
/** In one message, and of one peer. */
export const storageIdsMax = 100

/** Throws `malformed_frame`. */
export function decodeClientFrame(frame: Uint8Array): ClientMessage {
  let fields: unknown
  try {
    fields = decode(frame, { tokenizer: new CountedTokens(frame), rejectDuplicateMapKeys: true })
  } catch {
    // What cborg says of bytes helps nobody who did not write them.
    return refuse('the frame is no CBOR that anybody sends')
  }
  if (!isMap(fields)) return refuse('the frame is no map')
  const senderId = idOf(fields, 'senderId')
  const { type } = fields
  switch (type) {
    case 'join': {
      const versions = fields['supportedProtocolVersions']
      return {
        type,
        senderId,
        metadata: metadataOf(fields['peerMetadata']),
        versions: versions === undefined ? null : idsOf(fields, 'supportedProtocolVersions'),
      }
    }
    case 'sync':
    case 'request':
      return { type, senderId, documentId: idOf(fields, 'documentId'), data: dataOf(fields) }
    case 'doc-unavailable':
      return { type, senderId, documentId: idOf(fields, 'documentId') }
    case 'ephemeral': {
      const { count } = fields
      if (!Number.isSafeInteger(count) || (count as number) < 0) return refuse('count is no number')
      const sessionId = idOf(fields, 'sessionId')
      const documentId = idOf(fields, 'documentId')
      return { type, senderId, count: count as number, sessionId, documentId, data: dataOf(fields) }
    }
    case 'remote-subscription-change':
      return { type, senderId, add: idsOf(fields, 'add'), remove: idsOf(fields, 'remove') }
    case 'remote-heads-changed':
      return { type, senderId, documentId: idOf(fields, 'documentId'), newHeads: remoteHeadsOf(fields) }
    default:
      if (typeof type !== 'string') return refuse('type is no string')
      return { type: 'unknown', senderId }
  }
}

/** A message but for its `targetId`, in which the same message to several peers differs. */
export type Untargeted = Uint8Array & { readonly __untargeted: never }

export function encodeUntargeted(fields: Readonly<Record<string, unknown>>): Untargeted {
  const map = encode(fields, { mapSorter: asGiven, typeEncoders: { number: asNumber } })
  if (map[0]! < mapMajor || map[0]! >= mapMajor + lengthInByteMax) throw new Error('not a small map')
  map[0]!++
  return map as Untargeted
}

/** What `targeted` appends; the same for all messages to a peer. */
export const encodeTarget = (peerId: string): Uint8Array => {
  const target = encode({ targetId: peerId })
  return target.subarray(1)
}

export function targeted(message: Untargeted, target: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(message.length + target.length)
  bytes.set(message)
  bytes.set(target, message.length)
  return bytes
}

/** A sync message up to its data, of which so many bytes follow; then comes what `encodeTarget` gives. */
export function syncMessageHead(senderId: string, documentId: string, dataBytes: number): Uint8Array {
  const start = encodeUntargeted({ type: 'sync', senderId, documentId })
  start[0]!++
  const length = dataBytes > 0xffff_ffff ? refuse('too long') : dataBytes
  const head = new Uint8Array(start.length + dataKey.length + 5)
  head.set(start)
  head.set(dataKey, start.length)
  const view = new DataView(head.buffer, start.length + dataKey.length)
  view.setUint8(0, bytesOfLength32)
  view.setUint32(1, length)
  return head
}

export const unavailableMessage = (senderId: string, documentId: string): Untargeted =>
  encodeUntargeted({ type: 'doc-unavailable', senderId, documentId })

export const ephemeralMessage = (ephemeral: Ephemeral): Untargeted => {
  const { senderId, count, sessionId, documentId, data } = ephemeral
  return encodeUntargeted({ type: 'ephemeral', senderId, count, sessionId, documentId, data })
}

export const errorMessage = (senderId: string, message: string): Untargeted =>
  encodeUntargeted({ type: 'error', senderId, message })

export const peerMessage = (senderId: string, peerMetadata: PeerMetadata): Untargeted =>
  encodeUntargeted({ type: 'peer', senderId, peerMetadata, selectedProtocolVersion: protocolVersion })

export const remoteHeadsMessage = (
  senderId: string,
  documentId: string,
  newHeads: Readonly<Record<string, RemoteHeads>>,
): Untargeted => encodeUntargeted({ type: 'remote-heads-changed', senderId, documentId, newHeads })

/** Clients read longer integers as BigInt. */
const asNumber = (value: unknown) =>
  typeof value === 'number' && value > 0xffff_ffff ? [new Token(Type.float, value)] : null
/** In the order in which the keys stand in the object. */
const asGiven = (): number => 0
const mapMajor = 0xa0
const dataKey = encode('data')
/** Bytes, with a length of 32 bits. */
const bytesOfLength32 = 0x5a
/** Longer maps have their length behind the first byte. */
const lengthInByteMax = 23

class CountedTokens extends Tokenizer {
  private count = 0

  override next() {
    if (++this.count > tokensMax) throw new Error('too many values')
    return super.next()
  }
}

type Fields = Readonly<Record<string, unknown>>

const isMap = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)

const isId = (value: unknown): value is string =>
  typeof value === 'string' && value.length > 0 && value.length <= idLengthMax

function idOf(fields: Fields, key: string): string {
  const value = fields[key]
  return isId(value) ? value : refuse(`${key} is no string of 1 to ${idLengthMax} characters`)
}

function idsOf(fields: Fields, key: string): readonly string[] {
  const value = fields[key]
  if (value === undefined || value === null) return []
  if (!Array.isArray(value) || value.length > storageIdsMax || !value.every(isId))
    return refuse(`${key} is no list of at most ${storageIdsMax} ids`)
  return value
}

function dataOf(fields: Fields): Uint8Array {
  const { data } = fields
  if (!(data instanceof Uint8Array) || data.length === 0) return refuse('data is no bytes')
  return data
}

function metadataOf(value: unknown): PeerMetadata {
  if (value === undefined || value === null) return {}
  if (!isMap(value)) return refuse('peerMetadata is no map')
  const { storageId, isEphemeral } = value
  return {
    ...(isId(storageId) ? { storageId } : {}),
    ...(typeof isEphemeral === 'boolean' ? { isEphemeral } : {}),
  }
}

function remoteHeadsOf(fields: Fields): ReadonlyMap<string, RemoteHeads> {
  const { newHeads } = fields
  if (!isMap(newHeads)) return refuse('newHeads is no map')
  const told = new Map<string, RemoteHeads>()
  for (const [storageId, value] of Object.entries(newHeads)) {
    if (!isId(storageId) || !isMap(value)) return refuse('newHeads is no map of heads')
    const { timestamp } = value
    if (typeof timestamp !== 'number' || !Number.isFinite(timestamp)) return refuse('timestamp is no number')
    told.set(storageId, { heads: idsOf(value, 'heads'), timestamp })
  }
  return told
}

function refuse(why: string): never {
  throw new TidemarkError('malformed_frame', `Malformed automerge-repo message: ${why}`)
}

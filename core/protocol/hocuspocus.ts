/**
 * The Hocuspocus dialect: many documents a socket, one message a binary WebSocket frame.
 *
 *   frame           = address message | 09 (ping) | 0a (pong)
 *   address         = varString(document) | varString(document 00 session)
 *
 *   client to server                                    server to client
 *   sync-step-1     = 00 00 varBytes(state vector)      the same
 *   sync-step-2     = 00 01 varBytes(update v1)         the same
 *   update          = 00 02 varBytes(update v1)         the same
 *   awareness       = 01 varBytes(awareness update)     the same
 *   auth            = 02 00 varString(token) [varString(version)]
 *                                                       token-request = 02 00
 *                                                       denied        = 02 01 varString(reason)
 *                                                       authenticated = 02 02 varString("readonly" | "read-write")
 *   query-awareness = 03
 *   stateless       = 05 varString(payload)             the same
 *   close           = 07                                closed        = 07 varString(reason)
 *                                                       sync-status   = 08 (01 | 00)
 *
 * An address is answered as it came: clients look up by it whom a message is for. The session part and the version come
 * from 4.x only; 2.x throws at `closed`, and 2.x and 3.x at a ping, so neither is sent to whoever did not say its version.
 * Sources: @hocuspocus/provider 2.15, 3.4 and 4.8.
 */
import { ByteReader, ByteWriter, MalformedBytes } from '../bytes.ts'
import { documentIdBytesMax } from '../document-id.ts'
import { TidemarkError } from './error-codes.ts'

export type ClientMessage =
  | { readonly kind: 'sync-step-1'; readonly version: Uint8Array }
  | { readonly kind: 'sync-step-2' | 'update'; readonly update: Uint8Array }
  | { readonly kind: 'awareness'; readonly awareness: Uint8Array }
  /** `client`: the version of the provider, null before 4.x. */
  | { readonly kind: 'auth'; readonly token: string; readonly client: string | null }
  | { readonly kind: 'query-awareness' }
  | { readonly kind: 'stateless'; readonly payload: string }
  | { readonly kind: 'close' }

export type ServerMessage =
  | { readonly kind: 'sync-step-1'; readonly version: Uint8Array }
  | { readonly kind: 'awareness'; readonly awareness: Uint8Array }
  | { readonly kind: 'token-request' }
  | { readonly kind: 'denied'; readonly reason: string }
  | { readonly kind: 'authenticated'; readonly scope: Scope }
  | { readonly kind: 'stateless'; readonly payload: string }
  | { readonly kind: 'closed'; readonly reason: string }
  | { readonly kind: 'sync-status'; readonly applied: boolean }

export type Scope = 'readonly' | 'read-write'

/** What a client sends: to one of its documents, or about the connection. */
export type ClientFrame =
  | { readonly kind: 'ping' }
  | { readonly kind: 'pong' }
  | { readonly kind: 'message'; readonly address: string; readonly message: ClientMessage }

const messageSync = 0
const messageAwareness = 1
const messageAuth = 2
const messageQueryAwareness = 3
const messageStateless = 5
const messageClose = 7
const messageSyncStatus = 8
const messagePing = 9
const messagePong = 10

const authToken = 0
const authDenied = 1
const authAuthenticated = 2

/** Of the part after a document's name: the provider takes about a dozen. */
export const sessionBytesMax = 128
export const addressBytesMax = documentIdBytesMax + 1 + sessionBytesMax

/** Payloads are views of `frame`. Throws `malformed_frame`. */
export function decodeClientFrame(frame: Uint8Array): ClientFrame {
  try {
    if (frame.length === 1 && frame[0] === messagePing) return { kind: 'ping' }
    if (frame.length === 1 && frame[0] === messagePong) return { kind: 'pong' }
    const reader = new ByteReader(frame)
    const address = reader.varString()
    if (reader.position > addressBytesMax + 2) throw new MalformedBytes('the address is too long')
    return { kind: 'message', address, message: decodeMessage(reader) }
  } catch (error) {
    throw refusalOf(error)
  }
}

/**
 * The message of a frame that begins with this address (as `encodeAddress` gives it), without reading what it says; null
 * when it does not, which may still be the same address in longer integers. Throws `malformed_frame`.
 */
export function decodeMessageTo(address: Uint8Array, frame: Uint8Array): ClientMessage | null {
  const { length } = address
  if (frame.length <= length) return null
  for (let i = 0; i < length; i++) if (frame[i] !== address[i]) return null
  try {
    return decodeMessage(new ByteReader(frame, length))
  } catch (error) {
    throw refusalOf(error)
  }
}

function refusalOf(error: unknown): unknown {
  if (!(error instanceof MalformedBytes)) return error
  return new TidemarkError('malformed_frame', `Malformed Hocuspocus message: ${error.message}`)
}

/** It ends with its frame. */
function decodeMessage(reader: ByteReader): ClientMessage {
  const message = decodeBeginning(reader)
  if (reader.remaining > 0) throw new MalformedBytes(`${reader.remaining} bytes after the message`)
  return message
}

function decodeBeginning(reader: ByteReader): ClientMessage {
  const type = reader.varUint()
  switch (type) {
    case messageSync:
      return decodeSync(reader)
    case messageAwareness:
      return { kind: 'awareness', awareness: reader.varBytes() }
    case messageAuth: {
      const step = reader.varUint()
      if (step !== authToken) throw new MalformedBytes(`unknown auth message ${step}`)
      const token = reader.varString()
      return { kind: 'auth', token, client: reader.remaining > 0 ? reader.varString() : null }
    }
    case messageQueryAwareness:
      return { kind: 'query-awareness' }
    case messageStateless:
      return { kind: 'stateless', payload: reader.varString() }
    case messageClose:
      return { kind: 'close' }
    default:
      throw new MalformedBytes(`unknown message type ${type}`)
  }
}

function decodeSync(reader: ByteReader): ClientMessage {
  const step = reader.varUint()
  const payload = reader.varBytes()
  switch (step) {
    case 0:
      return { kind: 'sync-step-1', version: payload }
    case 1:
      return { kind: 'sync-step-2', update: payload }
    case 2:
      return { kind: 'update', update: payload }
    default:
      throw new MalformedBytes(`unknown sync message ${step}`)
  }
}

/** The name of the document that an address begins with. */
export function documentNameOf(address: string): string {
  const end = address.indexOf('\0')
  return end === -1 ? address : address.slice(0, end)
}

/** As it stands in front of every message. */
export function encodeAddress(address: string): Uint8Array {
  return new ByteWriter(address.length + 8).varString(address).finish()
}

/** `address`: as `encodeAddress` gives it. */
export function encodeServerMessage(address: Uint8Array, message: ServerMessage): Uint8Array {
  const writer = new ByteWriter(address.length + 64).raw(address)
  switch (message.kind) {
    case 'sync-step-1':
      return writer.uint8(messageSync).uint8(0).varBytes(message.version).finish()
    case 'awareness':
      return writer.uint8(messageAwareness).varBytes(message.awareness).finish()
    case 'token-request':
      return writer.uint8(messageAuth).uint8(authToken).finish()
    case 'denied':
      return writer.uint8(messageAuth).uint8(authDenied).varString(message.reason).finish()
    case 'authenticated':
      return writer.uint8(messageAuth).uint8(authAuthenticated).varString(message.scope).finish()
    case 'stateless':
      return writer.uint8(messageStateless).varString(message.payload).finish()
    case 'closed':
      return writer.uint8(messageClose).varString(message.reason).finish()
    case 'sync-status':
      return writer
        .uint8(messageSyncStatus)
        .uint8(message.applied ? 1 : 0)
        .finish()
  }
}

export const pong = Uint8Array.of(messagePong)

/**
 * The y-websocket dialect: one document a socket, one message a binary WebSocket frame.
 *
 *   message         = sync-step-1 | sync-step-2 | update | awareness | query-awareness | denied
 *   sync-step-1     = 00 00 varBytes(state vector)
 *   sync-step-2     = 00 01 varBytes(update v1)
 *   update          = 00 02 varBytes(update v1)
 *   awareness       = 01 varBytes(awareness update)
 *   denied          = 02 00 varString(reason)         -- server to client only
 *   query-awareness = 03                              -- answered with awareness
 *
 * Towards the client there is at most one message in a frame: its reply encoder is shared, and a
 * second sync message would put a stray byte in front of its answer. Many frames may share one write.
 * Sources: y-protocols 1.0 (sync, awareness, auth), y-websocket 2.1 and 3.1.
 */
import { ByteReader, ByteWriter, MalformedBytes } from '../bytes.ts'
import { TidemarkError } from './errors.ts'

export type Message =
  | { readonly kind: 'sync-step-1'; readonly version: Uint8Array }
  | { readonly kind: 'sync-step-2'; readonly update: Uint8Array }
  | { readonly kind: 'update'; readonly update: Uint8Array }
  | { readonly kind: 'awareness'; readonly awareness: Uint8Array }
  | { readonly kind: 'query-awareness' }

export const messageSync = 0
export const messageAwareness = 1
const messageAuth = 2
const messageQueryAwareness = 3
export const syncStep1 = 0
export const syncStep2 = 1
export const syncUpdate = 2

/** Payloads are views of `frame`. Throws `malformed_frame`. */
export function decodeMessage(frame: Uint8Array): Message {
  try {
    const reader = new ByteReader(frame)
    const message = decode(reader)
    if (reader.remaining > 0) throw new MalformedBytes(`${reader.remaining} bytes after the message`)
    return message
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error
    throw new TidemarkError('malformed_frame', `Malformed y-websocket message: ${error.message}`)
  }
}

function decode(reader: ByteReader): Message {
  const type = reader.varUint()
  switch (type) {
    case messageSync: {
      const step = reader.varUint()
      const payload = reader.varBytes()
      if (step === syncUpdate) return { kind: 'update', update: payload }
      if (step === syncStep1) return { kind: 'sync-step-1', version: payload }
      if (step === syncStep2) return { kind: 'sync-step-2', update: payload }
      throw new MalformedBytes(`unknown sync message ${step}`)
    }
    case messageAwareness:
      return { kind: 'awareness', awareness: reader.varBytes() }
    case messageQueryAwareness:
      return { kind: 'query-awareness' }
    default:
      throw new MalformedBytes(`unknown message type ${type}`)
  }
}

export function encodeSyncStep1(version: Uint8Array): Uint8Array {
  return new ByteWriter(version.length + 8).uint8(messageSync).uint8(syncStep1).varBytes(version).finish()
}

export function encodeAwarenessMessage(awareness: Uint8Array): Uint8Array {
  return new ByteWriter(awareness.length + 8).uint8(messageAwareness).varBytes(awareness).finish()
}

export function encodeDenied(reason: string): Uint8Array {
  return new ByteWriter(reason.length + 8).uint8(messageAuth).uint8(0).varString(reason).finish()
}

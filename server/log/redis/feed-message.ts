/**
 * What travels on a document's shard channel. Redis itself writes these bytes, in `append` of
 * library.ts; integers are big endian:
 *
 *   message  = 'e' sender first:u64 (length:u32 entry)*   -- durable entries at first, first + 1, …
 *            | 'p' sender bytes                           -- ephemeral bytes, to the end
 *   sender   = length:u8 node id
 *
 * A node ignores its own messages: it learns of its entries from the reply, and ephemeral bytes are
 * for others only.
 */
import { type Offset, toOffset } from '../../../core/offset.ts'
import { decodeEntry } from '../entry-codec.ts'
import type { Entry } from '../log.ts'

export type FeedMessage =
  | { readonly kind: 'entries'; readonly first: Offset; readonly entries: readonly Entry[] }
  | { readonly kind: 'ephemeral'; readonly bytes: Uint8Array }
  | { readonly kind: 'own' }

/** The bytes handed on are copies: a view would keep the socket's whole chunk alive. Throws what is malformed. */
export function decodeFeedMessage(message: Buffer, node: Buffer): FeedMessage {
  const body = 2 + message.readUInt8(1)
  if (body - 2 === node.length && message.compare(node, 0, node.length, 2, body) === 0) return { kind: 'own' }
  switch (message[0]) {
    case 0x65:
      return decodeEntries(message, body)
    case 0x70:
      return { kind: 'ephemeral', bytes: new Uint8Array(message.subarray(body)) }
    default:
      throw new RangeError(`unknown message ${message[0]}`)
  }
}

function decodeEntries(message: Buffer, start: number): FeedMessage {
  const first = message.readUInt32BE(start) * 2 ** 32 + message.readUInt32BE(start + 4)
  const entries: Entry[] = []
  for (let at = start + 8; at < message.length; ) {
    const end = at + 4 + message.readUInt32BE(at)
    if (end > message.length) throw new RangeError('a message ends early')
    const bytes = new Uint8Array(message.subarray(at + 4, end))
    entries.push(decodeEntry(bytes, toOffset(first + entries.length)))
    at = end
  }
  return { kind: 'entries', first: toOffset(first), entries }
}

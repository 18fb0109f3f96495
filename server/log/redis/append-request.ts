/**
 * The one argument that carries the appends and ephemeral messages of many documents into the
 * function `append`, and the one reply that comes back. All integers big endian:
 *
 *   request   = document*                         -- in the order of the keys
 *   document  = own:u8 entries:u32 size:u32 messages:u32 entry* message*
 *               -- size: of all its entries, in bytes
 *   entry     = bytes:u32 replica:u16 [replica sequence:u64] bytes
 *               -- replica: 0 without an idempotency key, else the length of the replica's name + 1
 *   message   = bytes:u32 bytes
 *   own       = 1 when this node's own subscription to the document's channel is confirmed
 *
 *   reply     = line ('\n' line)*                 -- one per document
 *   line      = first offset                      -- every entry is new, offsets count up from it
 *             | (offset | '-' offset)*            -- '-': a duplicate
 *             | '!' error
 */
import { type Offset, toOffset } from '../../../core/offset.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import type { Appended, NewEntry } from '../log.ts'

export const replicaNameBytesMax = 1_024

/** An entry of `encodeEntry` with what the function must know of its key. */
export interface EncodedEntry {
  readonly bytes: Uint8Array
  readonly replica: Buffer | null
  readonly sequence: number
}

export interface DocumentRequest {
  readonly own: boolean
  readonly entries: readonly EncodedEntry[]
  readonly messages: readonly Uint8Array[]
}

export function withKey(entry: NewEntry, bytes: Uint8Array): EncodedEntry {
  if (entry.key === undefined) return { bytes, replica: null, sequence: 0 }
  const replica = Buffer.from(entry.key.replica)
  if (replica.length > replicaNameBytesMax)
    throw new TidemarkError('malformed_frame', `A replica's name exceeds ${replicaNameBytesMax} bytes`)
  return { bytes, replica, sequence: entry.key.sequence }
}

export function encodeRequest(documents: readonly DocumentRequest[]): Buffer {
  let size = 0
  for (const { entries, messages } of documents) {
    size += 13
    for (const { bytes, replica } of entries)
      size += 6 + bytes.length + (replica === null ? 0 : replica.length + 8)
    for (const bytes of messages) size += 4 + bytes.length
  }
  const request = Buffer.allocUnsafe(size)
  let at = 0
  for (const { own, entries, messages } of documents) {
    at = request.writeUInt8(own ? 1 : 0, at)
    at = request.writeUInt32BE(entries.length, at)
    const sizeAt = at
    at = request.writeUInt32BE(messages.length, at + 4)
    for (const { bytes, replica, sequence } of entries) {
      at = request.writeUInt32BE(bytes.length, at)
      at = request.writeUInt16BE(replica === null ? 0 : replica.length + 1, at)
      if (replica !== null) {
        request.set(replica, at)
        at = request.writeUInt32BE(Math.floor(sequence / 2 ** 32), at + replica.length)
        at = request.writeUInt32BE(sequence % 2 ** 32, at)
      }
      request.set(bytes, at)
      at += bytes.length
    }
    request.writeUInt32BE(at - sizeAt - 8, sizeAt)
    for (const bytes of messages) {
      at = request.writeUInt32BE(bytes.length, at)
      request.set(bytes, at)
      at += bytes.length
    }
  }
  return request
}

/** The acks of one document's entries, or the error that Redis gave for it alone. */
export function decodeLine(line: string, count: number): readonly Appended[] | Error {
  if (line.startsWith('!')) return new Error(line.slice(1))
  if (!line.includes(' ') && !line.startsWith('-')) {
    const first = Number(line)
    const acks: Appended[] = []
    for (let i = 0; i < count; i++) acks.push({ offset: toOffset(first + i), duplicate: false })
    return acks
  }
  return line.split(' ').map((item) => {
    const duplicate = item.startsWith('-')
    return { offset: toOffset(Number(duplicate ? item.slice(1) : item)) as Offset, duplicate }
  })
}

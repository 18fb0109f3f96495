/**
 * The bytes of a cold snapshot: everything needed to know, without the log, whose state it is and that it is
 * whole.
 *
 *   object = magic:"tidemark"  format:u8 = 1  document:varString  offset:varUint
 *            index length:varUint  state length:varUint  index  state  sha256:32 bytes of all before it
 *
 * Metadata is not in it: it stays in the log, where it is read without the store. Change the bytes only
 * together with `sealedFormat`, and keep reading the formats before it.
 */
import { webcrypto } from 'node:crypto'
import { ByteReader, ByteWriter, MalformedBytes } from '../../../core/bytes.ts'
import { type DocumentId, documentIdBytesMax } from '../../../core/document-id.ts'
import type { IndexedState } from '../../../core/engine/engine.ts'
import { type Offset, toOffset } from '../../../core/offset.ts'

export const sealedFormat = 1
export const digestBytes = 32
const magic = new TextEncoder().encode('tidemark')
/** No header is longer: enough to learn whose snapshot it is. */
export const sealedHeaderBytesMax = magic.length + 1 + 2 + documentIdBytesMax + 3 * 8

export interface Sealed {
  readonly object: Uint8Array
  readonly sha256: Uint8Array
}

export interface SealedHeader {
  readonly document: DocumentId
  readonly offset: Offset
}

export async function seal(document: DocumentId, offset: Offset, state: IndexedState): Promise<Sealed> {
  const header = new ByteWriter(sealedHeaderBytesMax).raw(magic).uint8(sealedFormat)
  header.varString(document).varUint(offset).varUint(state.index.length).varUint(state.bytes.length)
  const end = header.position + state.index.length + state.bytes.length
  const object = new Uint8Array(end + digestBytes)
  object.set(header.finish())
  object.set(state.index, header.position)
  object.set(state.bytes, header.position + state.index.length)
  const sha256 = await digest(object.subarray(0, end))
  object.set(sha256, end)
  return { object, sha256 }
}

/** Index and bytes are views of `object`. Rejects with `MalformedBytes` unless it is exactly what is expected. */
export async function unseal(
  object: Uint8Array,
  expected: SealedHeader & { readonly sha256: Uint8Array },
): Promise<IndexedState> {
  if (object.length < digestBytes) throw new MalformedBytes('truncated')
  const end = object.length - digestBytes
  const sha256 = await digest(object.subarray(0, end))
  if (Buffer.compare(sha256, object.subarray(end)) !== 0) throw new MalformedBytes('not what its hash says')
  if (Buffer.compare(sha256, expected.sha256) !== 0) throw new MalformedBytes('another snapshot')
  const reader = new ByteReader(object, 0, end)
  const { document, offset } = readHeader(reader)
  if (document !== expected.document) throw new MalformedBytes('the snapshot of another document')
  if (offset !== expected.offset) throw new MalformedBytes('the snapshot of another offset')
  const indexLength = reader.varUint()
  const stateLength = reader.varUint()
  const state = { index: reader.take(indexLength), bytes: reader.take(stateLength) }
  if (reader.remaining > 0) throw new MalformedBytes('trailing bytes')
  return state
}

/** Of the first `sealedHeaderBytesMax` bytes of an object, not verified. Throws `MalformedBytes`. */
export function unsealHeader(start: Uint8Array): SealedHeader {
  return readHeader(new ByteReader(start))
}

function readHeader(reader: ByteReader): SealedHeader {
  if (Buffer.compare(reader.take(magic.length), magic) !== 0) throw new MalformedBytes('not a cold snapshot')
  const format = reader.uint8()
  if (format !== sealedFormat) throw new MalformedBytes(`unknown format ${format}`)
  return { document: reader.varString() as DocumentId, offset: toOffset(reader.varUint()) }
}

/** In a thread of libuv's pool: 20 MB take 15 ms or more, which the event loop does not have. */
async function digest(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await webcrypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>))
}

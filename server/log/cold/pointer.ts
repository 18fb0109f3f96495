/**
 * What stands in the log in the place of a cold snapshot: a snapshot at the same offset, with the same
 * metadata, whose index is the ASCII text `tidemark cold 1` and whose bytes say where the state is.
 *
 *   bytes = key:varString  object bytes:varUint  state bytes:varUint  sha256:32 bytes
 *
 * The number in the index is the format. An engine's own index begins with a small number, never with `t`.
 */
import { createHash, randomBytes } from 'node:crypto'
import { ByteReader, ByteWriter, MalformedBytes } from '../../../core/bytes.ts'
import type { DocumentId } from '../../../core/document-id.ts'
import type { Offset } from '../../../core/offset.ts'
import type { Snapshot } from '../log.ts'
import { digestBytes } from './sealed.ts'
import { snapshotsPrefix } from './snapshot-store.ts'

export interface Pointer {
  readonly key: string
  readonly objectBytes: number
  /** Of the state alone, for who only wants to know how large the document is. */
  readonly stateBytes: number
  readonly sha256: Uint8Array
}

const mark = 'tidemark cold '
const index = new TextEncoder().encode(`${mark}1`)

/** Never the same twice: what one attempt wrote, no other attempt's cleaning can take away. */
export function newKey(document: DocumentId, offset: Offset): string {
  const hash = createHash('sha256').update(document).digest('hex')
  const nonce = randomBytes(8).toString('hex')
  return `${snapshotsPrefix}${hash.slice(0, 2)}/${hash.slice(2, 4)}/${hash.slice(4, 32)}-${offset}-${nonce}`
}

export function pointerSnapshot(pointer: Pointer, from: Snapshot): Snapshot {
  const { key, objectBytes, stateBytes, sha256 } = pointer
  const bytes = new ByteWriter().varString(key).varUint(objectBytes).varUint(stateBytes).raw(sha256).finish()
  return { offset: from.offset, metadata: from.metadata, index, bytes }
}

/** Null for a snapshot that holds its state itself. Throws `MalformedBytes` for a pointer that cannot be read. */
export function pointerOf(snapshot: Snapshot | null): Pointer | null {
  if (snapshot === null || !isMarked(snapshot.index)) return null
  if (Buffer.compare(snapshot.index, index) !== 0) throw new MalformedBytes('an unknown format of pointer')
  const reader = new ByteReader(snapshot.bytes)
  const pointer = {
    key: reader.varString(),
    objectBytes: reader.varUint(),
    stateBytes: reader.varUint(),
    sha256: reader.take(digestBytes).slice(),
  }
  if (reader.remaining > 0) throw new MalformedBytes('a pointer with trailing bytes')
  return pointer
}

function isMarked(bytes: Uint8Array): boolean {
  if (bytes.length <= mark.length || bytes.length > mark.length + 4) return false
  return Buffer.from(bytes.buffer, bytes.byteOffset, mark.length).toString('latin1') === mark
}

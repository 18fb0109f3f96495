/** What a replica has, told by its latest changes: n:varUint n×hash. */
import { ByteReader, ByteWriter, MalformedBytes } from '../../bytes.ts'
import { TidemarkError } from '../../protocol/errors.ts'
import { hashBytes } from './chunk.ts'

export function writeVersion(heads: readonly Uint8Array[]): Uint8Array {
  const writer = new ByteWriter(4 + heads.length * hashBytes).varUint(heads.length)
  for (const head of heads) writer.raw(head)
  return writer.finish()
}

/** Views. Throws `malformed_frame`. */
export function readVersion(bytes: Uint8Array): Uint8Array[] {
  try {
    const reader = new ByteReader(bytes)
    const heads: Uint8Array[] = []
    for (let left = reader.varUint(); left > 0; left--) heads.push(reader.take(hashBytes))
    if (reader.remaining > 0) throw new MalformedBytes('bytes after the end')
    return heads
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error
    throw new TidemarkError('malformed_frame', `Not heads of Automerge's: ${error.message}`, { cause: error })
  }
}

/** A Yjs state vector: n:varUint n×(client:varUint clock:varUint); the next clock each client will be read from. */
import { ByteReader, MalformedBytes } from '../../bytes.ts'
import { TidemarkError } from '../../protocol/errors.ts'

export type Version = ReadonlyMap<number, number>

/** Throws `malformed_frame`. */
export function readVersion(bytes: Uint8Array): Version {
  try {
    const reader = new ByteReader(bytes)
    const version = new Map<number, number>()
    for (let left = reader.varUint(); left > 0; left--) version.set(reader.varUint(), reader.varUint())
    if (reader.remaining > 0) throw new MalformedBytes('bytes after the end')
    return version
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error
    throw new TidemarkError('malformed_frame', `Not a state vector: ${error.message}`, { cause: error })
  }
}

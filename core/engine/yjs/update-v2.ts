/** Yjs's other encoding of updates, which some applications store. Nothing here keeps it; it comes in by import only. */
import * as Y from 'yjs'
import { TidemarkError } from '../../protocol/errors.ts'

/** The same update, as everything else here knows it. Throws `malformed_update`. */
export function fromUpdateV2(update: Uint8Array): Uint8Array {
  try {
    return Y.convertUpdateFormatV2ToV1(update)
  } catch (error) {
    throw new TidemarkError('malformed_update', 'The bytes are not a Yjs update of version 2', {
      cause: error,
    })
  }
}

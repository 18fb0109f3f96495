/** A document as JSON, as its clients have it; see values.ts for what JSON lacks. */
import { withHandle } from './compact.ts'
import { plainOf } from './values.ts'

export function toJson(updates: readonly Uint8Array[]): Record<string, unknown> {
  return withHandle(updates, (handle) => plainOf(handle.materialize('_root')) as Record<string, unknown>)
}

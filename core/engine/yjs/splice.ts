import * as Y from 'yjs'
import { ByteWriter } from '../../bytes.ts'
import type { Coverage, IndexedState, Outline } from '../engine.ts'
import { merge } from './compact.ts'
import type { Version } from './version.ts'

export function join(
  state: IndexedState | null,
  tail: readonly Uint8Array[],
  version: Version,
): Uint8Array[] {
  if (version.size === 0 && tail.length === 0 && state !== null) return [state.bytes]
  const writer = new ByteWriter().varUint(version.size)
  for (const [client, clock] of version) writer.varUint(client).varUint(clock)
  return [Y.diffUpdate(merge(state === null ? tail : [state.bytes, ...tail]), writer.finish())]
}

export function trim(update: Uint8Array, _outline: Outline, _coverage: Coverage): Uint8Array {
  return update
}

/** What runs in the worker pool: the only place of the server where documents are built. */
import { move } from 'piscina'
import type { EngineName, IndexedState } from '../../core/engine/engine.ts'
import { engines } from '../../core/engine/engines.ts'
import { type Packed, unpack } from './packed.ts'

export interface CompactTask {
  readonly engine: EngineName
  readonly updates: Packed
}

export function compact(task: CompactTask): IndexedState {
  const { bytes, index } = engines[task.engine].compact(unpack(task.updates))
  return { bytes: owned(bytes), index: owned(index) }
}

/** Moved to the caller, not copied; only a whole buffer can move. */
function owned(bytes: Uint8Array): Uint8Array {
  const whole = bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice()
  return move(whole) as Uint8Array
}

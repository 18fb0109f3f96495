/** What runs in the worker pool: the only place of the server where documents are built. */
import { move, transferableSymbol, valueSymbol } from 'piscina'
import type { EngineName, IndexedState } from '../../core/engine/engine.ts'
import { engines } from '../../core/engine/engines.ts'
import { type Packed, unpack } from './packed.ts'

export interface CompactTask {
  readonly engine: EngineName
  readonly updates: Packed
}

export function compact(task: CompactTask): IndexedState {
  const { bytes, index } = engines[task.engine].compact(unpack(task.updates))
  return moved({ bytes: owned(bytes), index: owned(index) })
}

/** Handed to the caller, not copied. Piscina's `move` does so for a value that is itself transferable, not for its parts. */
function moved(state: IndexedState): IndexedState {
  const transferable = {
    [transferableSymbol]: [state.bytes.buffer, state.index.buffer],
    [valueSymbol]: state,
  }
  return move(transferable as never) as unknown as IndexedState
}

/** Only a whole buffer can be handed over. */
function owned(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice()
}

/** What runs in the worker pool: the only place of the server where documents are built. */
import { move, transferableSymbol, valueSymbol } from 'piscina'
import type { EngineName, IndexedState } from '../../core/engine/engine.ts'
import { engines } from '../../core/engine/engines.ts'
import { type Packed, unpack } from './packed.ts'

export interface CompactTask {
  readonly engine: EngineName
  readonly updates: Packed
}

export async function compact(task: CompactTask): Promise<IndexedState> {
  const engine = engines[task.engine]
  await engine.load()
  const { bytes, index } = engine.compact(unpack(task.updates))
  const state = { bytes: owned(bytes), index: owned(index) }
  return moved(state, [state.bytes, state.index])
}

export interface JsonTask {
  readonly engine: EngineName
  readonly updates: Packed
}

/** The document as JSON in UTF-8: as an object it would be copied, and turned into text where others wait. */
export async function json(task: JsonTask): Promise<Uint8Array> {
  const engine = engines[task.engine]
  await engine.load()
  const text = JSON.stringify(engine.toJson(unpack(task.updates)))
  const bytes = owned(new TextEncoder().encode(text))
  return moved(bytes, [bytes])
}

export interface DigestTask {
  readonly engine: EngineName
  readonly updates: Packed
  /** 'each': one update after the other, then all; 'whole': all at once. */
  readonly mode: 'each' | 'whole'
  /** An Int32Array of one: the update that is being applied, or their number once it is about all. */
  readonly progress: Int32Array<SharedArrayBuffer>
}

/** Says nothing but whether it can be done, and by `progress` how far it got; see culprit.ts. */
export async function digest({ engine: name, updates, mode, progress }: DigestTask): Promise<void> {
  const engine = engines[name]
  await engine.load()
  const list = unpack(updates)
  if (mode === 'each') engine.digest(list, (index) => Atomics.store(progress, 0, index))
  Atomics.store(progress, 0, list.length)
  engine.compact(list)
}

/** Handed to the caller, not copied. Piscina's `move` does so for a value that is itself transferable, not for its parts. */
function moved<T>(value: T, parts: readonly Uint8Array[]): T {
  const transferable = { [transferableSymbol]: parts.map((part) => part.buffer), [valueSymbol]: value }
  return move(transferable as never) as unknown as T
}

/** Only a whole buffer can be handed over. */
function owned(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice()
}

/**
 * What runs in the worker pool: the only place of the server where documents are built.
 *
 * Engines in WebAssembly have memory that is bounded here (wasm-memory.ts) and never shrinks. So a task of theirs comes with a port:
 * a thread that has grown large, or that failed in the middle, answers there and waits to be ended.
 */
import { type MessagePort, resourceLimits } from 'node:worker_threads'
import { move, transferableSymbol, valueSymbol } from 'piscina'
import type { Engine, EngineName, IndexedState } from '../../core/engine/engine.ts'
import { engines } from '../../core/engine/engines.ts'
import { type Packed, unpack } from './packed.ts'
import { isTrap, WasmMemory } from './wasm-memory.ts'

const memory = new WasmMemory((resourceLimits.maxOldGenerationSizeMb ?? 512) * 1024 * 1024)
memory.install()

export interface Task {
  readonly engine: EngineName
  readonly updates: Packed
  /** Where the last word of a thread is said. Absent: the engine needs none. */
  readonly last?: MessagePort
}

/** `memory`: it may be for lack of it that it failed. */
export type LastWord =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'memory' | 'error'; readonly message: string }

export function compact(task: Task): Promise<IndexedState> {
  return run(task, (engine, updates) => {
    const { bytes, index } = engine.compact(updates)
    const state = { bytes: owned(bytes), index: owned(index) }
    return [state, [state.bytes, state.index]]
  })
}

/** The document as JSON in UTF-8: as an object it would be copied, and turned into text where others wait. */
export function json(task: Task): Promise<Uint8Array> {
  return run(task, (engine, updates) => {
    const bytes = owned(new TextEncoder().encode(JSON.stringify(engine.toJson(updates))))
    return [bytes, [bytes]]
  })
}

export interface DigestTask extends Task {
  /** 'each': one update after the other, then all; 'whole': all at once. */
  readonly mode: 'each' | 'whole'
  /** An Int32Array of one: the update that is being applied, or their number once it is about all. */
  readonly progress: Int32Array<SharedArrayBuffer>
}

/** Says nothing but whether it can be done, and by `progress` how far it got; see culprit.ts. */
export function digest(task: DigestTask): Promise<void> {
  const { mode, progress } = task
  return run(task, (engine, updates) => {
    if (mode === 'each') engine.digest(updates, (index) => Atomics.store(progress, 0, index))
    Atomics.store(progress, 0, updates.length)
    engine.compact(updates)
    return [undefined, []]
  })
}

type Work<T> = (engine: Engine, updates: readonly Uint8Array[]) => [value: T, parts: readonly Uint8Array[]]

async function run<T>({ engine: name, updates, last }: Task, work: Work<T>): Promise<T> {
  const engine = engines[name]
  await engine.load()
  let word: LastWord
  let transfer: ArrayBufferLike[] = []
  try {
    const [value, parts] = work(engine, unpack(updates))
    if (last === undefined || !memory.isLarge) return moved(value, parts)
    word = { kind: 'value', value }
    transfer = parts.map(({ buffer }) => buffer)
  } catch (error) {
    if (last === undefined || !(isTrap(error) || memory.isLarge)) throw error
    const kind = isTrap(error) && memory.isNearlyFull ? 'memory' : 'error'
    word = { kind, message: error instanceof Error ? error.message : String(error) }
  }
  last.postMessage(word, transfer as ArrayBuffer[])
  return new Promise(() => undefined)
}

/** Handed to the caller, not copied. Piscina's `move` does so for a value that is itself transferable, not for its parts. */
function moved<T>(value: T, parts: readonly Uint8Array[]): T {
  if (parts.length === 0) return value
  const transferable = { [transferableSymbol]: parts.map((part) => part.buffer), [valueSymbol]: value }
  // Piscina's types know nothing of a value of its own kind; it comes out as what is in it.
  return move(transferable as never) as unknown as T
}

/** Only a whole buffer can be handed over. */
function owned(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice()
}

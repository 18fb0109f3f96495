/**
 * What is in a source's bytes, and whether the relay has it.
 *
 *   equal  <=>  the state of what the relay gives = the state of the source and what the relay gives
 *
 * States are compared as the engine encodes them anew from nothing, the source applied first: what the relay lacks, and
 * what it has under the same name with another content, both make them differ. What others wrote into the document, before
 * or meanwhile, makes no difference.
 */
import type { Engine } from '../core/engine/engine.ts'
import { engineOf } from '../core/engine/engine-of.ts'
import { engines } from '../core/engine/engines.ts'
import { SourceError } from './sources/source.ts'

export interface Content {
  readonly engine: Engine
  /** As the source keeps them, each of them checked. */
  readonly updates: readonly Uint8Array[]
  /** One update that says the same. */
  readonly whole: Uint8Array
}

/** The relay decides how large an update may be. */
const limits = { updateBytesMax: Number.POSITIVE_INFINITY }

/** Rejects with `SourceError`, or with a `TidemarkError` that says what is wrong with an update. */
export async function contentOf(updates: readonly Uint8Array[]): Promise<Content> {
  const [first, ...others] = updates.map(engineOf)
  if (others.some((name) => name !== first)) throw new SourceError('It has updates of Yjs and of Automerge')
  const engine = engines[first ?? 'yjs']
  await engine.load()
  for (const update of updates) engine.validate(update, limits)
  return { engine, updates, whole: updates.length === 1 ? updates[0]! : engine.merge(updates) }
}

/** Null when `held` has all of the content, otherwise what is wrong. */
export function differenceOf({ engine, whole }: Content, held: Uint8Array): string | null {
  if (areEqual(whole, held)) return null
  const state = engine.compact([held])
  if (!engine.isSubsumed(whole, engine.coverageOf(state))) return 'the relay lacks a part of it'
  // Automerge's names are hashes of what they name: what is there is the same.
  if (engine.name === 'automerge') return null
  if (areEqual(state.bytes, engine.compact([whole, held]).bytes)) return null
  return 'the relay has other content in the place of a part of it'
}

export const areEqual = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

/** An update's chunks, read once however often it is asked about: by the door, the coverage, each join. */
import { MalformedBytes } from '../../bytes.ts'
import { TidemarkError } from '../../protocol/errors.ts'
import type { Outline } from '../engine.ts'
import { type Chunks, readChunks } from './chunk.ts'

export type AutomergeOutline = Outline & Chunks

const known = new WeakMap<Uint8Array, Chunks>()

/** Throws `malformed_update`. The bytes must not change. */
export function outlineOf(update: Uint8Array): AutomergeOutline {
  let chunks = known.get(update)
  if (chunks === undefined) {
    try {
      chunks = readChunks(update)
    } catch (error) {
      if (!(error instanceof MalformedBytes)) throw error
      throw new TidemarkError('malformed_update', `Not chunks of Automerge's: ${error.message}`, {
        cause: error,
      })
    }
    known.set(update, chunks)
  }
  return chunks
}

/** Chunks one after the other are an update. */
export function updateOf({ changes, documents }: Chunks): Uint8Array {
  return concat([...documents, ...changes].map(({ bytes }) => bytes))
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

/**
 * What a replica lacks, from the snapshot and the tail: changes of the tail one by one, as their senders made them, and so the
 * latest of the snapshot, which its index has. Others could be had from a snapshot only by building the document: a replica
 * that lacks one of them gets it whole, and takes what it does not have, which Automerge does at the cost of a load.
 *
 * Graphs are remembered by the array of the tail, which may only grow: joiners of a room pay for what has come since.
 */
import { TidemarkError } from '../../protocol/error-codes.ts'
import type { IndexedState } from '../engine.ts'
import { ChangeGraph } from './change-graph.ts'
import { concat, outlineOf } from './outline.ts'
import { baseOf } from './snapshot-base.ts'
import { readVersion, writeVersion } from './version.ts'

/** What is larger is not copied into one chunk with others. */
const ownChunkBytesMin = 64 * 1024
/** Into one chunk. */
const copiedBytesMax = 1024 * 1024

const known = new WeakMap<readonly Uint8Array[], { graph: ChangeGraph; count: number }>()

/** With the chunks of the first `count` of the tail, at least. Throws `document_unreadable`, and what reading the tail throws. */
export function graphOf(
  state: IndexedState | null,
  tail: readonly Uint8Array[],
  count = tail.length,
): ChangeGraph {
  let kept = known.get(tail)
  if (kept === undefined || kept.graph.snapshot !== state) {
    kept = { graph: new ChangeGraph(state, true), count: 0 }
    known.set(tail, kept)
  }
  for (; kept.count < count; kept.count++) kept.graph.add(outlineOf(tail[kept.count]!))
  return kept.graph
}

/** See `Engine.readAhead`. */
export function* readAhead(state: IndexedState | null, tail: readonly Uint8Array[]): Generator<void> {
  if (state !== null) {
    baseOf(state)
    yield
  }
  for (const update of tail) {
    try {
      outlineOf(update)
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error
      return
    }
    yield
  }
  for (let count = 0; count <= tail.length; count++) {
    graphOf(state, tail, count)
    yield
  }
}

export function join(
  state: IndexedState | null,
  tail: readonly Uint8Array[],
  version: Uint8Array,
): Uint8Array[] {
  const { snapshot, changes } = graphOf(state, tail).since(readVersion(version))
  const chunks = snapshot ? [state!.bytes] : []
  let small: Uint8Array[] = []
  let smallBytes = 0
  const flush = (): void => {
    if (small.length > 0) chunks.push(concat(small))
    small = []
    smallBytes = 0
  }
  for (const change of changes) {
    if (change.length < ownChunkBytesMin) {
      small.push(change)
      smallBytes += change.length
      if (smallBytes >= copiedBytesMax) flush()
    } else {
      flush()
      chunks.push(change)
    }
  }
  flush()
  return chunks
}

/** Every chunk once, causes before effects; of what `version` has, only what is no change. */
export function merge(updates: readonly Uint8Array[], version = writeVersion([])): Uint8Array {
  const chunks = join(null, [...updates], version)
  return chunks.length === 0 ? new Uint8Array() : concat(chunks)
}

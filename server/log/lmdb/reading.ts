/**
 * Reads a document: snapshot and chunks from LMDB, then what is only in memory. Everything happens in
 * one turn of the event loop, so no append, checkpoint or compaction comes between. What is read
 * must be whole: checksums right and offsets without a gap from the snapshot to the head. Two chunks
 * may overlap (a checkpoint that was cut short and repeated); they hold the same entries.
 */
import { type Offset, toOffset } from '../../../core/offset.ts'
import { decodeEntry } from '../entry-codec.ts'
import type { Entry, Loaded, Snapshot } from '../log.ts'
import type { DocumentState } from './document-state.ts'
import { unreadable } from './documents.ts'
import type { Slabs } from './slabs.ts'
import type { Store } from './store.ts'
import { CorruptValue, decodeSnapshot, readChunk } from './values.ts'

export interface ReadingParts {
  readonly store: Store
  readonly slabs: Slabs
}

/** Throws `document_unreadable`. */
export function loadDocument(state: DocumentState, after: Offset, parts: ReadingParts): Loaded {
  try {
    if (after > 0 && after <= state.durableHead && holdsAfter(state, after, parts.store))
      return { snapshot: null, tail: readEntries(state, after, parts), offset: toOffset(state.durableHead) }
    const snapshot = readSnapshot(state, parts.store)
    const tail = readEntries(state, snapshot?.offset ?? 0, parts)
    return { snapshot, tail, offset: toOffset(state.durableHead) }
  } catch (error) {
    throw unreadable(state.id, error)
  }
}

/** The durable entries after `after`, which must not lie before the snapshot. Throws `document_unreadable`. */
export function entriesAfter(state: DocumentState, after: number, parts: ReadingParts): Entry[] {
  try {
    return readEntries(state, after, parts)
  } catch (error) {
    throw unreadable(state.id, error)
  }
}

/** A compaction that is committed may not yet have been told to `state`: LMDB is asked. */
function holdsAfter(state: DocumentState, after: Offset, store: Store): boolean {
  return (store.document(state.id)?.snapshotOffset ?? state.snapshotOffset) <= after
}

function readSnapshot(state: DocumentState, store: Store): Snapshot | null {
  const stored = store.snapshot(state.id)
  if (stored === null) {
    if (state.snapshotOffset > 0) throw new CorruptValue('its snapshot is missing')
    return null
  }
  const snapshot = decodeSnapshot(stored)
  // Newer than known: committed a moment ago, and the compaction has not yet been told.
  if (snapshot.offset < state.snapshotOffset) throw new CorruptValue('its snapshot is an older one')
  if (snapshot.offset > state.durableHead) throw new CorruptValue('its snapshot is past its head')
  return snapshot
}

function readEntries(state: DocumentState, after: number, { store, slabs }: ReadingParts): Entry[] {
  const entries: Entry[] = []
  let next = after + 1
  const take = (offset: number, bytes: Uint8Array): void => {
    if (offset < next) return
    if (offset > next) throw new CorruptValue(`entry ${next} is missing`)
    entries.push(decodeEntry(bytes, toOffset(offset)))
    next++
  }
  if (next <= state.checkpointedHead)
    for (const first of store.chunksFrom(state.id, next)) {
      const chunk = store.chunk(state.id, first)
      if (chunk === null) throw new CorruptValue(`the chunk at ${first} is missing`)
      readChunk(chunk, take)
    }
  for (const { value } of state.chunks(next - 1, slabs, Number.POSITIVE_INFINITY)) readChunk(value, take)
  if (next !== Math.max(state.durableHead, after) + 1) throw new CorruptValue(`entry ${next} is missing`)
  return entries
}

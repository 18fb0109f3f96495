/**
 * Puts a snapshot in the place of the entries it holds, in one LMDB transaction:
 *
 *   snapshot, document record and its place among the changes in, chunks wholly at or below its
 *   offset out → on the disk
 *   → entries at or below it are forgotten in memory
 *
 * A crash before the commit changes nothing; after it, the journal still has entries that the
 * snapshot holds, and recovery skips them by the head in the document record.
 */
import type { Offset } from '../../../core/offset.ts'
import type { Snapshot } from '../log.ts'
import type { DocumentState } from './document-state.ts'
import type { Step } from './limits.ts'
import type { Store } from './store.ts'
import { encodeSnapshot } from './values.ts'

/** Run it while no other LMDB write is under way. */
export async function compactDocument(
  state: DocumentState,
  snapshot: Snapshot,
  expected: Offset,
  store: Store,
  step: Step,
): Promise<boolean> {
  const { id } = state
  if (snapshot.offset > state.durableHead)
    throw new RangeError(`A snapshot at ${snapshot.offset} of ${id}, whose head is ${state.durableHead}`)
  if (state.snapshotOffset !== expected || snapshot.offset < expected) return false
  step('compact.begin')
  const value = encodeSnapshot(snapshot)
  const head = Math.max(state.checkpointedHead, snapshot.offset)
  const record = state.stored(head, snapshot.offset)
  const firsts = store.chunksFrom(id, expected)
  try {
    await store.write((write) => {
      write.snapshot(id, value)
      write.document(id, record)
      for (const [i, first] of firsts.entries()) {
        const last = (firsts[i + 1] ?? state.checkpointedHead + 1) - 1
        if (last <= snapshot.offset) write.removeChunk(id, first)
      }
    })
    step('compact.committed')
  } catch (error) {
    // A commit that failed may have happened: what is stored decides.
    state.snapshotOffset = store.document(id)?.snapshotOffset ?? 0
    throw error
  }
  state.snapshotOffset = snapshot.offset
  state.checkpointed(snapshot.offset)
  step('compact.forgotten')
  return true
}

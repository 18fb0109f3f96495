/**
 * Which documents got entries since a point in the order of all appends. A document's sequence is the LSN
 * of the journal record with its last durable entry, so one group commit gives all its documents the same.
 *
 *   memory: documents not wholly checkpointed, each with its sequence
 *   LMDB:   [sequence, document] for all others
 *   → merged, ascending, cut only between two sequences
 *
 * An append costs one number store for it. A checkpoint or a compaction moves the document's place in
 * LMDB in the transaction that writes its record; replaying the journal gives the same LSNs, so a crash
 * anywhere changes no sequence that anybody was told. What LMDB says of a document that memory
 * knows better is passed over. Everything is read in one turn of the event loop.
 *
 * Cost: the result, and the documents not checkpointed. Rejected: keeping those in order of their
 * sequences (moving a document in a map costs every append as much as the rest of it).
 */
import type { Change } from '../log.ts'
import type { Checkpointer } from './checkpoint.ts'
import type { DocumentState } from './document-state.ts'
import type { Documents } from './documents.ts'
import type { Journal } from './journal.ts'
import { isListed, type Store } from './store.ts'

export interface ChangesParts {
  readonly store: Store
  readonly documents: Documents
  readonly journal: Journal
  readonly checkpointer: Checkpointer
}

export function changesAfter(after: number, countMax: number, parts: ChangesParts): Change[] {
  const { store, documents, journal, checkpointer } = parts
  if (after >= journal.durableLsn) return []
  const enough = Math.max(1, countMax)
  const unwritten = lowest(checkpointer.unwritten(), after, enough)
  const changes: Change[] = []
  let last = after
  /** False, with nothing added, once there is enough and a new sequence would begin. */
  const add = (change: Change): boolean => {
    if (changes.length >= enough && change.sequence !== last) return false
    last = change.sequence
    changes.push(change)
    return true
  }
  let next = 0
  for (const [sequence, document] of store.changesAfter(after)) {
    if (documents.known(document)?.dirty) continue
    for (; next < unwritten.length && unwritten[next]!.sequence <= sequence; next++)
      if (!add(unwritten[next]!)) return changes
    if (!add({ document, sequence })) return changes
  }
  for (; next < unwritten.length; next++) if (!add(unwritten[next]!)) return changes
  return changes
}

/** Those after `after`, ascending; at least the first `count` of them, if there are as many. */
function lowest(states: Iterable<DocumentState>, after: number, count: number): Change[] {
  let found: Change[] = []
  for (const { id, sequence } of states)
    if (sequence > after && isListed(id)) found.push({ document: id, sequence })
  if (found.length > count) {
    const highest = Float64Array.from(found, ({ sequence }) => sequence).sort()[count - 1]!
    found = found.filter(({ sequence }) => sequence <= highest)
  }
  return found.sort((a, b) => a.sequence - b.sequence)
}

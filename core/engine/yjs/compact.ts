/**
 * The heavy work, with Yjs itself; for workers. Compaction applies everything to one Y.Doc in one transaction and encodes it: deleted content is
 * dropped as Yjs drops it, structs and deletes that still wait for others are kept. The transaction is
 * marked local, because after remote ones Yjs tidies up formatting with deletes of its own, which no
 * client has sent. The result is then checked: it must cover every struct and delete of every input.
 *
 * Merging first, in a tree, was tried and is slower: merged updates keep their structs apart, so that the
 * document integrates as many, after all the copying. See `merge` for why a tree at all.
 */
import * as Y from 'yjs'
import { TidemarkError } from '../../protocol/errors.ts'
import type { IndexedState } from '../engine.ts'
import { coverageOf } from './coverage.ts'
import { outlineOf, scanStored } from './scan.ts'
import { indexOf } from './state-index.ts'

export function compact(updates: readonly Uint8Array[]): IndexedState {
  const document = documentOf(updates)
  const bytes = orUnreadable(() => Y.encodeStateAsUpdate(document))
  document.destroy()
  const state = { bytes, index: indexOf(bytes) }
  const coverage = coverageOf(state)
  for (const update of updates) {
    if (!coverage.covers(outlineOf(scanStored(update))))
      throw new TidemarkError('document_unreadable', 'Compaction would lose a part of an update')
  }
  return state
}

export function documentOf(updates: readonly Uint8Array[]): Y.Doc {
  const document = new Y.Doc()
  orUnreadable(() =>
    document.transact((transaction) => {
      for (const update of updates) Y.applyUpdate(document, update)
      transaction.local = true
    }),
  )
  return document
}

/** Updates come here from a log, validated; what Yjs still refuses is a stored document gone wrong. */
function orUnreadable<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (error instanceof TidemarkError) throw error
    throw new TidemarkError('document_unreadable', 'Yjs cannot read the stored updates', { cause: error })
  }
}

/**
 * The heavy work, with Yjs itself; for workers. Compaction applies everything to a Y.Doc and encodes it:
 * deleted content is dropped as Yjs drops it, structs and deletes that still wait for others are kept.
 * The result is then checked: it must cover every struct and delete of every input.
 *
 * - What Yjs cannot build for want of stack (types nested thousands deep, which is valid) is merged
 *   instead: nothing is dropped then, but the log stays bounded.
 * - A transaction takes `updatesPerTransaction` updates, merged into one. Of 260,000 single-character
 *   edits, in CPU seconds: 0.5 so, 0.7 without merging, 2.1 with a transaction for each edit; one
 *   transaction for all is slower again, because Yjs joins neighbouring items only at its end.
 * - Transactions are marked local: after remote ones Yjs tidies up formatting with deletes of its own,
 *   which no client has sent.
 * - Nobody observes these documents, so transactions forget what they changed: Yjs would tell every type
 *   around each changed one, which is quadratic in types nested in each other.
 * - Structs that still wait at the end are tried once more: Yjs notes of what they wait for only a part
 *   (see `settled` in the tests), and would leave out what another replica with the same updates shows.
 */
import * as Y from 'yjs'
import { TidemarkError } from '../../protocol/errors.ts'
import type { IndexedState } from '../engine.ts'
import { coverageOf } from './coverage.ts'
import { outlineOf, scanStored } from './scan.ts'
import { merge } from './splice.ts'
import { indexOf } from './state-index.ts'

const updatesPerTransaction = 1000

export function compact(updates: readonly Uint8Array[]): IndexedState {
  const bytes = rebuilt(updates) ?? merge(updates)
  const state = { bytes, index: indexOf(bytes) }
  const coverage = coverageOf(state)
  for (const update of updates) {
    if (!coverage.covers(outlineOf(scanStored(update))))
      throw new TidemarkError('document_unreadable', 'Compaction would lose a part of an update')
  }
  return state
}

/** Null when the stack does not suffice. */
function rebuilt(updates: readonly Uint8Array[]): Uint8Array | null {
  try {
    const document = documentOf(updates)
    const bytes = orUnreadable(() => Y.encodeStateAsUpdate(document))
    document.destroy()
    return bytes
  } catch (error) {
    if (isOverflow(error)) return null
    throw error
  }
}

export function digest(updates: readonly Uint8Array[], applying: (index: number) => void): void {
  const document = new Y.Doc()
  try {
    for (const [index, update] of updates.entries()) {
      applying(index)
      scanStored(update)
      integrate(document, () => Y.applyUpdate(document, update))
    }
  } catch (error) {
    // Half applied: what follows would be judged by a broken document.
    if (!isOverflow(error)) throw error
  }
}

/** No fault of the update's: `compact` merges instead. */
function isOverflow(error: unknown): boolean {
  return error instanceof TidemarkError && error.cause instanceof RangeError
}

export function documentOf(updates: readonly Uint8Array[]): Y.Doc {
  const document = new Y.Doc()
  for (let i = 0; i < updates.length; i += updatesPerTransaction) {
    const update = merge(updates.slice(i, i + updatesPerTransaction))
    integrate(document, () => Y.applyUpdate(document, update))
  }
  const waiting = document.store.pendingStructs
  if (waiting !== null) {
    document.store.pendingStructs = null
    integrate(document, () => Y.applyUpdateV2(document, waiting.update))
  }
  return document
}

function integrate(document: Y.Doc, apply: () => void): void {
  orUnreadable(() =>
    document.transact((transaction) => {
      apply()
      transaction.local = true
      transaction.changed.clear()
    }),
  )
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

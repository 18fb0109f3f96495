/**
 * Moves one snapshot from the log to the store:
 *
 *   lease → load → put the sealed snapshot under a new key → read it back and verify → compact: the pointer
 *   takes the place of the snapshot, at the same offset, if that is still the one
 *
 * A crash before the last step leaves an object that nobody needs (unused.ts removes it), after it all is
 * done. Entries that come meanwhile are after the pointer, as they were after the snapshot. The lease only
 * saves work: what keeps two nodes, or a compaction, from harming each other is the compare-and-set on the
 * offset, and that every attempt writes a key of its own.
 */

import { MalformedBytes } from '../../../core/bytes.ts'
import type { DocumentId } from '../../../core/document-id.ts'
import { withDeadline } from '../../deadline.ts'
import type { Log } from '../log.ts'
import { newKey, pointerOf, pointerSnapshot } from './pointer.ts'
import { seal, unseal } from './sealed.ts'
import type { SnapshotStore } from './snapshot-store.ts'

/** A crash in a test; what it throws fails the step. */
export type FreezeStep = (
  step: 'freeze.put' | 'freeze.verify' | 'freeze.point' | 'freeze.pointed',
) => void | Promise<void>

export interface FreezeParts {
  /** The log beneath: its loads give pointers as they are. */
  readonly log: Log
  readonly store: SnapshotStore
  /** A smaller snapshot stays: its pointer would save nothing. */
  readonly bytesMin: number
  readonly step: FreezeStep
}

const leaseMs = 120_000
const freezeMsMax = 110_000

/** False when there is nothing to move, or another node does it. Rejects with `StoreError` or as the log does. */
export function freeze(document: DocumentId, parts: FreezeParts, closed: AbortSignal): Promise<boolean> {
  return withDeadline(freezeMsMax, closed, (signal) => freezeUntil(document, parts, signal))
}

async function freezeUntil(document: DocumentId, parts: FreezeParts, signal: AbortSignal): Promise<boolean> {
  const { log, store, bytesMin, step } = parts
  const lease = await log.lease(document, leaseMs)
  if (lease === null) return false
  try {
    const { snapshot } = await log.load(document)
    if (snapshot === null || pointerOf(snapshot) !== null) return false
    if (snapshot.bytes.length + snapshot.index.length < bytesMin) return false
    const { offset } = snapshot
    const key = newKey(document, offset)
    const { object, sha256 } = await seal(document, offset, snapshot)
    await step('freeze.put')
    await store.put(key, object, signal)
    await step('freeze.verify')
    const stored = await store.get(key, object.length + 1, signal)
    if (stored.length !== object.length) throw new MalformedBytes('not of the length that was put')
    await unseal(stored, { document, offset, sha256 })
    await step('freeze.point')
    signal.throwIfAborted()
    const pointer = { key, objectBytes: object.length, stateBytes: snapshot.bytes.length, sha256 }
    const pointed = await log.compact(document, pointerSnapshot(pointer, snapshot), offset)
    await step('freeze.pointed')
    return pointed
  } finally {
    // An unreleased lease ends by itself, and the error that led here says more.
    await lease.release().catch(() => undefined)
  }
}

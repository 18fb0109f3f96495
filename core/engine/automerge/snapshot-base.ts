/**
 * What graphs over one snapshot have in common, made once for all of them as long as the snapshot is there: a room has one graph to
 * judge what comes, and one to answer joins.
 */
import type { IndexedState } from '../engine.ts'
import { HashTable } from './hash-table.ts'
import { readIndex, type SnapshotIndex } from './snapshot-index.ts'

export interface SnapshotBase {
  readonly index: SnapshotIndex
  /** To be copied. */
  readonly table: HashTable
  /** Numbers of the changes on which none builds. */
  readonly heads: readonly number[]
  /** Of each actor, its last change. */
  readonly lasts: ReadonlyMap<string, { readonly seq: number; readonly number: number }>
}

const known = new WeakMap<IndexedState, SnapshotBase>()

/** Throws `document_unreadable`. */
export function baseOf(snapshot: IndexedState): SnapshotBase {
  let base = known.get(snapshot)
  if (base === undefined) {
    base = read(snapshot)
    known.set(snapshot, base)
  }
  return base
}

function read(snapshot: IndexedState): SnapshotBase {
  const index = readIndex(snapshot.index)
  const { actors, actorOf, deps } = index
  const isBuiltOn = new Uint8Array(actorOf.length)
  for (const dep of deps) isBuiltOn[dep] = 1
  const heads: number[] = []
  const seqs = new Int32Array(actors.length)
  const last = new Int32Array(actors.length)
  for (let i = 0; i < actorOf.length; i++) {
    if (isBuiltOn[i] === 0) heads.push(i)
    const actor = actorOf[i]!
    seqs[actor]!++
    last[actor] = i
  }
  const lasts = new Map(actors.map((actor, i) => [actor, { seq: seqs[i]!, number: last[i]! }]))
  return { index, table: new HashTable(index.hashes), heads, lasts }
}

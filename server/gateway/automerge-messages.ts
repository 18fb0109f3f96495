/**
 * What a peer lacks, in as many sync messages as it needs: clients on Node take no frame of more than 100 MiB, and others read one as a
 * whole. A message says which heads its reader has then, and all before them; so each but the last says those of what was sent up to
 * there, or its reader would ask at once for what is on its way. One chunk, such as a snapshot, is never divided.
 */

import { everyHash } from '../../core/engine/automerge/change-graph.ts'
import { hex, unhex } from '../../core/engine/automerge/chunk.ts'
import { outlineOf } from '../../core/engine/automerge/outline.ts'

export const messageBytesMax = 16 * 1024 * 1024

export interface Part {
  readonly updates: readonly Uint8Array[]
  /** Of its reader then; null: all there are. */
  readonly heads: readonly Uint8Array[] | null
}

/**
 * `updates`: causes before effects. `known`: heads that the reader has, as far as somebody knows. `counts`: whether a change has all that
 * it builds on; those that wait are nobody's heads.
 */
export function partsOf(
  updates: readonly Uint8Array[],
  known: readonly Uint8Array[],
  counts: (hash: Uint8Array) => boolean,
  bytesMax: number,
): Part[] {
  const groups = grouped(updates, bytesMax)
  if (groups.length <= 1) return [{ updates, heads: null }]
  const heads = new Set(known.map(hex))
  return groups.map((group, i) => {
    if (i === groups.length - 1) return { updates: group, heads: null }
    for (const update of group) advance(heads, update, counts)
    return { updates: group, heads: [...heads].sort().map(unhex) }
  })
}

function grouped(updates: readonly Uint8Array[], bytesMax: number): Uint8Array[][] {
  const groups: Uint8Array[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const update of updates) {
    bytes += update.length
    if (bytes > bytesMax) {
      groups.push([])
      bytes = update.length
    }
    groups.at(-1)!.push(update)
  }
  return groups
}

/** A head that others build on may stay: it is true that its reader has it. */
function advance(heads: Set<string>, update: Uint8Array, counts: (hash: Uint8Array) => boolean): void {
  const { documents, changes } = outlineOf(update)
  for (const document of documents) everyHash(document.heads, (head) => heads.add(hex(head)).size > 0)
  for (const { hash, deps } of changes) {
    if (!counts(hash)) continue
    everyHash(deps, (dep) => {
      heads.delete(hex(dep))
      return true
    })
    heads.add(hex(hash))
  }
}

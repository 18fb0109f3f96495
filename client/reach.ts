/** How far somebody has each author's structs: a version, which grows by updates without applying them. */
import * as Y from 'yjs'

export type Clocks = Map<number, number>

/** Who made the update's structs has all before them too. */
export function raiseTo(clocks: Clocks, update: Uint8Array): void {
  raise(clocks, Y.parseUpdateMeta(update).to)
}

/**
 * The structs that the document has beyond the version, and all its deletions; null when there are no such structs. Up to the clocks of
 * others somebody has whatever the version has not; and whatever of the updates goes on where that ends.
 */
export function beyond(
  version: Uint8Array,
  others: readonly Clocks[],
  updates: readonly Uint8Array[],
  doc: Y.Doc,
): Uint8Array | null {
  const reach = Y.decodeStateVector(version)
  for (const clocks of others) raise(reach, clocks)
  for (const update of updates) {
    const { from, to } = Y.parseUpdateMeta(update)
    raise(
      reach,
      [...to].filter(([client]) => (from.get(client) ?? 0) <= (reach.get(client) ?? 0)),
    )
  }
  const has = Y.decodeStateVector(Y.encodeStateVector(doc))
  const complete = [...has].every(([client, clock]) => clock <= (reach.get(client) ?? 0))
  return complete ? null : Y.encodeStateAsUpdate(doc, Y.encodeStateVector(reach))
}

function raise(clocks: Clocks, to: Iterable<[client: number, clock: number]>): void {
  for (const [client, clock] of to) clocks.set(client, Math.max(clock, clocks.get(client) ?? 0))
}

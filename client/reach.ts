/** How far somebody has each author's structs: a version that grows by updates without applying them. */
import * as Y from 'yjs'

export type Clocks = Map<number, number>

export class Reach {
  readonly #clocks: Clocks

  constructor(version: Uint8Array) {
    this.#clocks = Y.decodeStateVector(version)
  }

  /** Up to these clocks somebody has whatever this has not. */
  raise(clocks: Clocks): void {
    for (const [client, clock] of clocks) raise(this.#clocks, client, clock)
  }

  /** Whatever of the update goes on where this ends. */
  add(update: Uint8Array): void {
    const { from, to } = Y.parseUpdateMeta(update)
    for (const [client, clock] of to)
      if ((from.get(client) ?? 0) <= (this.#clocks.get(client) ?? 0)) raise(this.#clocks, client, clock)
  }

  /** The structs that the document has beyond, and all its deletions; null when there are no such structs. */
  missingOf(doc: Y.Doc): Uint8Array | null {
    const version = Y.decodeStateVector(Y.encodeStateVector(doc))
    const complete = [...version].every(([client, clock]) => clock <= (this.#clocks.get(client) ?? 0))
    return complete ? null : Y.encodeStateAsUpdate(doc, Y.encodeStateVector(this.#clocks))
  }
}

/** Who made the update's structs has all before them too. */
export function raiseTo(clocks: Clocks, update: Uint8Array): void {
  for (const [client, clock] of Y.parseUpdateMeta(update).to) raise(clocks, client, clock)
}

function raise(clocks: Clocks, client: number, clock: number): void {
  clocks.set(client, Math.max(clock, clocks.get(client) ?? 0))
}

/** How far somebody has each author's structs: a version that grows by updates without applying them. */
import * as Y from 'yjs'

export class Reach {
  readonly #clocks: Map<number, number>

  constructor(clocks: ReadonlyMap<number, number> = new Map()) {
    this.#clocks = new Map(clocks)
  }

  /** Another reach that has both. */
  with(clocks: ReadonlyMap<number, number>): Reach {
    const both = new Reach(this.#clocks)
    for (const [client, clock] of clocks) both.#raise(client, 0, clock)
    return both
  }

  /** Whatever of the update goes on where this ends. */
  add(update: Uint8Array): void {
    const { from, to } = Y.parseUpdateMeta(update)
    for (const [client, clock] of to) this.#raise(client, from.get(client) ?? 0, clock)
  }

  /** The structs that the document has beyond, and all its deletions; null when there are no such structs. */
  missingOf(doc: Y.Doc): Uint8Array | null {
    const version = Y.decodeStateVector(Y.encodeStateVector(doc))
    const complete = [...version].every(([client, clock]) => clock <= (this.#clocks.get(client) ?? 0))
    return complete ? null : Y.encodeStateAsUpdate(doc, Y.encodeStateVector(this.#clocks))
  }

  #raise(client: number, from: number, to: number): void {
    const clock = this.#clocks.get(client) ?? 0
    if (from <= clock && to > clock) this.#clocks.set(client, to)
  }
}

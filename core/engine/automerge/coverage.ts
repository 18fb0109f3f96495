/** What a log holds, for its room: a graph without the changes' bytes. And what lineages that ended held. */
import { ByteReader, ByteWriter, MalformedBytes } from '../../bytes.ts'
import { TidemarkError } from '../../protocol/errors.ts'
import type { Coverage, Ended, IndexedState } from '../engine.ts'
import { ChangeGraph, everyHash } from './change-graph.ts'
import { hex } from './chunk.ts'
import type { AutomergeOutline } from './outline.ts'
import { readVersion, writeVersion } from './version.ts'

/** Of a lineage that ended, so many actors are remembered. */
const endedActorsMax = 10_000
const none = new Uint8Array()

export class AutomergeCoverage implements Coverage {
  readonly graph: ChangeGraph

  constructor(state: IndexedState | null) {
    this.graph = new ChangeGraph(state, false)
  }

  /**
   * Throws `malformed_update` for a change that cannot be, beside what is there: no replica could take it. (One that comes in
   * with what it contradicts, or at the same moment at another node, is for the compaction to find and set aside.)
   */
  covers({ changes, documents }: AutomergeOutline): boolean {
    let all = true
    for (const change of changes) {
      if (this.graph.has(change.hash)) continue
      all = false
      const contradiction = this.graph.contradiction(change)
      if (contradiction !== null) throw new TidemarkError('malformed_update', contradiction)
    }
    return all && documents.every((document) => this.graph.hasDocument(document))
  }

  add(outline: AutomergeOutline): void {
    this.graph.add(outline)
  }

  missing(outline: AutomergeOutline): AutomergeOutline {
    return this.graph.lacking(outline)
  }

  version(): Uint8Array {
    return writeVersion(this.graph.heads())
  }

  /** `version` and the actors: what else a replica of the lineage may say cannot be told from heads. */
  ending(): Uint8Array {
    const actors = this.graph.actors().slice(-endedActorsMax)
    const writer = new ByteWriter().varBytes(this.version()).varUint(actors.length)
    for (const actor of actors) writer.varString(actor)
    return writer.finish()
  }
}

/**
 * A replica has part of an ended lineage when its latest changes are those it ended with, or when a change it sends is of one
 * of its actors or builds on those latest changes. Who lags behind them is noticed by what it sends.
 */
export function endedOf(endings: readonly Uint8Array[]): Ended {
  const heads = new Set<string>()
  const actors = new Set<string>()
  for (const ending of endings) {
    const read = readEnding(ending)
    for (const head of read.heads) heads.add(hex(head))
    for (const actor of read.actors) actors.add(actor)
  }
  const isNone = (hash: Uint8Array): boolean => !heads.has(hex(hash))
  return {
    holds: ({ changes, documents }: AutomergeOutline) =>
      actors.size > 0 &&
      (changes.some(({ actor, deps }) => actors.has(actor) || !everyHash(deps, isNone)) ||
        documents.some((document) => document.actors.some((actor) => actors.has(actor)))),
    seenBy: (version) => !readVersion(version).every(isNone),
  }
}

/** They come from our own log. */
function readEnding(bytes: Uint8Array): { heads: Uint8Array[]; actors: string[] } {
  try {
    const reader = new ByteReader(bytes)
    const heads = readVersion(reader.varBytes())
    const actors: string[] = []
    for (let left = reader.varUint(); left > 0; left--) actors.push(reader.varString())
    return { heads, actors }
  } catch (error) {
    if (!(error instanceof MalformedBytes) && !(error instanceof TidemarkError)) throw error
    throw new TidemarkError('document_unreadable', `Stored version: ${error.message}`, { cause: error })
  }
}

/** True when who has these changes has all of the update: seen from the update alone. */
export function isBehind({ changes, documents }: AutomergeOutline, version: Uint8Array): boolean {
  const byName = new Map(changes.map((change) => [hex(change.hash), change]))
  const have = new Set<string>()
  const next = readVersion(version).map(hex)
  for (let name = next.pop(); name !== undefined; name = next.pop()) {
    if (have.has(name)) continue
    have.add(name)
    everyHash(byName.get(name)?.deps ?? none, (dep) => next.push(hex(dep)) > 0)
  }
  return (
    [...byName.keys()].every((name) => have.has(name)) &&
    documents.every(({ heads }) => everyHash(heads, (head) => have.has(hex(head))))
  )
}

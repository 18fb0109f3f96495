/**
 * Entries of a map that are written once, in Automerge. Two replicas that each make a map at the same key have two maps, of which
 * one shows. So the map of such a root is made by a change that everybody can make alone, byte for byte the same: no time, no
 * message, and an actor that is named after the root. A client that writes entries applies it first: it is what
 * `Automerge.change(Automerge.init({ actor }), { time: 0 }, (doc) => { doc.facts = {} })` makes, the actor being `tidemark:facts`.
 *
 * The server's entries have an actor each, drawn with the entry: a chain of changes would need the hash of the one before, and
 * two nodes that decide the same at once would make it twice.
 */
import { ByteWriter } from '../../bytes.ts'
import type { Next } from '../engine.ts'
import type { Value } from '../live-document.ts'
import { operationsFor, writeChange } from './change-writer.ts'
import { hex } from './chunk.ts'
import { concat } from './outline.ts'

const rootPrefix = 'tidemark:'

/** The change that makes the map of a root, and the map's id. */
export function rootChange(root: string): {
  chunk: Uint8Array
  hash: Uint8Array
  actor: string
  map: string
} {
  const actor = hex(new TextEncoder().encode(rootPrefix + root))
  const operations = [{ object: null, at: root, action: 'makeMap', scalar: null }] as const
  const made = writeChange({ deps: [], actor, seq: 1, startOp: 1, actors: [], operations })
  return { ...made, actor, map: `1@${actor}` }
}

/** The root's change, for a document that has none yet, and one that writes the entry. */
export function entryUpdate(root: string, key: string, value: Value, { replica, written }: Next): Uint8Array {
  const made = rootChange(root)
  const actor = hex(new ByteWriter().varString(rootPrefix).varUint(replica).varUint(written).finish())
  const entry = writeChange({
    deps: [made.hash],
    actor,
    seq: 1,
    startOp: 2,
    actors: [made.actor],
    operations: operationsFor(value, 2, [1, 1], key),
  })
  return concat([made.chunk, entry.chunk])
}

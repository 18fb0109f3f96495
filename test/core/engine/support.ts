import type { Parameters } from 'fast-check'
import * as Y from 'yjs'
import { ByteWriter } from '../../../core/bytes.ts'
import { addRange } from '../../../core/engine/yjs/coverage.ts'
import { yjsEngine } from '../../../core/engine/yjs/yjs-engine.ts'

/** A failing run prints its seed and path; `TIDEMARK_TEST_SEED` repeats it, `FC_RUNS` runs longer. */
export function runs<T>(numRuns: number): Parameters<T> {
  const { FC_RUNS } = process.env
  return { numRuns: FC_RUNS ? Number(FC_RUNS) : numRuns }
}

export function concat(chunks: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(chunks))
}

export function versionOf(pairs: readonly (readonly [client: number, clock: number])[]): Uint8Array {
  const writer = new ByteWriter().varUint(pairs.length)
  for (const [client, clock] of pairs) writer.varUint(client).varUint(clock)
  return writer.finish()
}

/** What an update holds, with touching ranges merged, whatever the order of its parts. */
export function normalOutline(update: Uint8Array) {
  const { structs, deletes } = yjsEngine.validate(update, { updateBytesMax: Number.MAX_SAFE_INTEGER })
  return { structs: rangesByClient(structs), deletes: rangesByClient(deletes) }
}

function rangesByClient(triples: readonly number[]): Record<string, number[]> {
  const clients: Record<string, number[]> = {}
  for (let i = 0; i < triples.length; i += 3) {
    const ranges = clients[triples[i]!] ?? []
    clients[triples[i]!] = ranges
    addRange(ranges, triples[i + 1]!, triples[i + 2]!)
  }
  return clients
}

/**
 * All that can be told apart from outside: version, deletes, pending structs, and content. Halves of
 * surrogate pairs count as U+FFFD: Yjs replaces both when something comes between them, and
 * a replica that got the pair before shows it until then.
 */
export function contentOf(document: Y.Doc) {
  const state = Y.encodeStateAsUpdate(document)
  return {
    version: Y.encodeStateVector(document),
    outline: normalOutline(state),
    json: JSON.stringify(yjsEngine.toJson([state])).replaceAll(/\\ud[89a-f]..|[\ud800-\udfff]/g, '\ufffd'),
  }
}

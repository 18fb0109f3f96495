/**
 * What folding costs, in this process: all facts from scratch, into a fold that is read at the end; then one new fact after the
 * other at the end, written, folded and read; then one that comes late, which has its entity folded anew. Beside it, what it
 * costs at the least to have the same facts at all: `JSON.parse` of their text, and a `Map` by key.
 *
 * Bytes: the same facts as each actor's Yjs document would write them, compacted as the relay compacts, beside the JSON of their
 * payloads alone and of what they say (entity, type, payload).
 */
import * as Y from 'yjs'
import { registration, written } from '../../core/domain/facts/author.ts'
import { factsRoot } from '../../core/domain/facts/fact.ts'
import { DocumentFold, type FactEntry } from '../../core/domain/fold/document-fold.ts'
import type { Value } from '../../core/engine/live-document.ts'
import { compact } from '../../core/engine/yjs/compact.ts'
import { median } from '../harness/statistics.ts'
import { draftOf, entities, fields, marketFacts, numbers } from './facts.ts'
import type { FoldSpec, LoadCase, LoadResult } from './spec.ts'

export async function fold(spec: FoldSpec): Promise<LoadResult> {
  switch (spec.what) {
    case 'raw':
      return { cases: [raw(spec)], errors: [] }
    case 'fold':
      return { cases: [folded(spec)], errors: [] }
    case 'bytes':
      return { cases: spec.actorCounts.map((actors) => bytes(spec, actors)), errors: [] }
  }
}

function raw({ facts, actors, rounds }: FoldSpec): LoadCase {
  const entries = marketFacts(facts, actors)
  const texts = entries.map(({ value }) => JSON.stringify(value))
  const parsed = speeds(rounds, facts, () => null, () => texts.map((text) => JSON.parse(text) as Value).length)
  const mapped = speeds(rounds, facts, () => null, () => new Map(entries.map((entry) => [entry.key, entry])).size)
  const sorted = speeds(rounds, facts, () => null, () => entries.toSorted((a, b) => (a.key < b.key ? -1 : 1)).length)
  return {
    name: '',
    figures: { parsedPerSecond: parsed.warm, mappedPerSecond: mapped.warm, sortedPerSecond: sorted.warm },
  }
}

function folded({ facts, actors, rounds, newFacts }: FoldSpec): LoadCase {
  const entries = marketFacts(facts, actors)
  // Neither the texts nor the lists that a fold gets have been seen by the engine's caches before.
  const fresh = (): FactEntry[] => structuredClone(entries)
  const { cold, warm } = speeds(rounds, facts, fresh, (copy) => readAll(foldOf(copy)))
  const document = foldOf(fresh())
  readAll(document)
  const random = numbers(7)
  const actor = entries[0]!.key.slice(0, 6)
  let seq = entries.reduce(
    (highest, { key }) => (key.startsWith(`${actor}:`) ? Math.max(highest, Number(key.slice(7))) : highest),
    0,
  )
  const nextMicroseconds: number[] = []
  for (let i = 0; i < newFacts; i++) {
    const draft = draftOf(random)
    const from = performance.now()
    document.apply([written(document, actor, ++seq, draft)])
    document.read(draft.entity, 'price')
    nextMicroseconds.push((performance.now() - from) * 1000)
  }
  return {
    name: '',
    figures: {
      factsPerSecond: warm,
      coldFactsPerSecond: cold,
      newFactMeanMicroseconds: nextMicroseconds.reduce((sum, each) => sum + each, 0) / newFacts,
      newFactP50Microseconds: median(nextMicroseconds),
      newFactP99Microseconds: nextMicroseconds.sort((a, b) => a - b)[Math.floor(newFacts * 0.99)]!,
      lateFactMs: lateMs(document),
    },
  }
}

/** Of somebody who was away from the start: one entity is folded anew. */
function lateMs(document: DocumentFold): number {
  const away = new DocumentFold(fields)
  const facts = [registration('zzzzzz', 'away')]
  away.apply(facts)
  facts.push(written(away, 'zzzzzz', 1, { entity: entities[1]!, type: 'price.set', payload: 1 }))
  const from = performance.now()
  document.apply(facts)
  readAll(document)
  return performance.now() - from
}

function foldOf(entries: readonly FactEntry[]): DocumentFold {
  const document = new DocumentFold(fields)
  document.apply(entries)
  return document
}

function readAll(document: DocumentFold): number {
  for (const entity of entities) for (const field of ['price', 'stock', 'tags']) document.read(entity, field)
  return document.size
}

/** Facts a second: the first time, and at the median of the other rounds. `prepare` is not counted. */
function speeds<T>(
  rounds: number,
  facts: number,
  prepare: () => T,
  work: (prepared: T) => number,
): { cold: number; warm: number } {
  const perSecond: number[] = []
  for (let round = 0; round < rounds; round++) {
    const prepared = prepare()
    const from = performance.now()
    if (work(prepared) !== facts) throw new Error('not all facts were folded')
    perSecond.push(facts / ((performance.now() - from) / 1000))
  }
  return { cold: perSecond[0]!, warm: median(perSecond.slice(1)) }
}

function bytes({ facts }: FoldSpec, actors: number): LoadCase {
  const entries = marketFacts(facts, actors)
  const documents = new Map<string, Y.Doc>()
  const updates: Uint8Array[] = []
  const random = numbers(actors)
  for (const { key, value } of entries) {
    const actor = key.slice(0, 6)
    let document = documents.get(actor)
    if (document === undefined) {
      document = new Y.Doc()
      // As large as Yjs itself draws them, and the same each time.
      document.clientID = 2 ** 31 + random()
      document.on('update', (update: Uint8Array) => updates.push(update))
      documents.set(actor, document)
    }
    document.getMap(factsRoot).set(key, value)
  }
  const stored = compact(updates).bytes.length
  const sum = (of: (value: readonly Value[]) => Value): number =>
    entries.reduce((total, { value }) => total + JSON.stringify(of(value as readonly Value[])).length, 0)
  const payload = sum((value) => value[2]!)
  const said = sum((value) => value.slice(0, 3))
  return {
    name: `${actors} ${actors === 1 ? 'actor' : 'actors'}`,
    figures: {
      bytesPerFact: stored / entries.length,
      payloadBytes: payload / entries.length,
      saidBytes: said / entries.length,
      timesPayload: stored / payload,
      timesSaid: stored / said,
    },
  }
}

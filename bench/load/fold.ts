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
import { startCpuMeter } from '../harness/cpu.ts'
import { median } from '../harness/statistics.ts'
import { bidOf, draftOf, entities, fields, marketFacts, numbers, visitOf } from './facts.ts'
import type { FoldSpec, LoadCase, LoadResult } from './spec.ts'

export async function fold(spec: FoldSpec): Promise<LoadResult> {
  switch (spec.what) {
    case 'raw':
      return { cases: [beside(() => raw(spec))], errors: [] }
    case 'fold':
      return { cases: [beside(() => folded(spec))], errors: [] }
    case 'bytes':
      return {
        cases: spec.actorCounts.flatMap((actors) => [
          bytes('bids', marketFacts(spec.facts, actors, bidOf), actors),
          bytes('visits', marketFacts(spec.facts, actors, visitOf), actors),
          bytes('all', marketFacts(spec.facts, actors), actors),
        ]),
        errors: [],
      }
  }
}

/** Says how much of the machine others used meanwhile. */
function beside(work: () => LoadCase): LoadCase {
  const meter = startCpuMeter(process.pid, null)
  const { name, figures } = work()
  const { foreignCores } = meter.stop().figures
  return { name, figures: { ...figures, foreignCores: foreignCores! } }
}

function raw({ facts, actors, rounds }: FoldSpec): LoadCase {
  const entries = marketFacts(facts, actors)
  const texts = entries.map(({ value }) => JSON.stringify(value))
  const parsed = speeds(rounds, texts, (all) => all.map((text) => JSON.parse(text) as Value).length)
  const mapped = speeds(rounds, entries, (all) => new Map(all.map((entry) => [entry.key, entry])).size)
  return { name: '', figures: { parsedPerSecond: parsed.warm, mappedPerSecond: mapped.warm } }
}

function folded({ facts, actors, rounds, newFacts }: FoldSpec): LoadCase {
  const entries = marketFacts(facts, actors)
  // Texts and lists that the engine's caches have not seen, as they come from a document.
  const fresh = (): FactEntry[] => structuredClone(entries)
  const asWritten = speeds(rounds, fresh, (copy) => readAll(foldOf(copy)))
  const byActor = speeds(
    rounds,
    () => actorByActor(fresh()),
    (copy) => readAll(foldOf(copy)),
  )
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
      factsPerSecond: asWritten.warm,
      factsPerCpuSecond: asWritten.ofCpu,
      factsPerSecondAtFirst: asWritten.cold,
      byActorPerSecond: byActor.warm,
      byActorPerCpuSecond: byActor.ofCpu,
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

function actorByActor(entries: readonly FactEntry[]): FactEntry[] {
  const actors = new Map<string, FactEntry[]>()
  for (const entry of entries) {
    const actor = entry.key.slice(0, 6)
    const own = actors.get(actor)
    if (own === undefined) actors.set(actor, [entry])
    else own.push(entry)
  }
  return [...actors.values()].flat()
}

/** How many of what it is given each second: the first time, at the median of the other times, and of CPU time. */
interface Speeds {
  readonly cold: number
  readonly warm: number
  readonly ofCpu: number
}

/** `given` is not counted when it is made anew each time. */
function speeds<T>(
  rounds: number,
  given: readonly T[] | (() => readonly T[]),
  work: (given: readonly T[]) => number,
): Speeds {
  const perSecond: number[] = []
  const perCpuSecond: number[] = []
  for (let round = 0; round < rounds; round++) {
    const all = typeof given === 'function' ? given() : given
    const cpuFrom = process.cpuUsage()
    const from = performance.now()
    if (work(all) !== all.length) throw new Error('not all of them are there')
    perSecond.push(all.length / ((performance.now() - from) / 1000))
    const { user, system } = process.cpuUsage(cpuFrom)
    perCpuSecond.push(all.length / ((user + system) / 1e6))
  }
  return { cold: perSecond[0]!, warm: median(perSecond.slice(1)), ofCpu: median(perCpuSecond.slice(1)) }
}

function bytes(what: string, entries: readonly FactEntry[], actors: number): LoadCase {
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
    name: `${what}, ${actors} ${actors === 1 ? 'actor' : 'actors'}`,
    figures: {
      bytesPerFact: stored / entries.length,
      payloadBytes: payload / entries.length,
      saidBytes: said / entries.length,
      timesPayload: stored / payload,
      timesSaid: stored / said,
    },
  }
}

/**
 * What everything above relies on, for every engine alike, over random histories: an update in any order, twice, compacted
 * anywhere, joined from anywhere, says the same; and nothing that is said to be known is lost when it is left out.
 */
import * as A from '@automerge/automerge'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import type { Coverage, Engine, EngineName } from '../../../core/engine/engine.ts'
import { engineOf, engines } from '../../../core/engine/engines.ts'
import type { Value } from '../../../core/engine/live-document.ts'
import * as automerge from './automerge/random-documents.ts'
import * as yjs from './random-documents.ts'
import { concat, contentOf, runs } from './support.ts'

const unlimited = { updateBytesMax: Number.MAX_SAFE_INTEGER }

/** What replicas of an engine have said, and what its own code makes of updates. */
interface Replicas {
  /** Updates as clients send them, and whole states of clients that lag. */
  readonly histories: fc.Arbitrary<{ readonly updates: Uint8Array[]; readonly states: Uint8Array[] }>
  /** All that can be told apart from outside. */
  contentOf(updates: readonly Uint8Array[]): unknown
}

const replicas: Readonly<Record<EngineName, Replicas>> = {
  yjs: {
    histories: yjs.histories.map(({ updates, documents }) => ({
      updates,
      states: documents.map((document) => Y.encodeStateAsUpdate(document)),
    })),
    contentOf: (updates) => contentOf(yjs.replicaOf(updates)),
  },
  automerge: {
    histories: automerge.histories.map(({ changes, replicas }) => ({
      updates: changes,
      states: replicas.map((replica) => concat(A.getAllChanges(replica))).filter(({ length }) => length > 0),
    })),
    contentOf: (updates) => automerge.contentOf(automerge.replicaOf(updates)),
  },
}

/** Of what was said, in any order, some twice and some never. */
const picks = fc.array(fc.nat({ max: 10_000 }), { minLength: 1, maxLength: 30 })
const logs = ({ histories }: Replicas) =>
  fc
    .tuple(histories, picks, fc.nat({ max: 30 }))
    .filter(([{ updates }]) => updates.length > 0)
    .map(([{ updates, states }, order, cut]) => {
      const said = [...updates, ...states]
      const log = order.map((pick) => said[pick % said.length]!)
      return { updates, states, log, cut: Math.min(cut, log.length) }
    })

describe.each(Object.values(engines))('engine $name', (engine: Engine) => {
  const own = replicas[engine.name]
  const outlineOf = (update: Uint8Array) => engine.validate(update, unlimited)
  const coverageOf = (updates: readonly Uint8Array[]): Coverage => {
    const coverage = engine.coverageOf(null)
    for (const update of updates) coverage.add(outlineOf(update))
    return coverage
  }
  /** Chunks may be none, which Yjs's replicas do not take for an update. */
  const joined = (chunks: readonly Uint8Array[]): Uint8Array[] =>
    chunks.length === 0 ? [] : [concat(chunks)]

  beforeAll(() => engine.load())

  test('its updates are its own by their first bytes, its states too', () => {
    fc.assert(
      fc.property(logs(own), ({ log }) => {
        for (const update of [...log, engine.compact(log).bytes, engine.merge(log)])
          expect(engineOf(update)).toBe(engine.name)
      }),
      runs(10),
    )
  })

  test('a joiner from any snapshot, tail and version has what one has who applied all', () => {
    fc.assert(
      fc.property(logs(own), ({ log, states, cut }) => {
        const state = cut === 0 ? null : engine.compact(log.slice(0, cut))
        const before = states.slice(0, 1)
        const version = before[0] === undefined ? engine.emptyVersion : engine.version(before[0])
        const answer = joined(engine.join(state, log.slice(cut), version))
        expect(own.contentOf([...before, ...answer])).toEqual(own.contentOf([...before, ...log]))
      }),
      runs(15),
    )
  })

  test('compaction in steps, of any order, changes nothing and forgets nothing', () => {
    fc.assert(
      fc.property(logs(own), ({ log, cut }) => {
        const first = engine.compact(log.slice(0, cut)).bytes
        const state = engine.compact([first, ...log.slice(cut).toReversed(), ...log.slice(0, 2)])
        expect(own.contentOf([state.bytes])).toEqual(own.contentOf(log))
        const coverage = engine.coverageOf(state)
        for (const update of log) expect(engine.isSubsumed(update, coverage)).toBe(true)
        expect(coverage.version()).toEqual(coverageOf(log).version())
        expect(engine.index(state.bytes)).toEqual(state.index)
      }),
      runs(12),
    )
  })

  test('what is covered changes nothing when it is left out, and what is trimmed comes to the same', () => {
    fc.assert(
      fc.property(logs(own), ({ log }) => {
        const coverage = engine.coverageOf(null)
        const kept: Uint8Array[] = []
        for (const update of log) {
          const outline = outlineOf(update)
          if (coverage.covers(outline)) continue
          kept.push(engine.trim(update, outline, coverage))
          coverage.add(outline)
        }
        expect(own.contentOf(kept)).toEqual(own.contentOf(log))
        expect(coverageOf(kept).version()).toEqual(coverage.version())
      }),
      runs(15),
    )
  })

  test('a merge says what all say, a diff what a version lacks', () => {
    fc.assert(
      fc.property(logs(own), ({ log, states }) => {
        const merged = engine.merge(log)
        expect(own.contentOf([merged])).toEqual(own.contentOf(log))
        for (const state of states) {
          const diff = engine.diff(merged, engine.version(state))
          expect(own.contentOf([state, ...joined(diff.length === 0 ? [] : [diff])])).toEqual(
            own.contentOf([state, ...log]),
          )
        }
      }),
      runs(12),
    )
  })

  test('an update of a lineage that has ended is known, and one of another is not', () => {
    fc.assert(
      fc.property(logs(own), ({ updates }) => {
        const ended = engine.ended([coverageOf(updates).ending()])
        for (const update of updates) expect(ended.holds(outlineOf(update))).toBe(true)
        expect(ended.seenBy(engine.emptyVersion)).toBe(false)
        const none = engine.ended([engine.coverageOf(null).ending()])
        for (const update of updates) expect(none.holds(outlineOf(update))).toBe(false)
      }),
      runs(10),
    )
  })

  test('JSON is that of a live document, which is the same for any order', () => {
    fc.assert(
      fc.property(logs(own), ({ log }) => {
        const live = [log, log.toReversed(), [...log, ...log]].map((updates) => engine.open(updates))
        const maps = live.map(({ state }) => JSON.stringify(state.map('map').entries()))
        expect(new Set(maps).size).toBe(1)
        const keys = live[0]!.state.map('map').keys()
        const json = engine.toJson(log)['map']
        if (keys.length > 0) expect(Object.keys(json as object)).toEqual(expect.arrayContaining(keys))
        for (const each of live) each.close()
      }),
      runs(15),
    )
  })

  test('entries that the server writes are entries, written once, in all forms that are stored', () => {
    const entry = (key: string, value: Value, written: number) =>
      engine.entry('facts', key, value, { replica: 0xdeadbeef, written })
    const updates = [entry('a', { b: ['ü', 1.5, null, true] }, 0), entry('c', 'text', 1)]
    const entries = [
      ['a', { b: ['ü', 1.5, null, true] }],
      ['c', 'text'],
    ]
    const again = entry('a', 2, 2)
    for (const stored of [updates, updates.toReversed(), [engine.compact(updates).bytes]]) {
      const live = engine.open(stored)
      const facts = live.state.map('facts')
      expect(facts.entries()).toEqual(entries)
      expect([facts.isIntact('a'), facts.isIntact('d'), facts.writtenCount()]).toEqual([true, false, 2])
      live.apply([again])
      expect([facts.isIntact('a'), facts.isIntact('c'), facts.writtenCount()]).toEqual([false, true, 2])
      live.close()
      const guard = engine.writeOnce('facts', stored)
      expect(guard.written.toSorted()).toEqual(entries)
      expect(guard.examine(updates[0]!)).toMatchObject({ refused: null, writes: [] })
      expect(guard.examine(again)).toMatchObject({ refused: null, writes: [['a', 2]] })
    }
  })

  test('what is cut off, or of another engine, is refused', () => {
    const other = Object.values(engines).find(({ name }) => name !== engine.name)!
    const malformed = expect.objectContaining({ code: 'malformed_update' })
    fc.assert(
      fc.property(logs(own), fc.nat(), ({ updates }, place) => {
        for (const update of updates) {
          expect(() => outlineOf(update.subarray(0, place % update.length))).toThrow(malformed)
          expect(() => other.validate(update, unlimited)).toThrow(malformed)
        }
      }),
      runs(15),
    )
  })
})

/** What Automerge documents say is what their clients see, wherever a log was cut, compacted, and sent again. */
import { createHash, randomBytes } from 'node:crypto'
import * as A from '@automerge/automerge'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { automergeEngine as engine } from '../../../../core/engine/automerge/automerge-engine.ts'
import { hex, unhex } from '../../../../core/engine/automerge/chunk.ts'
import { indexFormat } from '../../../../core/engine/automerge/snapshot-index.ts'
import { readVersion, writeVersion } from '../../../../core/engine/automerge/version.ts'
import { concat, runs } from '../support.ts'
import { type Content, contentOf, histories, picks, replicaOf } from './random-documents.ts'

const unlimited = { updateBytesMax: Number.MAX_SAFE_INTEGER }
const versionOf = (doc: A.Doc<unknown>) => writeVersion(A.getHeads(doc).map(unhex))

beforeAll(() => engine.load())

describe('a joiner', () => {
  test('equals a document that applied all, from any snapshot, tail and version', () => {
    fc.assert(
      fc.property(
        histories,
        picks,
        fc.nat({ max: 60 }),
        fc.nat({ max: 2 }),
        ({ changes, replicas }, order, cut, who) => {
          const log = order
            .map((pick) => changes[pick % changes.length])
            .filter((update) => update !== undefined)
          const at = Math.min(cut, log.length)
          const state = at === 0 ? null : engine.compact(log.slice(0, at))
          const tail = log.slice(at)
          const joiner = A.clone(replicas[who]!)
          const joined = A.loadIncremental(joiner, concat(engine.join(state, tail, versionOf(joiner))))
          const expected = replicaOf([A.save(replicas[who]!), ...log])
          expect(contentOf(joined)).toEqual(contentOf(expected))
          const coverage = engine.coverageOf(state)
          for (const update of tail) coverage.add(engine.validate(update, unlimited))
          expect(readVersion(coverage.version()).map(hex)).toEqual(A.getHeads(replicaOf(log)).toSorted())
          for (const update of log) expect(engine.isSubsumed(update, coverage)).toBe(true)
        },
      ),
      runs(40),
    )
  })

  test('that lacks the latest changes of a snapshot gets these, and the snapshot when it lacks older ones', () => {
    let doc = A.from<Content>({ text: '' }, { actor: 'aa' })
    const replicas = [A.clone(doc)]
    for (let i = 0; i < 400; i++) {
      doc = A.change(doc, (doc) => A.splice(doc, ['text'], i, 0, String(Math.imul(i, 0x9e3779b1))))
      if (i === 396) replicas.push(A.clone(doc))
    }
    const all = A.getAllChanges(doc)
    const state = engine.compact(all)
    for (const [i, replica] of replicas.entries()) {
      const chunks = engine.join(state, [], versionOf(replica))
      if (i === 0) expect(chunks).toEqual([state.bytes])
      else expect(engine.validate(concat(chunks), unlimited).changes.length).toBe(3)
      expect(contentOf(A.loadIncremental(replica, concat(chunks)))).toEqual(contentOf(doc))
    }
    expect(engine.join(state, [], versionOf(doc))).toEqual([])
    // As their author made them.
    expect(concat(engine.join(state, [], versionOf(replicas[1]!)))).toEqual(concat(all.slice(-3)))
  })

  test('of a large document that lacks less than an eighth of it gets that, and not the snapshot', () => {
    const changes: Uint8Array[] = []
    const replicas: A.Doc<Content>[] = []
    let doc = A.from<Content>({}, { actor: 'aa' })
    for (let i = 0; i < 24; i++) {
      if (i === 10 || i === 22) replicas.push(A.clone(doc))
      // Nothing can be saved of random bytes.
      doc = A.change(doc, (doc) => {
        doc[`k${i}`] = Uint8Array.from(randomBytes(150_000))
      })
      changes.push(A.getLastLocalChange(doc)!)
    }
    const state = engine.compact([...A.getAllChanges(A.from<Content>({}, { actor: 'aa' })), ...changes])
    const [far, near] = replicas.map((replica) => engine.join(state, [], versionOf(replica)))
    expect([far!.length, far![0] === state.bytes]).toEqual([1, true])
    expect(near!.length).toBeGreaterThan(0)
    expect(engine.validate(concat(near!), unlimited).documents.length).toBe(0)
  })

  test('that has changes of its own, unknown here, gets what it lacks', () => {
    const base = A.from<Content>({ map: {} }, { actor: 'aa' })
    const own = A.change(A.clone(base, { actor: 'bb' }), ({ map }) =>
      Object.assign(map as object, { own: 1 }),
    )
    const more = A.change(base, ({ map }) => Object.assign(map as object, { more: 1 }))
    const chunks = engine.join(null, A.getAllChanges(more), versionOf(own))
    expect(A.loadIncremental(own, concat(chunks))).toEqual({ map: { own: 1, more: 1 } })
  })
})

describe('a merge and a diff', () => {
  test('say what the updates say, each change once, causes first', () => {
    fc.assert(
      fc.property(histories, picks, fc.nat({ max: 2 }), ({ changes, replicas }, order, who) => {
        const updates = [...order.map((pick) => changes[pick % changes.length]), ...changes].filter(
          (update) => update !== undefined,
        )
        if (updates.length === 0) return
        const merged = engine.merge(updates)
        const { changes: found } = engine.validate(merged, unlimited)
        expect(found.length).toBe(new Set(changes.map(hashOf)).size)
        const seen = new Set<string>()
        for (const { hash, deps } of found) {
          for (let at = 0; at < deps.length; at += 32) expect(seen).toContain(hex(deps.subarray(at, at + 32)))
          seen.add(hex(hash))
        }
        expect(contentOf(replicaOf([merged]))).toEqual(contentOf(replicaOf(updates)))
        const replica = replicas[who]!
        const lacked = engine.diff(merged, versionOf(replica))
        const expected = contentOf(replicaOf([A.save(replica), merged]))
        expect(contentOf(A.loadIncremental(A.clone(replica), lacked))).toEqual(expected)
        for (const change of changes) {
          const known = A.getAllChanges(replica).map(hashOf).includes(hashOf(change))
          if (engine.predates(change, versionOf(replica))) expect(known).toBe(true)
        }
      }),
      runs(20),
    )
  })
})

describe('a coverage', () => {
  test('trims what is known from an update, and what is left comes to the same', () => {
    fc.assert(
      fc.property(histories, fc.nat({ max: 40 }), ({ changes }, known) => {
        if (changes.length === 0) return
        const whole = engine.merge(changes)
        const coverage = engine.coverageOf(null)
        for (const change of changes.slice(0, known)) coverage.add(engine.validate(change, unlimited))
        const trimmed = engine.trim(whole, engine.validate(whole, unlimited), coverage)
        const left = changes.length - Math.min(known, changes.length)
        if (left > 0) expect(engine.validate(trimmed, unlimited).changes.length).toBe(left)
        if (left > 0) coverage.add(engine.validate(trimmed, unlimited))
        expect(coverage.version()).toEqual(engine.version(whole))
        expect(coverage.covers(engine.validate(whole, unlimited))).toBe(true)
      }),
      runs(20),
    )
  })

  test('knows of a document that was pushed whole once its changes are known, and not before', () => {
    const doc = A.change(A.from<Content>({ a: 1 }, { actor: 'aa' }), (doc) => Object.assign(doc, { b: 2 }))
    const saved = A.save(doc)
    const outline = engine.validate(saved, unlimited)
    const coverage = engine.coverageOf(null)
    expect(coverage.covers(outline)).toBe(false)
    coverage.add(outline)
    expect(coverage.covers(outline)).toBe(true)
    // It could say anything of its changes.
    expect(coverage.version()).toEqual(engine.emptyVersion)
    for (const change of A.getAllChanges(doc))
      expect(coverage.covers(engine.validate(change, unlimited))).toBe(false)
    const compacted = engine.coverageOf(engine.compact([saved]))
    expect(compacted.version()).toEqual(versionOf(doc))
    expect(compacted.covers(outline)).toBe(true)
    expect(engine.coverageOf(null).covers(engine.validate(A.save(A.init()), unlimited))).toBe(true)
  })

  test('says what is missing, and counts what waited once it is there', () => {
    fc.assert(
      fc.property(histories, picks, ({ changes }, order) => {
        const log = order
          .map((pick) => changes[pick % changes.length])
          .filter((update) => update !== undefined)
        const { graph } = engine.coverageOf(null)
        for (const update of log) graph.add(engine.validate(update, unlimited))
        expect(graph.missing().map(hex)).toEqual(A.getMissingDeps(replicaOf(log), []).toSorted())
        for (const update of changes) graph.add(engine.validate(update, unlimited))
        expect(graph.missing()).toEqual([])
        expect([...graph.hashes()].map(hex).toSorted()).toEqual(changes.map(hashOf).toSorted())
      }),
      runs(20),
    )
  })

  test('of an ended lineage tells who has part of it', () => {
    const old = A.from<Content>({ a: 1 }, { actor: 'aa' })
    const coverage = engine.coverageOf(null)
    coverage.add(engine.validate(engine.merge(A.getAllChanges(old)), unlimited))
    const ended = engine.ended([coverage.ending()])
    expect(ended.seenBy(versionOf(old))).toBe(true)
    expect(ended.seenBy(engine.emptyVersion)).toBe(false)
    const later = A.change(A.clone(old, { actor: 'bb' }), (doc) => Object.assign(doc, { b: 1 }))
    for (const change of A.getAllChanges(later))
      expect(ended.holds(engine.validate(change, unlimited))).toBe(true)
    const fresh = A.from<Content>({ a: 1 }, { actor: 'cc' })
    for (const update of [...A.getAllChanges(fresh), A.save(fresh)])
      expect(ended.holds(engine.validate(update, unlimited))).toBe(false)
    expect(() => engine.ended([Uint8Array.of(7)])).toThrow(
      expect.objectContaining({ code: 'document_unreadable' }),
    )
  })
})

describe('an index', () => {
  test('has not changed its format', () => {
    const chunk = engine.entry('facts', 'k', 1, { replica: 1, written: 0 })
    const { index } = engine.compact([chunk, engine.entry('facts', 'l', 'x', { replica: 1, written: 1 })])
    const hash = createHash('sha256').update(index).digest('hex').slice(0, 16)
    expect([indexFormat, hash]).toEqual([1, '1d44ba20124e80a0'])
  })

  test('that is damaged makes the document unreadable', () => {
    const state = engine.compact(A.getAllChanges(A.from({ a: 1, b: [1, 2] })))
    for (let at = 0; at < state.index.length; at++)
      expect(() => engine.coverageOf({ bytes: state.bytes, index: state.index.subarray(0, at) })).toThrow(
        expect.objectContaining({ code: 'document_unreadable' }),
      )
  })
})

test('a version that is none is refused', () => {
  for (const bytes of [[], [1], [1, 2, 3], [0, 0]])
    expect(() => engine.validateVersion(Uint8Array.from(bytes))).toThrow(
      expect.objectContaining({ code: 'malformed_frame' }),
    )
})

function hashOf(change: Uint8Array): string {
  return A.decodeChange(change).hash
}

import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as Y from 'yjs'
import { addRange } from '../../../core/engine/yjs/coverage.ts'
import { yjsEngine } from '../../../core/engine/yjs/yjs-engine.ts'
import { applyTo, histories, logChoices, logOf, replicaOf } from './random-documents.ts'
import { concat, contentOf, normalOutline, runs } from './support.ts'

const limits = { updateBytesMax: Number.MAX_SAFE_INTEGER }
const range = fc
  .tuple(fc.nat({ max: 30 }), fc.integer({ min: 1, max: 6 }))
  .map(([start, length]) => [start, start + length] as const)

test('ranges stay sorted, disjoint and apart, and hold exactly what was added', () => {
  fc.assert(
    fc.property(fc.array(range, { maxLength: 20 }), range, (added, [start, end]) => {
      const coverage = yjsEngine.coverageOf(null)
      const ranges: number[] = []
      const held = new Set<number>()
      for (const [from, to] of added) {
        addRange(ranges, from, to)
        coverage.add({ structs: [1, from, to], deletes: [2, from, to] })
        for (let clock = from; clock < to; clock++) held.add(clock)
      }
      const fromRanges = new Set<number>()
      for (let i = 0; i < ranges.length; i += 2) {
        if (i > 0) expect(ranges[i]).toBeGreaterThan(ranges[i - 1]!)
        for (let clock = ranges[i]!; clock < ranges[i + 1]!; clock++) fromRanges.add(clock)
      }
      expect(fromRanges).toEqual(held)

      const lacking = Array.from({ length: end - start }, (_, i) => start + i).filter(
        (clock) => !held.has(clock),
      )
      expect(coverage.covers({ structs: [1, start, end], deletes: [] })).toBe(lacking.length === 0)
      expect(coverage.covers({ structs: [], deletes: [2, start, end] })).toBe(lacking.length === 0)
      const missing = coverage.missing({ structs: [1, start, end], deletes: [2, start, end] })
      for (const triples of [missing.structs, missing.deletes]) {
        const clocks: number[] = []
        for (let i = 0; i < triples.length; i += 3)
          for (let clock = triples[i + 1]!; clock < triples[i + 2]!; clock++) clocks.push(clock)
        expect(clocks).toEqual(lacking)
      }
    }),
    runs(500),
  )
})

test('what a coverage covers changes nothing, and what changes nothing is covered when nothing is pending', () => {
  fc.assert(
    fc.property(histories, logChoices, fc.nat(), (history, choices, cut) => {
      const log = logOf(history, choices)
      const split = cut % (log.length + 1)
      const coverage = yjsEngine.coverageOf(split === 0 ? null : yjsEngine.compact(log.slice(0, split)))
      const document = replicaOf(log.slice(0, split))
      for (const update of [...log.slice(split), ...history.updates]) {
        const before = contentOf(document)
        // What is pending may be taken up by any later update, also by one that brings nothing itself.
        const waiting = document.store.pendingStructs !== null || document.store.pendingDs !== null
        applyTo(document, [update])
        const changed = JSON.stringify(contentOf(document)) !== JSON.stringify(before)
        const covered = yjsEngine.isSubsumed(update, coverage)
        if (covered) {
          if (!waiting) expect(changed).toBe(false)
        } else if (document.store.pendingStructs === null && document.store.pendingDs === null) {
          // Overwritten and child items are deleted by what integrates; a log may lack words for that.
          const missing = coverage.missing(yjsEngine.validate(update, limits))
          if (missing.structs.length > 0) expect(changed).toBe(true)
        }
        coverage.add(yjsEngine.validate(update, limits))
        expect(yjsEngine.isSubsumed(update, coverage)).toBe(true)
      }
    }),
    runs(60),
  )
})

test('the version is that of Yjs for a document without gaps', () => {
  fc.assert(
    fc.property(histories, ({ updates }) => {
      const coverage = yjsEngine.coverageOf(null)
      for (const update of updates) coverage.add(yjsEngine.validate(update, limits))
      const document = replicaOf(updates)
      expect(coverage.version()).toEqual(Y.encodeStateVector(document))
      expect(yjsEngine.coverageOf(yjsEngine.compact(updates)).version()).toEqual(coverage.version())
    }),
    runs(150),
  )
})

test('the version stops before a gap', () => {
  const coverage = yjsEngine.coverageOf(null)
  coverage.add({ structs: [1, 0, 3, 1, 5, 9, 2, 4, 5], deletes: [] })
  expect(coverage.version()).toEqual(Uint8Array.of(1, 1, 3))
  coverage.add({ structs: [1, 3, 5, 2, 0, 4], deletes: [] })
  expect(coverage.version()).toEqual(Uint8Array.of(2, 2, 5, 1, 9))
})

test('a trimmed update with the coverage says what the whole one says', () => {
  let saved = 0
  fc.assert(
    fc.property(histories, logChoices, fc.nat({ max: 2 }), (history, choices, who) => {
      const log = logOf(history, choices)
      const coverage = yjsEngine.coverageOf(log.length === 0 ? null : yjsEngine.compact(log))
      const update = Y.encodeStateAsUpdate(history.documents[who]!)
      const outline = yjsEngine.validate(update, limits)
      const trimmed = yjsEngine.trim(update, outline, coverage)
      saved += update.length - trimmed.length
      expect(trimmed.length).toBeLessThanOrEqual(update.length)
      expect(contentOf(replicaOf([...log, trimmed]))).toEqual(contentOf(replicaOf([...log, update])))
      coverage.add(yjsEngine.validate(trimmed, limits))
      expect(coverage.covers(outline)).toBe(true)
    }),
    runs(150),
  )
  expect(saved).toBeGreaterThan(0)
})

test('a client that comes back with one edit adds that edit to the log, not its whole delete set', () => {
  const document = new Y.Doc()
  const text = document.getText('text')
  for (let i = 0; i < 300; i++) text.insert(0, `${i}`)
  for (let i = 0; i < 200; i++) text.delete(i, 1)
  const state = Y.encodeStateAsUpdate(document)
  const coverage = yjsEngine.coverageOf({ bytes: state, index: yjsEngine.index(state) })
  const version = Y.encodeStateVector(document)
  text.insert(0, 'new')
  const update = Y.encodeStateAsUpdate(document, version)
  expect(update.length).toBeGreaterThan(300)
  const trimmed = yjsEngine.trim(update, yjsEngine.validate(update, limits), coverage)
  expect(trimmed.length).toBeLessThan(40)
  expect(contentOf(replicaOf([state, trimmed]))).toEqual(contentOf(document))
  expect(normalOutline(concat([trimmed])).deletes).toEqual({})
  expect(yjsEngine.trim(trimmed, yjsEngine.validate(trimmed, limits), coverage)).toBe(trimmed)
})

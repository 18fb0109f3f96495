import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as Y from 'yjs'
import { addRange } from '../../../core/engine/yjs/coverage.ts'
import { yjsEngine } from '../../../core/engine/yjs/yjs-engine.ts'
import { applyTo, histories, logChoices, logOf, replicaOf, settled } from './random-documents.ts'
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
        const before = contentOf(settled(document))
        applyTo(document, [update])
        const changed = JSON.stringify(contentOf(settled(document))) !== JSON.stringify(before)
        const covered = yjsEngine.isSubsumed(update, coverage)
        if (covered) expect(changed).toBe(false)
        else if (document.store.pendingStructs === null && document.store.pendingDs === null) {
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

/** The log as a room writes it: without what is covered when it comes. */
function withoutCovered(log: readonly Uint8Array[]): Uint8Array[] {
  const coverage = yjsEngine.coverageOf(null)
  return log.filter((update) => {
    if (yjsEngine.isSubsumed(update, coverage)) return false
    coverage.add(yjsEngine.validate(update, limits))
    return true
  })
}

const laterChoices = fc.array(fc.nat(), { maxLength: 20, size: 'max' })

test('dropping covered updates from a log changes no document: for who follows, for who joins, now and later', () => {
  let dropped = 0
  let pending = 0
  const property = fc.property(histories, logChoices, laterChoices, (history, choices, laterPicks) => {
    const log = logOf(history, choices)
    const kept = withoutCovered(log)
    dropped += log.length - kept.length
    const pick = (choice: number) => history.updates[choice % history.updates.length]!
    const later = history.updates.length === 0 ? [] : laterPicks.map(pick)

    const follower = replicaOf([])
    const thrifty = replicaOf([])
    for (const update of [...log, ...later]) Y.applyUpdate(follower, update)
    for (const update of [...kept, ...later]) Y.applyUpdate(thrifty, update)
    if (follower.store.pendingStructs !== null) pending++
    expect(contentOf(settled(thrifty))).toEqual(contentOf(settled(follower)))

    for (const known of [[], ...history.documents.map((document) => [Y.encodeStateAsUpdate(document)])]) {
      const joiners = [log, kept].map((updates) => {
        const joiner = replicaOf(known)
        const version = Y.encodeStateVector(joiner)
        applyTo(joiner, [concat(yjsEngine.join(null, updates, version))])
        return joiner
      })
      expect(contentOf(joiners[1]!)).toEqual(contentOf(joiners[0]!))
      for (const update of later) {
        for (const joiner of joiners) applyTo(joiner, [update])
        expect(contentOf(settled(joiners[1]!))).toEqual(contentOf(settled(joiners[0]!)))
      }
    }

    // Once every dependency has come there is nothing to settle.
    for (const document of [follower, thrifty]) {
      applyTo(document, history.updates)
      expect(document.store.pendingStructs).toBe(null)
      expect(contentOf(document)).toEqual(contentOf(replicaOf(history.updates)))
    }
  })
  fc.assert(property, runs(60))
  expect(dropped).toBeGreaterThan(0)
  expect(pending).toBeGreaterThan(0)
})

/** What the seed -685816601 found: client 9's third struct waits for client 7's first, whose fifth is there alone. */
function stuck() {
  const [one, two] = [7, 9].map((clientID) => {
    const document = new Y.Doc()
    document.clientID = clientID
    return document
  }) as [Y.Doc, Y.Doc]
  const ones: Uint8Array[] = []
  const twos: Uint8Array[] = []
  const note = (list: Uint8Array[]) => (update: Uint8Array, origin: unknown) => {
    if (origin !== 'other') list.push(update)
  }
  one.on('update', note(ones))
  two.on('update', note(twos))
  one.getArray('array').insert(0, ['first of seven'])
  for (const letter of 'dcba') one.getText('text').insert(0, letter)
  for (const letter of 'fe') two.getText('text').insert(0, letter)
  Y.applyUpdate(two, ones[0]!, 'other')
  two.getArray('array').insert(0, ['third of nine'])
  return { ones, twos, alone: Y.mergeUpdates([twos[2]!, twos[1]!, ones[4]!]) }
}

test('seed -685816601: a covered update can make Yjs take up what it could have taken up before, and no more', () => {
  const { ones, twos, alone } = stuck()
  const log = [alone, twos[0]!, ones[0]!]
  const follower = replicaOf([])
  for (const update of log) Y.applyUpdate(follower, update)
  const array = (document: Y.Doc) => document.getArray('array').toJSON()
  // Nothing is missing for it, and a replica that gets the three at once has it.
  expect(array(follower)).toEqual(['first of seven'])
  expect(array(replicaOf([yjsEngine.merge(log)]))).toEqual(['third of nine', 'first of seven'])
  expect(array(settled(follower))).toEqual(['third of nine', 'first of seven'])

  const coverage = yjsEngine.coverageOf(null)
  for (const update of log) coverage.add(yjsEngine.validate(update, limits))
  expect(yjsEngine.isSubsumed(twos[2]!, coverage)).toBe(true)
  const again = replicaOf(log)
  Y.applyUpdate(again, twos[2]!)
  expect(contentOf(again)).toEqual(contentOf(settled(follower)))

  // The rest comes: nobody needs the update that was dropped.
  for (const update of ones) Y.applyUpdate(follower, update)
  expect(contentOf(follower)).toEqual(contentOf(replicaOf([...ones, ...twos])))
})

test('a document built from many updates has everything that can be integrated', () => {
  const { ones, twos, alone } = stuck()
  const log = [alone, twos[0]!, ones[0]!].flatMap((update) => Array<Uint8Array>(1000).fill(update))
  expect(yjsEngine.toJson(log)['array']).toEqual(['third of nine', 'first of seven'])
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

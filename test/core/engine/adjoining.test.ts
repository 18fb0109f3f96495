/** Updates that are joined say what they said one after the other, and whatever is not fit for it is left alone. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as Y from 'yjs'
import type { Coverage } from '../../../core/engine/engine.ts'
import { joinAdjoining } from '../../../core/engine/yjs/adjoining.ts'
import type { YjsOutline } from '../../../core/engine/yjs/scan.ts'
import { yjsEngine } from '../../../core/engine/yjs/yjs-engine.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'

const writers = 3
type Act = readonly [who: number, what: number, at: number]
const act: fc.Arbitrary<Act> = fc.tuple(fc.nat(writers - 1), fc.nat(6), fc.nat(30))

/** All updates of some people who write for a while, now and then hearing of each other. */
function updatesOf(acts: readonly Act[]): Uint8Array[] {
  const updates: Uint8Array[] = []
  const docs = Array.from({ length: writers }, (_, i) => {
    const doc = new Y.Doc()
    doc.clientID = 1_000_000_000 + i
    doc.on('update', (update: Uint8Array, origin: unknown) => {
      if (origin !== 'remote') updates.push(update)
    })
    return doc
  })
  for (const [who, what, at] of acts) {
    const doc = docs[who]!
    const text = doc.getText('text')
    if (what < 3) text.insert(Math.min(at, text.length), 'é'.repeat(1 + (at % 3)))
    else if (what === 3) text.delete(0, Math.min(text.length, 1 + (at % 4)))
    else if (what === 4) doc.getMap('map').set(`key ${at % 3}`, at)
    else if (what === 5) doc.getArray('list').push([new Y.Map(), 'x'.repeat(at * 20)])
    else for (const update of updates) Y.applyUpdate(doc, update, 'remote')
  }
  return updates
}

const read = (updates: readonly Uint8Array[]): Uint8Array => {
  const doc = new Y.Doc()
  for (const update of updates) Y.applyUpdate(doc, update)
  return Y.encodeStateAsUpdate(doc)
}

test('a replica has the same of them as of what they were made of, whatever it lacks or knows', () => {
  fc.assert(
    fc.property(fc.array(act, { maxLength: 60 }), fc.nat(20), fc.nat(20), (acts, without, again) => {
      const updates = updatesOf(acts)
      const lacking = updates.slice(without)
      const repeated = [...updates.slice(0, again), ...updates]
      for (const some of [updates, lacking, repeated]) {
        const joined = joinAdjoining(some)
        expect(joined.length).toBeLessThanOrEqual(some.length)
        expect(read([...joined, ...updates])).toEqual(read([...some, ...updates]))
        expect(read(joined)).toEqual(read(some))
      }
    }),
    { numRuns: 60 },
  )
})

test('what is typed in one turn becomes few, of a fraction of the bytes', () => {
  const typed = updatesOf(Array.from({ length: 100 }, (): Act => [0, 0, 0]))
  const joined = joinAdjoining(typed)
  expect(joined.length).toBe(4)
  const bytes = (updates: readonly Uint8Array[]): number =>
    updates.reduce((sum, update) => sum + update.length, 0)
  expect(bytes(joined)).toBeLessThan(bytes(typed) * 0.7)
  expect(read(joined)).toEqual(read(typed))
})

test('what is no update stays the bytes that it is, and spoils none beside it', () => {
  fc.assert(
    fc.property(
      fc.array(act, { minLength: 2, maxLength: 12 }),
      fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 }),
      (acts, changes) => {
        const updates = updatesOf(acts)
        if (updates.length === 0) return
        const spoilt = updates.map((update) => update.slice())
        for (const [which, at, byte] of changes) {
          const update = spoilt[which % spoilt.length]!
          update[at % update.length] = byte
        }
        const joined = joinAdjoining(spoilt)
        const refused = spoilt.filter((update) => outlineOf(update) === null)
        expect(joined.filter((update) => outlineOf(update) === null)).toEqual(refused)
        const [before, after] = [spoilt, joined].map(coverageOf)
        for (const update of spoilt) {
          const outline = outlineOf(update)
          if (outline !== null) expect(after!.covers(outline)).toBe(true)
        }
        expect(after!.version()).toEqual(before!.version())
      },
    ),
    { numRuns: 300 },
  )
})

/** Null for what no door lets in. */
function outlineOf(update: Uint8Array): YjsOutline | null {
  try {
    return yjsEngine.validate(update, { updateBytesMax: 1e9 })
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error
    return null
  }
}

function coverageOf(updates: readonly Uint8Array[]): Coverage {
  const coverage = yjsEngine.coverageOf(null)
  for (const update of updates) {
    const outline = outlineOf(update)
    if (outline !== null) coverage.add(outline)
  }
  return coverage
}

test('one whose deletes end like an empty delete set is not joined', () => {
  // A section with one deleted struct, and a delete set of client 0, clock 5, length 128 in too many bytes.
  const first = Uint8Array.of(1, 1, 7, 0, 1, 1, 1, 0x74, 1)
  const odd = Buffer.concat([first, Buffer.from('010001058100', 'hex')])
  const next = Uint8Array.of(1, 1, 7, 1, 1, 1, 1, 0x74, 1, 0)
  expect(joinAdjoining([odd, next])).toEqual([odd, next])
  const plain = Buffer.concat([first, Buffer.of(0)])
  expect(joinAdjoining([plain, next]).length).toBe(1)
})

/** Pending against a model: a log of changes, a set of what is projected, and whoever goes on from the cursors. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { DocumentId } from '../../../core/document-id.ts'
import type { Change } from '../../../server/log/log.ts'
import { partCount, partOf } from '../../../server/views/parts.ts'
import { Pending } from '../../../server/views/pending.ts'

const documents = Array.from({ length: 12 }, (_, i) => `notes/${i}` as DocumentId)

test('documents are spread over all parts, evenly', () => {
  const counts = new Array<number>(partCount).fill(0)
  for (let i = 0; i < 16_000; i++) counts[partOf(`deals/${i}` as DocumentId)]!++
  expect(Math.min(...counts)).toBeGreaterThan(850)
  expect(Math.max(...counts)).toBeLessThan(1_150)
})

type Step =
  | { readonly kind: 'change'; readonly document: number }
  | { readonly kind: 'read' | 'take' | 'done' | 'failed' | 'tick' }
  | { readonly kind: 'hold' | 'release'; readonly part: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('change' as const), document: fc.nat(11) }) },
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constantFrom('read', 'take', 'done', 'failed', 'tick' as const) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('hold' as const, 'release' as const),
      part: fc.nat(partCount - 1),
    }),
  },
)

/** As `Log.changes`: each document once, at its latest place. */
class ChangeLog {
  private readonly latest = new Map<DocumentId, number>()
  private last = 0
  change(document: DocumentId): void {
    this.last += 3
    this.latest.set(document, this.last)
  }
  after(from: number, countMax: number): Change[] {
    return [...this.latest]
      .map(([document, sequence]) => ({ document, sequence }))
      .filter(({ sequence }) => sequence > from)
      .sort((a, b) => a.sequence - b.sequence)
      .slice(0, countMax)
  }
  sequenceOf(document: DocumentId): number {
    return this.latest.get(document) ?? 0
  }
}

describe('whatever happens', () => {
  test('a cursor passes no change that is not projected, and all is projected in the end', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const log = new ChangeLog()
        const pending = new Pending()
        const stored = new Map<number, number>()
        /** What was read of a document when it was last projected. */
        const projected = new Map<DocumentId, number>()
        const underWay = new Map<DocumentId, number>()
        let nowMs = 0
        for (let part = 0; part < partCount; part++) pending.hold(part, 0)
        const check = (): void => {
          for (const [part, cursor] of pending.cursors()) {
            for (const document of documents) {
              const latest = log.sequenceOf(document)
              if (partOf(document) !== part || latest === 0 || latest > cursor) continue
              expect(projected.get(document) ?? 0).toBeGreaterThanOrEqual(latest)
            }
            expect(cursor).toBeGreaterThanOrEqual(stored.get(part) ?? 0)
            stored.set(part, cursor)
          }
        }
        const take = (): void => {
          // A projection reads the log after it was taken.
          for (const document of pending.take(3, nowMs)) {
            expect(underWay.has(document)).toBe(false)
            underWay.set(document, log.sequenceOf(document))
          }
        }
        const end = (how: 'done' | 'failed'): void => {
          const [first] = underWay
          if (first === undefined) return
          underWay.delete(first[0])
          if (how === 'failed') return pending.failed(first[0], nowMs)
          projected.set(first[0], Math.max(first[1], projected.get(first[0]) ?? 0))
          pending.done(first[0])
        }
        const read = (countMax: number): void => {
          const { from } = pending
          if (from !== null) pending.read(from, log.after(from, countMax))
        }
        for (const each of steps) {
          if (each.kind === 'change') log.change(documents[each.document]!)
          else if (each.kind === 'read') read(4)
          else if (each.kind === 'take') take()
          else if (each.kind === 'tick') nowMs += 1_000
          else if (each.kind === 'release') pending.release(each.part)
          else if (each.kind === 'hold') {
            if (!pending.parts.includes(each.part)) pending.hold(each.part, stored.get(each.part) ?? 0)
          } else end(each.kind)
          check()
        }
        for (let part = 0; part < partCount; part++)
          if (!pending.parts.includes(part)) pending.hold(part, stored.get(part) ?? 0)
        for (let round = 0; round < 100; round++) {
          nowMs += 100_000
          read(100)
          take()
          while (underWay.size > 0) end('done')
          check()
        }
        expect(pending.size).toBe(0)
        for (const document of documents) expect(projected.get(document) ?? 0).toBe(log.sequenceOf(document))
      }),
      { numRuns: 150 },
    )
  })
})

test('a document that fails waits ever longer, and holds up nobody else', () => {
  const [bad, good] = documents as [DocumentId, DocumentId]
  const pending = new Pending()
  for (let part = 0; part < partCount; part++) pending.hold(part, 0)
  pending.read(0, [
    { document: bad, sequence: 1 },
    { document: good, sequence: 2 },
  ])
  expect(pending.take(10, 0)).toEqual([bad, good])
  pending.done(good)
  pending.failed(bad, 0)
  expect(pending.take(10, 249)).toEqual([])
  expect(pending.dueMs()).toBe(250)
  expect(pending.take(10, 250)).toEqual([bad])
  pending.failed(bad, 250)
  expect(pending.dueMs()).toBe(750)
  const cursors = pending.cursors()
  expect(cursors.get(partOf(bad))).toBe(0)
  if (partOf(good) !== partOf(bad)) expect(cursors.get(partOf(good))).toBe(2)
})

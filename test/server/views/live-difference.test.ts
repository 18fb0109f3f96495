/** The difference of two results, and the client's half of it: what comes out is the new result, and little is said. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { apply } from '../../../core/protocol/live-rows.ts'
import type { LiveChange, LiveRow, PlacedRow } from '../../../core/protocol/query.ts'
import {
  type Difference,
  difference,
  type KeyedRow,
  type Placed,
} from '../../../server/views/live/difference.ts'

const keyed = (key: string, value: number): KeyedRow => ({ key, text: JSON.stringify({ value }) })
const live = ({ key, text }: KeyedRow): LiveRow => ({ key, row: JSON.parse(text) })
const placed = ({ row, at }: Placed): PlacedRow => ({ ...live(row), at })
const changeOf = ({ added, changed, removed }: Difference): LiveChange => ({
  added: added.map(placed),
  changed: changed.map(placed),
  removed,
})
const sizeOf = ({ added, changed, removed }: Difference): number =>
  added.length + changed.length + removed.length

/** Results of the same few keys, so that rows stay, move, change, come and go. */
const result = fc.uniqueArray(fc.tuple(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 2 })), {
  selector: ([key]) => key,
  maxLength: 30,
})
const rowsOf = (pairs: readonly (readonly [number, number])[]): KeyedRow[] =>
  pairs.map(([key, value]) => keyed(`k${key}`, value))

test('applied to the old rows it gives the new ones, in their order', () => {
  fc.assert(
    fc.property(result, result, (a, b) => {
      const [old, now] = [rowsOf(a), rowsOf(b)]
      const change = changeOf(difference(old, now))
      expect(apply(old.map(live), change)).toEqual(now.map(live))
      for (const placed of [change.added, change.changed]) {
        const places = placed.map(({ at }) => at)
        expect(places).toEqual(places.toSorted((x, y) => x - y))
      }
    }),
    { numRuns: 2_000 },
  )
})

test('it names no more rows than a brute search for the rows that may stay', () => {
  const few = fc.uniqueArray(fc.tuple(fc.integer({ min: 0, max: 8 }), fc.integer({ min: 0, max: 1 })), {
    selector: ([key]) => key,
    maxLength: 8,
  })
  fc.assert(
    fc.property(few, few, (a, b) => {
      const [old, now] = [rowsOf(a), rowsOf(b)]
      const texts = now.map(({ key, text }) => key + text)
      let most = 0
      for (let mask = 0; mask < 2 ** old.length; mask++) {
        const places = old.filter((_, i) => (mask >> i) & 1).map(({ key, text }) => texts.indexOf(key + text))
        if (places.every((place, i) => place >= 0 && (i === 0 || places[i - 1]! < place)))
          most = Math.max(most, places.length)
      }
      const { added, changed } = difference(old, now)
      expect(now.length - added.length - changed.length).toBe(most)
    }),
    { numRuns: 200 },
  )
})

describe('a small change is a small difference, however many rows there are', () => {
  const many = Array.from({ length: 10_000 }, (_, i) => keyed(`k${i}`, i))
  const cases: [string, KeyedRow[], Partial<Record<keyof Difference, number>>][] = [
    ['nothing', [...many], {}],
    ['one row changed', many.with(5_000, keyed('k5000', -1)), { changed: 1 }],
    ['one row added in front', [keyed('new', 0), ...many], { added: 1 }],
    ['one row removed', many.toSpliced(77, 1), { removed: 1 }],
    ['the last row moved to the front', [many.at(-1)!, ...many.slice(0, -1)], { changed: 1 }],
    ['the first row moved to the end', [...many.slice(1), many[0]!], { changed: 1 }],
  ]
  test.each(cases)('%s', (_, now, expected) => {
    const found = difference(many, now)
    expect(sizeOf(found)).toBe(Object.values(expected).reduce((sum, count) => sum + count, 0))
    expect(found).toMatchObject(
      Object.fromEntries(Object.entries(expected).map(([name, length]) => [name, { length }])),
    )
    expect(apply(many.map(live), changeOf(found))).toEqual(now.map(live))
  })
})

test('a change of other rows is refused, not half applied', () => {
  const rows = [keyed('a', 1), keyed('b', 2)].map(live)
  const none: LiveChange = { added: [], changed: [], removed: [] }
  const row = { value: 0 }
  const unfit: LiveChange[] = [
    { ...none, removed: ['c'] },
    { ...none, removed: ['a', 'a'] },
    { ...none, changed: [{ key: 'c', row, at: 0 }] },
    { ...none, removed: ['a'], changed: [{ key: 'a', row, at: 0 }] },
    { ...none, added: [{ key: 'c', row, at: 3 }] },
    { ...none, added: [{ key: 'c', row, at: -1 }] },
    { ...none, added: [{ key: 'a', row, at: 0 }] },
  ]
  for (const change of unfit) expect(() => apply(rows, change), JSON.stringify(change)).toThrow('change')
  expect(apply(rows, none)).toEqual(rows)
})

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { pack, unpack } from '../../../server/compaction/packed.ts'
import { compactionDue, dueForNewcomer, type TailStats } from '../../../server/compaction/policy.ts'

const limits = {
  tailBytesMax: 1_000,
  tailCountMax: 100,
  tailAgeMsMax: 60_000,
  idleTailCountMin: 8,
  intervalMs: 0,
}
const stats = (part: Partial<TailStats>): TailStats => ({
  tailBytes: 10,
  tailCount: 2,
  snapshotBytes: 0,
  oldestMs: 0,
  compactedMs: 0,
  ...part,
})

test.each([
  ['nothing in the tail', stats({ tailCount: 0, tailBytes: 0 }), 1e9, true, null],
  ['a short tail', stats({}), 0, false, null],
  ['bytes at the limit', stats({ tailBytes: 1_000 }), 0, false, 'bytes'],
  ['bytes one below', stats({ tailBytes: 999 }), 0, false, null],
  ['bytes below the size of the snapshot', stats({ tailBytes: 4_999, snapshotBytes: 5_000 }), 0, false, null],
  ['bytes of the size of the snapshot', stats({ tailBytes: 5_000, snapshotBytes: 5_000 }), 0, false, 'bytes'],
  ['count at the limit', stats({ tailCount: 100 }), 0, false, 'count'],
  [
    'count below what its snapshot is worth',
    stats({ tailCount: 199, snapshotBytes: 200 * 1024 }),
    0,
    false,
    null,
  ],
  [
    'count of what its snapshot is worth',
    stats({ tailCount: 200, snapshotBytes: 200 * 1024 }),
    0,
    false,
    'count',
  ],
  ['age at the limit', stats({}), 60_000, false, 'age'],
  ['one old entry', stats({ tailCount: 1 }), 1e9, false, null],
  ['idle with enough', stats({ tailCount: 8 }), 0, true, 'idle'],
  ['idle with too few', stats({ tailCount: 7 }), 0, true, null],
] as const)('%s', (_name, tail, nowMs, idle, expected) => {
  expect(compactionDue(tail, limits, nowMs, idle)).toBe(expected)
})

test('after a compaction the next one waits', () => {
  const tail = stats({ tailBytes: 1_000, compactedMs: 50 })
  expect(compactionDue(tail, { ...limits, intervalMs: 10 }, 59)).toBe(null)
  expect(compactionDue(tail, { ...limits, intervalMs: 10 }, 60)).toBe('bytes')
})

test('constant typing rewrites a bounded number of bytes per byte typed', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 400 }),
      fc.double({ min: 0.05, max: 1, noNaN: true }),
      (size, kept) => {
        const tail = stats({ tailBytes: 0, tailCount: 0 })
        let [typed, rewritten] = [0, 0]
        for (let i = 0; i < 5_000; i++) {
          typed += size
          tail.tailBytes += size
          tail.tailCount++
          if (compactionDue(tail, { ...limits, tailCountMax: Infinity }, 0) === null) continue
          rewritten += tail.tailBytes + tail.snapshotBytes
          tail.snapshotBytes += tail.tailBytes * kept
          tail.tailBytes = 0
          tail.tailCount = 0
        }
        expect(rewritten).toBeLessThanOrEqual(typed * 3 + limits.tailBytesMax)
      },
    ),
  )
})

test('packed updates come out as they went in, in one buffer of their own', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array()), (updates) => {
      const packed = pack(updates)
      expect(packed.bytes.byteLength).toBe(packed.bytes.buffer.byteLength)
      expect(unpack(packed)).toEqual(updates)
    }),
  )
})

test.each([
  ['less than a worker is worth', 16 * 1024 - 1, 0, false],
  ['enough, and no snapshot', 16 * 1024, 0, true],
  ['a small share of the snapshot', 99_999, 400_000, false],
  ['a quarter of the snapshot', 100_000, 400_000, true],
  ['more than anybody is let wait for', 4 * 1024 * 1024, 4 * 1024 * 1024 + 1, false],
])('somebody who has nothing waits for a compaction of a tail: %s', (_, tailBytes, snapshotBytes, due) => {
  expect(dueForNewcomer({ tailBytes, snapshotBytes })).toBe(due)
})

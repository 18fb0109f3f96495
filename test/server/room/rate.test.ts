import fc from 'fast-check'
import { expect, test } from 'vitest'
import { burstMs, Rate } from '../../../server/room/rate.ts'

const limits = { sessionMessagesPerSecondMax: 10, sessionBytesPerSecondMax: 1_000 }
/** As the system's clock: far from 0. */
const start = 1_800_000_000_000
const burst = (perSecond: number): number => (perSecond * burstMs) / 1000

test('what fits into the burst passes at once, the next message waits', () => {
  const rate = new Rate(limits, start)
  for (let i = 0; i < burst(10); i++) expect(rate.take(1, start)).toBe(0)
  expect(rate.take(1, start)).toBe(100)
})

test('bytes count as well, and a message larger than the bucket is owed', () => {
  const rate = new Rate(limits, start)
  expect(rate.take(burst(1_000), start)).toBe(0)
  expect(rate.take(2_000, start)).toBe(2_000)
})

test('the bucket fills with time, and never above the burst', () => {
  const rate = new Rate(limits, start)
  for (let i = 0; i < burst(10); i++) rate.take(1, start)
  expect(rate.take(1, start + 1_000_000)).toBe(0)
  let passed = 1
  while (rate.take(1, start + 1_000_000) === 0) passed++
  expect(passed).toBeLessThanOrEqual(burst(10) + 1)
})

test('whoever waits as told is never faster than the rate, over any longer time', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(3_000), { minLength: 1, maxLength: 200 }), (sizes) => {
      const rate = new Rate(limits, start)
      let nowMs = start
      let bytes = 0
      for (const [i, size] of sizes.entries()) {
        nowMs += rate.take(size, nowMs)
        bytes += size
        expect(bytes).toBeLessThanOrEqual(burst(1_000) + (nowMs - start) + 1)
        expect(i + 1).toBeLessThanOrEqual(burst(10) + (nowMs - start) / 100 + 1)
      }
    }),
  )
})

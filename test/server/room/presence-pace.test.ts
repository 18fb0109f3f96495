import fc from 'fast-check'
import { expect, test } from 'vitest'
import { frameMsMin, PresencePace } from '../../../server/room/presence-pace.ts'

const frameMsMax = 50

test('a room in which telling costs little tells after some milliseconds, for as long as it likes', () => {
  const pace = new PresencePace(frameMsMax)
  for (let nowMs = 0; nowMs < 10_000; nowMs += frameMsMin)
    expect(pace.waitMs(0.2, 240, nowMs)).toBeLessThanOrEqual(frameMsMin)
})

test('a room in which it costs much gathers in proportion, and holds nobody back for longer than the most', () => {
  const pace = new PresencePace(frameMsMax)
  expect(pace.waitMs(1, 500, 0)).toBe(16)
  expect(pace.waitMs(2, 500, 1_000)).toBe(32)
  expect(pace.waitMs(5, 3_000, 2_000)).toBe(frameMsMax)
  expect(pace.waitMs(500, 3_000, 3_000)).toBe(frameMsMax)
})

test('large frames go out twenty times a second, however little they cost here', () => {
  expect(new PresencePace(frameMsMax).waitMs(0.1, 20_000, 0)).toBe(frameMsMax)
})

test('many rooms together take a fifth of the thread, and one alone is not held back by what was long ago', () => {
  const pace = new PresencePace(frameMsMax)
  const workMs = 0.25
  const next = new Array<number>(20).fill(0)
  let spentMs = 0
  for (let nowMs = 0; nowMs < 20_000; nowMs++)
    for (const [room, atMs] of next.entries()) {
      if (atMs > nowMs) continue
      if (nowMs >= 10_000) spentMs += workMs
      next[room] = nowMs + pace.waitMs(workMs, 100, nowMs)
    }
  expect(spentMs / 10_000).toBeCloseTo(0.2, 1)
  expect(pace.waitMs(workMs, 100, 20_000)).toBeGreaterThan(2 * frameMsMin)
  expect(pace.waitMs(workMs, 100, 21_000)).toBe(frameMsMin)
})

test('whatever it costs and when, a wait is between the least and the most', () => {
  const amount = fc.double({ min: 0, max: 1e6, noNaN: true })
  fc.assert(
    fc.property(
      fc.array(fc.tuple(amount, amount, fc.double({ min: -10, max: 1e4, noNaN: true }))),
      (told) => {
        const pace = new PresencePace(frameMsMax)
        let nowMs = 0
        for (const [workMs, bytes, laterMs] of told) {
          nowMs += laterMs
          const waitMs = pace.waitMs(workMs, bytes, nowMs)
          expect(waitMs).toBeGreaterThanOrEqual(frameMsMin)
          expect(waitMs).toBeLessThanOrEqual(frameMsMax)
        }
      },
    ),
    { numRuns: 200 },
  )
})

import { expect, test } from 'vitest'
import { TimeLeft } from '../../bench/harness/time-left.ts'

const second = 1000

test('what is left is what was thought of, as long as nothing is known', () => {
  let now = 0
  const left = new TimeLeft([60, 30, 10], () => now)
  expect(left.seconds).toBe(100)
  now += 20 * second
  expect(left.seconds).toBe(80)
})

test('a step that takes longer than thought leaves the others', () => {
  let now = 0
  const left = new TimeLeft([60, 30, 10], () => now)
  now += 1000 * second
  expect(left.seconds).toBe(40)
})

test('steps that are done say how fast the others are', () => {
  let now = 0
  const left = new TimeLeft([60, 30, 10], () => now)
  now += 120 * second
  left.next()
  expect(left.seconds).toBe(80)
  now += 60 * second
  expect(left.seconds).toBe(20)
  left.next()
  now += 20 * second
  left.next()
  expect(left.seconds).toBe(0)
})

test.each([
  { name: 'failed at once', takenSeconds: 0, leftSeconds: 20 },
  { name: 'hung', takenSeconds: 6000, leftSeconds: 120 },
])('one that $name says little of the others', ({ takenSeconds, leftSeconds }) => {
  let now = 0
  const left = new TimeLeft([60, 30, 10], () => now)
  now += takenSeconds * second
  left.next()
  expect(left.seconds).toBe(leftSeconds)
})

/**
 * The window of pushes that wait for their ack, alone: each row of its promises, and random conversations against a
 * model that knows only which sequences are durable.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Offset } from '../../../core/offset.ts'
import { unackedUpdatesMax } from '../../../core/protocol/tidemark-v1/messages.ts'
import { containedAlready, PushWindow } from '../../../server/gateway/push-window.ts'

const at = (offset: number): Offset => offset as Offset

/** As the door does: takes what is new of a push; how many that was. */
function push(window: PushWindow, sequence: number, count: number): number {
  const repeated = window.enter(sequence, count)
  for (let i = repeated; i < count; i++) window.take()
  return count - repeated
}

describe('an acknowledgement', () => {
  test('waits for everything before it', () => {
    const window = new PushWindow()
    push(window, 1, 3)
    window.settled(2, at(2))
    expect(window.acknowledge(at(9))).toBe(null)
    window.settled(1, at(1))
    expect(window.acknowledge(at(9))).toEqual({ sequence: 2, offset: 9 })
    window.settled(3, at(3))
    expect(window.acknowledge(at(9))).toEqual({ sequence: 3, offset: 9 })
    expect(window.owing).toBe(false)
  })

  test('waits for its offset to be handed to the socket', () => {
    const window = new PushWindow()
    push(window, 1, 2)
    window.settled(1, at(5))
    window.settled(2, containedAlready)
    expect(window.acknowledge(at(4))).toBe(null)
    expect(window.owing).toBe(true)
    expect(window.acknowledge(at(5))).toEqual({ sequence: 2, offset: 5 })
  })

  test('is given again for what is repeated, and not before it was given once', () => {
    const window = new PushWindow()
    expect(push(window, 7, 2)).toBe(2)
    expect(push(window, 7, 2)).toBe(0)
    expect(window.acknowledge(at(9))).toBe(null)
    window.settled(7, at(1))
    window.settled(8, at(2))
    expect(window.acknowledge(at(9))).toEqual({ sequence: 8, offset: 9 })
    expect(push(window, 7, 1)).toBe(0)
    expect(window.owing).toBe(true)
    expect(window.acknowledge(at(9))).toEqual({ sequence: 8, offset: 9 })
    expect(window.acknowledge(at(9))).toBe(null)
  })
})

describe('a refusal', () => {
  test('ignores what comes after it until it is pushed again', () => {
    const window = new PushWindow()
    push(window, 1, 4)
    expect(window.refuse(3)).toBe(true)
    expect(window.refuse(4)).toBe(false)
    expect(push(window, 5, 2)).toBe(0)
    window.settled(4, at(4))
    window.settled(1, at(1))
    window.settled(2, at(2))
    expect(window.acknowledge(at(9))).toEqual({ sequence: 2, offset: 9 })
    expect(push(window, 3, 1)).toBe(1)
    expect(push(window, 4, 1)).toBe(1)
  })

  test('of what is repeated with it takes the rest only', () => {
    const window = new PushWindow()
    push(window, 1, 4)
    window.refuse(3)
    expect(push(window, 2, 3)).toBe(2)
  })
})

test.each([
  ['a gap', 5],
  ['what was never in this window', 2],
])('%s is malformed', (_what, sequence) => {
  const window = new PushWindow()
  push(window, 3, 1)
  expect(() => window.enter(sequence, 1)).toThrow(expect.objectContaining({ code: 'malformed_frame' }))
})

test(`it is full with ${unackedUpdatesMax}`, () => {
  const window = new PushWindow()
  push(window, 1, unackedUpdatesMax - 1)
  expect(window.full).toBe(false)
  push(window, unackedUpdatesMax, 1)
  expect(window.full).toBe(true)
})

test('whatever is pushed, repeated, stored and refused: acknowledged is a prefix of what is durable', () => {
  const steps = fc.array(
    fc.oneof(
      fc.record({
        do: fc.constant('push' as const),
        back: fc.nat({ max: 6 }),
        count: fc.integer({ min: 1, max: 5 }),
      }),
      fc.record({ do: fc.constant('store' as const), count: fc.integer({ min: 1, max: 4 }) }),
      fc.record({ do: fc.constant('refuse' as const) }),
      fc.record({ do: fc.constant('deliver' as const), behind: fc.nat({ max: 3 }) }),
    ),
    { maxLength: 60 },
  )
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 50 }), (list, start) => {
      const window = new PushWindow()
      /** Taken in order, the durable ones first; the offset of each that is durable. */
      let taken = start
      const durable: number[] = []
      let acked = 0
      let head = 0
      for (const step of list) {
        const stored = start + durable.length
        if (step.do === 'push') {
          const first = Math.max(start, taken - step.back)
          const fresh = push(window, first, step.count)
          expect(fresh).toBe(Math.max(0, first + step.count - taken))
          taken += fresh
        } else if (step.do === 'store') {
          for (let i = stored; i < Math.min(taken, stored + step.count); i++) {
            durable.push(++head)
            window.settled(i, at(head))
          }
        } else if (step.do === 'refuse' && taken > stored) {
          expect(window.refuse(stored)).toBe(true)
          taken = stored
        } else if (step.do === 'deliver') {
          const offset = Math.max(0, head - step.behind)
          const ack = window.acknowledge(at(offset))
          const handed = durable.filter((each) => each <= offset).length
          if (ack !== null) {
            expect(ack.sequence).toBeGreaterThanOrEqual(acked)
            expect(ack.sequence).toBe(Math.max(acked, start + handed - 1))
            acked = ack.sequence
          } else if (acked > 0) expect(start + handed - 1).toBeLessThanOrEqual(acked)
          else expect(handed).toBe(0)
        }
      }
    }),
    { numRuns: 2_000 },
  )
})

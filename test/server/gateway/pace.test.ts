import { expect, test } from 'vitest'
import { Pace } from '../../../server/gateway/pace.ts'

/** By the clock, so that a slow machine only makes it longer. */
function work(milliseconds: number): void {
  for (const endMs = performance.now() + milliseconds; performance.now() < endMs; );
}

test('a crowd is let go in order, and only some milliseconds of its work are done in one turn of the event loop', async () => {
  const pace = new Pace()
  let turn = 0
  let ended = false
  const count = (): void => {
    turn++
    if (!ended) setImmediate(count)
  }
  count()
  const order: number[] = []
  const turns = new Map<number, number>()
  await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      await pace.turn()
      order.push(i)
      turns.set(turn, (turns.get(turn) ?? 0) + 1)
      work(2)
    }),
  )
  ended = true
  expect(order).toEqual(Array.from({ length: 40 }, (_, i) => i))
  // One when its turn began, and one when the time was just not over.
  expect(Math.max(...turns.values())).toBeLessThanOrEqual(2)
})

test('who comes later is let go too, however many were before', async () => {
  const pace = new Pace()
  for (let round = 0; round < 3; round++) {
    const order: number[] = []
    const come = async (i: number): Promise<void> => {
      await pace.turn()
      order.push(i)
    }
    const first = Array.from({ length: 3_000 }, (_, i) => come(i))
    await pace.turn()
    await Promise.all([...first, come(3_000)])
    expect(order).toEqual(Array.from({ length: 3_001 }, (_, i) => i))
  }
})

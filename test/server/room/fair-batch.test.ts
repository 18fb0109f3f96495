import fc from 'fast-check'
import { expect, test } from 'vitest'
import { takeFairly } from '../../../server/room/fair-batch.ts'

const senders = [{ id: 'a' }, { id: 'b' }, { id: 'c' }] as const
interface Sent {
  readonly from: (typeof senders)[number]
  readonly update: Uint8Array
}
const sent: fc.Arbitrary<Sent> = fc.record({
  from: fc.constantFrom(...senders),
  update: fc.nat(2_000).map((bytes) => new Uint8Array(bytes)),
})

test('who sends little does not wait behind who sends much', () => {
  const [pasting, alsoPasting, typing] = senders
  const large = (from: Sent['from']): Sent => ({ from, update: new Uint8Array(400_000) })
  const small: Sent = { from: typing, update: new Uint8Array(20) }
  const waiting = [large(pasting), large(pasting), large(pasting), large(alsoPasting), small]
  const { batch, rest } = takeFairly(waiting, 1_000_000)
  expect(batch.map(({ from }) => from.id)).toEqual(['a', 'b', 'c', 'a'])
  expect(rest).toEqual([waiting[2]])
})

test('everything is taken once, each sender in order, something each time, not much more than asked for', () => {
  fc.assert(
    fc.property(fc.array(sent, { minLength: 1 }), fc.integer({ min: 1, max: 5_000 }), (waiting, bytesMax) => {
      const order: Sent[] = []
      let left: readonly Sent[] = waiting
      while (left.length > 0) {
        const { batch, rest } = takeFairly(left, bytesMax)
        expect(batch.length).toBeGreaterThan(0)
        const bytes = batch.slice(0, -1).reduce((sum, { update }) => sum + update.length, 0)
        expect(bytes).toBeLessThan(bytesMax)
        order.push(...batch)
        left = rest
      }
      expect(new Set(order).size).toBe(waiting.length)
      for (const sender of senders)
        expect(order.filter(({ from }) => from === sender)).toEqual(
          waiting.filter(({ from }) => from === sender),
        )
    }),
  )
})

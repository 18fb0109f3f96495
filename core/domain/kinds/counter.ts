/** A number that everybody adds to: no floor, no ceiling, no coordination. For those, `quantity`. */
import type { Value } from '../../engine/live-document.ts'
import { effective } from '../facts/outcome.ts'
import { type Kind, operation } from '../fold/kind.ts'

export interface CounterState {
  /** Integers add up the same in any order; fractions would not. */
  sum: number
}

const isStep = (value: Value): boolean => typeof value === 'number' && Number.isSafeInteger(value)

export function counter(): Kind<CounterState, number> {
  return {
    name: 'counter',
    operations: { add: operation('free', isStep) },
    create: () => ({ sum: 0 }),
    apply(state, _operation, fact, context) {
      const sum = state.sum + (fact.payload as number)
      if (!Number.isSafeInteger(sum)) {
        context.settle(fact, { status: 'rejected', reason: 'out_of_range' })
        return
      }
      state.sum = sum
      context.settle(fact, effective)
    },
    read: ({ sum }) => sum,
  }
}

/** A number that everybody adds to: no floor, no ceiling, no coordination. For those, `quantity`. */
import type { Value } from '../../engine/live-document.ts'
import { type Draft, refusal } from '../facts/draft.ts'
import { effective } from '../facts/outcome.ts'
import { type At, type Kind, operation } from '../fold/kind.ts'

export interface CounterState {
  /** Integers add up the same in any order; fractions would not. */
  sum: number
}

const isStep = (value: Value): boolean => typeof value === 'number' && Number.isSafeInteger(value)

const mutators = {
  add({ fold, entity, field }: At, step: number): Draft {
    const { sum } = fold.state(entity, field) as CounterState
    if (!isStep(step) || !Number.isSafeInteger(sum + step)) return refusal('out_of_range', { value: sum })
    return { entity, type: `${field}.add`, payload: step }
  },
}

export function counter() {
  return {
    name: 'counter',
    operations: { add: operation('free', isStep) },
    mutators,
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
  } satisfies Kind<CounterState, number>
}

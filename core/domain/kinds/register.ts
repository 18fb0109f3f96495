/** One value; the last by causality, and of concurrent ones the same everywhere. Earlier ones are superseded. */
import type { Value } from '../../engine/live-document.ts'
import type { Draft } from '../facts/draft.ts'
import type { Fact } from '../facts/fact.ts'
import { effective } from '../facts/outcome.ts'
import { type At, type Kind, operation } from '../fold/kind.ts'

export interface RegisterState {
  last: Fact | null
}

export function register<T extends Value = Value>(isValue: (value: Value) => boolean = () => true) {
  return {
    name: 'register',
    operations: { set: operation('free', isValue) },
    mutators: {
      set: ({ entity, field }: At, value: T): Draft => ({ entity, type: `${field}.set`, payload: value }),
    },
    create: () => ({ last: null }),
    apply(state, _operation, fact, context) {
      if (state.last !== null) context.settle(state.last, { status: 'superseded', by: fact.key })
      context.settle(fact, effective)
      state.last = fact
    },
    read: ({ last }) => (last === null ? null : (last.payload as T)),
  } satisfies Kind<RegisterState, T | null>
}

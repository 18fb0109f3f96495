/**
 * One value: that of the latest write by the clocks of those who wrote, for whoever wants this in spite of P6. `register` needs
 * no clock, and is what to take unless "who wrote later" is the rule of the business.
 *
 *   note.set   {"value": "…", "time": 1764000000000}
 *
 * The clock is a hybrid one: the time in ms, but always after the latest that its author has seen. So a write that saw another
 * wins over it whatever the clocks say, and wrong clocks decide only between writes that did not know of each other. Equal times
 * go by the order of all facts.
 *
 * A clock that is ahead would win over everybody until that time comes; so the door refuses what is far ahead of the server's
 * clock (`aheadMsMax`, facts/door.ts), which is a bound and no part of the fold. A clock that is behind loses only against
 * what its owner has not seen: what one saw, one is after. No door can bound it further: who was offline for a week brings what is a
 * week old, with a right clock.
 *
 * Rejected: a counter beside the milliseconds, since the clock can as well run ahead by a millisecond for each write in it.
 */
import type { Value } from '../../engine/live-document.ts'
import { type Draft, refusal } from '../facts/draft.ts'
import type { Fact } from '../facts/fact.ts'
import { effective } from '../facts/outcome.ts'
import { type At, type Kind, operation } from '../fold/kind.ts'

export interface LastWriteState {
  last: Fact | null
  /** Of all writes so far. */
  highestMs: number
}

interface Timed {
  readonly value: Value
  readonly time: number
}

/** The time of a write, after the highest that its author has seen. */
export const timeOf = (nowMs: number, highestMs: number): number => Math.max(Math.floor(nowMs), highestMs + 1)

export function lastWrite<T extends Value = Value>(isValue: (value: Value) => boolean = () => true) {
  const isTimed = (payload: Value): boolean => {
    if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) return false
    const { value, time } = payload as Partial<Timed>
    return value !== undefined && isValue(value) && Number.isSafeInteger(time) && time! >= 0
  }
  return {
    name: 'lastWrite',
    operations: { set: { ...operation('free', isTimed), clocked: true } },
    mutators: {
      set({ fold, entity, field }: At, value: T, nowMs: number): Draft {
        const { highestMs } = fold.state(entity, field) as LastWriteState
        const time = timeOf(nowMs, highestMs)
        if (!isTimed({ value, time })) return refusal('out_of_range', { highestMs })
        return { entity, type: `${field}.set`, payload: { value, time } }
      },
    },
    create: () => ({ last: null, highestMs: -1 }),
    apply(state, _operation, fact, context) {
      const { time } = fact.payload as object as Timed
      const { last } = state
      if (time < state.highestMs) return context.settle(fact, { status: 'superseded', by: last!.key })
      if (last !== null) context.settle(last, { status: 'superseded', by: fact.key })
      context.settle(fact, effective)
      state.last = fact
      state.highestMs = time
    },
    read: ({ last }) => (last === null ? null : ((last.payload as object as Timed).value as T)),
  } satisfies Kind<LastWriteState, T | null>
}

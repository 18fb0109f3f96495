/**
 * A number with bounds that hold at every replica, offline too: nobody sells what is not there. It is an escrow: what is above `min` belongs,
 * as rights to take, to actors or to nobody (`free`), and so does what is below `max`, as rights to put. Amounts are integers from 1 to
 * `amountMax`, in the smallest unit that there is (kilograms, cents).
 *
 *   take    {amount}            within one's rights: effective at once, and for ever. Beyond them: rejected, with what is left
 *   put     {amount}            more of it came; it is its actor's to take. With `max` within one's rights to put
 *   supply  {amount, to?}       decided: more of it came, and is that actor's, or nobody's yet
 *   grant   {amount, to, of?}   decided: of what is nobody's; `of: "room"` for rights to put
 *   give    {amount, to?, of?}  decided: of one's own, gone at once, there when it is decided; without `to` it becomes nobody's
 *   callIn  {actor, to?}        decided, looks back: all rights of an actor whose device is lost. What it did up to `seen` counts, what is
 *                               left goes to `to`, and its next epoch begins, without rights
 *
 * Why the bounds hold: rights are made by decisions and by one's own puts, spent by their actor alone, in the order of its facts, and never
 * below 0. So whatever comes late, an actor's rights at one of its facts are at least what it knew then, and the sum over all
 * that is effective is within the bounds in any set of facts whatever.
 *
 * A called-in device may still take, not knowing: those facts name the old epoch and are beyond `seen`, so they become intents, which the
 * judge accepts as long as something is nobody's. Old puts need nobody's word without `max`: what came is there, and is nobody's; old gives
 * are rejected. The decision names the amount that it moves (`data`), lest a replica that lacks the last takes of the lost device
 * moves more. An epoch that is not there yet (somebody guessed it) is rejected.
 *
 * Rejected: one number with compensation afterwards (a sale would be undone); rights per subject (two devices of one
 * person would spend them twice).
 */
import type { Fact } from '../facts/fact.ts'
import { effective, type Outcome, pending } from '../facts/outcome.ts'
import { type Decision, type FoldContext, type Kind, operation, type Person } from '../fold/kind.ts'
import { judge, type RolesOf } from './quantity/judge.ts'
import { mutators } from './quantity/mutators.ts'
import {
  accountOf,
  ends,
  epochOf,
  hasTerms,
  lookAt,
  noStock,
  type QuantityState,
  type Side,
  targetOf,
  termsOf,
} from './quantity/rights.ts'

export { amountMax } from './quantity/rights.ts'

export interface QuantityOptions {
  /** Default 0. It begins at 0, or at the bound that is nearest. */
  readonly min?: number
  readonly max?: number
  readonly roles?: RolesOf
}

export interface RightsSeen {
  /** Nobody's. */
  readonly free: number
  /** Given, undecided. */
  readonly moving: number
  /** By actor; who has none is not there. */
  readonly rights: Readonly<Record<string, number>>
}

export interface QuantitySeen extends RightsSeen {
  readonly value: number
  /** Of actors that were called in: how often. */
  readonly epochs: Readonly<Record<string, number>>
  /** Rights to put. Null without `max`. */
  readonly room: RightsSeen | null
}

/** What an actor may take without asking anybody. */
export const rightsOf = ({ rights }: RightsSeen, actor: string): number =>
  Object.hasOwn(rights, actor) ? rights[actor]! : 0

export function quantity({ min = 0, max: ceiling, roles = {} }: QuantityOptions = {}) {
  const max = ceiling ?? null
  const bounds = { min, max }
  const isExact = (value: number): boolean => Number.isSafeInteger(value) && Number.isSafeInteger(value - min)
  if (!isExact(min) || !isExact(max ?? min) || (max ?? min) < min)
    throw new RangeError('The bounds of a quantity are integers, the lower one first')

  /** Stock becomes room, or room becomes stock. */
  function move(
    state: QuantityState,
    from: Side,
    amount: number,
    spent: QuantityState['free'],
    to = spent,
  ): void {
    state.value += from === 'stock' ? -amount : amount
    if (from === 'stock' || max !== null) spent[from] -= amount
    if (from === 'room' || max !== null) to[from === 'stock' ? 'room' : 'stock'] += amount
  }

  function spend(state: QuantityState, from: Side, fact: Fact, context: FoldContext): void {
    const { amount } = termsOf(fact)
    const isBounded = from === 'stock' || max !== null
    const epoch = epochOf(state, fact, context)
    if (epoch === 'unknown') return context.settle(fact, rejected('unknown_epoch'))
    if (epoch === 'late' && isBounded) return context.settle(fact, pending)
    const { [from]: left } = lookAt(state, fact.actor)
    if (isBounded && left < amount)
      return context.settle(fact, rejected('insufficient_rights', { left, free: state.free[from] }))
    if (from === 'room' && !isExact(state.value + amount))
      return context.settle(fact, rejected('out_of_range'))
    move(state, from, amount, epoch === 'late' ? state.free : accountOf(state, fact.actor))
    context.settle(fact, effective)
  }

  function give(state: QuantityState, fact: Fact, context: FoldContext): void {
    const { amount, of = 'stock' } = termsOf(fact)
    const epoch = epochOf(state, fact, context)
    if (epoch !== 'current')
      return context.settle(fact, rejected(epoch === 'late' ? 'called_in' : 'unknown_epoch'))
    const { [of]: left } = lookAt(state, fact.actor)
    if (left < amount)
      return context.settle(fact, rejected('insufficient_rights', { left, free: state.free[of] }))
    accountOf(state, fact.actor)[of] -= amount
    state.moving[of] += amount
  }

  /** Why not, of an intent that was accepted. */
  function carryOut(
    state: QuantityState,
    name: string,
    intent: Fact,
    decision: Decision,
    fact: Fact,
    context: FoldContext,
  ): string | null {
    const { amount, to, of = 'stock', actor, epoch = 0 } = termsOf(intent)
    switch (name) {
      case 'supply': {
        if (max !== null && state.free.room < amount) return 'insufficient_room'
        if (!isExact(state.value + amount)) return 'out_of_range'
        move(state, 'room', amount, state.free, targetOf(state, to))
        return null
      }
      case 'grant':
        if (state.free[of] < amount) return 'insufficient_rights'
        state.free[of] -= amount
        targetOf(state, to)[of] += amount
        return null
      case 'give':
        state.moving[of] -= amount
        targetOf(state, to)[of] += amount
        return null
      case 'callIn': {
        if (!ends(state, intent, fact, context)) return 'stale'
        const account = accountOf(state, actor)
        const { stock = 0, room = 0 } = (decision.data ?? {}) as { stock?: number; room?: number }
        const left = { stock: Math.min(stock, account.stock), room: Math.min(room, account.room) }
        account.stock = account.room = 0
        account.epoch = epoch + 1
        const target = targetOf(state, to)
        target.stock += left.stock
        target.room += left.room
        return null
      }
      default: {
        const from = name === 'take' ? 'stock' : 'room'
        if (state.free[from] < amount) return 'insufficient_rights'
        move(state, from, amount, state.free)
        return null
      }
    }
  }

  /** Rights of who was called in meanwhile are nobody's. */
  function giveBack(state: QuantityState, intent: Fact): void {
    const { amount, of = 'stock', epoch = 0 } = termsOf(intent)
    state.moving[of] -= amount
    const isCurrent = lookAt(state, intent.actor).epoch === epoch
    targetOf(state, isCurrent ? intent.actor : undefined)[of] += amount
  }

  return {
    name: 'quantity',
    operations: {
      take: operation('escrow', hasTerms(['amount'], ['epoch'])),
      put: operation(max === null ? 'free' : 'escrow', hasTerms(['amount'], ['epoch'])),
      supply: operation('decided', hasTerms(['amount'], ['to'])),
      grant: operation('decided', hasTerms(['amount', 'to'], ['of'])),
      give: operation('decided', hasTerms(['amount'], ['to', 'of', 'epoch'])),
      callIn: operation('decided', hasTerms(['actor'], ['to', 'epoch'])),
    },
    mutators: mutators(bounds, roles),
    create: () => noStock(bounds),
    apply(state, name, fact, context) {
      if (name === 'take') spend(state, 'stock', fact, context)
      else if (name === 'put') spend(state, 'room', fact, context)
      else if (name === 'give') give(state, fact, context)
    },
    decide(state, name, intent, decision, fact, context) {
      const against = decision.accepted
        ? carryOut(state, name, intent, decision, fact, context)
        : (decision.reason ?? 'refused')
      if (against === null) return context.settle(intent, { status: 'effective', by: fact.key })
      if (name === 'give') giveBack(state, intent)
      const detail = { left: lookAt(state, intent.actor).stock, free: state.free.stock }
      context.settle(intent, { ...rejected(against, detail), by: fact.key })
    },
    judge: (fold, intent, person?: Person) => judge(fold, intent, person, bounds, roles),
    read(state): QuantitySeen {
      const epochs = Object.fromEntries(
        [...state.accounts].flatMap(([actor, { epoch }]) => (epoch === 0 ? [] : [[actor, epoch]])),
      )
      const { value } = state
      return {
        value,
        ...rightsSeen(state, 'stock'),
        epochs,
        room: max === null ? null : rightsSeen(state, 'room'),
      }
    },
  } satisfies Kind<QuantityState, QuantitySeen>
}

function rightsSeen({ free, moving, accounts }: QuantityState, side: Side): RightsSeen {
  const rights = [...accounts].flatMap(([actor, { [side]: right }]) => (right === 0 ? [] : [[actor, right]]))
  return { free: free[side], moving: moving[side], rights: Object.fromEntries(rights) }
}

const rejected = (reason: string, detail?: Outcome['detail']): Outcome => ({
  status: 'rejected',
  reason,
  ...(detail && { detail }),
})

/** What a client may do to a quantity, as far as its replica knows. */
import { type Draft, refusal } from '../../facts/draft.ts'
import type { At } from '../../fold/kind.ts'
import { type Bounds, hasTerms, lookAt, type QuantityState, type Side, type Terms } from './rights.ts'

/** What is undefined is left out. */
type Given = { readonly [Name in keyof Terms]?: Terms[Name] | undefined }

const isAmount = (amount: number): boolean => hasTerms(['amount'])({ amount })

export function mutators({ max }: Bounds) {
  const draft = ({ entity, field }: At, operation: string, terms: Given): Draft => {
    const payload = Object.fromEntries(
      Object.entries(terms).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const])),
    )
    return { entity, type: `${field}.${operation}`, payload }
  }

  /** With rights of one's own, if there are enough. */
  const within = (at: At, operation: string, side: Side, terms: Given & { amount: number }): Draft => {
    const state = stateAt(at)
    const { [side]: left, epoch } = lookAt(state, at.actor)
    if (!isAmount(terms.amount)) return refusal('malformed_payload')
    if (left < terms.amount) return refusal('insufficient_rights', { left, free: state.free[side] })
    return draft(at, operation, { ...terms, epoch: epoch || undefined })
  }

  return {
    take: (at: At, amount: number): Draft => within(at, 'take', 'stock', { amount }),
    put(at: At, amount: number): Draft {
      if (max !== null) return within(at, 'put', 'room', { amount })
      if (!isAmount(amount)) return refusal('malformed_payload')
      return draft(at, 'put', { amount, epoch: lookAt(stateAt(at), at.actor).epoch || undefined })
    },
    /** Rights of one's own to another actor; to null: back to nobody. */
    give: (at: At, amount: number, to: string | null, side: Side = 'stock'): Draft =>
      within(at, 'give', side, { amount, to: to ?? undefined, of: named(side) }),
    /** New stock, to an actor, or to nobody yet. */
    supply(at: At, amount: number, to?: string): Draft {
      if (!isAmount(amount)) return refusal('malformed_payload')
      const { room } = stateAt(at).free
      if (max !== null && room < amount) return refusal('insufficient_room', { free: room })
      return draft(at, 'supply', { amount, to })
    },
    /** Of what is nobody's, to an actor: oneself, say. */
    grant(at: At, amount: number, to: string, side: Side = 'stock'): Draft {
      if (!isAmount(amount)) return refusal('malformed_payload')
      const { [side]: free } = stateAt(at).free
      if (free < amount) return refusal('insufficient_rights', { free })
      return draft(at, 'grant', { amount, to, of: named(side) })
    },
    /** All rights of an actor that will not come back, to another, or to nobody. */
    callIn(at: At, actor: string, to?: string): Draft {
      const { epoch } = lookAt(stateAt(at), actor)
      return draft(at, 'callIn', { actor, to, epoch: epoch || undefined })
    },
  }
}

const stateAt = ({ fold, entity, field }: At): QuantityState => fold.state(entity, field) as QuantityState
const named = (side: Side): 'room' | undefined => (side === 'room' ? 'room' : undefined)

/** What a client may do to a quantity, as far as its replica knows. `person` is who does it, where that takes a role. */
import { type Draft, refusal } from '../../facts/draft.ts'
import type { At, Person } from '../../fold/kind.ts'
import type { Decided, RolesOf } from './judge.ts'
import { type Bounds, hasTerms, lookAt, type QuantityState, type Side, type Terms } from './rights.ts'

/** What is undefined is left out. */
type Given = { readonly [Name in keyof Terms]?: Terms[Name] | undefined }

const isAmount = (amount: number): boolean => hasTerms(['amount'])({ amount })

export function mutators({ max }: Bounds, roles: RolesOf) {
  const draft = ({ entity, field }: At, operation: string, terms: Given, person?: Person): Draft => {
    const allowed = roles[operation as Decided]
    const acting = allowed?.filter((role) => person?.roles.includes(role)) ?? []
    if (person !== undefined && allowed !== undefined && acting.length === 0) return refusal('not_allowed')
    const payload = Object.fromEntries(
      Object.entries(terms).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const])),
    )
    const fact = { entity, type: `${field}.${operation}`, payload }
    return acting.length === 0 ? fact : { ...fact, roles: acting }
  }

  /** With rights of one's own, if there are enough. */
  const within = (
    at: At,
    operation: string,
    side: Side,
    terms: Given & { amount: number },
    person?: Person,
  ): Draft => {
    const state = stateAt(at)
    const { [side]: left, epoch } = lookAt(state, at.actor)
    if (!isAmount(terms.amount)) return refusal('malformed_payload')
    if (left < terms.amount) return refusal('insufficient_rights', { left, free: state.free[side] })
    return draft(at, operation, { ...terms, epoch: epoch || undefined }, person)
  }

  return {
    take: (at: At, amount: number): Draft => within(at, 'take', 'stock', { amount }),
    put(at: At, amount: number): Draft {
      if (max !== null) return within(at, 'put', 'room', { amount })
      if (!isAmount(amount)) return refusal('malformed_payload')
      return draft(at, 'put', { amount, epoch: lookAt(stateAt(at), at.actor).epoch || undefined })
    },
    /** Rights of one's own to another actor; to null: back to nobody. */
    give: (at: At, amount: number, to: string | null, side: Side = 'stock', person?: Person): Draft =>
      within(at, 'give', side, { amount, to: to ?? undefined, of: named(side) }, person),
    /** New stock, to an actor, or to nobody yet. */
    supply(at: At, amount: number, to?: string | null, person?: Person): Draft {
      if (!isAmount(amount)) return refusal('malformed_payload')
      const { room } = stateAt(at).free
      if (max !== null && room < amount) return refusal('insufficient_room', { free: room })
      return draft(at, 'supply', { amount, to: to ?? undefined }, person)
    },
    /** Of what is nobody's, to an actor: oneself, say. */
    grant(at: At, amount: number, to: string, side: Side = 'stock', person?: Person): Draft {
      if (!isAmount(amount)) return refusal('malformed_payload')
      const { [side]: free } = stateAt(at).free
      if (free < amount) return refusal('insufficient_rights', { free })
      return draft(at, 'grant', { amount, to, of: named(side) }, person)
    },
    /** All rights of an actor that will not come back, to another, or to nobody. */
    callIn(at: At, actor: string, to?: string | null, person?: Person): Draft {
      const { epoch } = lookAt(stateAt(at), actor)
      return draft(at, 'callIn', { actor, to: to ?? undefined, epoch: epoch || undefined }, person)
    },
  }
}

const stateAt = ({ fold, entity, field }: At): QuantityState => fold.state(entity, field) as QuantityState
const named = (side: Side): 'room' | undefined => (side === 'room' ? 'room' : undefined)

/** Who may take, and put, how much: what of the stock and of the room is whose. */
import type { Value } from '../../../engine/live-document.ts'
import { type Fact, type FactKey, isActor } from '../../facts/fact.ts'
import type { FoldContext } from '../../fold/kind.ts'

/** Of one fact; with 9 million of them the sum is still exact. */
export const amountMax = 1_000_000_000

export type Side = 'stock' | 'room'

export interface Rights {
  /** Above `min`. */
  stock: number
  /** Below `max`; 0 where there is none. */
  room: number
}

export interface Account extends Rights {
  /** How often it was called in. */
  epoch: number
}

export interface Bounds {
  readonly min: number
  /** Null: none. */
  readonly max: number | null
}

/** Up to where an actor's facts of an epoch count. */
interface Cut {
  readonly seq: number
  readonly by: FactKey
}

/** value = min + stock of `free`, of `moving` and of all accounts; max = value + room of these. */
export interface QuantityState {
  value: number
  /** Nobody's: for the server to grant. */
  readonly free: Rights
  /** Given away, undecided. */
  readonly moving: Rights
  readonly accounts: Map<string, Account>
  /** By actor and epoch; null until somebody asks. */
  cuts: ReadonlyMap<string, readonly Cut[]> | null
}

/** What payloads of a quantity have, each some of it. */
export interface Terms {
  readonly amount: number
  /** Of whose; absent: nobody's, the server's to grant. */
  readonly to?: string
  /** Default: stock. */
  readonly of?: 'room'
  /** Of the actor's rights, as it knew it. Default 0. */
  readonly epoch?: number
  readonly actor: string
}

export const termsOf = (fact: Fact): Terms => fact.payload as object as Terms

export function noStock({ min, max }: Bounds): QuantityState {
  const value = Math.max(min, Math.min(0, max ?? 0))
  return {
    value,
    free: { stock: value - min, room: max === null ? 0 : max - value },
    moving: { stock: 0, room: 0 },
    accounts: new Map(),
    cuts: null,
  }
}

const nothing: Readonly<Account> = Object.freeze({ stock: 0, room: 0, epoch: 0 })

export const lookAt = ({ accounts }: QuantityState, actor: string): Readonly<Account> =>
  accounts.get(actor) ?? nothing

export function accountOf({ accounts }: QuantityState, actor: string): Account {
  let account = accounts.get(actor)
  if (account === undefined) {
    account = { ...nothing }
    accounts.set(actor, account)
  }
  return account
}

export const targetOf = (state: QuantityState, to: string | undefined): Rights =>
  to === undefined ? state.free : accountOf(state, to)

/**
 * late     its actor was called in by who had not seen it
 * unknown  of an epoch that is not there
 */
export function epochOf(
  state: QuantityState,
  fact: Fact,
  context: FoldContext,
): 'current' | 'late' | 'unknown' {
  const { epoch = 0 } = termsOf(fact)
  state.cuts ??= cutsOf(context)
  const cut = state.cuts.get(fact.actor)?.[epoch]
  if (cut !== undefined && fact.seq > cut.seq) return 'late'
  return epoch === lookAt(state, fact.actor).epoch ? 'current' : 'unknown'
}

/** Whether this decision ended an epoch of that actor, which only the first on it does. */
export function ends(state: QuantityState, intent: Fact, decision: Fact, context: FoldContext): boolean {
  const { actor, epoch = 0 } = termsOf(intent)
  state.cuts ??= cutsOf(context)
  return state.cuts.get(actor)?.[epoch]?.by === decision.key
}

function cutsOf(context: FoldContext): Map<string, Cut[]> {
  const cuts = new Map<string, Cut[]>()
  for (const { intent, decision, by } of context.lookBacksOf('callIn')) {
    const { actor, epoch = 0 } = termsOf(intent)
    const earlier = cuts.get(actor) ?? []
    if (epoch !== earlier.length) continue
    earlier.push({ seq: decision.seen?.[actor] ?? -1, by: by.key })
    cuts.set(actor, earlier)
  }
  return cuts
}

/** Checks payloads: those of `required` must, those of `optional` may be there, and nothing else. */
export function hasTerms(required: readonly (keyof Terms)[], optional: readonly (keyof Terms)[] = []) {
  const isRequired = new Map<string, boolean>()
  for (const name of optional) isRequired.set(name, false)
  for (const name of required) isRequired.set(name, true)
  return (payload: Value): boolean => {
    if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) return false
    let missing = required.length
    for (const name of Object.keys(payload)) {
      const known = isRequired.get(name)
      if (known === undefined || !isTerm(name, (payload as Readonly<Record<string, Value>>)[name]!))
        return false
      if (known) missing--
    }
    return missing === 0
  }
}

function isTerm(name: string, value: Value): boolean {
  if (name === 'amount') return isCount(value) && value > 0 && value <= amountMax
  if (name === 'epoch') return isCount(value) && value > 0
  if (name === 'of') return value === 'room'
  return (name === 'to' || name === 'actor') && typeof value === 'string' && isActor(value)
}

const isCount = (value: Value): value is number => typeof value === 'number' && Number.isSafeInteger(value)

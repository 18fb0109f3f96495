/** The server's word on what is done to a quantity: rights are moved by it alone. */
import { seenOf } from '../../facts/author.ts'
import type { Fact } from '../../facts/fact.ts'
import type { DocumentFold } from '../../fold/document-fold.ts'
import type { Decision, Person } from '../../fold/kind.ts'
import { type Bounds, lookAt, type QuantityState, termsOf } from './rights.ts'

/** Operations that the server decides in any case. */
export type Decided = 'supply' | 'grant' | 'give' | 'callIn'
/** By operation, who may: any of these. Absent: whoever may write to the document. */
export type RolesOf = Readonly<Partial<Record<Decided, readonly string[]>>>

const refuse = (reason: string): Decision => ({ accepted: false, reason })

export function judge(
  fold: DocumentFold,
  intent: Fact,
  person: Person | undefined,
  { max }: Bounds,
  roles: RolesOf,
): Decision {
  const [field, operation] = intent.type.split('.') as [string, string]
  const state = fold.state(intent.entity, field) as QuantityState
  const { amount, to, of = 'stock', actor, epoch = 0 } = termsOf(intent)
  const allowed = Object.hasOwn(roles, operation) ? roles[operation as Decided] : undefined
  if (allowed !== undefined && !allowed.some((role) => person?.roles.includes(role)))
    return refuse('not_allowed')
  for (const named of [to, actor])
    if (named !== undefined && fold.subjectOf(named) === null) return refuse('unknown_actor')
  switch (operation) {
    case 'supply':
      return max === null || state.free.room >= amount ? { accepted: true } : refuse('insufficient_room')
    case 'grant':
      return state.free[of] >= amount ? { accepted: true } : refuse('insufficient_rights')
    case 'give':
      return { accepted: true }
    case 'callIn':
      return callIn()
    // What came late of somebody who was called in: as far as there is something that is nobody's.
    case 'take':
      return state.free.stock >= amount ? { accepted: true } : refuse('insufficient_rights')
    default:
      return state.free.room >= amount ? { accepted: true } : refuse('insufficient_rights')
  }

  function callIn(): Decision {
    const { stock, room, epoch: current } = lookAt(state, actor)
    if (epoch !== current) return refuse('stale')
    const last = seenOf(fold, intent.entity)[actor]
    const data = room === 0 ? { stock } : { stock, room }
    return { accepted: true, data, seen: last === undefined ? {} : { [actor]: last } }
  }
}

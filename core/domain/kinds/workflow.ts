/**
 * A machine of states that people move along, apart from one another: a deal that is shipped here and cancelled there. Its history is
 * always a path of the machine, and the same at every replica; whoever was too late learns the actual state and what is possible
 * from there.
 *
 * A fact `state.ship` says which version it saw: `{"at": "k3x9a2:4"}`, the transition that led there; nothing is the start. What becomes
 * of it is in workflow/claims.ts. Each transition is
 *
 * - free     effective at once, where it was written. Another that was written elsewhere from the same version may displace it, and
 *            what followed it. It has no roles and no guard: the fold could not know the former, and would tell people what
 *            the latter comes to only after they have gone on;
 * - decided  pending until the server decides; then fixed. `roles`: who may, any of them; `guard`: whether the entity's other fields
 *            allow it. Both are asked by the judge, and by the mutator as advice; the fold reads the decision.
 *
 * Rejected: the state instead of the version in a fact (a machine that comes back to a state takes old moves for new ones); last
 * move wins (a history that the machine does not have).
 */
import type { Value } from '../../engine/live-document.ts'
import type { NewFact } from '../facts/author.ts'
import { type Draft, refusal } from '../facts/draft.ts'
import { type FactKey, parseKey } from '../facts/fact.ts'
import type { DocumentFold } from '../fold/document-fold.ts'
import { type At, type Consistency, type Kind, type Operation, operation, type Person } from '../fold/kind.ts'
import {
  accept,
  add,
  type Claim,
  type Claims,
  claimOf,
  noClaims,
  refuse,
  versionOf,
} from './workflow/claims.ts'

export type Guard = (read: (field: string) => unknown, person: Person) => boolean

export type Transition<States extends string> = {
  readonly from: States | readonly States[]
  readonly to: States
} & (
  | { readonly consistency: 'free' }
  | { readonly consistency: 'decided'; readonly roles?: readonly string[]; readonly guard?: Guard }
)

export interface Machine<States extends string, Names extends string> {
  readonly states: readonly States[]
  readonly initial: NoInfer<States>
  readonly transitions: Readonly<Record<Names, Transition<NoInfer<States>>>>
}

export interface Move<States extends string, Names extends string> {
  readonly transition: Names
  readonly state: States
  /** The version that it led to. */
  readonly version: FactKey
  readonly subject: string
}

export interface WorkflowSeen<States extends string, Names extends string> {
  readonly state: States
  readonly version: FactKey
  /** From the first one. */
  readonly history: readonly Move<States, Names>[]
  /** Undecided, and what was done on top of them. `isStale`: no longer from the actual version. */
  readonly pending: readonly (Move<States, Names> & { readonly at: FactKey; readonly isStale: boolean })[]
  /** What the machine allows from the actual state. */
  readonly next: readonly Names[]
}

export interface MoveOptions {
  /** Who does it, for advice on roles and guards; whoever needs a role acts in it. */
  readonly person?: Person
  /** On top of this pending one rather than of the actual version. */
  readonly at?: FactKey
}

const nobody: Person = { subject: '', roles: [] }

export function workflow<const States extends string, const Names extends string>(
  machine: Machine<States, Names>,
) {
  const { transitions, initial } = machine
  checkMachine(machine)
  const names = Object.keys(transitions) as Names[]
  const sources = new Map(names.map((name) => [name as string, sourcesOf(transitions[name])]))
  const isLegal = (name: Names, state: string): boolean => sources.get(name)!.includes(state as States)
  const nextOf = (state: string): Names[] => names.filter((name) => isLegal(name, state))
  const describe = ({ tip }: Claims) => ({
    state: tip.state,
    version: versionOf(tip),
    next: nextOf(tip.state),
  })

  /** Null: nothing is against it. */
  function objection(
    name: Names,
    fold: DocumentFold,
    entity: string,
    person: Person,
  ): 'not_allowed' | 'guard' | null {
    const transition = transitions[name]
    if (transition.consistency === 'free') return null
    const { roles, guard } = transition
    if (roles !== undefined && !roles.some((role) => person.roles.includes(role))) return 'not_allowed'
    if (guard !== undefined && !guard((field) => fold.read(entity, field), person)) return 'guard'
    return null
  }

  const operations = Object.fromEntries(
    names.map((name) => [name, operation(transitions[name].consistency as Consistency, isMove)]),
  ) as Record<Names, Operation>

  return {
    name: 'workflow',
    operations,
    mutators: {
      move({ fold, entity, field }: At, name: Names, { person, at }: MoveOptions = {}): Draft {
        const claims = fold.state(entity, field) as Claims
        const from = at === undefined ? claims.tip : claimOf(claims, at)
        if (from === undefined || from.standing === 'rejected') return refusal('stale', describe(claims))
        if (!isLegal(name, from.state)) return refusal('not_possible', describe(claims))
        const against = person && objection(name, fold, entity, person)
        if (against) return refusal(against, describe(claims))
        const version = versionOf(from)
        const payload = version === '' ? {} : { at: version }
        const about = version === '' ? [] : [version]
        return { entity, type: `${field}.${name}`, payload, about, ...inRoles(transitions[name], person) }
      },
    },
    create: () => noClaims(initial),
    apply(claims, name, fact, context) {
      const { at = '' } = fact.payload as { readonly at?: FactKey }
      const parent = claimOf(claims, at)
      const reason = parent === undefined ? 'unknown_version' : 'not_possible'
      if (parent === undefined || !isLegal(name as Names, parent.state))
        return context.settle(fact, { status: 'rejected', reason, detail: describe(claims) })
      const { consistency, to } = transitions[name as Names]
      const isDecided = consistency === 'decided'
      const claim: Claim = {
        fact,
        subject: context.subjectOf(fact.actor),
        transition: name,
        isDecided,
        state: to,
        parent,
        children: [],
        standing: isDecided ? 'undecided' : 'effective',
        next: null,
      }
      add(claims, claim, context, describe)
    },
    decide(claims, _name, intent, decision, fact, context) {
      const claim = claims.all.get(intent.key)!
      if (decision.accepted && accept(claims, claim, context, describe))
        return context.settle(intent, { status: 'effective', by: fact.key })
      refuse(claims, claim, context, describe)
      const reason = decision.accepted ? 'stale' : (decision.reason ?? 'refused')
      context.settle(intent, { status: 'rejected', reason, by: fact.key, detail: describe(claims) })
    },
    rolesOf(name) {
      const transition = transitions[name as Names]
      return transition.consistency === 'decided' ? (transition.roles ?? []) : []
    },
    judge(fold, intent, person = nobody) {
      const field = intent.type.slice(0, intent.type.indexOf('.'))
      const claims = fold.state(intent.entity, field) as Claims
      const claim = claims.all.get(intent.key)
      if (claim === undefined || claim.parent !== claims.tip) return { accepted: false, reason: 'stale' }
      const reason = objection(claim.transition as Names, fold, intent.entity, person)
      return reason === null ? { accepted: true } : { accepted: false, reason }
    },
    read(claims): WorkflowSeen<States, Names> {
      const { start, tip, open } = claims
      const history: Move<States, Names>[] = []
      for (let each = start.next; each !== null; each = each.next) history.push(moveOf(each))
      // Those that the tip may come to, through pending ones alone; parents come before children.
      const live = new Set([tip])
      const pending = [...open].map((claim) => {
        const isStale = !live.has(claim.parent!)
        if (!isStale) live.add(claim)
        return { ...moveOf<States, Names>(claim), at: versionOf(claim.parent!), isStale }
      })
      return {
        state: tip.state as States,
        version: versionOf(tip),
        history,
        pending,
        next: nextOf(tip.state),
      }
    },
  } satisfies Kind<Claims, WorkflowSeen<States, Names>>
}

const moveOf = <States extends string, Names extends string>(claim: Claim): Move<States, Names> => ({
  transition: claim.transition as Names,
  state: claim.state as States,
  version: versionOf(claim),
  subject: claim.subject,
})

/** Those of its author's roles that it needs. */
function inRoles(transition: Transition<string>, person: Person | undefined): Pick<NewFact, 'roles'> {
  const needed = transition.consistency === 'decided' ? (transition.roles ?? []) : []
  const roles = needed.filter((role) => person?.roles.includes(role))
  return roles.length === 0 ? {} : { roles }
}

const sourcesOf = <States extends string>({ from }: Transition<States>): readonly States[] =>
  typeof from === 'string' ? [from] : from

function isMove(payload: Value): boolean {
  if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) return false
  const names = Object.keys(payload)
  if (names.length === 0) return true
  const { at } = payload as { readonly at?: Value }
  return names.length === 1 && typeof at === 'string' && parseKey(at) !== null
}

function checkMachine<States extends string>({
  states,
  initial,
  transitions,
}: Machine<States, string>): void {
  const known = new Set<string>(states)
  if (!known.has(initial))
    throw new RangeError(`The workflow begins at "${initial}", which is none of its states`)
  for (const [name, transition] of Object.entries(transitions)) {
    const unknown = [...sourcesOf(transition), transition.to].find((state) => !known.has(state))
    if (unknown !== undefined) throw new RangeError(`The transition "${name}" knows no state "${unknown}"`)
    if (transition.consistency === 'free' && ('roles' in transition || 'guard' in transition))
      throw new RangeError(`The transition "${name}" is free, so nobody would ask for its roles or its guard`)
  }
}

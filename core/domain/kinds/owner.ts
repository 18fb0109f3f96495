/**
 * Whose an entity is: one subject holds it, under an epoch that each hand-over ends. What others do to it is not lost, and does not
 * count by itself either: it waits as a proposal, which the holder takes over as it was written, or declines.
 *
 *   handOver  {to}     decided, looks back. By the holder, or by who has one of `roles`; while nobody holds it by anybody, which is how
 *                      one gets it. `to: null` leaves it to everybody again
 *   takeOver  {fact}   by the holder: the proposal counts from here on, as if it had been written here
 *   decline   {fact}   by the holder: it is rejected
 *
 * A fact of the entity's other fields counts if it belongs to the reign that its `epoch` names, and its author holds that, or nobody does.
 * Which reign it belongs to is the server's word, not its author's: the first whose end had seen it (`seen` of the hand-over), else the
 * last. So these become proposals: what the old holder wrote without knowing; what anybody else writes; and what was written
 * under an epoch that is over, or is not there yet. A hand-over counts if it was asked for under the epoch that it ends, so of two
 * at the same time one is stale.
 *
 * `fields` are those that belong to the holder. Default: all others of the entity, but those with rights of their own (`quantity`): what
 * was sold within them is sold. An entity where others bid or ship names its fields, therefore. Entities in the same document (`lines/7`)
 * are not part of it.
 *
 * Rejected: to reject what came under an old epoch (work of days would be lost); to let it count as far as it does not conflict (who
 * holds an entity would not know what is in it).
 */
import type { Value } from '../../engine/live-document.ts'
import { seenOf } from '../facts/author.ts'
import { type Draft, refusal } from '../facts/draft.ts'
import { type Fact, type FactKey, parseKey } from '../facts/fact.ts'
import { effective } from '../facts/outcome.ts'
import type { DocumentFold } from '../fold/document-fold.ts'
import {
  type AnyKind,
  type At,
  type FoldContext,
  type Kind,
  operation,
  type Person,
  subjectAt,
} from '../fold/kind.ts'

export interface OwnerOptions {
  readonly fields?: readonly string[]
  /** Who may hand over what they do not hold: any of these. */
  readonly roles?: readonly string[]
}

export interface Proposal {
  readonly key: FactKey
  readonly subject: string
  readonly type: string
  readonly payload: Value
  /** That it was written under. */
  readonly epoch: number
}

export interface OwnerSeen {
  /** Null: it is nobody's, so everybody's. */
  readonly holder: string | null
  readonly epoch: number
  /** In order. */
  readonly proposals: readonly Proposal[]
}

interface Reign {
  readonly holder: string | null
  /** What the decision that it began with knew, by actor the last seq. */
  readonly seen: Readonly<Record<string, number>>
  /** That decision; '' for the first. */
  readonly by: FactKey
}

export interface OwnerState {
  holder: string | null
  epoch: number
  readonly proposals: Map<FactKey, { readonly fact: Fact; readonly subject: string }>
  /** By epoch, those to come included; null until somebody asks. */
  reigns: readonly Reign[] | null
}

export function owner({ fields, roles = [] }: OwnerOptions = {}) {
  const belongs = (field: string, kind: AnyKind): boolean =>
    fields === undefined ? !hasRights(kind) : fields.includes(field)
  const mayHandOver = ({ holder }: OwnerState, subject: string, person?: Person): boolean =>
    holder === null || holder === subject || roles.some((role) => person?.roles.includes(role))

  return {
    name: 'owner',
    operations: {
      handOver: operation('decided', isHandOver),
      takeOver: operation('free', isAboutFact),
      decline: operation('free', isAboutFact),
    },
    mutators: {
      handOver(at: At, to: string | null, person?: Person): Draft {
        const state = stateAt(at)
        if (!mayHandOver(state, subjectAt(at), person)) return refusal('not_holder', standingOf(state))
        const acting = mayHandOver(state, subjectAt(at))
          ? []
          : roles.filter((role) => person!.roles.includes(role))
        const draft = { entity: at.entity, type: `${at.field}.handOver`, payload: { to } }
        return acting.length === 0 ? draft : { ...draft, roles: acting }
      },
      takeOver: (at: At, fact: FactKey): Draft => about(at, 'takeOver', fact),
      decline: (at: At, fact: FactKey): Draft => about(at, 'decline', fact),
    },
    create: (): OwnerState => ({ holder: null, epoch: 0, proposals: new Map(), reigns: null }),
    apply(state, name, fact, context) {
      if (name === 'handOver') return
      const { fact: key } = fact.payload as { readonly fact: FactKey }
      const reject = (reason: string): void =>
        context.settle(fact, { status: 'rejected', reason, detail: standingOf(state) })
      if (!counts(reignsOf(state, context), fact, context)) return reject('not_holder')
      const proposal = state.proposals.get(key)?.fact
      if (proposal === undefined) return reject('no_proposal')
      state.proposals.delete(key)
      context.settle(fact, effective)
      if (name === 'takeOver') context.replay(proposal)
      else context.settle(proposal, { status: 'rejected', reason: 'declined', by: fact.key })
    },
    decide(state, _name, intent, decision, fact, context) {
      const { to } = intent.payload as { readonly to: string | null }
      // Only the first decision to end an epoch begins the next one.
      const begins = reignsOf(state, context)[intent.epoch + 1]?.by === fact.key
      if (decision.accepted && begins) {
        state.holder = to
        state.epoch = intent.epoch + 1
        return context.settle(intent, { status: 'effective', by: fact.key })
      }
      const reason = decision.accepted ? 'stale' : (decision.reason ?? 'refused')
      context.settle(intent, { status: 'rejected', reason, by: fact.key, detail: standingOf(state) })
    },
    judge(fold: DocumentFold, intent: Fact, person?: Person) {
      const field = intent.type.slice(0, intent.type.indexOf('.'))
      const state = fold.state(intent.entity, field) as OwnerState
      if (intent.epoch !== state.epoch) return { accepted: false, reason: 'stale' }
      if (!mayHandOver(state, fold.subjectOf(intent.actor) ?? '', person))
        return { accepted: false, reason: 'not_holder' }
      return { accepted: true, seen: seenOf(fold, intent.entity) }
    },
    withhold(state, fact, context, { field, kind }) {
      if (!belongs(field, kind)) return null
      const reigns = reignsOf(state, context)
      if (counts(reigns, fact, context)) return null
      state.proposals.set(fact.key, { fact, subject: context.subjectOf(fact.actor) })
      const { by } = reigns.at(-1)!
      return { status: 'pending', reason: 'proposal', ...(by !== '' && { by }) }
    },
    epochOf: ({ epoch }) => epoch,
    read({ holder, epoch, proposals }): OwnerSeen {
      const seen = [...proposals.values()].map(({ fact, subject }) => {
        const { key, type, payload } = fact
        return { key, subject, type, payload, epoch: fact.epoch }
      })
      return { holder, epoch, proposals: seen }
    },
  } satisfies Kind<OwnerState, OwnerSeen>
}

/** Whether it was written under the reign that it belongs to, by who held it. */
function counts(reigns: readonly Reign[], fact: Fact, context: FoldContext): boolean {
  const reign = reigns[fact.epoch]
  if (reign === undefined || (fact.epoch > 0 && hasSeen(reign, fact))) return false
  const next = reigns[fact.epoch + 1]
  if (next !== undefined && !hasSeen(next, fact)) return false
  return reign.holder === null || reign.holder === context.subjectOf(fact.actor)
}

const hasSeen = ({ seen }: Reign, { actor, seq }: Fact): boolean =>
  Object.hasOwn(seen, actor) && seq <= seen[actor]!

function reignsOf(state: OwnerState, context: FoldContext): readonly Reign[] {
  if (state.reigns !== null) return state.reigns
  const reigns: Reign[] = [{ holder: null, seen: {}, by: '' }]
  for (const { intent, decision, by } of context.lookBacksOf('handOver')) {
    if (intent.epoch !== reigns.length - 1) continue
    const { to } = intent.payload as { readonly to: string | null }
    reigns.push({ holder: to, seen: decision.seen ?? {}, by: by.key })
  }
  state.reigns = reigns
  return reigns
}

function about(at: At, name: 'takeOver' | 'decline', fact: FactKey): Draft {
  const state = stateAt(at)
  if (state.holder !== null && state.holder !== subjectAt(at)) return refusal('not_holder', standingOf(state))
  if (!state.proposals.has(fact)) return refusal('no_proposal', standingOf(state))
  return { entity: at.entity, type: `${at.field}.${name}`, payload: { fact }, about: [fact] }
}

const stateAt = ({ fold, entity, field }: At): OwnerState => fold.state(entity, field) as OwnerState

const standingOf = ({ holder, epoch, proposals }: OwnerState) => ({
  holder,
  epoch,
  proposals: [...proposals.keys()],
})

const hasRights = ({ operations }: AnyKind): boolean =>
  Object.values(operations).some(({ consistency }) => consistency === 'escrow')

const isHandOver = (payload: Value): boolean =>
  hasOnly(payload, 'to', (to) => to === null || (typeof to === 'string' && to !== ''))
const isAboutFact = (payload: Value): boolean =>
  hasOnly(payload, 'fact', (fact) => typeof fact === 'string' && parseKey(fact)?.isDecision === false)

function hasOnly(payload: Value, name: string, isValid: (value: Value) => boolean): boolean {
  if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) return false
  const [first, ...others] = Object.entries(payload)
  return first !== undefined && others.length === 0 && first[0] === name && isValid(first[1])
}

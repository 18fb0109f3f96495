/**
 * One entity's facts, in order, and the state of its fields. A fact at the end is applied to what is there: O(1). One that comes
 * late, or a decision that looks back, has all be folded anew, once, when somebody looks.
 */
import type { State } from '../../engine/live-document.ts'
import { compareFacts, decisionKeyOf, type Fact, type FactKey } from '../facts/fact.ts'
import {
  awaitsDecision,
  malformedPayload,
  notUnderstood,
  type Outcome,
  pending,
  unfolded,
} from '../facts/outcome.ts'
import { parseDecision } from './decision.ts'
import type { Dictionary, Understood } from './fields.ts'
import type { Decision, FoldContext, LookBack } from './kind.ts'

export interface Surroundings {
  readonly dictionary: Dictionary
  fact(key: FactKey): Fact | undefined
  subjectOf(actor: string): string
  /** Something that should not be there, and was ignored. */
  report(key: FactKey, reason: string): void
  /** Its outcome may be another one now. */
  touched(fact: Fact): void
}

export class EntityFold implements FoldContext {
  readonly entity: string
  readonly lookBacks = new Map<FactKey, Decision>()
  private readonly surroundings: Surroundings
  /** In order. */
  private readonly facts: Fact[] = []
  private states = new Map<string, unknown>()
  /** How many of `facts` are in `states`. */
  private folded = 0
  /** Those that none follows, by actor; decisions by key. */
  private readonly heads = new Map<string, Fact>()
  /** The field whose kind has the word. */
  private asked = ''

  constructor(entity: string, surroundings: Surroundings) {
    this.entity = entity
    this.surroundings = surroundings
  }

  /** A ready one. */
  add(fact: Fact): void {
    this.follow(fact)
    const { facts } = this
    const last = facts.at(-1)
    if (last === undefined || compareFacts(last, fact) < 0) facts.push(fact)
    else {
      const at = placeOf(facts, fact)
      facts.splice(at, 0, fact)
      if (at < this.folded) this.startAnew()
    }
    if (!fact.isDecision) return
    const decision = parseDecision(fact.payload)
    if (decision?.seen === undefined || this.surroundings.fact(fact.intent)?.entity !== this.entity) return
    this.lookBacks.set(fact.intent, decision)
    this.startAnew()
  }

  /** What a new fact of this entity names as seen, latest first; the author's own last one may be among them. */
  latest(): Fact[] {
    return [...this.heads.values()].sort((a, b) => compareFacts(b, a))
  }

  read(field: string, document: State | null): unknown {
    this.fold()
    const kind = this.surroundings.dictionary.fieldsOf(this.entity)[field]
    return kind?.read(this.states.get(field) ?? kind.create(), { entity: this.entity, field, document })
  }

  state(field: string): unknown {
    this.fold()
    return this.stateOf(field)
  }

  epoch(): number {
    const fields = Object.entries(this.surroundings.dictionary.fieldsOf(this.entity))
    const [field, kind] = fields.find(([, { epochOf }]) => epochOf !== undefined) ?? []
    return kind === undefined ? 0 : kind.epochOf!(this.state(field!))
  }

  /** In order, each with its outcome. */
  all(): readonly Fact[] {
    this.fold()
    return this.facts
  }

  fold(): void {
    while (this.folded < this.facts.length) this.apply(this.facts[this.folded++]!)
  }

  settle(fact: Fact, outcome: Outcome): void {
    fact.outcome = outcome
    this.surroundings.touched(fact)
  }

  fact(key: FactKey): Fact | undefined {
    return this.surroundings.fact(key)
  }

  decision(intent: FactKey): Decision | undefined {
    return this.lookBacks.get(intent)
  }

  lookBacksOf(operation: string): LookBack[] {
    const found: LookBack[] = []
    for (const [key, decision] of this.lookBacks) {
      const intent = this.surroundings.fact(key)
      const by = this.surroundings.fact(decisionKeyOf(key))
      const understood = intent && this.surroundings.dictionary.understand(intent)
      if (!decision.accepted || by === undefined || !understood) continue
      const { field, rules, payload } = understood
      if (field === this.asked && understood.operation === operation && rules.isPayload(payload))
        found.push({ intent, decision, by })
    }
    return found.sort((a, b) => compareFacts(a.by, b.by))
  }

  subjectOf(actor: string): string {
    return this.surroundings.subjectOf(actor)
  }

  stateOf(field: string): unknown {
    const kind = this.surroundings.dictionary.fieldsOf(this.entity)[field]
    if (kind === undefined) return undefined
    if (!this.states.has(field)) this.states.set(field, kind.create())
    return this.states.get(field)
  }

  replay(fact: Fact): void {
    const understood = this.surroundings.dictionary.understand(fact)
    if (understood !== null) this.count(fact, understood)
  }

  private apply(fact: Fact): void {
    if (fact.isDecision) return this.decide(fact)
    const understood = this.surroundings.dictionary.understand(fact)
    if (understood === null) return this.settle(fact, notUnderstood)
    if (!understood.rules.isPayload(understood.payload)) return this.settle(fact, malformedPayload)
    const fields = this.surroundings.dictionary.fieldsOf(this.entity)
    for (const [field, kind] of Object.entries(fields)) {
      if (kind.withhold === undefined || field === understood.field) continue
      this.asked = field
      const outcome = kind.withhold(this.stateOf(field), fact, this, understood)
      if (outcome !== null) return this.settle(fact, outcome)
    }
    this.count(fact, understood)
  }

  private count(fact: Fact, { field, kind, operation, rules }: Understood): void {
    if (rules.consistency === 'decided') this.settle(fact, pending)
    const asked = this.asked
    this.asked = field
    kind.apply(this.stateOf(field), operation, fact, this)
    this.asked = asked
  }

  private decide(fact: Fact): void {
    const decision = parseDecision(fact.payload)
    const intent = this.surroundings.fact(fact.intent)
    const understood = intent && this.surroundings.dictionary.understand(intent)
    if (decision === null || intent === undefined || intent.entity !== fact.entity)
      return this.ignore(fact, 'a decision that says nothing, or elsewhere')
    if (understood?.kind.decide === undefined || !awaitsDecision(intent.outcome))
      return this.ignore(fact, 'a decision on what is no intent')
    const { field, kind, operation } = understood
    this.settle(fact, { status: 'effective' })
    if (!decision.accepted)
      this.settle(intent, { status: 'rejected', by: fact.key, reason: decision.reason ?? 'refused' })
    this.asked = field
    kind.decide!(this.stateOf(field), operation, intent, decision, fact, this)
  }

  private ignore(fact: Fact, reason: string): void {
    this.settle(fact, { status: 'rejected', reason: 'ignored' })
    this.surroundings.report(fact.key, reason)
  }

  private follow(fact: Fact): void {
    if (fact.isDecision) this.leave(fact.intent)
    for (const key of fact.dependencies) this.leave(key)
    // It follows its actor's earlier ones, whichever entity its last was about.
    this.heads.set(headOf(fact), fact)
  }

  private leave(key: FactKey): void {
    const followed = this.surroundings.fact(key)
    if (followed === undefined) return
    const name = headOf(followed)
    const head = this.heads.get(name)
    if (head !== undefined && head.seq <= followed.seq) this.heads.delete(name)
  }

  private startAnew(): void {
    for (let i = 0; i < this.folded; i++) this.facts[i]!.outcome = unfolded
    this.states = new Map()
    this.folded = 0
  }
}

const headOf = (fact: Fact): string => (fact.isDecision ? fact.key : fact.actor)

/** The index of the first one that comes after it. */
function placeOf(facts: readonly Fact[], fact: Fact): number {
  let low = 0
  let high = facts.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareFacts(facts[middle]!, fact) < 0) low = middle + 1
    else high = middle
  }
  return low
}

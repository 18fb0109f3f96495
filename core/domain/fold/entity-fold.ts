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
import type { Dictionary, Meaning, Vocabulary } from './fields.ts'
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
  /** For the document's fold: it has new facts. */
  isTouched = false
  private readonly lookBacks = new Map<FactKey, Decision>()
  private readonly surroundings: Surroundings
  private readonly vocabulary: Vocabulary
  /** In order. */
  private readonly facts: Fact[] = []
  /** Those that have not found their place among `facts`. */
  private unplaced: Fact[] = []
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
    this.vocabulary = surroundings.dictionary.vocabularyOf(entity)
  }

  /** A ready one, and those that it names as seen. */
  add(fact: Fact, seen: readonly Fact[]): void {
    this.follow(fact, seen)
    const { facts, unplaced } = this
    const last = facts.at(-1)
    if (unplaced.length === 0 && (last === undefined || compareFacts(last, fact) < 0)) facts.push(fact)
    else unplaced.push(fact)
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
    const kind = this.vocabulary.fields.get(field)
    return kind?.read(this.states.get(field) ?? kind.create(), { entity: this.entity, field, document })
  }

  state(field: string): unknown {
    this.fold()
    return this.stateOf(field)
  }

  epoch(): number {
    for (const [field, { epochOf }] of this.vocabulary.fields)
      if (epochOf !== undefined) return epochOf(this.state(field))
    return 0
  }

  /** In order, each with its outcome. */
  all(): readonly Fact[] {
    this.fold()
    return this.facts
  }

  fold(): void {
    if (this.unplaced.length > 0) this.place()
    while (this.folded < this.facts.length) this.apply(this.facts[this.folded++]!)
  }

  settle(fact: Fact, outcome: Outcome): void {
    fact.outcome = outcome
    this.surroundings.touched(fact)
  }

  fact(key: FactKey): Fact | undefined {
    return this.surroundings.fact(key)
  }

  lookBacksOf(operation: string): LookBack[] {
    const found: LookBack[] = []
    for (const [key, decision] of this.lookBacks) {
      const intent = this.surroundings.fact(key)
      const by = this.surroundings.fact(decisionKeyOf(key))
      const meaning = intent && this.meaningOf(intent)
      if (!decision.accepted || by === undefined || !meaning) continue
      const { field, rules } = meaning
      if (field === this.asked && meaning.operation === operation && rules.isPayload(intent.payload))
        found.push({ intent, decision, by })
    }
    return found.sort((a, b) => compareFacts(a.by, b.by))
  }

  subjectOf(actor: string): string {
    return this.surroundings.subjectOf(actor)
  }

  private stateOf(field: string): unknown {
    let state = this.states.get(field)
    if (state !== undefined) return state
    state = this.vocabulary.fields.get(field)?.create()
    if (state !== undefined) this.states.set(field, state)
    return state
  }

  replay(fact: Fact): void {
    const meaning = this.meaningOf(fact)
    if (meaning !== null) this.count(fact, meaning)
  }

  private apply(fact: Fact): void {
    if (fact.isDecision) return this.decide(fact)
    const meaning = this.meaningOf(fact)
    if (meaning === null) return this.settle(fact, notUnderstood)
    if (!meaning.rules.isPayload(fact.payload)) return this.settle(fact, malformedPayload)
    for (const [field, kind] of this.vocabulary.withholding) {
      if (field === meaning.field) continue
      this.asked = field
      const outcome = kind.withhold!(this.stateOf(field), fact, this, meaning)
      if (outcome !== null) return this.settle(fact, outcome)
    }
    this.count(fact, meaning)
  }

  /** Null: nothing that this version of the adapter knows. */
  private meaningOf(fact: Fact): Meaning | null {
    return (fact.isForeign ? undefined : this.vocabulary.meanings.get(fact.type)) ?? null
  }

  private count(fact: Fact, { field, kind, operation, rules }: Meaning): void {
    if (rules.consistency === 'decided') this.settle(fact, pending)
    const asked = this.asked
    this.asked = field
    kind.apply(this.stateOf(field), operation, fact, this)
    this.asked = asked
  }

  private decide(fact: Fact): void {
    const decision = parseDecision(fact.payload)
    const intent = this.surroundings.fact(fact.intent)
    if (decision === null || intent === undefined || intent.entity !== fact.entity)
      return this.ignore(fact, 'a decision that says nothing, or elsewhere')
    const meaning = this.meaningOf(intent)
    if (meaning?.kind.decide === undefined || !awaitsDecision(intent.outcome))
      return this.ignore(fact, 'a decision on what is no intent')
    const { field, kind, operation } = meaning
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

  private follow(fact: Fact, seen: readonly Fact[]): void {
    if (fact.isDecision) {
      const intent = this.surroundings.fact(fact.intent)
      if (intent !== undefined) this.leave(intent)
    }
    for (const each of seen) this.leave(each)
    // It follows its actor's earlier ones, whichever entity its last was about.
    this.heads.set(headOf(fact), fact)
  }

  private leave(followed: Fact): void {
    const name = headOf(followed)
    const head = this.heads.get(name)
    if (head !== undefined && head.seq <= followed.seq) this.heads.delete(name)
  }

  /** Late ones are sorted together: each in its place at once would move all behind it, each time. */
  private place(): void {
    const late = this.unplaced.sort(compareFacts)
    this.unplaced = []
    const at = placeOf(this.facts, late[0]!)
    if (at < this.folded) this.startAnew()
    const behind = this.facts.splice(at)
    let next = 0
    for (const fact of late) {
      while (next < behind.length && compareFacts(behind[next]!, fact) < 0) this.facts.push(behind[next++]!)
      this.facts.push(fact)
    }
    while (next < behind.length) this.facts.push(behind[next++]!)
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

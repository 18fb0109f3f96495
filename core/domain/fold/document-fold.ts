/**
 * All of a document's facts: which count, what state they come to, and what became of each. The same facts give the same, in
 * whatever order, however often and in whatever groups they are given (P4).
 */

import type { State, Value } from '../../engine/live-document.ts'
import { compareFacts, decodeFact, type Fact, type FactKey } from '../facts/fact.ts'
import { FactGraph } from '../facts/graph.ts'
import { awaitsDecision, effective, isSame, type Outcome } from '../facts/outcome.ts'
import { EntityFold, type Surroundings } from './entity-fold.ts'
import { Dictionary, type FieldsOfDocument } from './fields.ts'
import type { AnyKind, Decision } from './kind.ts'

/** An entry of the map `facts`, as the engine has it now. */
export interface FactEntry {
  readonly key: string
  /** Undefined: it was deleted. */
  readonly value: Value | undefined
  /** False for one that was written more than once, or deleted. */
  readonly intact: boolean
}

/** Something in the map that does not count. */
export interface Report {
  readonly key: string
  readonly reason: string
}

/** What is different since somebody last asked. */
export interface Changes {
  readonly entities: ReadonlySet<string>
  /** New ones, and those with another outcome than before. */
  readonly facts: readonly Fact[]
}

const reportsMax = 1_000
const noChanges: ReadonlySet<never> = new Set()

export class DocumentFold {
  private readonly surroundings: Surroundings
  private graph = new FactGraph()
  private entities = new Map<string, EntityFold>()
  private subjects = new Map<string, string>()
  private readonly tampered = new Set<FactKey>()
  private readonly ignored = new Map<FactKey, string>()
  private readonly malformed = new Set<string>()
  /** Since `apply` was last called. */
  private touchedEntities: string[] = []
  private changedEntities = new Set<string>()
  private settled = new Set<Fact>()
  /** What became of each fact when somebody last asked for changes; null as long as nobody has. */
  private told: Map<Fact, Outcome> | null = null
  /** Pending ones, as long as somebody asks for changes. */
  private readonly pending = new Set<Fact>()

  private readonly definition: FieldsOfDocument
  private readonly beneath: DocumentFold | null

  /** `beneath` is for `suppose`. */
  constructor(definition: FieldsOfDocument, beneath: DocumentFold | null = null) {
    this.definition = definition
    this.beneath = beneath
    const dictionary = new Dictionary(definition)
    this.surroundings = {
      dictionary,
      fact: (key) => this.graph.get(key),
      subjectOf: (actor) => this.subjectOf(actor) ?? '',
      report: (key, reason) => this.report(key, reason),
      touched: (fact) => {
        if (this.told === null) return
        this.settled.add(fact)
        if (fact.outcome.status === 'pending') this.pending.add(fact)
        else this.pending.delete(fact)
      },
    }
  }

  /**
   * A fold in which facts about this entity can be supposed without anything of it being seen here. Of use until this one
   * changes; costs what the entity is long.
   */
  suppose(entity: string): DocumentFold {
    const supposed = new DocumentFold(this.definition, this)
    supposed.graph = new FactGraph(this.graph)
    for (const fact of this.facts(entity)) {
      const copy = fact.copy()
      supposed.graph.adopt(copy)
      supposed.onReady(
        copy,
        copy.dependencies.map((key) => supposed.graph.get(key)!),
      )
    }
    return supposed
  }

  /** Ready facts, actors' first ones included. */
  get size(): number {
    return this.graph.size
  }

  /** Entities whose state, or whose facts' outcomes, may be others now. */
  apply(entries: Iterable<FactEntry>): ReadonlySet<string> {
    for (const entry of entries) this.take(entry)
    if (this.touchedEntities.length === 0) return noChanges
    const touched = new Set(this.touchedEntities)
    this.touchedEntities = []
    for (const name of touched) {
      const entity = this.entities.get(name)
      if (entity !== undefined) entity.isTouched = false
    }
    if (this.told !== null) for (const entity of touched) this.changedEntities.add(entity)
    return touched
  }

  /** Keys that it was given, each once, whether they count or not. */
  get taken(): number {
    return this.graph.total + this.tampered.size + this.malformed.size
  }

  /**
   * What is different since this was last asked. Null when that is everything: the first time, and after facts had to be
   * forgotten.
   */
  takeChanges(): Changes | null {
    const { told } = this
    if (told === null) {
      this.told = new Map()
      this.pending.clear()
      for (const entity of this.entities.values())
        for (const fact of entity.all()) {
          this.told.set(fact, fact.outcome)
          if (fact.outcome.status === 'pending') this.pending.add(fact)
        }
      this.settled.clear()
      return null
    }
    const entities = this.changedEntities
    for (const entity of entities) this.entities.get(entity)?.fold()
    const facts = [...this.settled].filter((fact) => !isSame(fact.outcome, told.get(fact)))
    for (const fact of facts) told.set(fact, fact.outcome)
    this.changedEntities = new Set()
    this.settled = new Set()
    return { entities, facts }
  }

  /**
   * Intents that wait for the server's word, in their order, as of the last `takeChanges`. What waits for something
   * else is not among them: a proposal for its owner, a move for the one that it follows.
   */
  undecided(): Fact[] {
    const intents = [...this.pending].filter(
      (fact) => awaitsDecision(fact.outcome) && this.kindOf(fact)?.judge !== undefined,
    )
    return intents.sort(compareFacts)
  }

  /** The server's word on one of them, given all that is here; `person` is who asks. */
  judge(intent: Fact): Decision | null {
    const subject = this.subjectOf(intent.actor) ?? ''
    return this.kindOf(intent)?.judge?.(this, intent, { subject, roles: intent.roles }) ?? null
  }

  /** Those with facts; '' is the document itself. Sorted. */
  names(): string[] {
    return [...this.entities.keys()].sort()
  }

  /**
   * State of a field of an entity; without facts, that of a field nobody has written to. `document` is for kinds that live outside
   * the facts (`text`), which are empty without it.
   */
  read(entity: string, field: string, document: State | null = null): unknown {
    return (this.entity(entity) ?? new EntityFold(entity, this.surroundings)).read(field, document)
  }

  /** What the field's kind keeps of it: for that kind's mutators and judge, which leave it as it is. */
  state(entity: string, field: string): unknown {
    return (this.entity(entity) ?? new EntityFold(entity, this.surroundings)).state(field)
  }

  /** Of the entity's owner: what facts about it that are written now say. */
  epoch(entity: string): number {
    return this.entity(entity)?.epoch() ?? 0
  }

  /** Facts of an entity in their order, each with its outcome. */
  facts(entity: string): readonly Fact[] {
    return this.entity(entity)?.all() ?? []
  }

  /** Any ready fact, with its outcome. */
  fact(key: FactKey): Fact | undefined {
    const fact = this.graph.get(key)
    if (fact !== undefined) this.entity(fact.entity)?.fold()
    return fact
  }

  /** What a new fact about the entity names as seen, latest first, at most 64 of the caller's taking. */
  latest(entity: string): readonly Fact[] {
    return this.entity(entity)?.latest() ?? []
  }

  /** Null: there is no such actor. */
  subjectOf(actor: string): string | null {
    return this.subjects.get(actor) ?? this.beneath?.subjectOf(actor) ?? null
  }

  /** By actor, whose it is. */
  actors(): ReadonlyMap<string, string> {
    return this.subjects
  }

  /** Facts that wait for others, with what they wait for. */
  waiting(): Report[] {
    return [...this.graph.missing()].map(({ fact, missing }) => ({
      key: fact.key,
      reason: `waits for ${missing}`,
    }))
  }

  /** What was ignored, and why. At most 1,000. */
  reports(): Report[] {
    for (const entity of this.entities.values()) entity.fold()
    return [...this.ignored].map(([key, reason]) => ({ key, reason }))
  }

  private kindOf({ entity, type, isForeign }: Fact): AnyKind | undefined {
    return isForeign ? undefined : this.surroundings.dictionary.vocabularyOf(entity).meanings.get(type)?.kind
  }

  private entity(name: string): EntityFold | undefined {
    return this.entities.get(name) ?? this.beneath?.entity(name)
  }

  private take({ key, value, intact }: FactEntry): void {
    if (this.tampered.size > 0 && this.tampered.has(key)) return
    if (!intact || value === undefined) {
      this.tampered.add(key)
      this.report(key, value === undefined ? 'it was deleted' : 'it was written more than once')
      if (this.graph.has(key)) this.startAnew()
      return
    }
    const fact = decodeFact(key, value)
    if (typeof fact === 'string') {
      this.malformed.add(key)
      this.report(key, fact)
      return
    }
    const { dictionary } = this.surroundings
    const isTold = fact.version === dictionary.version || fact.isDecision || fact.seq === 0
    this.graph.add(isTold ? fact : dictionary.translate(fact), this.onReady)
  }

  private readonly onReady = (fact: Fact, seen: readonly Fact[]): void => {
    if (fact.seq === 0 && !fact.isDecision) {
      fact.outcome = effective
      this.subjects.set(fact.actor, fact.payload as string)
      return
    }
    let entity = this.entities.get(fact.entity)
    if (entity === undefined) {
      entity = new EntityFold(fact.entity, this.surroundings)
      this.entities.set(fact.entity, entity)
    }
    entity.add(fact, seen)
    if (entity.isTouched) return
    entity.isTouched = true
    this.touchedEntities.push(fact.entity)
  }

  /** Without what was tampered with, and whatever follows it. */
  private startAnew(): void {
    const facts = [...this.graph.all()].filter(({ key }) => !this.tampered.has(key))
    this.touchedEntities.push(...this.entities.keys())
    this.graph = new FactGraph()
    this.entities = new Map()
    this.subjects = new Map()
    this.told = null
    this.settled.clear()
    this.changedEntities.clear()
    for (const fact of facts) this.graph.add(fact, this.onReady)
  }

  private report(key: FactKey, reason: string): void {
    if (this.ignored.size < reportsMax) this.ignored.set(key, reason)
  }
}

/**
 * Facts in causal order: one is ready when all that it follows are, and has then its Lamport clock. What follows something
 * that is not there waits, for ever if need be; it costs nothing until what it waits for comes.
 *
 * Order, duplication and grouping in which facts are given do not matter: ready are those all of whose causes are there.
 *
 * Facts stand by actor and seq. A map of all keys would do, but a fact takes five look-ups, and in a map of 100,000 each costs
 * more than all else that is done with a fact here. Of an actor's facts that are not ready only the first waits for something in
 * particular; the others are behind it. (Documents give facts actor by actor, so that most wait at first.)
 */
import { actorLength, type Fact, type FactKey, isDecisionKey, keyEnd, keyOf, seqIn } from './fact.ts'

/** Called with a fact that is ready, and those that it names as seen, in a list that is used again. */
export type OnReady = (fact: Fact, seen: readonly Fact[]) => void

interface Actor {
  readonly name: string
  /** By seq, without gap; with gaps in a graph that has another beneath. */
  readonly ready: Fact[]
  /** By seq. */
  readonly waiting: Map<number, Fact>
}

export class FactGraph {
  private readonly actors = new Map<string, Actor>()
  /** By their intent. */
  private readonly decisions = new Map<FactKey, Fact>()
  private readonly waitingDecisions = new Map<FactKey, Fact>()
  /** Decisions, and the first that waits of each actor, by the first key that is missing. */
  private readonly waiting = new Map<FactKey, Fact[]>()
  private readyCount = 0
  private waitingCount = 0
  private readonly beneath: FactGraph | null
  /** Those that the fact that was settled last names as seen. */
  private readonly seen: Fact[] = []

  /** `beneath`: its ready facts count as ready here. */
  constructor(beneath: FactGraph | null = null) {
    this.beneath = beneath
  }

  get size(): number {
    return this.readyCount
  }

  /** Those that wait included. */
  get total(): number {
    return this.readyCount + this.waitingCount
  }

  /** A ready one. */
  get(key: FactKey): Fact | undefined {
    return this.find(key, 0, key.length)
  }

  has(key: FactKey): boolean {
    if (isDecisionKey(key)) return this.decisions.has(key.slice(1)) || this.waitingDecisions.has(key.slice(1))
    const actor = this.actors.get(key.slice(0, actorLength))
    const seq = seqIn(key, 0, key.length)
    return actor !== undefined && (actor.ready[seq] !== undefined || actor.waiting.has(seq))
  }

  /** All, ready or not. */
  *all(): Iterable<Fact> {
    for (const { ready, waiting } of this.actors.values()) {
      for (const fact of ready) if (fact !== undefined) yield fact
      yield* waiting.values()
    }
    yield* this.decisions.values()
    yield* this.waitingDecisions.values()
  }

  /** Those that wait, each with what it waits for. */
  *missing(): Iterable<{ readonly fact: Fact; readonly missing: FactKey }> {
    for (const [missing, facts] of this.waiting) for (const fact of facts) yield { fact, missing }
    for (const { waiting } of this.actors.values())
      for (const fact of waiting.values())
        if (!this.hasPrevious(fact)) yield { fact, missing: keyOf(fact.actor, fact.seq - 1) }
  }

  /** One that is ready, with its Lamport clock. */
  adopt(fact: Fact): void {
    this.readyCount++
    if (fact.isDecision) this.decisions.set(fact.intent, fact)
    else this.actorOf(fact).ready[fact.seq] = fact
  }

  /** Tells of each fact that is ready now, causes first. One that is known already changes nothing. */
  add(fact: Fact, onReady: OnReady): void {
    if (fact.isDecision) {
      if (this.decisions.has(fact.intent) || this.waitingDecisions.has(fact.intent)) return
    } else {
      const { ready, waiting } = this.actorOf(fact)
      if (ready[fact.seq] !== undefined || (waiting.size > 0 && waiting.has(fact.seq))) return
      if (!this.hasPrevious(fact)) {
        this.keep(waiting, fact.seq, fact)
        return
      }
    }
    let others: Fact[] | null = null
    for (let next: Fact | undefined = fact; next !== undefined; next = others?.pop()) {
      const missing = this.settle(next)
      if (missing !== null) {
        this.wait(next, missing)
        continue
      }
      this.adopt(next)
      onReady(next, this.seen)
      if (this.waitingCount > 0) others = this.stirred(next, others ?? [])
    }
  }

  /** Those that may be ready now that this one is. */
  private stirred(fact: Fact, others: Fact[]): Fact[] {
    if (fact.isDecision) this.forget(this.waitingDecisions, fact.intent)
    else {
      const { waiting } = this.actorOf(fact)
      this.forget(waiting, fact.seq)
      const following = waiting.get(fact.seq + 1)
      if (following !== undefined) others.push(following)
    }
    const waiting = this.waiting.get(fact.key)
    if (waiting === undefined) return others
    this.waiting.delete(fact.key)
    others.push(...waiting)
    return others
  }

  private wait(fact: Fact, missing: FactKey): void {
    const others = this.waiting.get(missing)
    if (others === undefined) this.waiting.set(missing, [fact])
    else others.push(fact)
    if (fact.isDecision) this.keep(this.waitingDecisions, fact.intent, fact)
    else this.keep(this.actorOf(fact).waiting, fact.seq, fact)
  }

  private keep<Key>(waiting: Map<Key, Fact>, key: Key, fact: Fact): void {
    if (waiting.has(key)) return
    waiting.set(key, fact)
    this.waitingCount++
  }

  private forget<Key>(waiting: Map<Key, Fact>, key: Key): void {
    if (waiting.delete(key)) this.waitingCount--
  }

  /** Sets its Lamport clock and `seen`; or gives the first key that is missing. The actor's last one is there. */
  private settle(fact: Fact): FactKey | null {
    let highest = 0
    if (fact.isDecision) {
      const intent = this.get(fact.intent)
      if (intent === undefined) return fact.intent
      highest = intent.lamport
    } else if (fact.seq > 0) highest = this.at(fact.actor, fact.seq - 1)!.lamport
    if (this.seen.length > 0) this.seen.length = 0
    const { seen } = fact
    for (let from = 0; from < seen.length; ) {
      const end = keyEnd(seen, from)
      const cause = this.find(seen, from, end)
      if (cause === undefined) return seen.slice(from, end)
      if (cause.lamport > highest) highest = cause.lamport
      this.seen.push(cause)
      from = end + 1
    }
    fact.lamport = highest + 1
    return null
  }

  private hasPrevious({ actor, seq }: Fact): boolean {
    return seq === 0 || this.at(actor, seq - 1) !== undefined
  }

  private actorOf(fact: Fact): Actor {
    const known = this.actors.get(fact.actor)
    if (known !== undefined) {
      // One text for all, instead of one cut out of each key: less to keep, and hashed already.
      fact.actor = known.name
      return known
    }
    const actor = { name: fact.actor, ready: [], waiting: new Map() }
    this.actors.set(actor.name, actor)
    return actor
  }

  /** By the key between these places of a text. */
  private find(text: string, from: number, to: number): Fact | undefined {
    if (isDecisionKey(text, from)) return this.decisionOn(text.slice(from + 1, to))
    const seq = seqIn(text, from, to)
    return seq === -1 ? undefined : this.at(text.slice(from, from + actorLength), seq)
  }

  private decisionOn(intent: FactKey): Fact | undefined {
    return this.decisions.get(intent) ?? this.beneath?.decisionOn(intent)
  }

  private at(actor: string, seq: number): Fact | undefined {
    return this.actors.get(actor)?.ready[seq] ?? this.beneath?.at(actor, seq)
  }
}

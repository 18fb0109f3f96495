/**
 * Facts in causal order: one is ready when all that it follows are, and has then its Lamport clock. What follows something
 * that is not there waits, for ever if need be; it costs nothing until what it waits for comes.
 *
 * Order, duplication and grouping in which facts are given do not matter: ready are those all of whose causes are there.
 *
 * Ready facts stand at their seq in a list for each actor. A map of all keys would do, but a fact takes five look-ups, and in a
 * map of 100,000 each costs more than all else that is done with a fact here.
 */
import { actorLength, type Fact, type FactKey, isDecisionKey, keyEnd, keyOf, seqIn } from './fact.ts'

export class FactGraph {
  private readonly actors = new Map<string, Fact[]>()
  /** By their intent. */
  private readonly decisions = new Map<FactKey, Fact>()
  private readyCount = 0
  /** By the first key that is missing. */
  private readonly waiting = new Map<FactKey, Fact[]>()
  private readonly waitingKeys = new Set<FactKey>()
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
    return this.readyCount + this.waitingKeys.size
  }

  /** A ready one. */
  get(key: FactKey): Fact | undefined {
    return this.find(key, 0, key.length)
  }

  /** One that is ready, with its Lamport clock. */
  adopt(fact: Fact): void {
    this.readyCount++
    if (fact.isDecision) {
      this.decisions.set(fact.intent, fact)
      return
    }
    let facts = this.actors.get(fact.actor)
    if (facts === undefined) {
      facts = []
      this.actors.set(fact.actor, facts)
    }
    facts[fact.seq] = fact
  }

  has(key: FactKey): boolean {
    return this.waitingKeys.has(key) || this.findHere(key, 0, key.length) !== undefined
  }

  /** All, ready or not. */
  *all(): Iterable<Fact> {
    for (const facts of this.actors.values()) for (const fact of facts) if (fact !== undefined) yield fact
    yield* this.decisions.values()
    for (const facts of this.waiting.values()) yield* facts
  }

  /** Those that wait, each with what it waits for. */
  *missing(): Iterable<{ readonly fact: Fact; readonly missing: FactKey }> {
    for (const [missing, facts] of this.waiting) for (const fact of facts) yield { fact, missing }
  }

  /**
   * Calls `onReady` with each fact that is ready now, causes first, and with those that it names as seen (a list that is used
   * again). One that is known already changes nothing.
   */
  add(fact: Fact, onReady: (fact: Fact, seen: readonly Fact[]) => void): void {
    if (this.isKnown(fact)) return
    const queue = [fact]
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      const missing = this.settle(next)
      if (missing !== null) {
        this.wait(next, missing)
        continue
      }
      if (this.waitingKeys.size > 0) this.waitingKeys.delete(next.key)
      this.adopt(next)
      onReady(next, this.seen)
      const waiting = this.waiting.size === 0 ? undefined : this.waiting.get(next.key)
      if (waiting === undefined) continue
      this.waiting.delete(next.key)
      queue.push(...waiting)
    }
  }

  private isKnown(fact: Fact): boolean {
    const ready = fact.isDecision ? this.decisions.has(fact.intent) : this.actors.get(fact.actor)?.[fact.seq]
    return Boolean(ready) || (this.waitingKeys.size > 0 && this.waitingKeys.has(fact.key))
  }

  private wait(fact: Fact, missing: FactKey): void {
    this.waitingKeys.add(fact.key)
    const others = this.waiting.get(missing)
    if (others === undefined) this.waiting.set(missing, [fact])
    else others.push(fact)
  }

  /** Sets its Lamport clock and `seen`; or gives the first key that is missing. */
  private settle(fact: Fact): FactKey | null {
    let highest = 0
    if (fact.isDecision) {
      const intent = this.get(fact.intent)
      if (intent === undefined) return fact.intent
      highest = intent.lamport
    } else if (fact.seq > 0) {
      const previous = this.at(fact.actor, fact.seq - 1)
      if (previous === undefined) return keyOf(fact.actor, fact.seq - 1)
      highest = previous.lamport
    }
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

  /** By the key between these places of a text. */
  private find(text: string, from: number, to: number): Fact | undefined {
    return this.findHere(text, from, to) ?? this.beneath?.find(text, from, to)
  }

  private findHere(text: string, from: number, to: number): Fact | undefined {
    if (isDecisionKey(text, from)) return this.decisions.get(text.slice(from + 1, to))
    const seq = seqIn(text, from, to)
    return seq === -1 ? undefined : this.actors.get(text.slice(from, from + actorLength))?.[seq]
  }

  private at(actor: string, seq: number): Fact | undefined {
    return this.actors.get(actor)?.[seq] ?? this.beneath?.at(actor, seq)
  }
}

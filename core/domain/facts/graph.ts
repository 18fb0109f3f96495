/**
 * Facts in causal order: one is ready when all that it follows are, and has then its Lamport clock. What follows something
 * that is not there waits, for ever if need be; it costs nothing until what it waits for comes.
 *
 * Order, duplication and grouping in which facts are given do not matter: ready are those all of whose causes are there.
 */
import type { Fact, FactKey } from './fact.ts'

export class FactGraph {
  private readonly ready = new Map<FactKey, Fact>()
  /** By the first key that is missing. */
  private readonly waiting = new Map<FactKey, Fact[]>()
  private readonly waitingKeys = new Set<FactKey>()
  private readonly beneath: FactGraph | null

  /** `beneath`: its ready facts count as ready here. */
  constructor(beneath: FactGraph | null = null) {
    this.beneath = beneath
  }

  get size(): number {
    return this.ready.size
  }

  /** Those that wait included. */
  get total(): number {
    return this.ready.size + this.waitingKeys.size
  }

  /** A ready one. */
  get(key: FactKey): Fact | undefined {
    return this.ready.get(key) ?? this.beneath?.get(key)
  }

  /** One that is ready, with its Lamport clock. */
  adopt(fact: Fact): void {
    this.ready.set(fact.key, fact)
  }

  has(key: FactKey): boolean {
    return this.ready.has(key) || this.waitingKeys.has(key)
  }

  /** All, ready or not. */
  *all(): Iterable<Fact> {
    yield* this.ready.values()
    for (const facts of this.waiting.values()) yield* facts
  }

  /** Those that wait, each with what it waits for. */
  *missing(): Iterable<{ readonly fact: Fact; readonly missing: FactKey }> {
    for (const [missing, facts] of this.waiting) for (const fact of facts) yield { fact, missing }
  }

  /** Calls `onReady` with each fact that is ready now, causes first. One that is known already changes nothing. */
  add(fact: Fact, onReady: (fact: Fact) => void): void {
    if (this.has(fact.key)) return
    const queue = [fact]
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      const missing = this.settle(next)
      if (missing !== null) {
        this.wait(next, missing)
        continue
      }
      this.waitingKeys.delete(next.key)
      this.ready.set(next.key, next)
      onReady(next)
      const waiting = this.waiting.get(next.key)
      if (waiting === undefined) continue
      this.waiting.delete(next.key)
      queue.push(...waiting)
    }
  }

  private wait(fact: Fact, missing: FactKey): void {
    this.waitingKeys.add(fact.key)
    const others = this.waiting.get(missing)
    if (others === undefined) this.waiting.set(missing, [fact])
    else others.push(fact)
  }

  /** Sets its Lamport clock; or the first key that is missing. */
  private settle(fact: Fact): FactKey | null {
    let highest = 0
    const { previous, dependencies } = fact
    const own = fact.isDecision ? fact.intent : previous
    if (own !== null) {
      const cause = this.get(own)
      if (cause === undefined) return own
      highest = cause.lamport
    }
    for (const key of dependencies) {
      const cause = this.get(key)
      if (cause === undefined) return key
      if (cause.lamport > highest) highest = cause.lamport
    }
    fact.lamport = highest + 1
    return null
  }
}

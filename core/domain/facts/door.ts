/**
 * Which facts may come into a document's log, and from whom: entries that are facts, in the order of their actor, of actors that
 * belong to whoever sends them, and no decision but the server's. That entries are written once is for `WriteOnce`; together
 * they let nothing in that a fold would have to ignore.
 *
 * Without authentication ('' is the author) nobody is anybody in particular, so whose an actor is says nothing; all else holds.
 */
import type { Write } from '../../engine/engine.ts'
import { kindOfFact } from '../fold/fields.ts'
import { actorType, decodeFact, type Fact } from './fact.ts'

/** How far ahead of the server's clock a fact may say that it was written. */
export const aheadMsMax = 300_000

/** Why a fact does not come in; a sentence for who develops a client. */
export interface FactRefused {
  readonly key: string
  readonly reason:
    | 'malformed'
    | 'exists'
    | 'out_of_order'
    | 'not_yours'
    | 'not_your_role'
    | 'decision'
    | 'ahead'
  readonly message: string
}

/** What an adapter says of a document's facts that matters here. */
export interface FactRules {
  /** See `clockedFacts`. */
  readonly clocked: ReadonlySet<string>
}

/** Who sends them, as the token says. */
export interface Author {
  /** '' without authentication. */
  readonly subject: string
  readonly roles: readonly string[]
}

interface Actor {
  readonly subject: string
  next: number
}

export class FactDoor {
  private readonly actors = new Map<string, Actor>()
  private readonly decided = new Set<string>()
  private readonly rules: FactRules

  /** What is stored, in any order. */
  constructor(stored: readonly Write[], rules: FactRules) {
    this.rules = rules
    this.add(stored)
  }

  /** Null: they have come in, all of them; else none. `author` null: the server itself. */
  enter(writes: readonly Write[], author: Author | null, nowMs: number): FactRefused | null {
    const facts: Fact[] = []
    for (const [key, value] of writes) {
      const fact = decodeFact(key, value)
      if (typeof fact === 'string')
        return { key, reason: 'malformed', message: `"${key}" is no fact: ${fact}` }
      facts.push(fact)
    }
    const fresh = new Map<string, Actor>()
    const decided = new Set<string>()
    for (const fact of inOrder(facts)) {
      const refusal = fact.isDecision
        ? this.refusalOfDecision(fact, author, decided)
        : (this.refusalOf(fact, author, fresh) ?? this.refusalOfClock(fact, nowMs))
      if (refusal !== null) return { key: fact.key, ...refusal }
    }
    for (const [name, actor] of fresh) this.actors.set(name, actor)
    for (const intent of decided) this.decided.add(intent)
    return null
  }

  /** They are in the log, whatever may be said against them. */
  add(writes: readonly Write[]): void {
    const facts = writes
      .map(([key, value]) => decodeFact(key, value))
      .filter((fact) => typeof fact !== 'string')
    for (const fact of inOrder(facts)) this.take(fact)
  }

  private refusalOfDecision(fact: Fact, author: Author | null, decided: Set<string>): Refusal | null {
    if (author !== null) return { reason: 'decision', message: 'Only the server decides' }
    if (this.decided.has(fact.intent) || decided.has(fact.intent))
      return { reason: 'exists', message: `${fact.intent} is decided` }
    decided.add(fact.intent)
    return null
  }

  private refusalOf(fact: Fact, author: Author | null, fresh: Map<string, Actor>): Refusal | null {
    const { actor, seq, payload, roles } = fact
    const known = fresh.get(actor) ?? this.actors.get(actor)
    const next = known?.next ?? 0
    if (seq < next)
      return { reason: 'exists', message: `There is a fact ${fact.key}; facts are written once` }
    if (seq > next)
      return {
        reason: 'out_of_order',
        message: `${fact.key} comes before ${actor}:${next}, which is not here`,
      }
    const subject = known?.subject ?? (payload as string)
    if (author !== null && author.subject !== '') {
      if (subject !== author.subject)
        return { reason: 'not_yours', message: `The actor ${actor} is somebody else's` }
      const role = roles.find((each) => !author.roles.includes(each))
      if (role !== undefined) return { reason: 'not_your_role', message: `${fact.key} acts as "${role}"` }
    }
    fresh.set(actor, { subject, next: seq + 1 })
    return null
  }

  private refusalOfClock(fact: Fact, nowMs: number): Refusal | null {
    const { clocked } = this.rules
    if (clocked.size === 0 || !clocked.has(kindOfFact(fact))) return null
    const time = (fact.payload as { readonly time?: unknown } | null)?.time
    if (typeof time !== 'number' || time <= nowMs + aheadMsMax) return null
    const aheadSeconds = Math.round((time - nowMs) / 1000)
    return {
      reason: 'ahead',
      message: `${fact.key} says that it was written ${aheadSeconds} s from now: the clock of that device is wrong`,
    }
  }

  private take(fact: Fact): void {
    const { actor, seq } = fact
    if (fact.isDecision) {
      this.decided.add(fact.intent)
      return
    }
    const known = this.actors.get(actor)
    if (fact.type === actorType) {
      if (known === undefined) this.actors.set(actor, { subject: fact.payload as string, next: 1 })
    } else if (known !== undefined && known.next === seq) known.next = seq + 1
  }
}

type Refusal = Pick<FactRefused, 'reason' | 'message'>

/** Of one update: a client may have written them in any order of keys. */
function inOrder(facts: readonly Fact[]): readonly Fact[] {
  return facts.length < 2
    ? facts
    : [...facts].sort((a, b) => (a.actor === b.actor ? a.seq - b.seq : a.actor < b.actor ? -1 : 1))
}

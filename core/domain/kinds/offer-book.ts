/**
 * The state of a field of offers: what was offered, what became of it, and whether it is over. See offers.ts for the rules.
 */
import type { Value } from '../../engine/live-document.ts'
import { compareFacts, type Fact, type FactKey } from '../facts/fact.ts'
import { effective, type Outcome } from '../facts/outcome.ts'
import type { FoldContext, LookBack } from '../fold/kind.ts'

export type OfferStatus = 'open' | 'countered' | 'withdrawn' | 'accepted' | 'not_chosen' | 'closed' | 'late'

export interface Offer<T> {
  readonly key: FactKey
  readonly actor: string
  readonly subject: string
  readonly terms: T
  /** The offer that it answers; null for a bid. */
  readonly to: FactKey | null
  /** Whose bid was at the beginning of it. */
  readonly bidder: { readonly actor: string; readonly subject: string }
  readonly status: OfferStatus
}

/** An intent that the server has not decided. */
export interface Asked {
  readonly key: FactKey
  readonly operation: 'accept' | 'close'
  readonly offer: FactKey | null
  readonly actor: string
  readonly subject: string
}

/** How it stands: for whoever is refused. */
export interface Standing {
  readonly state: 'open' | 'closed'
  readonly accepted: FactKey | null
  /** Those that could be accepted now, the latest last; at most 20. */
  readonly open: readonly FactKey[]
}

/** Kept for each offer there ever was, so it is small. */
class Entry implements Offer<Value> {
  readonly fact: Fact
  readonly subject: string
  readonly terms: Value
  readonly to: FactKey | null
  status: OfferStatus = 'open'
  private readonly first: Entry | null

  /** `first`: the bid at the beginning; null for a bid. */
  constructor(fact: Fact, subject: string, terms: Value, to: FactKey | null, first: Entry | null) {
    this.fact = fact
    this.subject = subject
    this.terms = terms
    this.to = to
    this.first = first
  }

  get key(): FactKey {
    return this.fact.key
  }

  get actor(): string {
    return this.fact.actor
  }

  get bidder(): Offer<Value>['bidder'] {
    return this.begin
  }

  get begin(): Entry {
    return this.first ?? this
  }

  told(): Offer<Value> {
    const { key, actor, subject, terms, to, status } = this
    const { actor: bidding, subject: by } = this.begin
    return { key, actor, subject, terms, to, bidder: { actor: bidding, subject: by }, status }
  }
}

const standingOpenMax = 20

/** What became of an offer, and what its fact's outcome is. */
const outcomes: Readonly<Record<OfferStatus, (by: FactKey) => Outcome>> = {
  open: () => effective,
  accepted: (by) => ({ status: 'effective', by }),
  countered: (by) => ({ status: 'superseded', by }),
  withdrawn: (by) => ({ status: 'superseded', reason: 'withdrawn', by }),
  not_chosen: (by) => ({ status: 'rejected', reason: 'not_chosen', by }),
  closed: (by) => ({ status: 'rejected', reason: 'closed', by }),
  late: (by) => ({ status: 'rejected', reason: 'late', by }),
}

export class OfferBook {
  /** In order. */
  private readonly entries: Entry[] = []
  /** By key, as far as somebody asked: most bids are never answered. */
  private readonly byKey = new Map<FactKey, Entry>()
  private indexed = 0
  private readonly asked = new Map<FactKey, Asked>()
  /** The decision that ends it, as known from the start. */
  private closing: LookBack | null | undefined
  /** What was accepted when the decision had its turn. */
  private ended: { readonly accepted: FactKey | null; readonly by: FactKey } | null = null

  get isClosed(): boolean {
    return this.ended !== null
  }

  get(key: FactKey): Offer<Value> | undefined {
    return this.entry(key)
  }

  offers(): Offer<Value>[] {
    return this.entries.map((entry) => entry.told())
  }

  pending(): Asked[] {
    return [...this.asked.values()]
  }

  accepted(): Offer<Value> | null {
    const key = this.ended?.accepted ?? null
    return key === null ? null : (this.entry(key)?.told() ?? null)
  }

  standing(): Standing {
    const open = this.entries.filter(({ status }) => status === 'open')
    return {
      state: this.isClosed ? 'closed' : 'open',
      accepted: this.ended?.accepted ?? null,
      open: open.slice(-standingOpenMax).map(({ key }) => key),
    }
  }

  /** The first of those that accept or close: there is one at most, unless the server was wrong, and then the first counts. */
  closingOf(context: FoldContext): LookBack | null {
    if (this.closing === undefined) {
      const [accept] = context.lookBacksOf('accept')
      const [close] = context.lookBacksOf('close')
      this.closing = earlier(accept, close) ?? null
    }
    return this.closing
  }

  /** The decision that did not know the fact, if there is one: it came too late. */
  lateFor(fact: Fact, context: FoldContext): FactKey | null {
    const closing = this.closingOf(context)
    if (closing === null || fact.seq <= (closing.decision.seen![fact.actor] ?? -1)) return null
    return closing.by.key
  }

  enter(fact: Fact, terms: Value, to: FactKey | null, context: FoldContext): void {
    const late = this.lateFor(fact, context)
    const first = to === null ? undefined : this.entry(to)?.begin
    const entry = new Entry(fact, context.subjectOf(fact.actor), terms, to, first ?? null)
    this.entries.push(entry)
    if (late !== null) this.settle(entry, 'late', late, context)
    else if (this.ended === null) context.settle(fact, effective)
    else this.settle(entry, this.statusAtEnd(entry), this.ended.by, context)
  }

  leave(key: FactKey, status: 'countered' | 'withdrawn', by: FactKey, context: FoldContext): void {
    const entry = this.entry(key)
    if (entry?.status === 'open' || (entry?.status === 'countered' && status === 'withdrawn'))
      this.settle(entry, status, by, context)
  }

  ask(asked: Asked): void {
    this.asked.set(asked.key, asked)
  }

  answered(intent: FactKey): void {
    this.asked.delete(intent)
  }

  end(accepted: FactKey | null, by: FactKey, context: FoldContext): void {
    this.ended = { accepted, by }
    for (const entry of this.entries)
      if (entry.status === 'open' || entry.key === accepted)
        this.settle(entry, this.statusAtEnd(entry), by, context)
  }

  private entry(key: FactKey): Entry | undefined {
    while (this.indexed < this.entries.length) {
      const entry = this.entries[this.indexed++]!
      this.byKey.set(entry.key, entry)
    }
    return this.byKey.get(key)
  }

  private statusAtEnd({ key }: Entry): OfferStatus {
    const accepted = this.ended?.accepted ?? null
    if (accepted === null) return 'closed'
    return key === accepted ? 'accepted' : 'not_chosen'
  }

  private settle(entry: Entry, status: OfferStatus, by: FactKey, context: FoldContext): void {
    entry.status = status
    context.settle(entry.fact, outcomes[status](by))
  }
}

function earlier(a: LookBack | undefined, b: LookBack | undefined): LookBack | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return compareFacts(a.by, b.by) < 0 ? a : b
}

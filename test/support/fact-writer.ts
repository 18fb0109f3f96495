/** Somebody at a replica of their own, for tests that say who does what: writes drafts, and passes on what they know. */
import { decided, type NewFact, registration, written } from '../../core/domain/facts/author.ts'
import { type Draft, isRefusal } from '../../core/domain/facts/draft.ts'
import type { Fact, FactKey } from '../../core/domain/facts/fact.ts'
import { DocumentFold, type FactEntry } from '../../core/domain/fold/document-fold.ts'
import type { FieldsOfDocument } from '../../core/domain/fold/fields.ts'
import type { At, Decision } from '../../core/domain/fold/kind.ts'

export class FactWriter {
  readonly actor: string
  readonly fold: DocumentFold
  /** All that it knows. */
  readonly entries: FactEntry[] = []
  private seq = 0

  constructor(fields: FieldsOfDocument, actor: string, subject = `user of ${actor}`) {
    this.actor = actor
    this.fold = new DocumentFold(fields)
    this.learn([registration(actor, subject)])
  }

  at(field: string, entity = ''): At {
    return { fold: this.fold, entity, field, actor: this.actor }
  }

  /** Throws when the mutator refused. */
  write(draft: Draft): FactKey {
    if (isRefusal(draft)) throw new Error(`refused: ${draft.reason} ${JSON.stringify(draft.detail)}`)
    return this.writeRaw(draft)
  }

  writeRaw(fact: NewFact): FactKey {
    const entry = written(this.fold, this.actor, ++this.seq, fact)
    this.learn([entry])
    return entry.key
  }

  /** As the server. */
  decide(intent: FactKey, decide: (fold: DocumentFold, intent: Fact) => Decision): FactKey {
    const fact = this.fold.fact(intent)!
    const entry = decided(this.fold, fact, decide(this.fold, fact))
    this.learn([entry])
    return entry.key
  }

  /** All that the others know. */
  meet(...others: readonly FactWriter[]): void {
    for (const other of others) this.learn(other.entries)
  }

  learn(entries: readonly FactEntry[]): void {
    const known = new Set(this.entries.map(({ key }) => key))
    const fresh = entries.filter(({ key }) => !known.has(key))
    this.entries.push(...fresh)
    this.fold.apply(fresh)
  }
}

/** All orders of a few things. */
export function* permutations<T>(all: readonly T[]): Generator<T[]> {
  if (all.length === 0) yield []
  for (const [i, first] of all.entries())
    for (const rest of permutations(all.toSpliced(i, 1))) yield [first, ...rest]
}

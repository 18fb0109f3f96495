/**
 * A market's documents as facts: deals on which dealers bid, whose price, stock and state change, with a few lines each. Actors
 * write where they are and hear of the others now and then, so that a fact names the heads of several others as seen. The same
 * numbers give the same facts.
 */
import { registration, written } from '../../core/domain/facts/author.ts'
import { DocumentFold, type FactEntry } from '../../core/domain/fold/document-fold.ts'
import type { FieldsOfDocument } from '../../core/domain/fold/fields.ts'
import { counter } from '../../core/domain/kinds/counter.ts'
import { offers } from '../../core/domain/kinds/offers.ts'
import { register } from '../../core/domain/kinds/register.ts'
import { set } from '../../core/domain/kinds/set.ts'
import type { Value } from '../../core/engine/live-document.ts'

const kinds = {
  price: register<Value>(),
  stock: counter(),
  tags: set(),
  bids: offers<Value>(),
  visits: register<Value>(),
}

export const fields: FieldsOfDocument = { fields: kinds, collections: { lines: kinds } }
export const entities = ['', 'lines/1', 'lines/2', 'lines/3', 'lines/4']

/** Of each `heardEvery` of an actor's facts, the first is written having heard of all others' so far. */
const heardEvery = 8

interface Draft {
  readonly entity: string
  readonly type: string
  readonly payload: Value
}

/** In the order in which they were written; each actor's first says whose it is. */
export function marketFacts(facts: number, actorCount: number, draft = draftOf): FactEntry[] {
  const random = numbers(42)
  const names = Array.from(
    { length: actorCount },
    (_, i) => `a${(i * 7919 + 46_656).toString(36).padStart(5, '0')}`,
  )
  const entries: FactEntry[] = names.map((actor) => registration(actor, `user of ${actor}`))
  const folds = names.map(() => new DocumentFold(fields))
  const heard = names.map(() => 0)
  const seqs = names.map(() => 0)
  while (entries.length < facts) {
    const who = random() % actorCount
    const fold = folds[who]!
    if (seqs[who]! % heardEvery === 0) {
      fold.apply(entries.slice(heard[who]!))
      heard[who] = entries.length
    }
    const entry = written(fold, names[who]!, ++seqs[who]!, draft(random))
    fold.apply([entry])
    entries.push(entry)
  }
  return entries
}

export function draftOf(random: () => number): Draft {
  switch (random() % 6) {
    case 0:
      return { entity: entityOf(random), type: 'price.set', payload: random() % 10_000 }
    case 1:
      return { entity: entityOf(random), type: 'stock.add', payload: (random() % 100) - 50 }
    case 2:
      return { entity: entityOf(random), type: 'tags.add', payload: `tag-${random() % 40}` }
    case 3:
      return visitOf(random)
    default:
      return bidOf(random)
  }
}

export function bidOf(random: () => number): Draft {
  const value = random() % 10_000
  const payload = { price: value, tonnes: value % 40, delivery: '2026-08-14' }
  return { entity: entityOf(random), type: 'bids.bid', payload }
}

export function visitOf(random: () => number): Draft {
  const customer = `customers/${random() % 10_000}`
  const payload = { customer, result: 'ordered', note: 'Asked for delivery before noon', minutes: 25 }
  return { entity: entityOf(random), type: 'visits.set', payload }
}

const entityOf = (random: () => number): string => entities[random() % entities.length]!

/** Whole numbers, the same for the same seed. */
export function numbers(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state >>> 8
  }
}

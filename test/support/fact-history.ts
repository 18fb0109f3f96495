/**
 * Random histories of facts, for tests of everything that is folded: some actors, each with a replica of its own, write, meet and
 * part; a server that sees what reaches it decides. What comes out are the entries, in the order in which they were written.
 */
import fc from 'fast-check'
import { decided, registration, written } from '../../core/domain/facts/author.ts'
import { decisionKeyOf, type Fact } from '../../core/domain/facts/fact.ts'
import { awaitsDecision } from '../../core/domain/facts/outcome.ts'
import { DocumentFold, type FactEntry } from '../../core/domain/fold/document-fold.ts'
import type { FieldsOfDocument } from '../../core/domain/fold/fields.ts'
import type { Decision } from '../../core/domain/fold/kind.ts'
import type { Value } from '../../core/engine/live-document.ts'

export interface Write {
  readonly entity: string
  readonly type: string
  readonly payload: Value
  readonly epoch?: number
}

/** What an actor does where it is; null: nothing that it could do now. */
export type Behaviour = (replica: Replica, choice: Choice) => Write | null
export type Judge = (fold: DocumentFold, intent: Fact) => Decision

export interface Choice {
  /** From 0 to below `bound`. */
  below(bound: number): number
  of<T>(options: readonly T[]): T
}

export interface Replica {
  readonly actor: string
  readonly fold: DocumentFold
}

interface Step {
  readonly actor: number
  readonly what: 'write' | 'meet' | 'send' | 'decide'
  readonly choices: readonly number[]
}

export const actors = ['alice0', 'bob000', 'carol0', 'dave00'] as const
/** The server's replica takes part as one more. */
const serverIndex = actors.length

export const steps = (maxLength: number): fc.Arbitrary<Step[]> =>
  fc.array(
    fc.record({
      actor: fc.nat({ max: actors.length - 1 }),
      what: fc.oneof(
        { weight: 6, arbitrary: fc.constant('write' as const) },
        { weight: 2, arbitrary: fc.constant('meet' as const) },
        { weight: 2, arbitrary: fc.constant('send' as const) },
        { weight: 2, arbitrary: fc.constant('decide' as const) },
      ),
      choices: fc.array(fc.nat(), { minLength: 4, maxLength: 8 }),
    }),
    // Without a size there would be ten steps at most, which say little.
    { maxLength, size: 'max' },
  )

/** Whoever meets the server has it decide a few intents, and hears of it: so there is more that was decided. */
export const decidedSteps = (maxLength: number): fc.Arbitrary<Step[]> =>
  steps(maxLength).map((history) =>
    history.flatMap((step) => {
      const decide = { ...step, what: 'decide' as const }
      return step.what === 'send' ? [step, decide, decide, decide, step] : [step]
    }),
  )

export interface Written {
  readonly entries: readonly FactEntry[]
  /** At the end, each as far as it knows. */
  readonly folds: readonly DocumentFold[]
}

export interface Play {
  readonly fields: FieldsOfDocument
  readonly behave: Behaviour
  readonly judge?: Judge
  /** After each step, with the replica that changed. */
  readonly check?: (fold: DocumentFold) => void
}

export function play(history: readonly Step[], { fields, behave, judge, check }: Play): Written {
  const entries: FactEntry[] = []
  const known = Array.from({ length: actors.length + 1 }, () => new Set<FactEntry>())
  const folds = known.map(() => new DocumentFold(fields))
  const seqs = actors.map(() => 1)
  const learn = (who: number, news: Iterable<FactEntry>): void => {
    const fresh = [...news].filter((entry) => !known[who]!.has(entry))
    for (const entry of fresh) known[who]!.add(entry)
    folds[who]!.apply(fresh)
  }
  for (const [i, actor] of actors.entries()) {
    const first = registration(actor, `user of ${actor}`)
    entries.push(first)
    learn(i, [first])
  }
  for (const { actor, what, choices } of history) {
    let next = 0
    const choice: Choice = {
      below: (bound) => choices[next++ % choices.length]! % bound,
      of: (options) => options[choice.below(options.length)]!,
    }
    let changed = actor
    if (what === 'write') {
      const write = behave({ actor: actors[actor]!, fold: folds[actor]! }, choice)
      if (write === null) continue
      const entry = written(folds[actor]!, actors[actor]!, seqs[actor]!++, write)
      entries.push(entry)
      learn(actor, [entry])
    } else if (what === 'meet') {
      learn(actor, known[choice.below(actors.length)]!)
    } else if (what === 'send') {
      learn(serverIndex, known[actor]!)
      learn(actor, known[serverIndex]!)
      changed = actor
    } else {
      const intent = judge && intentsOf(folds[serverIndex]!)[0]
      if (intent === undefined) continue
      const entry = decided(folds[serverIndex]!, intent, judge!(folds[serverIndex]!, intent))
      entries.push(entry)
      learn(serverIndex, [entry])
      changed = serverIndex
    }
    check?.(folds[changed]!)
  }
  return { entries, folds }
}

/** Undecided ones, as the arbiter would find them. */
export function intentsOf(fold: DocumentFold): Fact[] {
  const isDecided = (intent: Fact): boolean => fold.fact(decisionKeyOf(intent.key)) !== undefined
  return fold
    .names()
    .flatMap((entity) => fold.facts(entity))
    .filter((fact) => !fact.isDecision && awaitsDecision(fact.outcome) && !isDecided(fact))
}

/** All that a fold says, to compare. */
export function told(fold: DocumentFold, fields: FieldsOfDocument): unknown {
  return fold.names().map((entity) => {
    const named = entity === '' ? fields.fields : (fields.collections?.[entity.split('/')[0]!] ?? {})
    return {
      entity,
      fields: Object.keys(named).map((field) => [field, fold.read(entity, field)]),
      facts: fold.facts(entity).map(({ key, lamport, outcome }) => ({ key, lamport, outcome })),
    }
  })
}

/** Any order, in any groups, some of them twice. */
export const deliveries = (entries: readonly FactEntry[]): fc.Arbitrary<FactEntry[][]> =>
  fc
    .tuple(
      fc.shuffledSubarray([...entries], { minLength: entries.length }),
      fc.subarray([...entries]),
      fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 8 }),
    )
    .map(([shuffled, twice, sizes]) => {
      const all = [...shuffled, ...twice]
      const groups: FactEntry[][] = []
      for (let at = 0, i = 0; at < all.length; i++) {
        const size = sizes[i % sizes.length]!
        groups.push(all.slice(at, at + size))
        at += size
      }
      return groups
    })

/** Random histories of who is honest and who is not, with devices given up for lost: the bounds hold all the same. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Draft, isRefusal } from '../../../../core/domain/facts/draft.ts'
import type { Fact } from '../../../../core/domain/facts/fact.ts'
import { DocumentFold } from '../../../../core/domain/fold/document-fold.ts'
import type { At, Decision } from '../../../../core/domain/fold/kind.ts'
import { type QuantitySeen, quantity } from '../../../../core/domain/kinds/quantity.ts'
import { actors, type Behaviour, decidedSteps, play, type Write } from '../../../support/fact-history.ts'
import { holdsLaws } from '../../../support/fold-laws.ts'

const stock = quantity()
const tank = quantity({ max: 100 })
const fields = { fields: { stock, tank } }
const seen = (fold: DocumentFold, field: string) => fold.read('', field) as QuantitySeen

/** Honest ones, who ask the mutators, and hostile ones, who do not. */
const behave: Behaviour = ({ fold, actor }, choice) => {
  const [field, kind] = choice.of([
    ['stock', stock],
    ['tank', tank],
  ] as const)
  const at: At = { fold, entity: '', field, actor }
  const amount = 1 + choice.below(12)
  const other = choice.of(actors)
  if (choice.below(8) === 0) {
    const epoch = choice.below(3)
    const payload = { amount, ...(epoch > 0 && { epoch }) }
    const operation = choice.of(['take', 'put', 'give', 'grant', 'callIn'])
    if (operation === 'callIn') return { entity: '', type: `${field}.callIn`, payload: { actor: other } }
    if (operation === 'grant') return { entity: '', type: `${field}.grant`, payload: { amount, to: other } }
    return { entity: '', type: `${field}.${operation}`, payload }
  }
  const side = choice.of(['stock', 'room'] as const)
  const { value } = seen(fold, field)
  const { take, put, give, grant, supply, callIn } = kind.mutators
  if (value < 20 && choice.below(2) === 0)
    return drafted(supply(at, 10 * amount, choice.of([other, undefined])))
  const draft = choice.of([
    () => take(at, amount),
    () => take(at, amount),
    () => take(at, amount),
    () => put(at, amount),
    () => put(at, amount),
    () => give(at, amount, choice.of([other, null]), side),
    () => give(at, amount, choice.of([other, null]), side),
    () => grant(at, amount, other, side),
    () => callIn(at, choice.of(actors.slice(0, 2)), choice.of([other, undefined])),
  ])()
  return drafted(draft)
}
const drafted = (draft: Draft): Write | null => (isRefusal(draft) ? null : draft)
const judge = (fold: DocumentFold, intent: Fact): Decision =>
  intent.seq % 4 === 3
    ? { accepted: false, reason: 'because' }
    : intent.seq % 11 === 0 && !intent.type.endsWith('callIn')
      ? { accepted: true }
      : (intent.type.startsWith('tank') ? tank : stock).judge(fold, intent)

describe('in random histories', () => {
  test('order, duplication and grouping do not matter', () => {
    holdsLaws({ fields, behave, judge, runs: 80, stepsMax: 100 })
  })

  test('bounds hold everywhere at every step, and what one took is taken for good', () => {
    const counts: Record<string, number> = {}
    fc.assert(
      fc.property(decidedSteps(160), (history) => {
        const taken = new Set<string>()
        const check = (fold: DocumentFold) => {
          for (const field of ['stock', 'tank']) {
            const { value, room, epochs } = seen(fold, field)
            const sums = { supply: 0, put: 0, take: 0 }
            for (const { key, actor, type, outcome, payload } of fold.facts('')) {
              const [of, operation] = type.split('.') as [string, keyof typeof sums]
              if (of !== field || outcome.status !== 'effective' || !(operation in sums)) continue
              sums[operation] += (payload as { amount: number }).amount
              if (!(actor in epochs)) taken.add(key)
            }
            expect(sums.take).toBeLessThanOrEqual(sums.supply + sums.put)
            expect(value).toBe(sums.supply + sums.put - sums.take)
            for (const [side, total] of [
              [seen(fold, field), value],
              [room, 100 - value],
            ] as const) {
              if (side === null) continue
              const rights = Object.values(side.rights)
              expect(Math.min(side.free, side.moving, ...rights)).toBeGreaterThanOrEqual(0)
              expect(rights.reduce((sum, each) => sum + each, side.free + side.moving)).toBe(total)
            }
          }
        }
        const { entries } = play(history, { fields, behave, judge, check })
        const all = new DocumentFold(fields)
        all.apply(entries)
        check(all)
        for (const { key, actor, type, payload, outcome } of all.facts('')) {
          const [field, operation] = type.split('.')
          const state = `${operation} ${outcome.status} ${outcome.reason ?? ''}`.trim()
          counts[state] = (counts[state] ?? 0) + 1
          if (outcome.by !== undefined && operation === 'take')
            counts['late take'] = (counts['late take'] ?? 0) + 1
          const inEpoch = (payload as { epoch?: number }).epoch !== undefined
          if (inEpoch && outcome.status === 'effective') counts['new epoch'] = (counts['new epoch'] ?? 0) + 1
          const { epochs } = seen(all, field!) ?? { epochs: {} }
          if (taken.has(key) && !(actor in epochs)) expect(outcome.status, key).toBe('effective')
        }
      }),
      // To find the smallest history that fails takes long, and is worth half a minute.
      { numRuns: 100, interruptAfterTimeLimit: 30_000, markInterruptAsFailure: true },
    )
    for (const name of [
      'take effective',
      'take rejected insufficient_rights',
      'take rejected unknown_epoch',
      'put effective',
      'put rejected insufficient_rights',
      'give effective',
      'give rejected because',
      'give rejected insufficient_rights',
      'give rejected called_in',
      'grant effective',
      'supply effective',
      'callIn effective',
      'callIn rejected stale',
      'late take',
      'new epoch',
    ])
      expect(counts[name] ?? 0, `${name} of ${JSON.stringify(counts)}`).toBeGreaterThan(0)
  })
})

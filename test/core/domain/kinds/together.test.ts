/** A deal: its kinds in one entity, with an owner who holds some of it. Together they keep the laws that each keeps alone. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Draft, isRefusal } from '../../../../core/domain/facts/draft.ts'
import type { DocumentFold } from '../../../../core/domain/fold/document-fold.ts'
import type { At } from '../../../../core/domain/fold/kind.ts'
import {
  counter,
  type OwnerSeen,
  owner,
  type QuantitySeen,
  quantity,
  register,
  type WorkflowSeen,
  workflow,
} from '../../../../core/domain/kinds/index.ts'
import { actors, type Behaviour, decidedSteps, play } from '../../../support/fact-history.ts'
import { holdsLaws } from '../../../support/fold-laws.ts'

const deal = {
  owner: owner(),
  price: register<number>(),
  visits: counter(),
  stock: quantity({ max: 200 }),
  state: workflow({
    states: ['open', 'shipped', 'cancelled'],
    initial: 'open',
    transitions: {
      ship: {
        from: 'open',
        to: 'shipped',
        consistency: 'decided',
        guard: (read) => (read('stock') as QuantitySeen).value > 0,
      },
      cancel: { from: 'open', to: 'cancelled', consistency: 'decided' },
      reopen: { from: ['shipped', 'cancelled'], to: 'open', consistency: 'free' },
    },
  }),
}
const fields = { fields: deal, collections: { lots: deal } }

const behave: Behaviour = ({ fold, actor }, choice) => {
  const entity = choice.of(['', '', '', 'lots/1'])
  const at = (field: string): At => ({ fold, entity, field, actor })
  const amount = 1 + choice.below(12)
  const other = choice.of(actors)
  const { stock, state } = deal
  const put = (): Draft => stock.mutators.put(at('stock'), amount)
  const { takeOver, decline } = deal.owner.mutators
  const first = (fold.read(entity, 'owner') as OwnerSeen).proposals[0]?.key
  if (first !== undefined) {
    const settled = choice.of([takeOver, decline])(at('owner'), first)
    if (!isRefusal(settled)) return settled
  }
  const ship = (): Draft => state.mutators.move(at('state'), 'ship')
  const drafts: (() => Draft)[] = [
    ship,
    () => ({ entity, type: 'price.set', payload: amount }),
    () => ({ entity, type: 'visits.add', payload: amount }),
    () => stock.mutators.take(at('stock'), amount),
    () => stock.mutators.take(at('stock'), amount),
    put,
    () => stock.mutators.supply(at('stock'), 5 * amount, other),
    () => stock.mutators.give(at('stock'), amount, other),
    () => (choice.below(4) === 0 ? stock.mutators.callIn(at('stock'), other) : put()),
    () => state.mutators.move(at('state'), choice.of(['ship', 'cancel', 'reopen'])),
    () => deal.owner.mutators.handOver(at('owner'), `user of ${other}`),
  ]
  const draft = choice.of(drafts)()
  return isRefusal(draft) ? null : draft
}
const judge = (fold: DocumentFold, intent: Parameters<DocumentFold['judge']>[0]) => fold.judge(intent)!

test('order, duplication and grouping do not matter', () => {
  holdsLaws({ fields, behave, judge, runs: 80, stepsMax: 100 })
})

test('at every step: what is read agrees with what became of the facts', () => {
  const reached = new Map<string, number>()
  const check = (fold: DocumentFold): void => {
    for (const entity of fold.names()) {
      const effective = fold.facts(entity).filter(({ outcome }) => outcome.status === 'effective')
      const sum = (type: string): number =>
        effective
          .filter((fact) => fact.type === type)
          .reduce(
            (total, { payload }) => total + ((payload as { amount?: number }).amount ?? (payload as number)),
            0,
          )
      expect(fold.read(entity, 'visits')).toBe(sum('visits.add'))
      const { value } = fold.read(entity, 'stock') as QuantitySeen
      expect(value).toBe(sum('stock.supply') + sum('stock.put') - sum('stock.take'))
      expect(value).toBeGreaterThanOrEqual(0)
      expect(value).toBeLessThanOrEqual(200)
      const { history } = fold.read(entity, 'state') as WorkflowSeen<string, string>
      const moves = effective.filter(({ type }) => type.startsWith('state.')).map(({ key }) => key)
      expect(history.map(({ version }) => version).sort()).toEqual(moves.sort())
      const prices = effective.filter(({ type }) => type === 'price.set')
      expect(prices.length).toBeLessThanOrEqual(1)
      expect(fold.read(entity, 'price')).toBe(prices[0]?.payload ?? null)
      for (const { type, outcome } of fold.facts(entity)) {
        const name = `${type} ${outcome.status} ${outcome.reason ?? ''}`.trim()
        reached.set(name, (reached.get(name) ?? 0) + 1)
      }
    }
  }
  fc.assert(
    fc.property(decidedSteps(120), (history) => {
      play(history, { fields, behave, judge, check })
    }),
    { numRuns: 90, interruptAfterTimeLimit: 30_000, markInterruptAsFailure: true },
  )
  for (const name of [
    'state.ship effective',
    'state.ship pending proposal',
    'state.ship rejected stale',
    'state.ship rejected guard',
    'stock.take effective',
    'owner.handOver effective',
    'owner.takeOver effective',
    'visits.add pending proposal',
    'price.set superseded',
  ])
    expect(reached.get(name) ?? 0, name).toBeGreaterThan(0)
})

/** A deal is shipped here and cancelled there: what happened is one path of the machine, and whoever was too late learns which. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isRefusal } from '../../../../core/domain/facts/draft.ts'
import type { Fact, FactKey } from '../../../../core/domain/facts/fact.ts'
import { DocumentFold, type FactEntry } from '../../../../core/domain/fold/document-fold.ts'
import type { At, Decision } from '../../../../core/domain/fold/kind.ts'
import { register } from '../../../../core/domain/kinds/register.ts'
import { type WorkflowSeen, workflow } from '../../../../core/domain/kinds/workflow.ts'
import { type Behaviour, play, steps } from '../../../support/fact-history.ts'
import { holdsLaws } from '../../../support/fold-laws.ts'
import { JudgedWriter } from '../../../support/judged-writer.ts'

const states = ['draft', 'confirmed', 'shipped', 'cancelled', 'delivered'] as const
const state = workflow({
  states,
  initial: 'draft',
  transitions: {
    confirm: { from: 'draft', to: 'confirmed', consistency: 'free' },
    revise: { from: 'confirmed', to: 'draft', consistency: 'free' },
    note: { from: states, to: 'confirmed', consistency: 'free' },
    ship: { from: 'confirmed', to: 'shipped', consistency: 'decided' },
    cancel: { from: ['draft', 'confirmed'], to: 'cancelled', consistency: 'decided' },
    deliver: { from: 'shipped', to: 'delivered', consistency: 'free' },
    reopen: {
      from: 'cancelled',
      to: 'draft',
      consistency: 'decided',
      roles: ['manager'],
      guard: (read) => read('price') !== 0,
    },
  },
})
const fields = { fields: { state, price: register<number>() } }
type Name = keyof typeof state.operations

const at = (fold: DocumentFold, actor: string): At => ({ fold, entity: '', field: 'state', actor })
const seen = (fold: DocumentFold) => fold.read('', 'state') as WorkflowSeen<(typeof states)[number], Name>

class Writer extends JudgedWriter {
  constructor(actor: string, ...known: readonly FactEntry[]) {
    super(fields, actor, ...known)
  }

  move(name: Name, options = {}): FactKey {
    return this.write(state.mutators.move(this.at('state'), name, options))
  }
}

test('ship and cancel from the same version: one is effective, the other is stale and says what is', () => {
  const author = new Writer('author')
  author.move('confirm')
  const seller = new Writer('seller', ...author.entries)
  const buyer = new Writer('buyer0', ...author.entries)
  const ship = seller.move('ship')
  const cancel = buyer.move('cancel')
  expect(seller.outcome(ship)).toEqual({ status: 'pending' })

  for (const [first, second] of [
    [ship, cancel],
    [cancel, ship],
  ] as const) {
    const server = new Writer('arbite', ...seller.entries, ...buyer.entries)
    const decisions = [server.settle(first), server.settle(second)]
    const actual = first === ship ? 'shipped' : 'cancelled'
    const next = first === ship ? ['note', 'deliver'] : ['note', 'reopen']
    fc.assert(
      fc.property(fc.shuffledSubarray(server.entries, { minLength: server.entries.length }), (entries) => {
        const fold = new DocumentFold(fields)
        for (const entry of entries) fold.apply([entry])
        expect(seen(fold).state).toBe(actual)
        expect(seen(fold).history.map(({ state }) => state)).toEqual(['confirmed', actual])
        expect(fold.fact(first)?.outcome).toEqual({ status: 'effective', by: decisions[0]! })
        expect(fold.fact(second)?.outcome).toEqual({
          status: 'rejected',
          reason: 'stale',
          by: decisions[1]!,
          detail: { state: actual, version: first, next },
        })
      }),
      { numRuns: 100 },
    )
  }
})

test('what is free and first in order displaces another, with what followed it', () => {
  const a = new Writer('aaaaaa')
  const b = new Writer('bbbbbb')
  const mine = [b.move('confirm'), b.move('revise')]
  const first = a.move('confirm')
  b.learn(a.entries)
  expect(seen(b.fold).history.map(({ version }) => version)).toEqual([first])
  const detail = { state: 'confirmed', version: first, next: ['revise', 'note', 'ship', 'cancel'] }
  expect(b.outcome(mine[0]!)).toEqual({ status: 'rejected', reason: 'stale', by: first, detail })
  expect(b.outcome(mine[1]!)).toEqual({ status: 'rejected', reason: 'stale', detail })
})

test('a decision locks the way to it, whatever comes late and would have been first', () => {
  const a = new Writer('aaaaaa')
  const b = new Writer('bbbbbb')
  const late = a.move('confirm')
  const confirm = b.move('confirm')
  const ship = b.move('ship')
  const decision = b.settle(ship)
  const deliver = b.move('deliver')
  b.learn(a.entries)
  expect(seen(b.fold).history.map(({ version }) => version)).toEqual([confirm, ship, deliver])
  expect(b.outcome(late)).toMatchObject({
    status: 'rejected',
    reason: 'stale',
    by: ship,
    detail: { state: 'shipped' },
  })
  expect(b.outcome(ship)).toEqual({ status: 'effective', by: decision })
})

describe('on top of what is pending', () => {
  test('it waits, and counts as soon as that is accepted', () => {
    const a = new Writer('aaaaaa')
    a.move('confirm')
    const ship = a.move('ship')
    const deliver = a.move('deliver', { at: ship })
    expect(a.outcome(deliver)).toEqual({ status: 'pending', reason: 'follows_pending', by: ship })
    expect(seen(a.fold)).toMatchObject({
      state: 'confirmed',
      pending: [
        { transition: 'ship', isStale: false },
        { transition: 'deliver', at: ship, isStale: false },
      ],
    })
    a.settle(ship)
    expect(seen(a.fold)).toMatchObject({ state: 'delivered', pending: [] })
    expect(a.outcome(deliver)).toEqual({ status: 'effective' })
  })

  test('it falls with it', () => {
    const a = new Writer('aaaaaa')
    a.move('confirm')
    const ship = a.move('ship')
    const deliver = a.move('deliver', { at: ship })
    a.settle(ship, { accepted: false, reason: 'no_truck' })
    expect(a.outcome(ship)).toMatchObject({ status: 'rejected', reason: 'no_truck' })
    expect(a.outcome(deliver)).toMatchObject({ status: 'rejected', reason: 'stale', by: ship })
    expect(seen(a.fold)).toMatchObject({ state: 'confirmed', pending: [] })
  })

  test("of two that wait the first counts; what waits below the other falls, what is undecided there is the judge's", () => {
    const a = new Writer('aaaaaa')
    a.move('confirm')
    const ship = a.move('ship')
    const first = a.move('deliver', { at: ship })
    const second = a.move('note', { at: ship })
    const below = a.move('revise', { at: second })
    const undecided = a.move('cancel', { at: second })
    expect(seen(a.fold).pending.map(({ isStale }) => isStale)).toEqual([false, false, false, false, false])
    a.settle(ship)
    expect(a.outcome(first).status).toBe('effective')
    expect(a.outcome(second)).toMatchObject({ status: 'rejected', reason: 'stale', by: ship })
    expect(a.outcome(below)).toMatchObject({ status: 'rejected', reason: 'stale', by: second })
    expect(a.outcome(undecided)).toEqual({ status: 'pending' })
    expect(seen(a.fold).pending).toMatchObject([{ version: undecided, isStale: true }])
    expect(a.judge(undecided)).toEqual({ accepted: false, reason: 'stale' })
    a.settle(undecided)
    expect(a.outcome(undecided)).toMatchObject({ status: 'rejected', reason: 'stale' })
  })

  test('nobody is asked to decide on it, nor could', () => {
    const a = new Writer('aaaaaa')
    a.move('confirm')
    const ship = a.move('ship')
    const deliver = a.move('deliver', { at: ship })
    a.fold.takeChanges()
    expect(a.fold.undecided().map(({ key }) => key)).toEqual([ship])
    const decision = a.settle(deliver, { accepted: true })
    expect(a.outcome(deliver)).toMatchObject({ status: 'pending', reason: 'follows_pending' })
    expect(a.fold.reports().map(({ key }) => key)).toEqual([decision])
  })
})

test('the judge asks for the role, then for the guard; the mutator says the same before', () => {
  const a = new Writer('aaaaaa')
  a.settle(a.move('cancel'))
  const manager = { subject: 'ann', roles: ['manager'] }
  const move = (person: typeof manager) => state.mutators.move(at(a.fold, 'aaaaaa'), 'reopen', { person })
  expect(move({ subject: 'bob', roles: [] })).toMatchObject({ reason: 'not_allowed' })
  expect(isRefusal(move(manager))).toBe(false)
  const b = new Writer('bbbbbb', ...a.entries)
  const inNoRole = b.move('reopen')
  const intent = b.move('reopen', { person: manager })
  expect(b.judge(inNoRole)).toEqual({ accepted: false, reason: 'not_allowed' })
  expect(b.judge(intent)).toEqual({ accepted: true })
  a.writeRaw({ entity: '', type: 'price.set', payload: 0 })
  b.meet(a)
  expect(b.judge(intent)).toEqual({ accepted: false, reason: 'guard' })
  expect(move(manager)).toEqual({
    reason: 'guard',
    detail: { state: 'cancelled', version: 'aaaaaa:1', next: ['note', 'reopen'] },
  })
})

test('the mutator refuses what the machine does not allow, and says what it does', () => {
  const a = new Writer('aaaaaa')
  const detail = { state: 'draft', version: '', next: ['confirm', 'note', 'cancel'] }
  expect(state.mutators.move(at(a.fold, 'aaaaaa'), 'deliver')).toEqual({ reason: 'not_possible', detail })
  expect(state.mutators.move(at(a.fold, 'aaaaaa'), 'confirm', { at: 'bbbbbb:7' })).toEqual({
    reason: 'stale',
    detail,
  })
})

test.each([
  ['a version nobody led to', { at: 'bbbbbb:9' }, 'unknown_version'],
  ['what the state does not allow', {}, 'not_possible'],
  ['more than a version', { at: 'aaaaaa:1', to: 'delivered' }, 'malformed_payload'],
  ['no key', { at: 'confirmed' }, 'malformed_payload'],
])('%s is rejected', (_what, payload, reason) => {
  const a = new Writer('aaaaaa')
  a.move('confirm')
  const key = a.writeRaw({ entity: '', type: 'state.ship', payload })
  expect(a.outcome(key)).toMatchObject({ status: 'rejected', reason })
  expect(seen(a.fold).state).toBe('confirmed')
})

test.each([
  ['an initial state of none', { states: ['a'], initial: 'b', transitions: {} }],
  ['a transition to none', { states: ['a'], initial: 'a', transitions: { go: { from: 'a', to: 'b' } } }],
  [
    'roles of what is free',
    {
      states: ['a'],
      initial: 'a',
      transitions: { go: { from: 'a', to: 'a', consistency: 'free', roles: ['x'] } },
    },
  ],
])('a machine with %s is refused', (_what, machine) => {
  expect(() => workflow(machine as never)).toThrow(RangeError)
})

/** Honest ones and hostile ones: any move from any version that is known, or from none. */
const behave: Behaviour = ({ fold, actor }, choice) => {
  const names = Object.keys(state.operations) as Name[]
  const { pending } = seen(fold)
  if (choice.below(8) === 0) {
    const versions = fold.facts('').map(({ key }) => key)
    const version = choice.of(['', 'nobody:3', ...versions])
    return { entity: '', type: `state.${choice.of(names)}`, payload: version === '' ? {} : { at: version } }
  }
  const options = pending.length > 0 && choice.below(2) === 0 ? { at: choice.of(pending).version } : {}
  const possible = names
    .map((name) => state.mutators.move(at(fold, actor), name, options))
    .filter((draft) => !isRefusal(draft))
  return possible.length === 0 ? null : (choice.of(possible) as never)
}
const manager = { subject: 'ann', roles: ['manager'] }
/** Now and then somebody decides without asking. */
const judge = (fold: DocumentFold, intent: Fact): Decision =>
  intent.seq % 3 === 0
    ? { accepted: intent.seq % 2 === 0, reason: 'because' }
    : state.judge(fold, intent, manager)

describe('in random histories', () => {
  test('order, duplication and grouping do not matter', () => {
    holdsLaws({ fields, behave, judge, runs: 100, stepsMax: 80 })
  })

  test('history is a path of the machine, effective are the moves on it, and what a decision fixed stays', () => {
    const counts: Record<string, number> = {}
    fc.assert(
      fc.property(steps(80), (history) => {
        const fixed = new Map<DocumentFold, string[]>()
        const { folds } = play(history, {
          fields,
          behave,
          judge,
          check(fold) {
            const { history, state: actual, version, pending } = seen(fold)
            let from = 'draft'
            for (const move of history) {
              const transition = machine[move.transition]!
              expect(transition.from).toContain(from)
              expect(move.state).toBe(transition.to)
              from = move.state
            }
            expect(actual).toBe(from)
            expect(version).toBe(history.at(-1)?.version ?? '')
            const moves = fold.facts('').filter(({ isDecision }) => !isDecision)
            const withStatus = (status: string) =>
              moves.filter(({ outcome }) => outcome.status === status).map(({ key }) => key)
            const path = history.map(({ version }) => version)
            expect(withStatus('effective').sort()).toEqual([...path].sort())
            expect(withStatus('pending').sort()).toEqual(pending.map(({ version }) => version).sort())
            const before = fixed.get(fold) ?? []
            expect(path.filter((key) => before.includes(key))).toEqual(before)
            fixed.set(
              fold,
              path.filter((key) => fold.fact(key)!.outcome.by !== undefined),
            )
          },
        })
        for (const fold of folds)
          for (const { outcome } of fold.facts('')) {
            const name = `${outcome.status} ${outcome.reason ?? ''}`.trim()
            counts[name] = (counts[name] ?? 0) + 1
          }
      }),
      { numRuns: 100 },
    )
    for (const name of [
      'effective',
      'pending',
      'pending follows_pending',
      'rejected stale',
      'rejected unknown_version',
      'rejected not_possible',
      'rejected because',
    ])
      expect(counts[name] ?? 0, name).toBeGreaterThan(0)
  })
})

const machine: Record<string, { from: readonly string[]; to: string }> = {
  confirm: { from: ['draft'], to: 'confirmed' },
  revise: { from: ['confirmed'], to: 'draft' },
  note: { from: states, to: 'confirmed' },
  ship: { from: ['confirmed'], to: 'shipped' },
  cancel: { from: ['draft', 'confirmed'], to: 'cancelled' },
  deliver: { from: ['shipped'], to: 'delivered' },
  reopen: { from: ['cancelled'], to: 'draft' },
}

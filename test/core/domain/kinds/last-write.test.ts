/** Clocks: wrong ones decide nothing where no kind has a clock, and little where one has. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import { isRefusal } from '../../../../core/domain/facts/draft.ts'
import type { FieldsOfDocument } from '../../../../core/domain/fold/fields.ts'
import { counter } from '../../../../core/domain/kinds/counter.ts'
import { lastWrite, timeOf } from '../../../../core/domain/kinds/last-write.ts'
import { multiValue } from '../../../../core/domain/kinds/multi-value.ts'
import { type Offers, offers } from '../../../../core/domain/kinds/offers.ts'
import { owner } from '../../../../core/domain/kinds/owner.ts'
import { quantity } from '../../../../core/domain/kinds/quantity.ts'
import { reference } from '../../../../core/domain/kinds/reference.ts'
import { register } from '../../../../core/domain/kinds/register.ts'
import { set } from '../../../../core/domain/kinds/set.ts'
import { workflow } from '../../../../core/domain/kinds/workflow.ts'
import { type Behaviour, intentsOf, told } from '../../../support/fact-history.ts'
import { FactWriter } from '../../../support/fact-writer.ts'
import { holdsLaws } from '../../../support/fold-laws.ts'

const dayMs = 86_400_000
const noonMs = Date.UTC(2026, 6, 1, 12)
const note = lastWrite<string>((value) => typeof value === 'string')
const write = note.mutators.set
const fields: FieldsOfDocument = { fields: { note } }

function people(): [FactWriter, FactWriter] {
  const all = ['annaaa', 'bertbb'].map((actor) => new FactWriter(fields, actor))
  for (const each of all) each.meet(...all)
  return all as [FactWriter, FactWriter]
}

test('of two that do not know of each other the later one wins, in whatever order they come', () => {
  const [anna, bert] = people()
  const late = anna.write(write(anna.at('note'), 'late', noonMs + 5))
  const early = bert.write(write(bert.at('note'), 'early', noonMs))
  for (const [one, other] of [
    [anna, bert],
    [bert, anna],
  ] as const)
    one.meet(other)
  for (const { fold } of [anna, bert]) {
    expect(fold.read('', 'note')).toBe('late')
    expect(fold.fact(early)?.outcome).toEqual({ status: 'superseded', by: late })
  }
})

test('who saw a write wins over it, with a clock a day behind', () => {
  const [anna, bert] = people()
  anna.write(write(anna.at('note'), 'first', noonMs))
  bert.meet(anna)
  const key = bert.write(write(bert.at('note'), 'second', noonMs - dayMs))
  expect(bert.fold.read('', 'note')).toBe('second')
  expect(bert.fold.fact(key)?.payload).toEqual({ value: 'second', time: noonMs + 1 })
})

test('a time is after all that was seen, and else the clock', () => {
  expect(timeOf(noonMs + 0.7, -1)).toBe(noonMs)
  expect(timeOf(noonMs, noonMs)).toBe(noonMs + 1)
  expect(timeOf(noonMs - dayMs, noonMs)).toBe(noonMs + 1)
})

test('when no later time can be written down, that is said', () => {
  const [anna] = people()
  anna.writeRaw({ entity: '', type: 'note.set', payload: { value: 'x', time: Number.MAX_SAFE_INTEGER } })
  expect(write(anna.at('note'), 'y', noonMs)).toEqual({
    reason: 'out_of_range',
    detail: { highestMs: Number.MAX_SAFE_INTEGER },
  })
})

test.each([
  { value: 'x' },
  { time: 5 },
  { value: 'x', time: -1 },
  { value: 'x', time: 0.5 },
  { value: 1, time: 5 },
  'x',
])('%j is malformed', (payload) => {
  const [anna] = people()
  const key = anna.writeRaw({ entity: '', type: 'note.set', payload })
  expect(anna.fold.fact(key)?.outcome.reason).toBe('malformed_payload')
})

test('order, duplication and grouping do not matter, clocks a day off or not', () => {
  const occurred = new Set<string>()
  const offsetsMs: Record<string, number> = { alice0: dayMs, bob000: -dayMs, carol0: 0, dave00: 3 }
  const behave: Behaviour = ({ fold, actor }, choice) => {
    const at = { fold, actor, entity: '', field: 'note' }
    const draft = write(at, `by ${actor}`, noonMs + offsetsMs[actor]! + choice.below(10))
    return isRefusal(draft) ? null : draft
  }
  holdsLaws({
    fields,
    behave,
    runs: 100,
    check(fold) {
      const facts = fold.facts('')
      const effective = facts.filter(({ outcome }) => outcome.status === 'effective')
      expect(effective.length).toBe(facts.length > 0 ? 1 : 0)
      occurred.add(effective[0] === facts.at(-1) ? 'the last in order' : 'an earlier one')
    },
  })
  expect(occurred).toEqual(new Set(['the last in order', 'an earlier one']))
})

describe('clocks a day ahead, behind and right', () => {
  afterEach(() => vi.useRealTimers())

  const kinds = {
    price: register<number>(),
    visits: counter(),
    terms: multiValue<number>(),
    tags: set(),
    harvest: reference('harvests/:id'),
    stock: quantity({ max: 100 }),
    bids: offers<number>(),
    owner: owner({ fields: ['price'] }),
    state: workflow({
      states: ['open', 'sold', 'cancelled'],
      initial: 'open',
      transitions: {
        sell: { from: 'open', to: 'sold', consistency: 'decided' },
        cancel: { from: ['open', 'sold'], to: 'cancelled', consistency: 'decided' },
        reopen: { from: ['sold', 'cancelled'], to: 'open', consistency: 'free' },
      },
    }),
    note: lastWrite<string>(),
  }
  const all: FieldsOfDocument = { fields: kinds }
  const rounds = 4

  /** Three people who write without knowing of each other, and meet; the first of them is where the server decides. */
  function played(offsetsMs: readonly number[]) {
    vi.useFakeTimers({ toFake: ['Date'] })
    const writers = ['annaaa', 'bertbb', 'carlcc'].map((actor) => new FactWriter(all, actor))
    for (const each of writers) each.meet(...writers)
    for (let round = 0; round < rounds; round++) {
      for (const [i, writer] of writers.entries()) {
        vi.setSystemTime(noonMs + round * 1000 + i + offsetsMs[i]!)
        const { mutators: bids } = kinds.bids
        const offered = (writer.fold.read('', 'bids') as Offers<number>).offers
        for (const draft of [
          kinds.price.mutators.set(writer.at('price'), 10 * round + i),
          kinds.visits.mutators.add(writer.at('visits'), i),
          kinds.terms.mutators.set(writer.at('terms'), i),
          kinds.tags.mutators.add(writer.at('tags'), `tag ${i}`),
          kinds.harvest.mutators.set(writer.at('harvest'), `harvests/${i}`),
          kinds.stock.mutators.supply(writer.at('stock'), 10, writer.actor),
          kinds.stock.mutators.take(writer.at('stock'), 3),
          bids.bid(writer.at('bids'), i),
          ...(round === 2 && offered.length > i + 1
            ? [bids.accept(writer.at('bids'), offered[(i + 1) % offered.length]!.key)]
            : []),
          kinds.owner.mutators.handOver(writer.at('owner'), `user of ${writers[(round + i) % 3]!.actor}`),
          kinds.state.mutators.move(writer.at('state'), (['sell', 'cancel', 'reopen'] as const)[i]!),
        ])
          if (!isRefusal(draft)) writer.write(draft)
      }
      const [server, ...others] = writers as [FactWriter, ...FactWriter[]]
      server.meet(...others)
      for (let intent = intentsOf(server.fold)[0]; intent !== undefined; intent = intentsOf(server.fold)[0])
        server.decide(intent.key, (fold) => fold.judge(intent!)!)
      // Where there are clocks: each writes having seen the last.
      for (const [i, writer] of writers.entries()) {
        writer.meet(...writers)
        vi.setSystemTime(noonMs + round * 1000 + 500 + i + offsetsMs[i]!)
        writer.write(
          kinds.note.mutators.set(writer.at('note'), `${writer.actor} in round ${round}`, Date.now()),
        )
      }
      for (const writer of writers) writer.meet(...writers)
    }
    return writers
  }

  const outcomes = (writer: FactWriter): unknown =>
    writer.fold.facts('').map(({ key, type, outcome }) => ({ key, type, outcome }))

  test('of every kind the winners are the same', () => {
    const right = played([0, 0, 0])
    const statuses = new Set(right[0]!.fold.facts('').map(({ type, outcome }) => `${type} ${outcome.status}`))
    for (const each of [
      'price.set superseded',
      'price.set pending',
      'bids.accept effective',
      'bids.accept rejected',
      'state.sell effective',
      'state.cancel rejected',
      'owner.handOver effective',
      'note.set superseded',
    ])
      expect([...statuses]).toContain(each)
    for (const offsets of [
      [dayMs, 0, -dayMs],
      [-dayMs, dayMs, 0],
      [0, -dayMs, dayMs],
    ]) {
      const wrong = played(offsets)
      for (const writer of wrong) {
        expect(told(writer.fold, all)).toEqual(told(right[0]!.fold, all))
        expect(outcomes(writer)).toEqual(outcomes(right[0]!))
      }
      expect(wrong[0]!.fold.read('', 'note')).toBe(`carlcc in round ${rounds - 1}`)
    }
  })
})

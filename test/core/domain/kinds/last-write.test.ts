/** Clocks: wrong ones decide nothing where no kind has a clock, and little where one has. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import { isRefusal } from '../../../../core/domain/facts/draft.ts'
import type { FieldsOfDocument } from '../../../../core/domain/fold/fields.ts'
import { counter } from '../../../../core/domain/kinds/counter.ts'
import { isTooFarAhead, lastWrite, timeOf } from '../../../../core/domain/kinds/last-write.ts'
import { multiValue } from '../../../../core/domain/kinds/multi-value.ts'
import { offers } from '../../../../core/domain/kinds/offers.ts'
import { register } from '../../../../core/domain/kinds/register.ts'
import { set } from '../../../../core/domain/kinds/set.ts'
import { type Behaviour, told } from '../../../support/fact-history.ts'
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

test('a clock that is a day ahead is refused at the door; one within the tolerance is not', () => {
  expect(isTooFarAhead(noonMs + dayMs, noonMs, 300_000)).toBe(true)
  expect(isTooFarAhead(noonMs + 300_001, noonMs, 300_000)).toBe(true)
  expect(isTooFarAhead(noonMs + 300_000, noonMs, 300_000)).toBe(false)
  expect(isTooFarAhead(noonMs - dayMs, noonMs, 300_000)).toBe(false)
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

  test('of kinds without a clock the winners are the same', () => {
    const kinds = {
      price: register<number>(),
      stock: counter(),
      terms: multiValue<number>(),
      tags: set(),
      bids: offers(),
    }
    const all: FieldsOfDocument = { fields: kinds }
    const play = (offsetsMs: readonly number[]): unknown => {
      vi.useFakeTimers({ toFake: ['Date'] })
      const writers = ['annaaa', 'bertbb', 'carlcc'].map((actor) => new FactWriter(all, actor))
      for (const each of writers) each.meet(...writers)
      for (let round = 0; round < 3; round++) {
        for (const [i, writer] of writers.entries()) {
          vi.setSystemTime(noonMs + round * 1000 + i + offsetsMs[i]!)
          writer.write(kinds.price.mutators.set(writer.at('price'), 10 * round + i))
          writer.write(kinds.stock.mutators.add(writer.at('stock'), i))
          const terms = kinds.terms.mutators.set(writer.at('terms'), i)
          if (!isRefusal(terms)) writer.write(terms)
          writer.write(kinds.tags.mutators.add(writer.at('tags'), `tag ${i}`))
          writer.write(kinds.bids.mutators.bid(writer.at('bids'), { price: i }))
        }
        writers[round]!.meet(...writers)
      }
      writers[0]!.meet(...writers)
      return [writers[0]!.entries, told(writers[0]!.fold, all)]
    }
    const right = play([0, 0, 0])
    for (const offsets of [
      [dayMs, 0, -dayMs],
      [-dayMs, dayMs, 0],
      [0, -dayMs, dayMs],
    ])
      expect(play(offsets)).toEqual(right)
  })
})

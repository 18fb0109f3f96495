/** Values in conflict: nothing is lost by arriving late, and only a person settles it. */
import { expect, test } from 'vitest'
import { isRefusal } from '../../../../core/domain/facts/draft.ts'
import { DocumentFold } from '../../../../core/domain/fold/document-fold.ts'
import type { FieldsOfDocument } from '../../../../core/domain/fold/fields.ts'
import { type MultiValue, multiValue, sinceOf } from '../../../../core/domain/kinds/multi-value.ts'
import type { Behaviour } from '../../../support/fact-history.ts'
import { FactWriter, permutations } from '../../../support/fact-writer.ts'
import { holdsLaws } from '../../../support/fold-laws.ts'

const kind = multiValue<number>((value) => typeof value === 'number')
const { set, settle } = kind.mutators
const fields: FieldsOfDocument = { fields: { price: kind } }
const read = (fold: DocumentFold): MultiValue<number> => fold.read('', 'price') as MultiValue<number>

function people(): [FactWriter, FactWriter, FactWriter] {
  const all = ['annaaa', 'bertbb', 'carlcc'].map((actor) => new FactWriter(fields, actor))
  for (const each of all) each.meet(...all)
  return all as [FactWriter, FactWriter, FactWriter]
}

test('who has seen a value replaces it; who has not stands beside it', () => {
  const [anna, bert, carl] = people()
  const first = anna.write(set(anna.at('price'), 1))
  bert.meet(anna)
  const second = bert.write(set(bert.at('price'), 2))
  expect(read(bert.fold)).toEqual({ value: 2, conflict: null })
  const third = carl.write(set(carl.at('price'), 3))
  anna.meet(bert, carl)
  const { conflict } = read(anna.fold)
  expect(conflict?.map(({ key }) => key).sort()).toEqual([second, third])
  expect(conflict?.find(({ key }) => key === third)).toEqual({
    at: null,
    value: 3,
    actor: 'carlcc',
    subject: 'user of carlcc',
    key: third,
  })
  expect(read(anna.fold).value).toBe(conflict![0]!.value)
  expect(anna.fold.fact(first)?.outcome).toEqual({ status: 'superseded', by: second })
  expect(anna.fold.fact(first)?.payload).toEqual({ value: 1 })
})

test('sides say when they were written, which decides nothing', () => {
  const yesterday = 1_764_000_000_000
  const orders = [
    [yesterday, 5],
    [5, yesterday],
    [undefined, yesterday],
  ].map((times) => {
    const [anna, bert] = people()
    for (const [i, each] of [anna, bert].entries()) {
      const nowMs = times[i]
      each.write(set({ ...each.at('price'), ...(nowMs !== undefined && { nowMs }) }, i))
    }
    anna.meet(bert)
    const { conflict } = read(anna.fold)
    expect(conflict?.map(({ at }) => at)).toEqual(times.map((time) => time ?? null))
    expect(sinceOf(conflict!)).toBe(times[0] === undefined ? null : yesterday)
    return conflict?.map(({ key }) => key)
  })
  expect(new Set(orders.map(String)).size).toBe(1)
})

test('a conflict stays until somebody settles it, with any value, and only then can one go on', () => {
  const [anna, bert] = people()
  anna.write(set(anna.at('price'), 1))
  bert.write(set(bert.at('price'), 2))
  anna.meet(bert)
  expect(set(anna.at('price'), 9)).toMatchObject({ reason: 'conflict' })
  const settlement = anna.write(settle(anna.at('price'), 5))
  // Its own value goes without saying.
  expect(anna.fold.fact(settlement)?.payload).toEqual({ value: 5, replaces: ['bertbb:1'] })
  expect(read(anna.fold)).toEqual({ value: 5, conflict: null })
  expect(settle(anna.at('price'), 6)).toEqual({ reason: 'no_conflict', detail: { value: 5 } })
  expect(isRefusal(set(anna.at('price'), 6))).toBe(false)
})

test('two settlements that do not know of each other conflict anew, in whatever order they come', () => {
  const [anna, bert, carl] = people()
  for (const [i, each] of [anna, bert, carl].entries()) each.write(set(each.at('price'), i))
  for (const each of [anna, bert]) each.meet(carl)
  anna.meet(bert)
  bert.meet(anna)
  const one = anna.write(settle(anna.at('price'), 10))
  const other = bert.write(settle(bert.at('price'), 20))
  anna.meet(bert)
  const entries = anna.entries.filter(({ key }) => !key.endsWith(':0'))
  for (const order of permutations(entries)) {
    const fold = new DocumentFold(fields)
    fold.apply(anna.entries.filter(({ key }) => key.endsWith(':0')))
    for (const entry of order) fold.apply([entry])
    expect(read(fold).conflict?.map(({ key, value }) => [key, value])).toEqual([
      [one, 10],
      [other, 20],
    ])
  }
  carl.meet(anna)
  carl.write(settle(carl.at('price'), 15))
  expect(read(carl.fold)).toEqual({ value: 15, conflict: null })
})

test('a settlement of what two had settled in part leaves what nobody had seen', () => {
  const [anna, bert, carl] = people()
  anna.write(set(anna.at('price'), 1))
  bert.write(set(bert.at('price'), 2))
  anna.meet(bert)
  anna.write(settle(anna.at('price'), 3))
  carl.write(set(carl.at('price'), 4))
  anna.meet(carl)
  expect(
    read(anna.fold)
      .conflict?.map(({ value }) => value)
      .sort(),
  ).toEqual([3, 4])
})

test.each([
  ['no value', 'set', {}],
  ['a value of another type', 'set', { value: 'x' }],
  ['several at once, without saying so', 'set', { value: 1, replaces: ['annaaa:1', 'bertbb:1'] }],
  ['a time before all', 'set', { value: 1, time: -1 }],
  ['a time that is no date', 'set', { value: 1, time: 8_640_000_000_000_001 }],
  ['what is no key', 'set', { value: 1, replaces: 'anna' }],
  ['nothing to settle', 'settle', { value: 1, replaces: [] }],
  [
    'too much to settle',
    'settle',
    { value: 1, replaces: Array.from({ length: 65 }, (_, i) => `annaaa:${i}`) },
  ],
])('a write with %s is malformed', (_what, name, payload) => {
  const [anna] = people()
  const key = anna.writeRaw({ entity: '', type: `price.${name}`, payload })
  expect(anna.fold.fact(key)?.outcome.reason).toBe('malformed_payload')
  expect(read(anna.fold).value).toBeNull()
})

test('nobody replaces a value before it is there', () => {
  const [anna, bert] = people()
  anna.writeRaw({ entity: '', type: 'price.set', payload: { value: 1, replaces: 'bertbb:1' } })
  bert.write(set(bert.at('price'), 2))
  anna.meet(bert)
  expect(read(anna.fold).conflict).toHaveLength(2)
})

test('order, duplication and grouping do not matter', () => {
  const occurred = new Set<string>()
  const behave: Behaviour = ({ fold, actor }, choice) => {
    const at = { fold, actor, entity: '', field: 'price' }
    const draft = choice.of([
      () => set(at, choice.below(100)),
      () => settle(at, choice.below(100)),
      () => ({
        entity: '',
        type: 'price.settle',
        payload: { value: 7, replaces: [`${choice.of(['alice0', 'bob000', 'carol0'])}:${choice.below(9)}`] },
      }),
    ])()
    if (isRefusal(draft)) occurred.add(draft.reason)
    return isRefusal(draft) ? null : draft
  }
  holdsLaws({
    fields,
    behave,
    runs: 100,
    check(fold) {
      const { value, conflict } = read(fold)
      occurred.add(conflict === null ? 'agreed' : `conflict of ${conflict.length}`)
      if (conflict !== null) expect(value).toBe(conflict[0]!.value)
      // Effective are those that are current, and no other.
      const effective = fold.facts('').filter(({ outcome }) => outcome.status === 'effective')
      expect(effective).toHaveLength(conflict?.length ?? (value === null ? 0 : 1))
    },
  })
  expect([...occurred]).toEqual(
    expect.arrayContaining([
      'agreed',
      'conflict',
      'no_conflict',
      'conflict of 2',
      'conflict of 3',
      'conflict of 4',
    ]),
  )
})

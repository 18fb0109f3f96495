/** Sets: a removal takes what its author saw, and nothing else. */
import { expect, test } from 'vitest'
import { isRefusal } from '../../../../core/domain/facts/draft.ts'
import type { FieldsOfDocument } from '../../../../core/domain/fold/fields.ts'
import { set } from '../../../../core/domain/kinds/set.ts'
import type { Behaviour } from '../../../support/fact-history.ts'
import { FactWriter } from '../../../support/fact-writer.ts'
import { holdsLaws } from '../../../support/fold-laws.ts'

const kind = set((value) => value !== 'forbidden')
const { add, remove } = kind.mutators
const fields: FieldsOfDocument = { fields: { tags: kind } }
const tags = ({ fold }: FactWriter): unknown => fold.read('', 'tags')

function people(): [FactWriter, FactWriter] {
  const all = ['annaaa', 'bertbb'].map((actor) => new FactWriter(fields, actor))
  for (const each of all) each.meet(...all)
  return all as [FactWriter, FactWriter]
}

test('what is added while somebody removes it stays', () => {
  const [anna, bert] = people()
  const mine = anna.write(add(anna.at('tags'), 'organic'))
  bert.meet(anna)
  const removal = bert.write(remove(bert.at('tags'), 'organic'))
  expect(tags(bert)).toEqual([])
  const again = anna.write(add(anna.at('tags'), 'organic'))
  anna.meet(bert)
  bert.meet(anna)
  expect([tags(anna), tags(bert)]).toEqual([['organic'], ['organic']])
  expect(anna.fold.fact(mine)?.outcome.status).toBe('superseded')
  expect(anna.fold.fact(removal)?.outcome.status).toBe('effective')
  expect(anna.fold.fact(again)?.outcome.status).toBe('effective')
})

test('a removal takes all additions that it saw, whoever made them', () => {
  const [anna, bert] = people()
  for (const each of [anna, bert]) each.write(add(each.at('tags'), 'late'))
  anna.write(add(anna.at('tags'), 'cheap'))
  anna.meet(bert)
  expect(tags(anna)).toEqual(['late', 'cheap'])
  const removal = anna.write(remove(anna.at('tags'), 'late'))
  expect(anna.fold.fact(removal)?.payload).toEqual(['annaaa:1', 'bertbb:1'])
  expect(tags(anna)).toEqual(['cheap'])
  expect(remove(anna.at('tags'), 'late')).toEqual({ reason: 'not_there', detail: { elements: ['cheap'] } })
})

test.each([
  ['add', 'forbidden'],
  ['add', ['organic']],
  ['add', null],
  ['remove', []],
  ['remove', ['organic']],
  ['remove', 'annaaa:1'],
])('%s of %j is malformed', (name, payload) => {
  const [anna] = people()
  const key = anna.writeRaw({ entity: '', type: `tags.${name}`, payload })
  expect(anna.fold.fact(key)?.outcome.reason).toBe('malformed_payload')
})

test('order, duplication and grouping do not matter', () => {
  const occurred = new Set<string>()
  const behave: Behaviour = ({ fold, actor }, choice) => {
    const at = { fold, actor, entity: '', field: 'tags' }
    const element = choice.of(['a', 'b', 'c'])
    const draft = choice.of([
      () => add(at, element),
      () => remove(at, element),
      () => ({
        entity: '',
        type: 'tags.remove',
        payload: [`alice0:${choice.below(9)}`, `bob000:${choice.below(9)}`],
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
      const elements = fold.read('', 'tags') as string[]
      occurred.add(`${elements.length} elements`)
      const additions = fold
        .facts('')
        .filter(({ type, outcome }) => type === 'tags.add' && outcome.status === 'effective')
      expect(new Set(additions.map(({ payload }) => payload))).toEqual(new Set(elements))
      if (additions.length > elements.length) occurred.add('added twice')
    },
  })
  expect([...occurred]).toEqual(
    expect.arrayContaining(['not_there', '0 elements', '3 elements', 'added twice']),
  )
})

/** Fields that point out of the facts: to other documents, and to the texts beside them. */
import { expect, test } from 'vitest'
import * as Y from 'yjs'
import type { FieldsOfDocument } from '../../../../core/domain/fold/fields.ts'
import { reference } from '../../../../core/domain/kinds/reference.ts'
import { fieldOfRoot, text, textRoot } from '../../../../core/domain/kinds/text.ts'
import { engines } from '../../../../core/engine/engines.ts'
import type { Behaviour } from '../../../support/fact-history.ts'
import { FactWriter } from '../../../support/fact-writer.ts'
import { holdsLaws } from '../../../support/fold-laws.ts'

const harvest = reference('harvests/:id')
const notes = text()
const fields: FieldsOfDocument = {
  fields: { harvest, notes },
  collections: { lines: { harvest, notes } },
}

test('a reference is to a document of its pattern, or to none', () => {
  const anna = new FactWriter(fields, 'annaaa')
  expect(harvest.to).toBe('harvests/:id')
  anna.write(harvest.mutators.set(anna.at('harvest'), 'harvests/42'))
  expect(anna.fold.read('', 'harvest')).toBe('harvests/42')
  expect(harvest.mutators.set(anna.at('harvest'), 'deals/42')).toEqual({
    reason: 'malformed_payload',
    detail: { to: 'harvests/:id' },
  })
  for (const payload of ['deals/42', 'harvests/', 'harvests/..', 'harvests/1/2', 42]) {
    const key = anna.writeRaw({ entity: '', type: 'harvest.set', payload })
    expect(anna.fold.fact(key)?.outcome.reason).toBe('malformed_payload')
  }
  expect(anna.fold.read('', 'harvest')).toBe('harvests/42')
  anna.write(harvest.mutators.set(anna.at('harvest'), null))
  expect(anna.fold.read('', 'harvest')).toBeNull()
})

test('a pattern that is none is said to be none', () => {
  expect(() => reference('harvests/:')).toThrow()
})

test('a text is read from the root that has its name', () => {
  const doc = new Y.Doc()
  doc.getText(textRoot('', 'notes')).insert(0, 'of the deal')
  doc.getText(textRoot('lines/7', 'notes')).insert(0, 'of a line')
  const live = engines.yjs.open([Y.encodeStateAsUpdate(doc)])
  const { fold } = new FactWriter(fields, 'annaaa')
  expect(fold.read('', 'notes', live.state)).toBe('of the deal')
  expect(fold.read('lines/7', 'notes', live.state)).toBe('of a line')
  expect(fold.read('lines/8', 'notes', live.state)).toBe('')
  expect(fold.read('', 'notes')).toBe('')
  live.close()
})

test('a root says which field it is of', () => {
  for (const [entity, field] of [
    ['', 'notes'],
    ['lines/7', 'notes'],
    ['lines/7/8', 'notes'],
  ] as const)
    expect(fieldOfRoot(textRoot(entity, field))).toEqual({ entity, field })
  expect(fieldOfRoot('facts')).toBeNull()
  expect(textRoot('lines', 'notes')).not.toBe(textRoot('', 'lines/notes'.split('/')[1]!))
})

test('order, duplication and grouping do not matter', () => {
  const behave: Behaviour = (_replica, choice) => ({
    entity: choice.of(['', 'lines/1', 'lines/2']),
    type: choice.of(['harvest.set', 'harvest.set', 'notes.insert']),
    payload: choice.of(['harvests/1', 'harvests/2', null, 'deals/1']),
  })
  const occurred = new Set<string>()
  holdsLaws({
    fields,
    behave,
    runs: 40,
    check(fold) {
      for (const name of fold.names())
        for (const { outcome } of fold.facts(name)) occurred.add(outcome.reason ?? outcome.status)
    },
  })
  expect([...occurred].sort()).toEqual(['effective', 'malformed_payload', 'not_understood', 'superseded'])
})

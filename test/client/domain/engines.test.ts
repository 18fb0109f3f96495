/** The same facts in a document of Yjs and in one of Automerge come to the same fold, in whatever order either got them. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { openDomain } from '../../../client/domain/domain.ts'
import { factsRoot } from '../../../core/domain/facts/fact.ts'
import { DocumentFold } from '../../../core/domain/fold/document-fold.ts'
import type { FieldsOfDocument } from '../../../core/domain/fold/fields.ts'
import { counter } from '../../../core/domain/kinds/counter.ts'
import { multiValue } from '../../../core/domain/kinds/multi-value.ts'
import { register } from '../../../core/domain/kinds/register.ts'
import { workflow } from '../../../core/domain/kinds/workflow.ts'
import type { Value } from '../../../core/engine/live-document.ts'
import { type Behaviour, decidedSteps, deliveries, play, told } from '../../support/fact-history.ts'
import { type Device, devices } from './devices.ts'

const state = workflow({
  states: ['open', 'sold', 'cancelled'],
  initial: 'open',
  transitions: {
    sell: { from: 'open', to: 'sold', consistency: 'decided' },
    cancel: { from: ['open', 'sold'], to: 'cancelled', consistency: 'decided' },
  },
})
const fields = {
  fields: { note: register<Value>(), price: multiValue<number>(), state },
  collections: { lines: { count: counter() } },
} satisfies FieldsOfDocument

const payloads: readonly Value[] = [
  'héllo 😀',
  '',
  0.1,
  2 ** 53,
  1e300,
  -(2 ** 60),
  null,
  [[], {}, [true, 1e21]],
  { a: { b: [1, 'x', 5e-324] }, 'é "': 2 ** 70 },
]

const behave: Behaviour = ({ fold }, choice) => {
  const kind = choice.below(6)
  if (kind === 0) return { entity: '', type: 'note.set', payload: choice.of(payloads) }
  if (kind < 3) {
    const { conflict } = fold.read('', 'price') as { conflict: { key: string }[] | null }
    const replaces = conflict?.map(({ key }) => key)
    return replaces === undefined
      ? { entity: '', type: 'price.set', payload: { value: choice.below(50) } }
      : { entity: '', type: 'price.settle', payload: { value: 5, replaces } }
  }
  if (kind === 3) return { entity: `lines/${choice.below(3)}`, type: 'count.add', payload: choice.below(9) }
  const { version } = fold.read('', 'state') as { version: string }
  const type = choice.of(['state.sell', 'state.cancel'])
  return { entity: '', type, payload: version === '' ? {} : { at: version } }
}

test('a fold is the same over either engine', () => {
  const seen = { decisions: 0, conflicts: 0 }
  fc.assert(
    fc.property(decidedSteps(40), fc.gen(), (history, gen) => {
      const { entries } = play(history, {
        fields,
        behave,
        judge: (fold, intent) => state.judge(fold, intent),
      })
      const expected = new DocumentFold(fields)
      expected.apply(entries)
      for (const newDevice of Object.values(devices)) {
        // Written here and there, a few at a time, and never twice: that would be somebody's rewriting them.
        const writers = [newDevice(), newDevice(), newDevice()] as const
        const reader = newDevice()
        const domain = openDomain(reader.handle, fields, { actor: 'reader', subject: '' })
        const written = new Set<string>()
        for (const group of gen(deliveries, entries)) {
          const fresh = group.filter(({ key }) => !written.has(key) && written.add(key))
          const writer: Device = writers[gen(fc.nat, { max: 2 })]!
          if (fresh.length > 0) writer.entries.write(factsRoot, fresh)
          if (gen(fc.boolean)) writer.meet(reader)
        }
        for (const writer of writers) writer.meet(reader)
        const late = new DocumentFold(fields)
        reader.entries.follow(factsRoot, (all) => late.apply(all))()
        expect(told(late, fields)).toEqual(told(expected, fields))
        const facts = domain.facts().filter(({ isDecision }) => !isDecision)
        expect(facts.map(({ key, outcome }) => ({ key, outcome }))).toEqual(
          expected
            .facts('')
            .flatMap(({ key, outcome, isDecision }) => (isDecision ? [] : [{ key, outcome }])),
        )
        expect(domain.reports()).toEqual([...expected.reports(), ...expected.waiting()])
        domain.close()
        seen.decisions += expected.facts('').filter(({ isDecision }) => isDecision).length
        seen.conflicts += domain.conflicts().length
      }
    }),
    { numRuns: 20 },
  )
  expect(Object.values(seen).every((count) => count > 0)).toBe(true)
})

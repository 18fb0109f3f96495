/** What holds for facts of any kind: causes first, late ones, waiting ones, forged and rewritten ones. */
import { describe, expect, test } from 'vitest'
import { decided, registration, seenOf, written } from '../../../../core/domain/facts/author.ts'
import { encodeFact, type Fact } from '../../../../core/domain/facts/fact.ts'
import { DocumentFold, type FactEntry } from '../../../../core/domain/fold/document-fold.ts'
import type { FieldsOfDocument } from '../../../../core/domain/fold/fields.ts'
import { type Kind, operation } from '../../../../core/domain/fold/kind.ts'
import { counter } from '../../../../core/domain/kinds/counter.ts'
import { register } from '../../../../core/domain/kinds/register.ts'
import { type Behaviour, told } from '../../../support/fact-history.ts'
import { holdsLaws } from '../../../support/fold-laws.ts'

/** Its state is the order in which it was given facts and decisions, so nothing of it goes unseen. */
const record: Kind<string[], string[]> = {
  name: 'record',
  operations: { say: operation('free'), ask: operation('decided') },
  create: () => [],
  apply(state, name, fact, context) {
    state.push(
      `${name} ${fact.key} ${context.lookBacksOf('ask').some(({ intent }) => intent.key === fact.key)}`,
    )
  },
  decide(state, _name, intent, decision) {
    state.push(`${decision.accepted} ${intent.key}`)
  },
  read: (state) => [...state],
}

const fields = {
  fields: { price: register<number>(), stock: counter(), record },
  collections: { lines: { count: counter(), record } },
}

const behave: Behaviour = (_replica, choice) => {
  const entity = choice.of(['', 'lines/1', 'lines/2'])
  const type = choice.of(
    entity === ''
      ? ['price.set', 'stock.add', 'record.say', 'record.ask']
      : ['count.add', 'record.say', 'record.ask'],
  )
  return { entity, type, payload: choice.below(1000) }
}

test('order, duplication and grouping of facts and decisions do not matter', () => {
  holdsLaws({
    fields,
    behave,
    judge: (_fold, intent) =>
      intent.seq % 3 === 0
        ? { accepted: true, seen: { alice0: 1 } }
        : { accepted: intent.seq % 2 === 0, reason: 'odd' },
    runs: 150,
  })
})

const start = (...actors: string[]): FactEntry[] => actors.map((actor) => registration(actor, `u-${actor}`))
const set = (fold: DocumentFold, actor: string, seq: number, payload: number): FactEntry =>
  written(fold, actor, seq, { entity: '', type: 'price.set', payload })
const keys = (facts: readonly Fact[]): string[] => facts.map(({ key }) => key)

test('what saw another comes after it, whatever the actors are called', () => {
  const fold = new DocumentFold(fields)
  fold.apply(start('zzzzzz', 'aaaaaa'))
  fold.apply([set(fold, 'zzzzzz', 1, 1)])
  fold.apply([set(fold, 'aaaaaa', 1, 2)])
  fold.apply([set(fold, 'zzzzzz', 2, 3)])
  expect(keys(fold.facts(''))).toEqual(['zzzzzz:1', 'aaaaaa:1', 'zzzzzz:2'])
  expect(fold.read('', 'price')).toBe(3)
  expect(fold.fact('aaaaaa:1')?.outcome).toEqual({ status: 'superseded', by: 'zzzzzz:2' })
})

test('an actor follows its own last fact, also about another entity', () => {
  const fold = new DocumentFold(fields)
  const [a] = start('aaaaaa')
  const facts = [
    written(fold, 'aaaaaa', 1, { entity: '', type: 'price.set', payload: 1 }),
    written(fold, 'aaaaaa', 2, { entity: 'lines/1', type: 'count.add', payload: 5 }),
  ]
  fold.apply([facts[1]!, a!])
  expect(fold.read('lines/1', 'count')).toBe(0)
  expect(fold.waiting()).toEqual([{ key: 'aaaaaa:2', reason: 'waits for aaaaaa:1' }])
  fold.apply([facts[0]!])
  expect(fold.read('lines/1', 'count')).toBe(5)
  expect(fold.waiting()).toEqual([])
})

test('a new fact names the heads of its entity, and none that another head follows', () => {
  const fold = new DocumentFold(fields)
  fold.apply(start('aaaaaa', 'bbbbbb', 'cccccc'))
  fold.apply([set(fold, 'aaaaaa', 1, 1)])
  const both = [set(fold, 'bbbbbb', 1, 2), set(fold, 'cccccc', 1, 3)]
  fold.apply(both)
  expect(both.map(({ value }) => (value as unknown[])[3])).toEqual(['aaaaaa:1', 'aaaaaa:1'])
  const next = set(fold, 'aaaaaa', 2, 4)
  expect(((next.value as unknown[])[3] as string).split(' ').sort()).toEqual(['bbbbbb:1', 'cccccc:1'])
  fold.apply([next])
  expect(keys(fold.latest(''))).toEqual(['aaaaaa:2'])
})

test('a new fact names what it is about, also when there are more heads than it has room for', () => {
  const fold = new DocumentFold(fields)
  const names = Array.from({ length: 100 }, (_, i) => `a${String(i).padStart(5, '0')}`)
  fold.apply(start(...names, 'zzzzzz'))
  fold.apply(names.map((actor, i) => set(new DocumentFold(fields), actor, 1, i)))
  const namedBy = (about: string[]): string[] => {
    const { value } = written(fold, 'zzzzzz', 1, { entity: '', type: 'price.set', payload: 1, about })
    return ((value as unknown[])[3] as string).split(' ')
  }
  expect(namedBy([])).toHaveLength(64)
  expect(namedBy([])).not.toContain('a00000:1')
  expect(namedBy(['a00000:1', 'zzzzzz:0'])).toHaveLength(64)
  expect(namedBy(['a00000:1', 'zzzzzz:0'])).toContain('a00000:1')
  expect(namedBy(['a00000:1', 'zzzzzz:0'])).not.toContain('zzzzzz:0')
})

test('a decision that looks back is known from the start, any other in its place', () => {
  const fold = new DocumentFold(fields)
  fold.apply(start('aaaaaa'))
  for (const seq of [1, 2])
    fold.apply([written(fold, 'aaaaaa', seq, { entity: '', type: 'record.ask', payload: 0 })])
  fold.apply([decided(fold, fold.fact('aaaaaa:1')!, { accepted: true })])
  fold.apply([decided(fold, fold.fact('aaaaaa:2')!, { accepted: true, seen: seenOf(fold, '') })])
  expect(fold.read('', 'record')).toEqual([
    'ask aaaaaa:1 false',
    'ask aaaaaa:2 true',
    'true aaaaaa:1',
    'true aaaaaa:2',
  ])
})

describe('what should not be there', () => {
  const entry = (key: string, value: unknown, intact = true): FactEntry => ({
    key,
    value: value as FactEntry['value'],
    intact,
  })

  test.each([
    ['no key', entry('price', ['', 'price.set', 1])],
    ['another letter case', entry('AAAAAA:1', ['', 'price.set', 1])],
    ['a number with a zero before it', entry('aaaaaa:01', ['', 'price.set', 1])],
    ['a number beyond the last', entry('aaaaaa:4294967296', ['', 'price.set', 1])],
    ['null where nothing need be', entry('aaaaaa:1', ['', 'price.set', 1, null])],
    ['no list', entry('aaaaaa:1', { type: 'price.set' })],
    ['too short', entry('aaaaaa:1', ['', 'price.set'])],
    ['its own cause', entry('aaaaaa:1', ['', 'price.set', 1, 'aaaaaa:1'])],
    ['no version', entry('aaaaaa:1', ['', 'price.set', 1, '', 0.5])],
    ['a decision without its key', entry('aaaaaa:1', ['', '@', { accepted: true }])],
    ['a decision that is none', entry('@aaaaaa:1', ['', 'price.set', 1])],
    ['an actor of nobody', entry('bbbbbb:0', ['', '@actor', 7])],
    ['an actor registered late', entry('aaaaaa:1', ['', '@actor', 'mallory'])],
  ])('%s is reported, and changes nothing', (_what, bad) => {
    const fold = new DocumentFold(fields)
    fold.apply([...start('aaaaaa'), bad])
    expect(fold.reports().map(({ key }) => key)).toEqual([bad.key])
    expect(fold.names()).toEqual([])
  })

  test('of an actor nobody registered waits', () => {
    const fold = new DocumentFold(fields)
    fold.apply([entry('aaaaaa:1', encodeFact({ entity: '', type: 'price.set', payload: 1 }))])
    expect(fold.read('', 'price')).toBeNull()
    expect(fold.waiting()).toHaveLength(1)
  })

  test('a decision on what nobody has to decide is ignored, and reported', () => {
    const fold = new DocumentFold(fields)
    fold.apply(start('aaaaaa'))
    fold.apply([set(fold, 'aaaaaa', 1, 5)])
    fold.apply([entry('@aaaaaa:1', ['', '@', { accepted: false, reason: 'because' }])])
    expect(fold.read('', 'price')).toBe(5)
    expect(fold.fact('aaaaaa:1')?.outcome).toEqual({ status: 'effective' })
    expect(fold.reports().map(({ key }) => key)).toEqual(['@aaaaaa:1'])
  })

  test.each([
    ['rewritten', 7],
    ['deleted', undefined],
  ])('a fact that was %s counts nowhere, nor does what follows it, whenever it came', (_what, value) => {
    const source = new DocumentFold(fields)
    const entries = start('aaaaaa', 'bbbbbb')
    source.apply(entries)
    for (const seq of [1, 2]) {
      const entry = set(source, 'aaaaaa', seq, seq)
      entries.push(entry)
      source.apply([entry])
    }
    const other = written(source, 'bbbbbb', 1, { entity: 'lines/1', type: 'count.add', payload: 3 })
    entries.push(other)
    source.apply([other])
    const bad = entry('aaaaaa:1', value === undefined ? undefined : ['', 'price.set', value], false)

    source.apply([bad])
    const anew = new DocumentFold(fields)
    anew.apply([...entries.filter(({ key }) => key !== 'aaaaaa:1'), bad])
    expect(told(source, fields)).toEqual(told(anew, fields))
    expect(source.read('', 'price')).toBeNull()
    expect(source.read('lines/1', 'count')).toBe(3)
    expect(source.waiting()).toEqual([{ key: 'aaaaaa:2', reason: 'waits for aaaaaa:1' }])
    expect(source.reports().map(({ key }) => key)).toEqual(['aaaaaa:1'])
  })
})

describe('versions', () => {
  const next: FieldsOfDocument = {
    version: 2,
    fields: { amount: register<number>() },
    upcast: {
      1: (fact) =>
        fact.type === 'price.set'
          ? { ...fact, type: 'amount.set', payload: (fact.payload as number) * 100 }
          : null,
    },
  }

  test('facts of an older version are what it says they are', () => {
    const fold = new DocumentFold(next)
    fold.apply(start('aaaaaa'))
    fold.apply([set(fold, 'aaaaaa', 1, 5)])
    fold.apply([written(fold, 'aaaaaa', 2, { entity: '', type: 'stock.add', payload: 1 })])
    expect(fold.read('', 'amount')).toBe(500)
    expect(fold.fact('aaaaaa:2')?.outcome.reason).toBe('not_understood')
  })

  test('facts of a newer version are kept, and not understood', () => {
    const fold = new DocumentFold(fields)
    fold.apply(start('aaaaaa'))
    fold.apply([written(fold, 'aaaaaa', 1, { entity: '', type: 'price.set', payload: 5, version: 2 })])
    expect(fold.read('', 'price')).toBeNull()
    expect(fold.fact('aaaaaa:1')?.outcome.reason).toBe('not_understood')
  })
})

/**
 * Rows of documents that hold facts: followed update after update they are those of the document read at the end, whatever the order
 * in which its updates came; and a fact costs what it changes.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { defineAdapter } from '../../../core/domain/adapter.ts'
import { registration, written } from '../../../core/domain/facts/author.ts'
import { factsRoot } from '../../../core/domain/facts/fact.ts'
import { DocumentFold } from '../../../core/domain/fold/document-fold.ts'
import { counter } from '../../../core/domain/kinds/counter.ts'
import { multiValue } from '../../../core/domain/kinds/multi-value.ts'
import { owner } from '../../../core/domain/kinds/owner.ts'
import { register } from '../../../core/domain/kinds/register.ts'
import { set } from '../../../core/domain/kinds/set.ts'
import { text, textRoot } from '../../../core/domain/kinds/text.ts'
import { project, projectEntries } from '../../../core/domain/project.ts'
import { rowsOf } from '../../../core/domain/rows-of.ts'
import { yjsEngine } from '../../../core/engine/yjs/yjs-engine.ts'
import { type Behaviour, deliveries, play, steps } from '../../support/fact-history.ts'
import { TablesInMemory } from '../../support/tables-in-memory.ts'

const deals = defineAdapter({
  name: 'deals',
  version: 1,
  documents: 'deals/:id',
  fields: { title: register<string>(), price: multiValue<number>(), tags: set(), notes: text() },
  collections: { lines: { count: counter(), product: register<string>() } },
  columns: { title: 'text', price: 'numeric', 'lines.product': 'text' },
})
const context = deals.contextOf('deals/1')!
const { fields } = deals.facts!

const behave: Behaviour = ({ fold }, choice) => {
  const kind = choice.below(6)
  if (kind === 0) return { entity: '', type: 'title.set', payload: choice.of(['Wheat', 'Rye']) }
  if (kind === 1) {
    const { value, conflict } = fold.read('', 'price') as {
      value: unknown
      conflict: { key: string }[] | null
    }
    if (conflict !== null && choice.below(2) === 0)
      return {
        entity: '',
        type: 'price.settle',
        payload: { value: 5, replaces: conflict.map(({ key }) => key) },
      }
    return { entity: '', type: 'price.set', payload: { value: value === null ? 1 : choice.below(50) } }
  }
  if (kind === 2) return { entity: '', type: 'tags.add', payload: choice.of(['organic', 'late']) }
  const entity = `lines/${choice.below(3)}`
  if (kind === 3) return { entity, type: 'product.set', payload: choice.of(['oats', 'hay']) }
  return { entity, type: 'count.add', payload: choice.below(9) }
}

describe('rows', () => {
  test('of a followed document are those of one projected at the end, also with facts rewritten by somebody', () => {
    const seen = { conflicts: 0, superseded: 0, tampered: 0 }
    fc.assert(
      fc.property(steps(40), fc.gen(), (history, gen) => {
        const { entries } = play(history, { fields, behave })
        const live = yjsEngine.open([])
        const followed = new TablesInMemory().replace(project(deals, live.state, context))
        const updates: Uint8Array[] = []
        for (const group of gen(deliveries, entries)) {
          const doc = new Y.Doc()
          for (const { key, value } of group) doc.getMap(factsRoot).set(key, value)
          if (gen(fc.boolean)) doc.getText(textRoot('', 'notes')).insert(0, 'x')
          // Entries that come twice are from two documents that did not know of each other, as no honest client's are.
          const update = Y.encodeStateAsUpdate(doc)
          updates.push(update)
          followed.replace(projectEntries(deals, live.state, live.apply([update]), context))
        }
        const expected = rowsOf(deals, 'deals/1', [...updates].reverse())
        expect(followed.content()).toEqual(TablesInMemory.contentOf(expected))
        seen.conflicts += expected['deals_conflicts']!.length
        seen.superseded += expected['deals_facts']!.filter(({ status }) => status === 'superseded').length
        seen.tampered += entries.length - expected['deals_facts']!.length
        live.close()
      }),
      { numRuns: 120 },
    )
    expect(Object.values(seen).every((count) => count > 0)).toBe(true)
  })

  function scene(facts: number) {
    const fold = new DocumentFold(fields)
    const doc = new Y.Doc()
    let seq = 1
    const put = (entity: string, type: string, payload: number): void => {
      const entry = written(fold, 'ann000', seq++, { entity, type, payload })
      fold.apply([entry])
      doc.getMap(factsRoot).set(entry.key, entry.value)
    }
    const first = registration('ann000', 'ann')
    fold.apply([first])
    doc.transact(() => {
      doc.getMap(factsRoot).set(first.key, first.value)
      for (let i = 0; i < facts; i++) put(`lines/${i % 10}`, 'count.add', 1)
    })
    return { doc, put }
  }

  test.each([10, 10_000])('of one new fact are few in a document of %i', (facts) => {
    const { doc, put } = scene(facts)
    const live = yjsEngine.open([Y.encodeStateAsUpdate(doc)])
    project(deals, live.state, context)
    const before = Y.encodeStateVector(doc)
    put('lines/3', 'count.add', 5)
    const touched = live.apply([Y.encodeStateAsUpdate(doc, before)])
    const replaced = projectEntries(deals, live.state, touched, context)
    expect(replaced.map(({ table, entries, rows }) => ({ table, entries, rows: rows.length }))).toEqual([
      { table: 'deals_lines', entries: ['lines/3'], rows: 1 },
      { table: 'deals_facts', entries: [`ann000:${facts + 1}`], rows: 1 },
    ])
    expect(replaced[0]!.rows[0]).toEqual({
      document: 'deals/1',
      entry: 'lines/3',
      id: '3',
      count: facts / 10 + 5,
      product: null,
    })
  })

  test('of a text change are those of its entity', () => {
    const { doc } = scene(1)
    const live = yjsEngine.open([Y.encodeStateAsUpdate(doc)])
    project(deals, live.state, context)
    const before = Y.encodeStateVector(doc)
    doc.getText(textRoot('', 'notes')).insert(0, 'hello')
    const touched = live.apply([Y.encodeStateAsUpdate(doc, before)])
    expect(projectEntries(deals, live.state, touched, context)).toMatchObject([
      { table: 'deals', entries: null, rows: [{ document: 'deals/1', notes: 'hello' }] },
      { table: 'deals_conflicts', rows: [] },
    ])
  })

  test('are told to each that projects the same document, as when tables are built anew beside others', () => {
    const { doc, put } = scene(3)
    const live = yjsEngine.open([Y.encodeStateAsUpdate(doc)])
    const next = { ...deals, name: 'deals__next' }
    for (const adapter of [deals, next]) project(adapter, live.state, context)
    put('lines/1', 'count.add', 7)
    const touched = live.apply([Y.encodeStateAsUpdate(doc)])
    const told = [deals, next].map((adapter) => projectEntries(adapter, live.state, touched, context))
    expect(told[0]).toHaveLength(2)
    expect(told[1]).toEqual(told[0])
  })

  test('are made anew when an update was not told of', () => {
    const { doc, put } = scene(3)
    const live = yjsEngine.open([Y.encodeStateAsUpdate(doc)])
    project(deals, live.state, context)
    put('lines/1', 'count.add', 7)
    live.apply([Y.encodeStateAsUpdate(doc)])
    put('lines/2', 'count.add', 7)
    const touched = live.apply([Y.encodeStateAsUpdate(doc)])
    const lines = projectEntries(deals, live.state, touched, context).find(
      ({ table }) => table === 'deals_lines',
    )
    expect(lines).toMatchObject({ entries: null, rows: [{ count: 1 }, { count: 8 }, { count: 8 }] })
  })
})

describe('an adapter with fields', () => {
  const define = (more: object) => () =>
    defineAdapter({
      name: 'x',
      version: 1,
      documents: ':id',
      fields: { price: register() },
      ...more,
    } as never)

  test.each<[string, object, RegExp]>([
    [
      'a field with a name that SQL would quote',
      { fields: { 'unit price': register() } },
      /cannot be called/,
    ],
    ['two fields that are one column', { fields: { aB: register(), a_b: register() } }, /two columns "a_b"/],
    [
      'a field called as what Tidemark fills in',
      { fields: { document: register() } },
      /two columns "document"/,
    ],
    [
      'a collection called as a table of its own',
      { collections: { facts: {} } },
      /collection cannot be called "facts"/,
    ],
    ['two owners', { fields: { a: owner(), b: owner() } }, /one field at most that says whose/],
    [
      'two owners of its entities',
      { collections: { lines: { a: owner(), b: owner() } } },
      /one field at most that says whose/,
    ],
    ['a type of a field that is not there', { columns: { prize: 'text' } }, /"prize", which is no field/],
    [
      'a table that is there',
      { sql: 'create table x_facts (document text primary key)', document: () => ({}) },
      /come with a table "x_facts"/,
    ],
    [
      'columns without fields',
      {
        fields: undefined,
        columns: {},
        sql: 'create table y (document text primary key)',
        document: () => ({}),
      },
      /go with "fields"/,
    ],
  ])('does not have %s', (_what, more, message) => {
    expect(define(more)).toThrow(message)
  })

  test('may have tables and SQL of its own beside them', () => {
    const adapter = defineAdapter({
      name: 'x',
      version: 3,
      documents: ':id',
      fields: { price: register() },
      columns: { price: 'numeric' },
      sql: 'create index on x (price); create table extra (document text primary key, n int);',
      document: () => ({ extra: [{ n: 1 }] }),
    })
    expect(adapter.tables).toEqual(['x', 'x_facts', 'x_conflicts', 'extra'])
    expect(adapter.documentTables).toEqual(['extra'])
    expect([...adapter.entryTables]).toEqual(['x_facts', 'x_conflicts'])
    expect(adapter.facts?.fields.version).toBe(3)
  })
})

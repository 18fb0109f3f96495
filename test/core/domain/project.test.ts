/**
 * P4 for rows: a document that is followed, with only the touched entries replaced, has the rows of one that is projected at
 * the end, whatever the order and duplication of its updates; and a change costs the entries it touches.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { type Adapter, defineAdapter } from '../../../core/domain/adapter.ts'
import { plainText } from '../../../core/domain/editor.ts'
import { project, projectEntries } from '../../../core/domain/project.ts'
import type { Row } from '../../../core/domain/row.ts'
import { rowsOf } from '../../../core/domain/rows-of.ts'
import { yjsEngine } from '../../../core/engine/yjs/yjs-engine.ts'
import { TablesInMemory } from '../../support/tables-in-memory.ts'
import { histories, logChoices, logOf } from '../engine/random-documents.ts'
import { runs } from '../engine/support.ts'

const sql = `
  create table whole (document text primary key, plain text, delta jsonb, body text, keys jsonb);
  create table entries (document text, entry text, n integer, value jsonb, primary key (document, entry, n));
  create table elements (document text, entry text, value jsonb, primary key (document, entry));`

/** Shows all that the random histories write. */
const everything = defineAdapter({
  name: 'everything',
  version: 1,
  documents: 'random/:id',
  sql,
  document: (state) => ({
    whole: [
      {
        plain: state.text('text').toString(),
        delta: state.text('text').delta() as never,
        body: plainText(state.tree('xml')),
        keys: state.map('map').keys(),
      },
    ],
  }),
  entries: {
    entries: {
      map: 'map',
      rows: (key, value) =>
        (Array.isArray(value) ? value : [key, value]).map((each, n) => ({ n, value: each })),
    },
    elements: { list: 'array', rows: (_, value) => (value === 'b' ? [] : [{ value }]) },
  },
})
const context = everything.contextOf('random/1')!

describe('rows', () => {
  test('of a followed document are those of one projected from scratch', () => {
    fc.assert(
      fc.property(histories, logChoices, fc.array(fc.nat({ max: 4 })), (history, choices, sizes) => {
        const updates = [...logOf(history, choices), ...history.updates.toReversed()]
        const live = yjsEngine.open([])
        const followed = new TablesInMemory().replace(project(everything, live.state, context))
        for (let at = 0, i = 0; at < updates.length; i++) {
          const batch = updates.slice(at, at + 1 + (sizes[i] ?? 0))
          at += batch.length
          followed.replace(projectEntries(everything, live.state, live.apply(batch), context))
          if (i % 5 > 0 && at < updates.length) continue
          const scratch = yjsEngine.open(updates.slice(0, at).toReversed())
          const expected = new TablesInMemory().replace(project(everything, scratch.state, context))
          expect(followed.content()).toEqual(expected.content())
          scratch.close()
        }
        live.close()
      }),
      runs(60),
    )
  })

  test.each([10, 10_000])('of one change cost one entry in a map and a list of %i', (count) => {
    let visited = 0
    const counted = defineAdapter({
      name: 'counted',
      version: 1,
      documents: ':id',
      sql,
      document: () => ({}),
      entries: {
        entries: { map: 'map', rows: () => [{ n: ++visited, value: 1 }] },
        elements: { list: 'array', rows: () => [{ value: ++visited }] },
      },
    })
    const document = new Y.Doc()
    document.transact(() => {
      for (let i = 0; i < count; i++) {
        document.getMap('map').set(`k${i}`, new Y.Map([['n', i]]))
        document.getArray('array').push([i % 2 === 0 ? i : new Y.Map([['n', i]])])
      }
    })
    const live = yjsEngine.open([Y.encodeStateAsUpdate(document)])
    const onlySome = forbidding(live.state)
    let replaced: string[] = []
    document.on('update', (update: Uint8Array) => {
      const replacements = projectEntries(counted, onlySome, live.apply([update]), counted.contextOf('x')!)
      replaced = replacements.flatMap(({ table, entries }) => (entries ?? []).map(() => table))
    })
    const list = document.getArray<Y.Map<number>>('array')
    const edits: [edit: () => unknown, table: string, visits: number][] = [
      [() => (document.getMap('map').get('k5') as Y.Map<number>).set('n', -1), 'entries', 1],
      [() => document.getMap('map').set('new', true), 'entries', 1],
      [() => document.getMap('map').delete('k7'), 'entries', 0],
      [() => list.get(5).set('n', -1), 'elements', 1],
      [() => list.insert(3, [new Y.Map()]), 'elements', 1],
      [() => list.delete(2, 1), 'elements', 0],
      [() => document.getText('elsewhere').insert(0, 'x'), '', 0],
    ]
    for (const [edit, table, visits] of edits) {
      visited = 0
      edit()
      expect({ visited, replaced }).toEqual({ visited: visits, replaced: table === '' ? [] : [table] })
    }
  })

  test('of nothing touched are not replaced', () => {
    expect(projectEntries(everything, yjsEngine.open([]).state, new Map(), context)).toEqual([])
  })

  test('have the document and the entry filled in, and no entry that an index could not hold', () => {
    const document = new Y.Doc()
    const longest = 'ä'.repeat(512)
    for (const key of ['a', 'nul\0', `${longest}x`, longest]) document.getMap('map').set(key, 'b')
    const { entries, whole } = rowsOf(everything, 'random/ü', [Y.encodeStateAsUpdate(document)])
    expect(entries).toEqual([
      { document: 'random/ü', entry: 'a', n: 0, value: 'a' },
      { document: 'random/ü', entry: 'a', n: 1, value: 'b' },
      { document: 'random/ü', entry: longest, n: 0, value: longest },
      { document: 'random/ü', entry: longest, n: 1, value: 'b' },
    ])
    expect(whole).toMatchObject([{ document: 'random/ü', body: '', plain: '' }])
    expect(() => rowsOf(everything, 'other', [])).toThrow('takes "random/:id", which "other" is not')
  })
})

test('an entry nested deeper than the stack reaches is an error of its document, and nothing else', () => {
  const document = new Y.Doc()
  document.transact(() => {
    let inner = document.getMap<unknown>('map')
    for (let i = 0; i < 20_000; i++) inner = inner.set('a', new Y.Map<unknown>())
  })
  const updates: Uint8Array[] = [Y.encodeStateAsUpdate(document)]
  const live = yjsEngine.open([])
  const touched = live.apply(updates)
  expect([...touched.get('map')!.keys]).toEqual(['a'])
  const refused =
    'Adapter "everything": "random/1" cannot be read for the table "entries": Maximum call stack'
  expect(() => projectEntries(everything, live.state, touched, context)).toThrow(refused)
  expect(() => project(everything, live.state, context)).toThrow(refused)
})

describe('what an adapter gives is checked', () => {
  const giving = (document: () => unknown): Adapter =>
    defineAdapter({
      name: 'wrong',
      version: 1,
      documents: ':id',
      sql: 'create table notes (document text primary key, value jsonb)',
      document: document as () => Record<string, Row[]>,
    })
  const rows = (adapter: Adapter) =>
    project(adapter, yjsEngine.open([]).state, { document: 'd', parameters: {} })[0]!.rows
  const value = (given: unknown) => rows(giving(() => ({ notes: [{ value: given }] })))[0]!['value']

  test.each([
    [null, null],
    [undefined, null],
    [1.5, 1.5],
    [10n, 10n],
    [{ a: [1, { b: undefined }] }, { a: [1, {}] }],
    ['a\0b\ud800', 'a\ufffdb\ufffd'],
    [{ 'k\0': ['\udc00'] }, { 'k\ufffd': ['\ufffd'] }],
  ])('%o becomes %o', (given, expected) => {
    expect(value(given)).toEqual(expected)
  })

  test('dates and bytes stay', () => {
    expect(value(new Date(0))).toEqual(new Date(0))
    expect(value(Uint8Array.of(1))).toEqual(Uint8Array.of(1))
  })

  test.each([
    ['table "notes": column "value" got NaN', () => ({ notes: [{ value: Number.NaN }] })],
    ['table "notes": column "value" got an invalid Date', () => ({ notes: [{ value: new Date('x') }] })],
    ['table "notes": column "value" got a function', () => ({ notes: [{ value: () => 1 }] })],
    ['table "notes": column "value" got a symbol', () => ({ notes: [{ value: Symbol('x') }] })],
    ['table "notes": column "value" got an object of Map', () => ({ notes: [{ value: new Map() }] })],
    ['table "notes": column "value" got an object of Date', () => ({ notes: [{ value: [new Date(0)] }] })],
    ['table "notes": column "value" got a bigint', () => ({ notes: [{ value: { deep: 1n } }] })],
    ['table "notes": gave a column "document"', () => ({ notes: [{ document: 'd' }] })],
    ['table "notes": gave null instead of a row', () => ({ notes: [null] })],
    ['table "notes" got an object of Object instead of an array', () => ({ notes: {} })],
    ['"document" gave rows for "others"', () => ({ others: [] })],
    ['"document" gave undefined instead of rows', () => undefined],
    ['"document" threw for "d": it must return its rows', async () => fail()],
    ['"document" threw for "d": oh', () => fail()],
  ])('refused: %s', (why, document) => {
    expect(() => rows(giving(document))).toThrow(`Adapter "wrong": ${why}`)
  })
})

function fail(): never {
  throw new Error('oh')
}

/** A state that gives single entries only. */
function forbidding(state: ReturnType<typeof yjsEngine.open>['state']): typeof state {
  const forbidden = { keys: fail, entries: fail, values: fail }
  return {
    ...{ text: fail, tree: fail },
    map: (name) => ({ ...state.map(name), ...forbidden }),
    list: (name) => ({ ...state.list(name), ...forbidden }),
  }
}

/** A field that is a key of a map: what several wrote at the same time are its sides where the engine keeps them; rows follow. */
import * as Automerge from '@automerge/automerge'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { defineAdapter } from '../../../../core/domain/adapter.ts'
import { multiValue } from '../../../../core/domain/kinds/multi-value.ts'
import { register } from '../../../../core/domain/kinds/register.ts'
import { project, projectEntries } from '../../../../core/domain/project.ts'
import { rowsOf } from '../../../../core/domain/rows-of.ts'
import { automergeEngine } from '../../../../core/engine/automerge/automerge-engine.ts'
import { rootChange } from '../../../../core/engine/automerge/written-entries.ts'
import { yjsEngine } from '../../../../core/engine/yjs/yjs-engine.ts'
import { TablesInMemory } from '../../../support/tables-in-memory.ts'

const deals = defineAdapter({
  name: 'deals',
  version: 1,
  documents: 'deals/:id',
  fields: {
    title: multiValue<string>({ from: { map: 'deal' } }),
    price: multiValue<number>({ from: { map: 'deal', key: 'amount' } }),
    notes: register(),
  },
  collections: { lines: { count: multiValue<number>({ from: { map: 'counts' } }), product: register() } },
  columns: { title: 'text' },
  settles: { title: ['seller'] },
})
const context = deals.contextOf('deals/1')!

type Doc = { [map in 'deal' | 'counts']: Record<string, unknown> }
const made = [rootChange('deal').chunk, rootChange('counts').chunk]

beforeAll(() => automergeEngine.load())

function replica(actor: string, from?: Automerge.Doc<Doc>): Automerge.Doc<Doc> {
  const [empty] = Automerge.applyChanges(Automerge.init<Doc>({ actor }), made)
  return from === undefined ? empty : Automerge.merge(empty, from)
}
const set = (doc: Automerge.Doc<Doc>, map: keyof Doc, key: string, value: unknown): Automerge.Doc<Doc> =>
  Automerge.change(doc, (draft) => {
    draft[map][key] = value
  })
const rows = (doc: Automerge.Doc<Doc>) => rowsOf(deals, 'deals/1', [Automerge.save(doc)], 'automerge')

describe('in an Automerge document', () => {
  const ann = set(set(replica('aa'), 'deal', 'title', 'wheat'), 'deal', 'amount', 1)
  const ben = set(replica('bb'), 'deal', 'title', 'rye')

  test('concurrent values are a conflict, in its columns and with everybody else’s', () => {
    const { deals: own, deals_conflicts: conflicts } = rows(Automerge.merge(replica('cc', ann), ben))
    const side = (value: unknown, actor: string) => ({
      value,
      actor,
      key: expect.stringMatching(`@${actor}$`),
      subject: '',
      at: null,
    })
    const sides = [side('rye', 'bb'), side('wheat', 'aa')]
    expect(own).toMatchObject([{ title: 'rye', title_conflict: sides, price: 1, price_conflict: null }])
    expect(conflicts).toEqual([
      {
        document: 'deals/1',
        entry: '.title',
        entity: '',
        field: 'title',
        sides,
        since: null,
        roles: ['seller'],
      },
    ])
    // What Automerge itself shows.
    expect(Automerge.merge(replica('cc', ann), ben).deal['title']).toBe('rye')
  })

  test('an assignment of whoever saw both settles it; one of who saw one side is a side', () => {
    const both = Automerge.merge(replica('cc', ann), ben)
    const settled = set(both, 'deal', 'title', 'oats')
    expect(rows(settled)).toMatchObject({
      deals: [{ title: 'oats', title_conflict: null }],
      deals_conflicts: [],
    })
    const late = set(replica('dd', ann), 'deal', 'title', 'barley')
    const { deals_conflicts: conflicts } = rows(Automerge.merge(settled, late))
    expect(conflicts).toMatchObject([{ sides: [{ value: 'barley' }, { value: 'oats' }] }])
  })

  test('keys of a collection’s map are entities, each with its own', () => {
    const one = set(set(replica('aa'), 'counts', '7', 1), 'counts', '8', 5)
    const both = Automerge.merge(set(replica('bb'), 'counts', '7', 2), one)
    expect(rows(both)).toMatchObject({
      deals_lines: [
        { id: '7', count: 2, count_conflict: [{ value: 2 }, { value: 1 }], product: null },
        { id: '8', count: 5, count_conflict: null },
      ],
      deals_conflicts: [{ entity: 'lines/7', field: 'count' }],
    })
    const gone = Automerge.change(both, (draft) => {
      delete draft.counts['7']
    })
    expect(rows(gone)).toMatchObject({ deals_lines: [{ id: '8' }], deals_conflicts: [] })
  })

  const steps = fc.array(
    fc.record({
      who: fc.nat(2),
      what: fc.constantFrom('set', 'set', 'set', 'delete', 'meet', 'meet'),
      place: fc.constantFrom(
        ['deal', 'title'] as const,
        ['deal', 'amount'] as const,
        ['counts', '7'] as const,
      ),
      value: fc.oneof(fc.integer({ min: 0, max: 9 }), fc.constantFrom('a', 'b'), fc.constant({ nested: 1 })),
    }),
    { minLength: 15, maxLength: 30, size: 'max' },
  )

  test('rows of a document that is followed are those of one that is read at the end', () => {
    const seen = { conflicts: 0, settled: 0 }
    fc.assert(
      fc.property(steps, fc.gen(), (history, gen) => {
        const all = ['aa', 'bb', 'cc'].map((actor) => replica(actor))
        for (const { who, what, place, value } of history) {
          const [map, key] = place
          if (what === 'meet') all[who] = Automerge.merge(all[who]!, all[(who + 1) % 3]!)
          else if (what === 'set') all[who] = set(all[who]!, map, key, value)
          else
            all[who] = Automerge.change(all[who]!, (draft) => {
              delete draft[map][key]
            })
        }
        const merged = all.slice(1).reduce((one, other) => Automerge.merge(one, other), all[0]!)
        const changes = Automerge.getAllChanges(merged)
        const updates = gen(fc.boolean)
          ? changes
          : gen(() => fc.shuffledSubarray(changes, { minLength: changes.length }))
        const live = automergeEngine.open([])
        const followed = new TablesInMemory().replace(project(deals, live.state, context))
        let before = 0
        for (const update of updates) {
          followed.replace(projectEntries(deals, live.state, live.apply([update]), context))
          const now = followed.content().filter((row) => row.startsWith('deals_conflicts')).length
          if (now > 0) seen.conflicts++
          if (now < before) seen.settled++
          before = now
        }
        live.close()
        expect(followed.content()).toEqual(TablesInMemory.contentOf(rows(merged)))
      }),
      { numRuns: 20 },
    )
    expect(Object.values(seen).every((count) => count > 0)).toBe(true)
  })

  test('an assignment made without a replica is what one of Automerge would be, and is found again', () => {
    const author = 'c'.repeat(32)
    const both = Automerge.merge(replica('cc', ann), ben)
    const values = ['oats', 7, 1.5, true, null, { a: [1, 'x', { b: [] }] }]
    for (const value of values) {
      const live = automergeEngine.open([Automerge.save(both)])
      const map = live.state.map('deal')
      expect(map.assignedBy!('title', author)).toBeNull()
      const { id, update } = map.assignment!('title', value, author)
      // Nothing has happened here.
      expect(live.state.map('deal').concurrent('title')).toHaveLength(2)
      live.apply([update])
      expect(map.concurrent('title')).toEqual([{ id, author, value }])
      const later = Automerge.change(Automerge.loadIncremental(Automerge.clone(both), update), (draft) => {
        draft.deal['title'] = 'later'
      })
      expect(Object.keys(Automerge.getConflicts(later.deal, 'title') ?? {})).toEqual([])
      live.apply(Automerge.getAllChanges(later))
      expect(map.get('title')).toBe('later')
      expect(map.assignedBy!('title', author)).toEqual({ id, author, value })
      live.close()
    }
  })
})

test('a Yjs document keeps one value: it is never in conflict', () => {
  const [one, other] = [new Y.Doc(), new Y.Doc()]
  one.getMap('deal').set('title', 'wheat')
  other.getMap('deal').set('title', 'rye')
  other.getMap('counts').set('7', 1)
  const updates = [one, other].map((doc) => Y.encodeStateAsUpdate(doc))
  const { deals: own, deals_conflicts: conflicts, deals_lines: lines } = rowsOf(deals, 'deals/1', updates)
  expect(own).toMatchObject([{ title: expect.stringMatching(/wheat|rye/), title_conflict: null }])
  expect(lines).toMatchObject([{ id: '7', count: 1 }])
  expect(conflicts).toEqual([])
  const live = yjsEngine.open(updates)
  expect(live.state.map('deal').assignment).toBeUndefined()
  live.close()
})

test.each([
  ['the map of the facts', { title: multiValue({ from: { map: 'facts' } }) }, {}],
  ['no map', { title: multiValue({ from: { map: '' } }) }, {}],
  ['a key for all entities', {}, { lines: { price: multiValue({ from: { map: 'm', key: 'price' } }) } }],
])('an adapter is refused whose field is from %s', (_what, fields, collections) => {
  expect(() =>
    defineAdapter({ name: 'deals', version: 1, documents: 'deals/:id', fields, collections }),
  ).toThrow(/map|key/)
})

/**
 * A live Automerge document says the same as one that is opened with all updates (P4), whatever their order, and says of each
 * update at least what it changed.
 */
import * as A from '@automerge/automerge'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { automergeEngine as engine } from '../../../../core/engine/automerge/automerge-engine.ts'
import type { State, Touched } from '../../../../core/engine/live-document.ts'
import { runs } from '../support.ts'
import { type Content, histories, picks } from './random-documents.ts'

beforeAll(() => engine.load())

/** All that a state says of the roots that random histories have. */
function contentOf(state: State) {
  const map = state.map('map')
  const list = state.list('list')
  return {
    map: new Map(map.entries().map(([key, value]) => [key, JSON.stringify([value, map.conflicts(key)])])),
    list: new Map(list.entries().map(([key, value]) => [key, JSON.stringify(value)])),
    order: list.keys(),
    text: JSON.stringify(state.text('text').delta()),
    written: [...map.written()].sort(),
    intact: map.keys().filter((key) => map.isIntact(key)),
  }
}

function changed(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): string[] {
  return [...new Set([...before.keys(), ...after.keys()])].filter((key) => before.get(key) !== after.get(key))
}

const plain = (touched: Touched) =>
  Object.fromEntries(
    [...touched].map(([name, { keys, elements }]) => [name, { keys: [...keys], elements: [...elements] }]),
  )

function author(initial: Content) {
  let doc = A.from<Content>(initial, { actor: 'aa' })
  const first = A.getAllChanges(doc)
  const edit = (change: (doc: Content) => unknown): Uint8Array => {
    doc = A.change(doc, (doc) => void change(doc))
    return A.getLastLocalChange(doc)!
  }
  return { first, edit }
}

describe('a live document', () => {
  test('says the same as one opened with all updates, after each of them, and names what changed', () => {
    fc.assert(
      fc.property(histories, picks, fc.nat({ max: 5 }), ({ changes }, order, known) => {
        const updates = [...order.map((pick) => changes[pick % changes.length]), ...changes].filter(
          (update) => update !== undefined,
        )
        const live = engine.open(updates.slice(0, known))
        let before = contentOf(live.state)
        for (const [i, update] of updates.slice(known).entries()) {
          const touched = live.apply([update])
          const after = contentOf(live.state)
          if (i % 4 === 0) {
            const scratch = engine.open(updates.slice(0, known + i + 1))
            expect(after).toEqual(contentOf(scratch.state))
            scratch.close()
          }
          for (const key of changed(before.map, after.map)) expect(touched.get('map')?.keys).toContain(key)
          for (const key of changed(before.list, after.list))
            expect(touched.get('list')?.elements).toContain(key)
          if (before.text !== after.text) expect([...touched.keys()]).toContain('text')
          before = after
        }
        expect(live.apply(updates)).toEqual(new Map())
        live.close()
      }),
      runs(30),
    )
  })

  test('touches for one change of a thousand entries that one', () => {
    const rows = Array.from({ length: 1000 }, (_, n) => ({ n }))
    const { first, edit } = author({
      map: Object.fromEntries(rows.map((row) => [`k${row.n}`, row])),
      list: rows,
    })
    const live = engine.open(first)
    const list = live.state.list('list')
    const keyOf500 = list.keys()[500]!
    const one = edit(({ map }) => Object.assign((map as Record<string, object>)['k7']!, { n: 70 }))
    expect(plain(live.apply([one]))).toEqual({ map: { keys: ['k7'], elements: [] } })
    const inserted = live.apply([edit(({ list }) => (list as unknown[]).splice(3, 0, 'new'))]).get('list')!
    expect(inserted.elements.size).toBe(1)
    expect(list.get([...inserted.elements][0]!)).toBe('new')
    expect(list.get(keyOf500)).toEqual({ n: 500 })
    const deleted = live.apply([edit(({ list }) => (list as unknown[]).splice(501, 1))])
    expect(plain(deleted)).toEqual({ list: { keys: [], elements: [keyOf500] } })
    expect(list.has(keyOf500)).toBe(false)
    const nested = live.apply([edit(({ list }) => Object.assign((list as object[])[0]!, { n: -1 }))])
    expect(plain(nested)).toEqual({ list: { keys: [], elements: [list.keys()[0]] } })
    live.close()
  })

  test('tells all concurrent values of a key, the chosen one last, to every replica', () => {
    const { first } = author({ map: { a: 0 } })
    const others = ['bb', 'cc'].map((actor, i) => {
      const doc = A.change(
        A.load<Content>(A.save(A.applyChanges(A.init<Content>(), first)[0]), { actor }),
        ({ map }) => void Object.assign(map as object, { a: i + 1 }),
      )
      return A.getLastLocalChange(doc)!
    })
    for (const order of [others, others.toReversed()]) {
      const live = engine.open(first)
      live.apply(order)
      expect(live.state.map('map').conflicts('a')).toEqual([1, 2])
      expect(live.state.map('map').get('a')).toBe(2)
      expect(live.state.map('map').isIntact('a')).toBe(false)
      live.close()
    }
  })

  test('knows which keys were written once, also after they are gone', () => {
    const { first, edit } = author({ facts: { a: 1, b: 1, c: 1 } })
    const live = engine.open(first)
    const map = live.state.map('facts')
    expect([map.writtenCount(), map.isIntact('a')]).toEqual([3, true])
    live.apply([
      edit(({ facts }) => {
        Object.assign(facts as object, { b: 2 })
        Reflect.deleteProperty(facts as object, 'c')
      }),
    ])
    expect([...map.written()].sort()).toEqual(['a', 'b', 'c'])
    expect(['a', 'b', 'c'].map((key) => map.isIntact(key))).toEqual([true, false, false])
    live.close()
  })

  test('reads a root as what it is asked for, and as empty when it is something else', () => {
    const { first, edit } = author({
      text: 'héllo',
      map: { a: new Date(5), b: 2n ** 60n, c: new Uint8Array([1]) },
    })
    const live = engine.open([
      ...first,
      edit((doc) => A.mark(doc, ['text'], { start: 0, end: 2, expand: 'both' }, 'bold', true)),
      edit((doc) => Object.assign(doc, { count: new A.Counter(3), plain: new A.ImmutableString('s') })),
    ])
    expect(live.state.text('text').delta()).toEqual([
      { insert: 'hé', attributes: { bold: true } },
      { insert: 'llo' },
    ])
    expect(live.state.map('map').entries()).toEqual([
      ['a', 5],
      ['b', (2n ** 60n).toString()],
      ['c', 'AQ=='],
    ])
    for (const name of ['text', 'nothing', 'count']) {
      expect(live.state.map(name).keys()).toEqual([])
      expect(live.state.list(name).entries()).toEqual([])
    }
    expect(live.state.text('map').toString()).toBe('')
    expect(engine.toJson(first)).toEqual({
      text: 'héllo',
      map: { a: 5, b: (2n ** 60n).toString(), c: 'AQ==' },
    })
    live.close()
  })
})

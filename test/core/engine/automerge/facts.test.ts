/** Entries that are written once, in Automerge: what the server writes is what Automerge reads, and nothing touches what is there. */
import * as A from '@automerge/automerge'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { automergeEngine as engine } from '../../../../core/engine/automerge/automerge-engine.ts'
import { operationsOf } from '../../../../core/engine/automerge/operations.ts'
import { rootChange } from '../../../../core/engine/automerge/written-entries.ts'
import type { Value } from '../../../../core/engine/live-document.ts'
import { concat, runs } from '../support.ts'
import { histories } from './random-documents.ts'

type OperationOf = ReturnType<typeof A.decodeChange>['ops'][number]
type Facts = { facts: Record<string, unknown>; other?: unknown }

const jsonValues = fc
  .jsonValue({ maxDepth: 3 })
  // Automerge's own objects cannot have this key.
  .map((value) => JSON.parse(JSON.stringify(value).replaceAll('__proto__', 'proto')) as Value)
const next = (replica: number, written: number) => ({ replica, written })
const rootChunk = rootChange('facts').chunk

beforeAll(() => engine.load())

function author(...updates: Uint8Array[]): A.Doc<Facts> {
  return A.loadIncremental(A.init<Facts>(), concat([rootChunk, ...updates]))
}

function changeOf(
  doc: A.Doc<Facts>,
  edit: (doc: Facts) => unknown,
): { doc: A.Doc<Facts>; update: Uint8Array } {
  const changed = A.change(doc, (doc) => void edit(doc))
  return { doc: changed, update: A.getLastLocalChange(changed)! }
}

describe('an entry that the server writes', () => {
  test('is read by Automerge as it was meant, and is the same change after it was saved and loaded', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string(), jsonValues), { minLength: 1, maxLength: 5 }), (entries) => {
        const updates = entries.map(([key, value], i) => engine.entry('facts', key, value, next(7, i)))
        const loaded = A.load<Facts>(A.save(author(...updates)))
        for (const [key] of entries) {
          const all = Object.values(A.getConflicts(loaded.facts, key) ?? { one: loaded.facts[key] })
          const meant = entries.filter(([other]) => other === key).map(([, value]) => value)
          for (const value of all) expect(meant).toContainEqual(JSON.parse(JSON.stringify(value)))
          expect(meant.length).toBe(all.length)
        }
        const stored = A.getAllChanges(loaded).map((change) => A.decodeChange(change).hash)
        for (const update of updates)
          for (const { hash } of engine.validate(update, { updateBytesMax: 1e9 }).changes)
            expect(stored).toContain(Buffer.from(hash).toString('hex'))
      }),
      runs(30),
    )
  })

  test('is a write of it, as every stored form says', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ minLength: 1 }), jsonValues, { maxKeys: 4 }), (entries) => {
        const written = Object.entries(entries)
        const updates = written.map(([key, value], i) => engine.entry('facts', key, value, next(7, i)))
        const compacted = [engine.compact(updates).bytes]
        for (const stored of [updates, compacted])
          expect(new Map(engine.writeOnce('facts', stored).written)).toEqual(new Map(written))
        const guard = engine.writeOnce('facts', [])
        const writes = updates.flatMap((update) => {
          const examined = guard.examine(update)
          expect(examined.refused).toBeNull()
          examined.accept()
          return examined.writes
        })
        expect(new Map(writes)).toEqual(new Map(written))
      }),
      runs(30),
    )
  })
})

test('the map of facts is made by a change that any client can make with Automerge', () => {
  const actor = Buffer.from('tidemark:facts').toString('hex')
  const doc = A.change(A.init<Facts>({ actor }), { time: 0 }, (doc) => void Object.assign(doc, { facts: {} }))
  expect(A.getLastLocalChange(doc)).toEqual(rootChunk)
})

describe('a guard', () => {
  const value = { kind: 'order', lines: ['a', { n: 1 }], at: 1.5 }

  test('reads what a client writes, in any of its forms', () => {
    const { doc, update } = changeOf(author(), (doc) => {
      doc.facts['k'] = value
      doc.facts['text'] = 'héllo😀'
      doc.other = { free: ['x'] }
    })
    const guard = engine.writeOnce('facts', [rootChunk])
    const examined = guard.examine(update)
    expect(examined).toMatchObject({
      refused: null,
      writes: [
        ['k', value],
        ['text', 'héllo😀'],
      ],
    })
    examined.accept()
    expect(guard.examine(update).writes).toEqual([])
    for (const stored of [[A.save(doc)], A.getAllChanges(doc)])
      expect(new Map(engine.writeOnce('facts', stored).written)).toEqual(
        new Map<string, unknown>([
          ['k', value],
          ['text', 'héllo😀'],
        ]),
      )
  })

  const edits: Record<string, readonly [reason: string, edit: (doc: Facts) => unknown]> = {
    'writes the key again': ['rewrites', ({ facts }) => Object.assign(facts, { k: 1 })],
    'writes into the value': ['rewrites', ({ facts }) => Object.assign(facts['k'] as object, { at: 2 })],
    'appends to a list in it': ['rewrites', ({ facts }) => (facts['k'] as typeof value).lines.push('more')],
    'types into a text in it': ['rewrites', (doc) => A.splice(doc, ['facts', 'k', 'kind'], 0, 0, 'x')],
    'takes from a text in it': ['deletes', (doc) => A.splice(doc, ['facts', 'k', 'kind'], 0, 1)],
    'deletes the key': ['deletes', ({ facts }) => Reflect.deleteProperty(facts, 'k')],
    'deletes the map': ['deletes', (doc) => Reflect.deleteProperty(doc, 'facts')],
    'replaces the map': ['no_entry', (doc) => Object.assign(doc, { facts: {} })],
    'writes twice at once': [
      'rewrites',
      ({ facts }) => {
        facts['new'] = { a: 1 }
        Object.assign(facts['new'] as object, { a: 2 })
      },
    ],
  }
  test.each(Object.entries(edits))('refuses what %s', (_, [reason, edit]) => {
    const first = changeOf(author(), ({ facts }) => Object.assign(facts, { k: value }))
    const { update } = changeOf(first.doc, edit)
    for (const stored of [[rootChunk, first.update], [engine.compact([rootChunk, first.update]).bytes]])
      expect(engine.writeOnce('facts', stored).examine(update).refused).toBe(reason)
  })

  test('refuses what builds on what is not there, and a map of somebody’s own', () => {
    const first = changeOf(author(), (doc) => Object.assign(doc, { other: 1 }))
    const second = changeOf(first.doc, ({ facts }) => Object.assign(facts, { k: 1 }))
    const guard = engine.writeOnce('facts', [rootChunk])
    expect(guard.examine(second.update).refused).toBe('incomplete')
    expect(guard.examine(concat([first.update, second.update]))).toMatchObject({
      refused: null,
      writes: [['k', 1]],
    })
    // Who knows a compacted document by its objects only notices too.
    const third = changeOf(second.doc, ({ facts }) => Object.assign(facts, { l: { a: 1 } }))
    const fourth = changeOf(third.doc, ({ facts }) => Object.assign(facts['l'] as object, { a: 2 }))
    const compacted = engine.writeOnce('facts', [engine.compact([rootChunk, first.update]).bytes])
    expect(compacted.examine(fourth.update).refused).toBe('incomplete')
    expect(compacted.examine(concat([third.update, fourth.update])).refused).toBe('rewrites')
    const own = changeOf(A.init<Facts>(), (doc) => Object.assign(doc, { facts: { k: 1 } }))
    expect(guard.examine(own.update).refused).toBe('no_entry')
  })

  test('lets everything else through', () => {
    fc.assert(
      fc.property(histories, ({ changes }) => {
        const guard = engine.writeOnce('facts', [])
        const waiting = new Set(changes)
        for (let before = -1; before !== waiting.size; ) {
          before = waiting.size
          for (const change of waiting) {
            const examined = guard.examine(change)
            expect([null, 'incomplete']).toContain(examined.refused)
            expect(examined.writes).toEqual([])
            if (examined.refused !== null) continue
            examined.accept()
            waiting.delete(change)
          }
        }
        expect(waiting.size).toBe(0)
      }),
      runs(25),
    )
  })
})

test('operations are read as Automerge reads them', () => {
  fc.assert(
    fc.property(histories, ({ changes }) => {
      for (const change of changes) {
        const decoded = A.decodeChange(change)
        const { changes } = engine.validate(change, { updateBytesMax: 1e9 })
        const operations = [...operationsOf(changes[0]!.bytes)]
        expect(operations.length).toBe(decoded.ops.length)
        for (const [i, operation] of operations.entries()) {
          const op = decoded.ops[i]! as OperationOf & { elemId?: string; insert?: boolean }
          expect(operation).toMatchObject({
            object: op.obj,
            key: op.key ?? null,
            element: op.key !== undefined || op.elemId === '_head' ? null : op.elemId,
            inserts: op.insert ?? false,
            others: op.pred,
          })
          expect(operation.id).toBe(`${decoded.startOp + i}@${decoded.actor}`)
        }
      }
    }),
    runs(25),
  )
})

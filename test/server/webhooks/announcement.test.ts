/** What is said of a document is what the fold of its log says, however much of it was known before. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { engines } from '../../../core/engine/engines.ts'
import { noOffset, toOffset } from '../../../core/offset.ts'
import { type Content, fold, metadataOf, statement } from '../../../server/log/lineage.ts'
import type { Entry, Loaded, NewEntry } from '../../../server/log/log.ts'
import { announcementOf, type Head, headOf } from '../../../server/webhooks/announcement.ts'
import { documentOf } from '../../contract/log-model.ts'

const engine = engines.yjs
const none = new Uint8Array()
/** What is in it does not matter here. */
const state = engine.compact([new Uint8Array([0, 0])])

describe('the head of a document', () => {
  const kinds = fc.constantFrom('update', 'removal', 'creation', 'quarantine', 'release', 'discard' as const)
  const step = fc.record({
    kind: kinds,
    about: fc.nat(10),
    after: fc.constantFrom('', 'look', 'compact' as const),
  })

  it('is the one that the fold finds', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), (steps) => {
        let loaded: Loaded = { snapshot: null, tail: [], offset: noOffset }
        let known: Head | null = null
        let content: Content = fold(loaded)
        for (const { kind, about, after } of steps) {
          const from = { timeMs: 1_000 + loaded.offset, author: '', origin: '' }
          const entry: NewEntry =
            kind === 'update'
              ? { ...from, epoch: content.lineage.epoch, update: new Uint8Array([0, 0]) }
              : statement(kind, from, [about])
          const offset = toOffset(loaded.offset + 1)
          const tail: Entry[] = [...loaded.tail, { ...entry, offset }]
          loaded = { ...loaded, tail, offset }
          content = fold(loaded)
          const { epoch, removed } = content.lineage
          const expected = { offset, epoch, removed, timeMs: from.timeMs }
          expect(headOf(loaded, null)).toEqual(expected)
          expect(headOf(partOf(loaded, known), known)).toEqual(expected)
          if (after === 'look') known = headOf(partOf(loaded, known), known)
          if (after === 'compact') {
            const metadata = metadataOf(content, loaded)
            loaded = { snapshot: { ...state, offset, metadata }, tail: [], offset }
            expect(headOf(loaded, null)).toEqual(expected)
          }
        }
      }),
      { numRuns: 200 },
    )
  })

  /** What `Log.load` gives a reader who knows so much. */
  function partOf(loaded: Loaded, known: Head | null): Loaded {
    if (known === null || known.offset < (loaded.snapshot?.offset ?? 0)) return loaded
    const tail = loaded.tail.filter(({ offset }) => offset > known.offset)
    return { snapshot: null, tail, offset: loaded.offset }
  }

  it('is an error where the metadata is damaged, not a first lineage', () => {
    const snapshot = { offset: toOffset(1), bytes: none, index: none, metadata: new Uint8Array([99]) }
    expect(() => headOf({ snapshot, tail: [], offset: toOffset(1) }, null)).toThrow(/metadata is damaged/)
  })
})

describe('an announcement', () => {
  const head: Head = { offset: toOffset(7), epoch: toOffset(3), removed: false, timeMs: 1_767_225_600_000 }

  it('is what docs/webhooks.md shows, with an id of its own for each document and offset', () => {
    const { id, body } = announcementOf(documentOf('deals/harvest-42'), head, 0)
    expect(body).toBe(
      '{"type":"document.changed","timestamp":"2026-01-01T00:00:00.000Z",' +
        '"data":{"document":"deals/harvest-42","offset":7,"epoch":3}}',
    )
    expect(id).toMatch(/^msg_[\w-]{32}$/)
    const other = announcementOf(documentOf('deals/harvest-43'), head, 0)
    const later = announcementOf(documentOf('deals/harvest-42'), { ...head, offset: toOffset(8) }, 0)
    expect(new Set([id, other.id, later.id]).size).toBe(3)
    expect(announcementOf(documentOf('deals/harvest-42'), { ...head, removed: true }, 9).id).toBe(id)
  })
})

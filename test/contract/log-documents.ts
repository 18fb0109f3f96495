/**
 * The part of the log contract that looks over all documents: `list` and `changes`. A list may lag an
 * append by a moment, so it is waited for; changes are there with the ack. Storage is empty at the start
 * of a test, but runs of a property share it: they look at their own documents only.
 */
import fc from 'fast-check'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import type { DocumentId } from '../../core/document-id.ts'
import { noOffset } from '../../core/offset.ts'
import type { Log } from '../../server/log/log.ts'
import {
  changesFrom,
  compactTo,
  contentsOf,
  documentOf,
  entriesOf,
  entryOf,
  expectAscending,
  freshDocument,
  snapshotOf,
} from './log-model.ts'

export interface DocumentsContractContext {
  readonly log: Log
  readonly document: DocumentId
  /** The context's log is another one afterwards. */
  reopen(): Promise<void>
  readonly secondNode?: (() => Promise<Log>) | undefined
}

const hiddenOf = (name: string): DocumentId => `\u0000${name}` as DocumentId

export function documentsContract(current: () => DocumentsContractContext): void {
  let document: DocumentId
  const log = (): Log => current().log
  const append = (id: DocumentId, text = 'a') => log().append(id, [entryOf(text)])
  const documentsFrom = async (after: number, countMax?: number) =>
    (await changesFrom(log(), after, countMax)).map((change) => change.document)
  /** Where a reader is who has read everything. */
  const end = async () => (await changesFrom(log(), 0)).at(-1)?.sequence ?? 0

  beforeEach(() => {
    document = current().document
  })

  describe('list', () => {
    /** Ids of which the order as UTF-8 is not that of UTF-16, nor that of any language. */
    const names = [
      'a',
      'a b',
      'a/b',
      'a/b/c',
      'ab',
      'b',
      'B',
      '~',
      '\u00e4',
      'a\u0308',
      '\uff5e',
      '\u{1f33e}',
    ]
    names.push('\u{1f33e}/x', '\ufb01', '\ud7ff', '{a}', '%', 'long'.repeat(60), `${'long'.repeat(60)}\uff5e`)
    const inOrder = (ids: readonly string[]) =>
      [...ids].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    const ids = inOrder(names).map(documentOf)

    async function listed(prefix: string, countMax: number, from: Log = log()): Promise<DocumentId[]> {
      const found: DocumentId[] = []
      for (;;) {
        const page = await from.list(prefix, found.at(-1) ?? '', countMax)
        expect(page.length).toBeLessThanOrEqual(countMax)
        if (page.length === 0) return found
        found.push(...page)
      }
    }

    const listsTo = (prefix: string, expected: readonly string[], from?: Log) =>
      vi.waitFor(async () => expect(await listed(prefix, 100, from)).toEqual(expected), { timeout: 100_000 })

    it('names documents with entries in the order of their UTF-8 bytes, through compaction and reopening', async () => {
      await listsTo('', [])
      const [later, soon] = [ids.filter((_, i) => i % 3 === 0), ids.filter((_, i) => i % 3 !== 0)]
      for (const id of [...soon].reverse()) await append(id)
      await listsTo('', soon)
      for (const id of soon.slice(0, 5)) expect(await compactTo(log(), id)).toBe(true)
      await listsTo('', soon)
      await current().reopen()
      await listsTo('', soon)
      await Promise.all([...later, ...soon].map((id) => append(id)))
      await listsTo('', ids)
      for (const countMax of [1, 2, 3, ids.length]) expect(await listed('', countMax)).toEqual(ids)
      if (current().secondNode !== undefined) await listsTo('', ids, await current().secondNode!())
    })

    it('keeps to a prefix, and to what comes after the cursor, whether or not that exists', async () => {
      for (const id of ids) await append(id)
      await listsTo('', ids)
      for (const again of [false, true]) {
        if (again) await current().reopen()
        for (const prefix of ['a', 'a/', 'b', 'long', '\u{1f33e}', '\uff5e', 'ab', 'abc', 'A', '\u{10ffff}'])
          expect(await listed(prefix, 2), prefix).toEqual(ids.filter((id) => id.startsWith(prefix)))
        for (const after of [...ids, 'a!', 'a/b/', '\uff00', '\u{10ffff}', '!', 'long']) {
          const follow = ids.filter((id) => Buffer.compare(Buffer.from(id), Buffer.from(after)) > 0)
          expect(await log().list('', after, 100), after).toEqual(follow)
          expect(await log().list('a', after, 2)).toEqual(
            follow.filter((id) => id.startsWith('a')).slice(0, 2),
          )
        }
      }
    })

    it('names nothing that was only looked at, nor what Tidemark keeps for itself', async () => {
      await append(document)
      await log().load(freshDocument())
      await log().append(freshDocument(), [])
      await log().lease(freshDocument(), 1_000)
      for (const name of ['kept', 'compacted']) await append(hiddenOf(name), 'hidden')
      expect(await compactTo(log(), hiddenOf('compacted'))).toBe(true)
      await listsTo('', [document])
      await current().reopen()
      await listsTo('', [document])
      for (const name of ['kept', 'compacted'])
        expect(contentsOf(await log().load(hiddenOf(name)))).toEqual(['hidden'])
    })
  })

  describe('changes', () => {
    const fresh = (count: number) => Array.from({ length: count }, freshDocument)

    it('names each document once, in the order of their latest entries', async () => {
      expect(await log().changes(0, 10)).toEqual([])
      const [a, b, c] = fresh(3) as [DocumentId, DocumentId, DocumentId]
      for (const id of [a, b, c, a, b, a]) await append(id)
      for (const again of [false, true]) {
        if (again) await current().reopen()
        expect(await documentsFrom(0)).toEqual([c, b, a])
        expect(await documentsFrom(0, 1)).toEqual([c, b, a])
      }
      const [toC, toB, toA] = await log().changes(0, 10)
      expect(await log().changes(toC!.sequence, 10)).toEqual([toB, toA])
      expect(await log().changes(toA!.sequence, 10)).toEqual([])
      await append(c)
      const [again] = await log().changes(toA!.sequence, 10)
      expect(again!.document).toBe(c)
      expect(await log().changes(0, 10)).toEqual([toB, toA, again])
    })

    it('keeps the order, and goes on with it, over compactions and restarts', async () => {
      const ids = fresh(6)
      let after = 0
      for (let round = 0; round < 4; round++) {
        for (const id of ids) await append(id, `${round}`)
        if (round % 2 === 1) for (const id of ids.slice(round)) expect(await compactTo(log(), id)).toBe(true)
        const changes = await changesFrom(log(), after)
        expect(changes.map((change) => change.document)).toEqual(ids)
        await current().reopen()
        expect(await changesFrom(log(), after)).toEqual(changes)
        expect(await changesFrom(log(), 0)).toEqual(changes)
        after = changes.at(-1)!.sequence
        ids.reverse()
      }
    })

    it('calls nothing a change but entries: no compaction, no retried push, no empty append', async () => {
      const push = entryOf('pushed', { replica: 'r', sequence: 1 })
      await log().append(document, [push, entryOf('more')])
      const after = await end()
      expect(await compactTo(log(), document, 1)).toBe(true)
      expect(await compactTo(log(), document)).toBe(true)
      const { snapshot, offset } = await log().load(document)
      expect(await log().compact(document, snapshot!, offset)).toBe(true)
      expect((await log().append(document, [push]))[0]!.duplicate).toBe(true)
      await log().append(document, [])
      expect(await log().compact(document, snapshotOf(2, []), noOffset)).toBe(false)
      for (const again of [false, true]) {
        if (again) await current().reopen()
        expect(await log().changes(after, 10)).toEqual([])
        expect(await documentsFrom(0)).toEqual([document])
      }
    })

    it('loses none to paging, however many became durable together', async () => {
      const ids = fresh(60)
      await Promise.all(ids.map((id) => append(id)))
      const last = ids.slice(0, 7)
      await Promise.all(last.map((id) => append(id)))
      for (const again of [false, true]) {
        if (again) await current().reopen()
        for (const countMax of [1, 2, 7, 59, 1_000]) {
          const found = await documentsFrom(0, countMax)
          expect([...found].sort()).toEqual([...ids].sort())
          expect(found.slice(-7).sort()).toEqual([...last].sort())
        }
        const [first] = await log().changes(0, 1)
        expect((await documentsFrom(first!.sequence, 3)).length).toBeLessThan(ids.length)
      }
    })

    it('does not name what Tidemark keeps for itself, nor is it held up by it', async () => {
      const hidden = Array.from({ length: 20 }, (_, i) => hiddenOf(`${i}`))
      for (const id of hidden) await append(id)
      await append(document)
      for (const id of hidden) await append(id)
      expect(await compactTo(log(), hidden[0]!)).toBe(true)
      for (const again of [false, true]) {
        if (again) await current().reopen()
        expect(await documentsFrom(0, 1)).toEqual([document])
        expect(await log().changes(await end(), 1)).toEqual([])
      }
    })

    it('names a document again for entries that came while its change was being read', async () => {
      let appending = true
      let acked = 0
      const write = async () => {
        try {
          for (let i = 1; i <= 100; i++) {
            await log().append(document, entriesOf(`${i}-`, 2))
            acked += 2
          }
        } finally {
          appending = false
        }
      }
      let after = 0
      let seen = 0
      const read = async () => {
        for (let last = false; !last; ) {
          last = !appending
          const before = acked
          const page = await log().changes(after, 1)
          if (page.length > 0) {
            after = page.at(-1)!.sequence
            seen = (await log().load(document)).offset
          }
          // Nothing new told: what was acked before asking was there already.
          expect(seen).toBeGreaterThanOrEqual(before)
        }
      }
      await Promise.all([write(), read()])
      expect(seen).toBe(200)
    })

    it('tells every node of what any node appended', async () => {
      const { secondNode } = current()
      if (secondNode === undefined) return
      const second = await secondNode()
      const [a, b] = fresh(2) as [DocumentId, DocumentId]
      await append(a)
      await second.append(b, [entryOf('b')])
      await append(document)
      for (const node of [log(), second])
        expect((await changesFrom(node, 0, 1)).map((change) => change.document)).toEqual([a, b, document])
    })

    it('leaves no reader without the latest entries, under random appends, compactions, pages and restarts', async () => {
      const which = fc.nat(5)
      const step = fc.oneof(
        {
          weight: 6,
          arbitrary: fc.record({
            do: fc.constant('append' as const),
            which,
            count: fc.integer({ min: 1, max: 3 }),
          }),
        },
        {
          weight: 3,
          arbitrary: fc.record({
            do: fc.constant('together' as const),
            many: fc.array(which, { maxLength: 8 }),
          }),
        },
        {
          weight: 4,
          arbitrary: fc.record({
            do: fc.constant('page' as const),
            countMax: fc.integer({ min: 1, max: 4 }),
          }),
        },
        { weight: 2, arbitrary: fc.record({ do: fc.constant('compact' as const), which }) },
        { weight: 1, arbitrary: fc.record({ do: fc.constant('settle' as const) }) },
        { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
      )
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 40 }), async (steps) => {
          const documents = fresh(6)
          const heads = new Map<DocumentId, number>()
          const seen = new Map<DocumentId, number>()
          let after = await end()
          const start = after
          let pending: Promise<unknown>[] = []
          const add = (id: DocumentId, count: number) => {
            pending.push(
              log()
                .append(id, entriesOf('x', count))
                .then((acks) => {
                  heads.set(id, Math.max(heads.get(id) ?? 0, acks.at(-1)!.offset))
                }),
            )
          }
          const page = async (countMax: number) => {
            const changes = await log().changes(after, countMax)
            if (changes.length === 0) return false
            expectAscending(changes, after)
            after = changes.at(-1)!.sequence
            for (const change of changes)
              seen.set(change.document, (await log().load(change.document)).offset)
            return true
          }
          const settle = async () => {
            await Promise.all(pending)
            pending = []
            while (await page(2));
            expect(seen).toEqual(heads)
            const all = await changesFrom(log(), start, 3)
            expect(new Set(all.map(({ document }) => document)).size).toBe(all.length)
            expect(all.map(({ document }) => document).sort()).toEqual([...heads.keys()].sort())
          }
          for (const action of steps)
            switch (action.do) {
              case 'append':
                add(documents[action.which]!, action.count)
                break
              case 'together':
                for (const each of action.many) add(documents[each]!, 1)
                break
              case 'page':
                await page(action.countMax)
                break
              case 'compact':
                pending.push(compactTo(log(), documents[action.which]!))
                break
              case 'settle':
                await settle()
                break
              case 'restart':
                await Promise.all(pending)
                await current().reopen()
                break
            }
          await settle()
        }),
        { numRuns: 20, endOnFailure: false },
      )
    })
  })
}

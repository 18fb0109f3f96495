/**
 * The contract of a log, held by every implementation on real storage. A test file of an
 * implementation calls `logContract('lmdb', makeLog, …)`; everything here goes through the verbs
 * only; those over all documents are in log-documents.ts.
 *
 * `makeLog` gives a started log on empty storage. Faults are injected where the implementation
 * calls its `onStep` hook: `failAt(step)` makes the hook throw once at the next arrival there, which
 * stands for a crash at that point; `reopen()` then opens the storage anew, as a restart would.
 */
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { DocumentId } from '../../core/document-id.ts'
import { noOffset, toOffset } from '../../core/offset.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import { type EntryKind, entryKinds, type Log, type NewEntry } from '../../server/log/log.ts'
import { documentsContract } from './log-documents.ts'
import {
  changesFrom,
  compactTo,
  contentsOf,
  DocumentModel,
  documentOf,
  entriesOf,
  entryOf,
  freshDocument,
  RecordingFollower,
  snapshotOf,
  textOf,
  textsOf,
} from './log-model.ts'

export interface LogUnderTest {
  readonly log: Log
  /** Closes every log that was opened on this storage and opens it again. */
  reopen(): Promise<Log>
  /** Another node on the same storage, where the kind has nodes. */
  secondNode?(): Promise<Log>
  /** Throw once in the `onStep` hook at the next arrival at this step; null disarms. */
  failAt(step: string | null): void
  /** Closes what is open and removes the storage. */
  cleanup(): Promise<void>
}

export interface LogContractOptions {
  /** Names passed to `onStep` while appending. */
  readonly appendSteps: readonly string[]
  /** Names passed to `onStep` while compacting, from first to last. */
  readonly compactSteps: readonly string[]
  /** Whether `secondNode` is there. */
  readonly nodes: boolean
}

export function logContract(
  name: string,
  makeLog: () => Promise<LogUnderTest>,
  options: LogContractOptions,
): void {
  describe(`the log contract: ${name}`, () => {
    let subject: LogUnderTest
    let log: Log
    let document: DocumentId

    beforeEach(async () => {
      subject = await makeLog()
      log = subject.log
      document = freshDocument()
    })

    afterEach(async () => {
      await subject.cleanup()
    })

    const appendTexts = (prefix: string, count: number) => log.append(document, entriesOf(prefix, count))
    const reopen = async () => {
      log = await subject.reopen()
    }

    describe('append', () => {
      it('numbers the entries of a document from 1 without gap', async () => {
        expect(await appendTexts('a', 3)).toEqual([
          { offset: 1, duplicate: false },
          { offset: 2, duplicate: false },
          { offset: 3, duplicate: false },
        ])
        expect(await appendTexts('b', 1)).toEqual([{ offset: 4, duplicate: false }])
        expect(contentsOf(await log.load(document))).toEqual(['a1', 'a2', 'a3', 'b1'])
      })

      it('appends nothing for no entries', async () => {
        expect(await log.append(document, [])).toEqual([])
        expect(await log.load(document)).toEqual({ snapshot: null, tail: [], offset: 0 })
      })

      it('keeps offsets contiguous and calls whole and in their order under concurrency', async () => {
        const model = new DocumentModel()
        const calls = Array.from({ length: 60 }, (_, i) => entriesOf(`${i}-`, (i % 4) + 1))
        const acks = await Promise.all(calls.map((entries) => log.append(document, entries)))
        for (const [i, entries] of calls.entries()) {
          model.acked(entries, acks[i]!)
          expect(acks[i]!.at(-1)!.offset - acks[i]![0]!.offset).toBe(entries.length - 1)
          if (i > 0) expect(acks[i]![0]!.offset).toBeGreaterThan(acks[i - 1]!.at(-1)!.offset)
        }
        expect(contentsOf(await log.load(document))).toEqual(model.contents())
      })

      it('keeps everything of an entry', async () => {
        const entry = {
          timeMs: 1_763_715_298_123,
          author: 'zoë \u{1f33e}',
          origin: 'node-1/7',
          key: { replica: 'r'.repeat(200), sequence: 2 ** 40 },
          update: Uint8Array.from({ length: 256 }, (_, i) => i),
        }
        const { key, ...bare } = entry
        await log.append(document, [entry, bare])
        await reopen()
        const { tail } = await log.load(document)
        expect(tail.map((kept) => ({ ...kept, update: textOf(kept.update) }))).toEqual([
          { ...bare, key, update: textOf(entry.update), offset: 1 },
          { ...bare, update: textOf(entry.update), offset: 2 },
        ])
      })

      it('keeps the kind and the epoch of an entry, for loads and for followers', async () => {
        const kinds = Object.keys(entryKinds) as EntryKind[]
        const entries = kinds.flatMap((kind, i) => [
          { ...entryOf(kind), kind },
          { ...entryOf(`${kind} of an epoch`), kind, epoch: toOffset(2 ** (i * 9)) },
          { ...entryOf(`${kind} by a key`, { replica: kind, sequence: 1 }), kind, epoch: toOffset(i + 1) },
        ])
        entries.push({ ...entryOf('of an epoch'), kind: 'update', epoch: toOffset(2 ** 40) })
        const meaning = ({ kind, epoch, update, key }: NewEntry) => ({
          kind: kind ?? 'update',
          epoch: epoch ?? noOffset,
          text: textOf(update),
          key,
        })
        const early = new RecordingFollower()
        await log.follow(document, noOffset, early)
        await log.append(document, entries)
        for (const again of [false, true]) {
          if (again) await reopen()
          const late = new RecordingFollower()
          await log.follow(document, noOffset, late)
          await late.reaches(entries.length)
          expect(late.entries.map(meaning)).toEqual(entries.map(meaning))
          expect((await log.load(document)).tail.map(meaning)).toEqual(entries.map(meaning))
        }
        await early.reaches(entries.length)
        expect(early.entries.map(meaning)).toEqual(entries.map(meaning))
      })

      it('takes entries from no bytes to several megabytes, binary safe', async () => {
        const large = Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * 31 + (i >> 8)) & 0xff)
        const updates = [new Uint8Array(0), Uint8Array.of(0), large, Uint8Array.of(13, 10, 0, 255, 36, 42)]
        const follower = new RecordingFollower()
        await log.follow(document, noOffset, follower)
        await Promise.all(updates.map((update) => log.append(document, [entryOf(update)])))
        await follower.reaches(updates.length)
        await reopen()
        const { tail } = await log.load(document)
        for (const [i, update] of updates.entries()) {
          expect(Buffer.compare(tail[i]!.update, update)).toBe(0)
          expect(Buffer.compare(follower.entries[i]!.update, update)).toBe(0)
        }
      })

      it('does not look at an update again after the ack', async () => {
        const update = new TextEncoder().encode('mine')
        const appended = log.append(document, [entryOf(update)])
        await appended
        update.fill(0)
        expect(contentsOf(await log.load(document))).toEqual(['mine'])
      })

      it('keeps documents apart, whatever their ids look like', async () => {
        const ids = ['a', 'a/b', 'a b', '{a}', '{a', 'a}', '{', '}{', '{}', 'a:log', 'a%7Blog', 'a%', '%7B']
        ids.push('ä/\u{1f33e}', 'a\u0301', '\u00e1', '*', '[a]', '\u2028', 'é'.repeat(256), 'x'.repeat(512))
        const documents = ids.map(documentOf)
        await Promise.all(
          documents.map((id, i) => log.append(id, [entryOf(`1 of ${i}`), entryOf(`2 of ${i}`)])),
        )
        for (const [i, id] of documents.entries())
          if (i % 2 === 0) expect(await compactTo(log, id, 1)).toBe(true)
        await reopen()
        for (const [i, id] of documents.entries())
          expect(contentsOf(await log.load(id))).toEqual([`1 of ${i}`, `2 of ${i}`])
      })

      for (const step of options.appendSteps)
        it(`loses nothing that was acked and gives no offset twice after a crash at ${step}`, async () => {
          const model = new DocumentModel()
          const before = entriesOf('before', 2)
          model.acked(before, await log.append(document, before))
          const key = { replica: 'r', sequence: 1 }
          const torn = entryOf('torn', key)
          subject.failAt(step)
          await expect(log.append(document, [torn])).rejects.toThrow()
          subject.failAt(null)
          await reopen()
          const contents = contentsOf(await log.load(document))
          expect(contents.slice(0, 2)).toEqual(['before1', 'before2'])
          const [retried] = await log.append(document, [torn])
          expect(retried).toEqual({ offset: 3, duplicate: contents.length === 3 })
          expect(contentsOf(await log.load(document))).toEqual(['before1', 'before2', 'torn'])
          expect((await changesFrom(log, 0)).map((change) => change.document)).toEqual([document])
        })
    })

    describe('duplicates', () => {
      const push = (sequence: number, replica = 'r') =>
        entryOf(`${replica}${sequence}`, { replica, sequence })

      it('appends a retried push once, and names an offset at or after the first', async () => {
        await log.append(document, [push(1), push(2)])
        expect(await log.append(document, [push(2)])).toEqual([{ offset: 2, duplicate: true }])
        const [old] = await log.append(document, [push(1)])
        expect(old!.duplicate).toBe(true)
        expect(old!.offset).toBeGreaterThanOrEqual(1)
        expect(contentsOf(await log.load(document))).toEqual(['r1', 'r2'])
      })

      it('finds duplicates within one call and between concurrent calls', async () => {
        const calls = [[push(1), push(1), push(2)], [push(2), push(3)], [push(3)], [push(1, 's'), push(4)]]
        const model = new DocumentModel()
        const acks = await Promise.all(calls.map((entries) => log.append(document, entries)))
        for (const [i, entries] of calls.entries()) model.acked(entries, acks[i]!)
        expect(contentsOf(await log.load(document))).toEqual(['r1', 'r2', 'r3', 's1', 'r4'])
      })

      it('keeps replicas and documents apart', async () => {
        const other = freshDocument()
        await log.append(document, [push(7)])
        expect((await log.append(other, [push(7)]))[0]!.duplicate).toBe(false)
        expect((await log.append(document, [push(7, 's')]))[0]!.duplicate).toBe(false)
        expect((await log.append(document, [push(7, 'r ')]))[0]!.duplicate).toBe(false)
      })

      it('knows a push again after compaction and reopening', async () => {
        await log.append(document, [push(1), push(2)])
        await compactTo(log, document)
        expect(await log.append(document, [push(2)])).toEqual([{ offset: 2, duplicate: true }])
        await reopen()
        expect(await log.append(document, [push(2), push(3)])).toEqual([
          { offset: 2, duplicate: true },
          { offset: 3, duplicate: false },
        ])
        expect(contentsOf(await log.load(document))).toEqual(['r1', 'r2', 'r3'])
      })

      it('does not deliver a duplicate to followers', async () => {
        const follower = new RecordingFollower()
        await log.follow(document, noOffset, follower)
        await log.append(document, [push(1), push(1), push(2)])
        await log.append(document, [push(1)])
        await log.append(document, [push(3)])
        await follower.reaches(3)
        expect(textsOf(follower.entries)).toEqual(['r1', 'r2', 'r3'])
      })
    })

    describe('load and compact', () => {
      it('loads nothing for a document that never was', async () => {
        expect(await log.load(document)).toEqual({ snapshot: null, tail: [], offset: 0 })
      })

      it('loads the snapshot and the entries after it', async () => {
        await appendTexts('a', 5)
        expect(await compactTo(log, document, 3)).toBe(true)
        const loaded = await log.load(document)
        expect(loaded.snapshot!.offset).toBe(3)
        expect(textsOf(loaded.tail)).toEqual(['a4', 'a5'])
        expect(loaded.offset).toBe(5)
        await reopen()
        expect(contentsOf(await log.load(document))).toEqual(['a1', 'a2', 'a3', 'a4', 'a5'])
      })

      it('loads only what follows an offset, without the snapshot, while that is still there', async () => {
        await appendTexts('a', 3)
        await compactTo(log, document)
        await appendTexts('b', 3)
        for (const again of [false, true]) {
          if (again) await reopen()
          for (const [after, texts] of [
            [3, ['b1', 'b2', 'b3']],
            [5, ['b3']],
            [6, []],
          ] as const) {
            const loaded = await log.load(document, toOffset(after))
            expect([loaded.snapshot, textsOf(loaded.tail), loaded.offset]).toEqual([null, texts, 6])
          }
        }
      })

      it('loads the whole state for an offset that was compacted away, or that nobody was given', async () => {
        await appendTexts('a', 6)
        await compactTo(log, document, 4)
        for (const after of [0, 1, 3, 7, 1_000]) {
          const loaded = await log.load(document, toOffset(after))
          expect(contentsOf(loaded)).toEqual(['a1', 'a2', 'a3', 'a4', 'a5', 'a6'])
        }
      })

      it('keeps a snapshot byte for byte, the empty and the large', async () => {
        await appendTexts('a', 2)
        const none = new Uint8Array(0)
        const empty = { offset: toOffset(1), bytes: none, index: none, metadata: none }
        expect(await log.compact(document, empty, noOffset)).toBe(true)
        const kept = (await log.load(document)).snapshot!
        expect([kept.offset, kept.bytes.length, kept.index.length, kept.metadata.length]).toEqual([
          1, 0, 0, 0,
        ])
        const bytes = Uint8Array.from({ length: 5_000_000 }, (_, i) => (i * 7) & 0xff)
        const index = Uint8Array.from({ length: 1_000 }, (_, i) => i & 0xff)
        const metadata = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 3) & 0xff)
        const large = { offset: toOffset(2), bytes, index, metadata }
        expect(await log.compact(document, large, toOffset(1))).toBe(true)
        await reopen()
        const { snapshot } = await log.load(document)
        expect(Buffer.compare(snapshot!.bytes, bytes)).toBe(0)
        expect(Buffer.compare(snapshot!.index, index)).toBe(0)
        expect(Buffer.compare(snapshot!.metadata, metadata)).toBe(0)
      })

      it('replaces a snapshot by one at the same offset, and nothing else', async () => {
        await appendTexts('a', 4)
        await compactTo(log, document, 3)
        const follower = new RecordingFollower(3)
        await log.follow(document, toOffset(3), follower)
        const [bytes, index, metadata] = ['elsewhere', '', 'where'].map((text) => Buffer.from(text))
        const moved = { offset: toOffset(3), bytes: bytes!, index: index!, metadata: metadata! }
        expect(await log.compact(document, moved, toOffset(2))).toBe(false)
        expect(await log.compact(document, moved, toOffset(3))).toBe(true)
        expect(await appendTexts('b', 1)).toEqual([{ offset: 5, duplicate: false }])
        await follower.reaches(5)
        expect(follower.compactedPast).toBe(0)
        for (const again of [false, true]) {
          if (again) await reopen()
          const { snapshot, tail } = await log.load(document)
          expect(snapshot!.offset).toBe(3)
          expect([snapshot!.bytes, snapshot!.index, snapshot!.metadata].map(textOf)).toEqual([
            'elsewhere',
            '',
            'where',
          ])
          expect(textsOf(tail)).toEqual(['a4', 'b1'])
        }
      })

      it('changes nothing when another snapshot is in place than expected', async () => {
        await appendTexts('a', 4)
        await compactTo(log, document, 2)
        for (const expected of [0, 1, 3])
          expect(await log.compact(document, snapshotOf(4, []), toOffset(expected))).toBe(false)
        expect(contentsOf(await log.load(document))).toEqual(['a1', 'a2', 'a3', 'a4'])
        expect((await log.load(document)).snapshot!.offset).toBe(2)
      })

      it('lets one of several concurrent compactions win', async () => {
        await appendTexts('a', 6)
        const updates = contentsOf(await log.load(document)).map((text) => Buffer.from(text))
        const outcomes = await Promise.all(
          [4, 5, 6, 3].map((to) => log.compact(document, snapshotOf(to, updates.slice(0, to)), noOffset)),
        )
        expect(outcomes.filter(Boolean).length).toBe(1)
        expect(contentsOf(await log.load(document))).toEqual(['a1', 'a2', 'a3', 'a4', 'a5', 'a6'])
      })

      it('loads everything while appends and compactions go on', async () => {
        let appending = true
        let acked = 0
        const append = async () => {
          try {
            for (let i = 1; i <= 150; i++) {
              await log.append(document, [entryOf(`a${i}`)])
              acked = i
            }
          } finally {
            appending = false
          }
        }
        const compact = async () => {
          while (appending) await compactTo(log, document)
        }
        const load = async () => {
          while (appending) {
            const atLeast = acked
            const contents = contentsOf(await log.load(document))
            expect(contents.length).toBeGreaterThanOrEqual(atLeast)
            expect(contents).toEqual(contents.map((_, i) => `a${i + 1}`))
          }
        }
        await Promise.all([append(), compact(), load()])
        expect(contentsOf(await log.load(document)).length).toBe(150)
      })

      it('goes on numbering after everything was compacted, and after reopening', async () => {
        await appendTexts('a', 3)
        await compactTo(log, document)
        expect((await log.load(document)).tail).toEqual([])
        expect((await appendTexts('b', 1))[0]!.offset).toBe(4)
        await compactTo(log, document)
        await reopen()
        expect((await log.load(document)).offset).toBe(4)
        expect((await appendTexts('c', 2)).map((ack) => ack.offset)).toEqual([5, 6])
        expect(contentsOf(await log.load(document))).toEqual(['a1', 'a2', 'a3', 'b1', 'c1', 'c2'])
      })

      for (const step of options.compactSteps)
        it(`leaves extra bytes, never fewer, after a crash at ${step}`, async () => {
          await log.append(document, [entryOf('a1', { replica: 'r', sequence: 1 })])
          await appendTexts('b', 3)
          await compactTo(log, document, 2)
          const whole = ['a1', 'b1', 'b2', 'b3']
          subject.failAt(step)
          await expect(compactTo(log, document, 3)).rejects.toThrow()
          subject.failAt(null)
          await reopen()
          const follower = new RecordingFollower(3)
          await log.follow(document, toOffset(3), follower)
          await follower.reaches(4)
          expect(textsOf(follower.entries)).toEqual(['b3'])
          expect(contentsOf(await log.load(document))).toEqual(whole)
          expect((await changesFrom(log, 0)).map((change) => change.document)).toEqual([document])
          expect(
            (await log.append(document, [entryOf('a1', { replica: 'r', sequence: 1 })]))[0]!.duplicate,
          ).toBe(true)
          expect((await appendTexts('c', 1))[0]!.offset).toBe(5)
          expect(await compactTo(log, document)).toBe(true)
          await reopen()
          expect(contentsOf(await log.load(document))).toEqual([...whole, 'c1'])
        })
    })

    describe('follow', () => {
      it('delivers what is there, then what comes, once and in order, from any offset', async () => {
        await appendTexts('a', 4)
        const followers = [0, 1, 3, 4].map((after) => new RecordingFollower(after))
        for (const follower of followers) await log.follow(document, toOffset(follower.after), follower)
        await appendTexts('b', 3)
        for (const follower of followers) {
          await follower.reaches(7)
          expect(textsOf(follower.entries)).toEqual(
            ['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'b3'].slice(follower.after),
          )
        }
      })

      it('misses nothing when started amid appends and compactions', async () => {
        const appends: Promise<unknown>[] = []
        const followers: RecordingFollower[] = []
        let acked = 0
        for (let i = 1; i <= 120; i++) {
          appends.push(
            log.append(document, [entryOf(`a${i}`)]).then(([ack]) => {
              acked = Math.max(acked, ack!.offset)
            }),
          )
          if (i % 10 === 0) {
            const follower = new RecordingFollower(acked)
            followers.push(follower)
            appends.push(log.follow(document, toOffset(acked), follower))
          }
          if (i % 3 === 0) await new Promise(setImmediate)
          if (i % 40 === 0) await compactTo(log, document)
        }
        await Promise.all(appends)
        for (const follower of followers) {
          await follower.reaches(120)
          expect(textsOf(follower.entries)).toEqual(
            follower.entries.map((_, i) => `a${follower.after + i + 1}`),
          )
        }
        expect(followers.some((follower) => follower.position === 120)).toBe(true)
      })

      it('is called only with what is durable: what a follower saw, a load has', async () => {
        const durable: Promise<void>[] = []
        const follower = new RecordingFollower()
        await log.follow(document, noOffset, {
          onEphemeral: () => {},
          onCompactedPast: () => follower.onCompactedPast(),
          onEntries: (entries) => {
            follower.onEntries(entries)
            const last = entries.at(-1)!.offset
            durable.push(
              log.load(document).then((loaded) => expect(loaded.offset).toBeGreaterThanOrEqual(last)),
            )
          },
        })
        await Promise.all(Array.from({ length: 40 }, (_, i) => log.append(document, [entryOf(`a${i}`)])))
        await follower.reaches(40)
        await Promise.all(durable)
      })

      it('stays with a follower that is up to date through compactions', async () => {
        const follower = new RecordingFollower()
        await log.follow(document, noOffset, follower)
        for (let round = 1; round <= 5; round++) {
          await appendTexts(`${round}-`, 3)
          await follower.reaches(3 * round)
          await compactTo(log, document)
        }
        await appendTexts('last', 1)
        await follower.reaches(16)
        expect(follower.compactedPast).toBe(0)
        expect(follower.position).toBe(16)
      })

      it('says so when the position was compacted away, and nothing else', async () => {
        await appendTexts('a', 4)
        await compactTo(log, document, 3)
        const past = [new RecordingFollower(0), new RecordingFollower(2)]
        const kept = new RecordingFollower(3)
        for (const follower of [...past, kept]) await log.follow(document, toOffset(follower.after), follower)
        await kept.reaches(4)
        for (const follower of past)
          await vi.waitFor(() => expect(follower.compactedPast).toBe(1), { timeout: 100_000 })
        await appendTexts('b', 1)
        await kept.reaches(5)
        for (const follower of [...past, kept]) expect(follower.broken).toBeNull()
        for (const follower of past) expect(follower.entries).toEqual([])
        expect(textsOf(kept.entries)).toEqual(['a4', 'b1'])
      })

      it('says so also when nothing is left but the snapshot', async () => {
        await appendTexts('a', 2)
        await compactTo(log, document)
        await reopen()
        const past = new RecordingFollower(1)
        const kept = new RecordingFollower(2)
        await log.follow(document, toOffset(1), past)
        await log.follow(document, toOffset(2), kept)
        await vi.waitFor(() => expect(past.compactedPast).toBe(1), { timeout: 100_000 })
        await appendTexts('b', 1)
        await kept.reaches(3)
        expect([past.entries.length, past.broken, kept.broken]).toEqual([0, null, null])
      })

      it('delivers nothing after the subscription was closed, not even from within a delivery', async () => {
        const follower = new RecordingFollower()
        const watching = new RecordingFollower()
        const subscription = await log.follow(document, noOffset, follower)
        const inside = new RecordingFollower()
        const closing = await log.follow(document, noOffset, {
          onEphemeral: () => {},
          onCompactedPast: () => inside.onCompactedPast(),
          onEntries: (entries) => {
            inside.onEntries(entries)
            inside.close(closing)
          },
        })
        await log.follow(document, noOffset, watching)
        await appendTexts('a', 1)
        await Promise.all([follower.reaches(1), inside.reaches(1)])
        const appending = appendTexts('b', 1)
        follower.close(subscription)
        subscription.close()
        await appending
        await appendTexts('c', 1)
        await watching.reaches(3)
        expect([follower.position, follower.broken]).toEqual([1, null])
        expect([inside.position, inside.broken]).toEqual([1, null])
      })

      it('keeps the followers of different documents apart', async () => {
        const other = freshDocument()
        const mine = new RecordingFollower()
        const theirs = new RecordingFollower()
        await log.follow(document, noOffset, mine)
        await log.follow(other, noOffset, theirs)
        await Promise.all([appendTexts('mine', 2), log.append(other, entriesOf('theirs', 3))])
        await Promise.all([mine.reaches(2), theirs.reaches(3)])
        expect(textsOf(mine.entries)).toEqual(['mine1', 'mine2'])
        expect(textsOf(theirs.entries)).toEqual(['theirs1', 'theirs2', 'theirs3'])
      })
    })

    describe('lease', () => {
      it('is held by one at a time, per document, until released', async () => {
        const lease = await log.lease(document, 60_000)
        expect(lease).not.toBeNull()
        expect(await log.lease(document, 60_000)).toBeNull()
        expect(await log.lease(freshDocument(), 60_000)).not.toBeNull()
        await lease!.release()
        expect(await log.lease(document, 60_000)).not.toBeNull()
      })

      it('is given to one of many who ask at once', async () => {
        const asked = await Promise.all(Array.from({ length: 20 }, () => log.lease(document, 60_000)))
        expect(asked.filter((lease) => lease !== null).length).toBe(1)
      })

      it('expires, and a late release does not take it from its next holder', async () => {
        const late = await log.lease(document, 30)
        const next = await vi.waitFor(
          async () => {
            const lease = await log.lease(document, 60_000)
            expect(lease).not.toBeNull()
            return lease!
          },
          { timeout: 100_000, interval: 10 },
        )
        await late!.release()
        expect(await log.lease(document, 60_000)).toBeNull()
        await next.release()
        expect(await log.lease(document, 60_000)).not.toBeNull()
      })
    })

    documentsContract(() => ({ log, document, reopen, secondNode: subject.secondNode }))

    describe('close', () => {
      it('delivers nothing afterwards and refuses appends', async () => {
        const follower = new RecordingFollower()
        await log.follow(document, noOffset, follower)
        await appendTexts('a', 1)
        await follower.reaches(1)
        const appending = appendTexts('b', 20).then(
          () => 'acked',
          (error: unknown) => error,
        )
        await log.close()
        follower.closed = true
        const outcome = await appending
        await expect(appendTexts('c', 1)).rejects.toThrow(TidemarkError)
        expect(log.unavailable()).not.toBeNull()
        await log.close()
        await reopen()
        const contents = contentsOf(await log.load(document))
        if (outcome === 'acked') expect(contents.length).toBe(21)
        await appendTexts('d', 1)
        expect(follower.broken).toBeNull()
      })
    })

    it('says at which durability it acks, and that it is available', () => {
      expect(['fsync', 'aof-always', 'aof-everysec', 'memory']).toContain(log.durability)
      expect(log.unavailable()).toBeNull()
    })

    if (options.nodes)
      describe('several nodes', () => {
        let second: Log
        beforeEach(async () => {
          second = await subject.secondNode!()
        })

        it('shows every node the same order, whoever appended', async () => {
          const followers = [new RecordingFollower(), new RecordingFollower()]
          await log.follow(document, noOffset, followers[0]!)
          await second.follow(document, noOffset, followers[1]!)
          const model = new DocumentModel()
          await Promise.all(
            Array.from({ length: 200 }, async (_, i) => {
              if (i % 7 === 0) await new Promise(setImmediate)
              const entries = entriesOf(`${i}-`, (i % 3) + 1)
              model.acked(entries, await (i % 2 === 0 ? log : second).append(document, entries))
            }),
          )
          for (const follower of followers) {
            await follower.reaches(model.updates.length)
            expect(textsOf(follower.entries)).toEqual(model.contents())
          }
        })

        it('carries ephemeral bytes to followers on other nodes only', async () => {
          const mine = new RecordingFollower()
          const theirs = new RecordingFollower()
          const elsewhere = new RecordingFollower()
          await log.follow(document, noOffset, mine)
          await second.follow(document, noOffset, theirs)
          await second.follow(freshDocument(), noOffset, elsewhere)
          log.publish(document, Uint8Array.of(0, 255, 1))
          log.publish(document, new Uint8Array(0))
          await vi.waitFor(() => expect(theirs.ephemeral).toEqual(['\u0000ÿ\u0001', '']), {
            timeout: 100_000,
          })
          second.publish(document, new TextEncoder().encode('back'))
          await vi.waitFor(() => expect(mine.ephemeral).toEqual(['back']), { timeout: 100_000 })
          expect(elsewhere.ephemeral).toEqual([])
          expect((await log.load(document)).offset).toBe(0)
        })

        it('loads everything while another node appends and compacts', async () => {
          let working = true
          const work = async () => {
            try {
              for (let i = 1; i <= 150; i++) {
                await second.append(document, [entryOf(`a${i}`)])
                await compactTo(second, document)
              }
            } finally {
              working = false
            }
          }
          const load = async () => {
            while (working) {
              const contents = contentsOf(await log.load(document))
              expect(contents).toEqual(contents.map((_, i) => `a${i + 1}`))
            }
          }
          await Promise.all([work(), load(), load()])
          expect(contentsOf(await log.load(document)).length).toBe(150)
        })

        it('shares duplicates, snapshots and leases', async () => {
          const push = entryOf('r1', { replica: 'r', sequence: 1 })
          await log.append(document, [push])
          expect(await second.append(document, [push])).toEqual([{ offset: 1, duplicate: true }])
          expect(await compactTo(second, document)).toBe(true)
          expect((await log.load(document)).snapshot!.offset).toBe(1)
          expect(await log.lease(document, 60_000)).not.toBeNull()
          expect(await second.lease(document, 60_000)).toBeNull()
        })
      })

    it('behaves as its model under random calls, duplicates, compactions and restarts', async () => {
      const step = fc.oneof(
        { weight: 6, arbitrary: fc.record({ do: fc.constant('append' as const), sizes: sizes() }) },
        {
          weight: 3,
          arbitrary: fc.record({ do: fc.constant('push' as const), replica: fc.nat(2), back: fc.nat(3) }),
        },
        { weight: 2, arbitrary: fc.record({ do: fc.constant('follow' as const), back: fc.nat(6) }) },
        { weight: 1, arbitrary: fc.record({ do: fc.constant('unfollow' as const) }) },
        { weight: 2, arbitrary: fc.record({ do: fc.constant('compact' as const), back: fc.nat(4) }) },
        { weight: 1, arbitrary: fc.record({ do: fc.constant('settle' as const) }) },
        { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
      )
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(fc.nat(1), step), { minLength: 10, maxLength: 40 }),
          async (steps) => {
            const documents = [freshDocument(), freshDocument()]
            const models = documents.map(() => new DocumentModel())
            const sequences = documents.map(() => new Map<string, NewEntry[]>())
            const followers = documents.map(() => [] as { follower: RecordingFollower; close: () => void }[])
            let pending: Promise<unknown>[] = []
            const settle = async () => {
              await Promise.all(pending)
              pending = []
              for (const [i, id] of documents.entries()) {
                const contents = models[i]!.contents()
                expect(contentsOf(await log.load(id))).toEqual(contents)
                for (const { follower } of followers[i]!) {
                  await follower.reaches(contents.length)
                  expect(textsOf(follower.entries)).toEqual(
                    contents.slice(follower.after, follower.after + follower.entries.length),
                  )
                }
              }
            }
            for (const [which, action] of steps) {
              const id = documents[which]!
              const model = models[which]!
              const append = (entries: NewEntry[]) => {
                pending.push(log.append(id, entries).then((acks) => model.acked(entries, acks)))
              }
              switch (action.do) {
                case 'append':
                  append(action.sizes.map((size) => entryOf('x'.repeat(size))))
                  break
                case 'push': {
                  const replica = `r${action.replica}`
                  const pushed = sequences[which]!.get(replica) ?? []
                  sequences[which]!.set(replica, pushed)
                  const again = pushed[pushed.length - action.back]
                  if (action.back > 0 && again !== undefined) append([again])
                  else {
                    const entry = entryOf(`${replica}-${pushed.length + 1}`, {
                      replica,
                      sequence: pushed.length + 1,
                    })
                    pushed.push(entry)
                    append([entry])
                  }
                  break
                }
                case 'follow': {
                  await Promise.all(pending.splice(0))
                  const follower = new RecordingFollower(Math.max(0, model.updates.length - action.back))
                  const opening = log.follow(id, toOffset(follower.after), follower)
                  pending.push(opening)
                  const subscription = await opening
                  followers[which]!.push({ follower, close: () => follower.close(subscription) })
                  break
                }
                case 'unfollow':
                  followers[which]!.shift()?.close()
                  break
                case 'compact': {
                  const { offset } = await log.load(id)
                  if (offset - action.back > 0)
                    pending.push(
                      log.load(id).then(async (loaded) => {
                        const to = offset - action.back
                        if (to <= (loaded.snapshot?.offset ?? 0)) return
                        const updates = contentsOf(loaded).map((text) => Buffer.from(text, 'latin1'))
                        await log.compact(
                          id,
                          snapshotOf(to, updates.slice(0, to)),
                          loaded.snapshot?.offset ?? noOffset,
                        )
                      }),
                    )
                  break
                }
                case 'settle':
                  await settle()
                  break
                case 'restart':
                  await settle()
                  for (const list of followers) for (const { close } of list.splice(0)) close()
                  await reopen()
                  break
              }
            }
            await settle()
            for (const list of followers) for (const { close } of list.splice(0)) close()
          },
        ),
        { numRuns: 20, endOnFailure: false },
      )
    })
  })
}

function sizes(): fc.Arbitrary<number[]> {
  return fc.array(fc.oneof(fc.nat(20), fc.nat(20), fc.integer({ min: 1_000, max: 40_000 })), {
    minLength: 1,
    maxLength: 4,
  })
}

/**
 * What the log contract compares a log with: entries that can be told apart, snapshots that are
 * simply the list of the updates they hold, a follower that writes down what it is told and
 * remembers the first broken promise, and a model of one document that is filled from the acks.
 */
import { expect, vi } from 'vitest'
import { ByteReader, ByteWriter } from '../../core/bytes.ts'
import { type DocumentId, parseDocumentId } from '../../core/document-id.ts'
import { noOffset, type Offset, toOffset } from '../../core/offset.ts'
import type {
  Appended,
  Change,
  Entry,
  Follower,
  IdempotencyKey,
  Loaded,
  Log,
  NewEntry,
  Snapshot,
  Subscription,
} from '../../server/log/log.ts'

export const documentOf = (text: string): DocumentId => parseDocumentId(text)

let made = 0

/** A new document in every call, so that tests may share a storage. */
export const freshDocument = (): DocumentId => documentOf(`contract/document-${++made}`)

export function entryOf(update: Uint8Array | string, key?: IdempotencyKey): NewEntry {
  const bytes = typeof update === 'string' ? new TextEncoder().encode(update) : update
  const entry = {
    timeMs: 1_700_000_000_000 + ++made,
    author: 'ann',
    origin: `session-${made}`,
    update: bytes,
  }
  return key === undefined ? entry : { ...entry, key }
}

/** `count` entries named `<prefix>1`, `<prefix>2`, … */
export function entriesOf(prefix: string, count: number): NewEntry[] {
  return Array.from({ length: count }, (_, i) => entryOf(`${prefix}${i + 1}`))
}

export const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')
export const textsOf = (entries: readonly Entry[]): string[] => entries.map((entry) => textOf(entry.update))

export function snapshotOf(offset: number, updates: readonly Uint8Array[]): Snapshot {
  const writer = new ByteWriter()
  for (const update of updates) writer.varBytes(update)
  const named = (letter: string) => new TextEncoder().encode(`${letter}${offset}`)
  return { offset: toOffset(offset), bytes: writer.finish(), index: named('i'), metadata: named('m') }
}

/** Every update a load holds, as text, snapshot first; asserts that the tail is contiguous up to the head. */
export function contentsOf(loaded: Loaded): string[] {
  const contents: string[] = []
  let head: number = noOffset
  if (loaded.snapshot !== null) {
    const reader = new ByteReader(loaded.snapshot.bytes)
    while (reader.remaining > 0) contents.push(textOf(reader.varBytes()))
    head = loaded.snapshot.offset
    expect(textOf(loaded.snapshot.index)).toBe(`i${head}`)
    expect(textOf(loaded.snapshot.metadata)).toBe(`m${head}`)
    expect(contents.length).toBe(head)
  }
  for (const entry of loaded.tail) {
    expect(entry.offset).toBe(++head)
    contents.push(textOf(entry.update))
  }
  expect(loaded.offset).toBe(head)
  return contents
}

/** Merges everything up to `offset` (default: all) as a compaction would. */
export async function compactTo(log: Log, document: DocumentId, offset?: number): Promise<boolean> {
  const loaded = await log.load(document)
  const updates = contentsOf(loaded).map((text) => Buffer.from(text, 'latin1'))
  const to = offset ?? loaded.offset
  if (to === 0) return false
  return log.compact(document, snapshotOf(to, updates.slice(0, to)), loaded.snapshot?.offset ?? noOffset)
}

export class RecordingFollower implements Follower {
  readonly entries: Entry[] = []
  readonly ephemeral: string[] = []
  readonly after: number
  compactedPast = 0
  closed = false
  broken: string | null = null

  constructor(after = 0) {
    this.after = after
  }

  get position(): number {
    return this.after + this.entries.length
  }

  onEntries(entries: readonly Entry[]): void {
    if (this.closed) this.broken ??= 'entries after close()'
    if (this.compactedPast > 0) this.broken ??= 'entries after onCompactedPast()'
    if (entries.length === 0) this.broken ??= 'an empty delivery'
    for (const entry of entries) {
      if (entry.offset !== this.position + 1)
        this.broken ??= `offset ${entry.offset} after ${this.position} (started after ${this.after})`
      this.entries.push(entry)
    }
  }

  onEphemeral(bytes: Uint8Array): void {
    if (this.closed) this.broken ??= 'ephemeral bytes after close()'
    this.ephemeral.push(textOf(bytes))
  }

  onCompactedPast(): void {
    if (this.closed) this.broken ??= 'onCompactedPast() after close()'
    if (++this.compactedPast > 1) this.broken ??= 'onCompactedPast() twice'
  }

  close(subscription: Subscription): void {
    subscription.close()
    this.closed = true
  }

  /** Waits until the follower was given everything up to `offset`, or told that it cannot be. */
  async reaches(offset: number): Promise<void> {
    await vi.waitFor(
      () => {
        if (this.broken !== null) throw new Error(this.broken)
        if (this.compactedPast === 0) expect(this.position).toBeGreaterThanOrEqual(offset)
      },
      { timeout: 100_000, interval: 5 },
    )
    expect(this.broken).toBeNull()
  }
}

/** What the acks said about one document: the place of every update, and each replica's last push. */
export class DocumentModel {
  readonly updates: string[] = []
  readonly firstOffset = new Map<string, Offset>()

  acked(entries: readonly NewEntry[], appended: readonly Appended[]): void {
    expect(appended.length).toBe(entries.length)
    let last = 0
    for (const [i, entry] of entries.entries()) {
      const { offset, duplicate } = appended[i]!
      const push = entry.key === undefined ? null : `${entry.key.replica} ${entry.key.sequence}`
      if (duplicate) {
        const first = push === null ? undefined : this.firstOffset.get(push)
        expect(first, `${push} was never appended, yet called a duplicate`).toBeDefined()
        expect(offset).toBeGreaterThanOrEqual(first!)
        continue
      }
      expect(this.updates[offset - 1], `offset ${offset} was given twice`).toBeUndefined()
      expect(offset).toBeGreaterThan(last)
      if (push !== null) {
        expect(this.firstOffset.has(push), `${push} was appended twice`).toBe(false)
        this.firstOffset.set(push, offset)
      }
      last = offset
      this.updates[offset - 1] = textOf(entry.update)
    }
  }

  /** Fails unless the acked offsets are 1, 2, 3, … */
  contents(): string[] {
    for (let i = 0; i < this.updates.length; i++)
      expect(this.updates[i], `offset ${i + 1} was given to nobody`).toBeDefined()
    return this.updates
  }
}

/** Every change after `after`, read in pages of about `countMax`; asserts what holds of pages. */
export async function changesFrom(log: Log, after: number, countMax = 100): Promise<Change[]> {
  const changes: Change[] = []
  for (let cursor = after; ; ) {
    const page = await log.changes(cursor, countMax)
    if (page.length === 0) return changes
    expectAscending(page, cursor)
    changes.push(...page)
    cursor = page.at(-1)!.sequence
  }
}

export function expectAscending(page: readonly Change[], after: number): void {
  expect(page[0]!.sequence).toBeGreaterThan(after)
  for (const [i, { sequence }] of page.entries())
    if (i > 0) expect(sequence).toBeGreaterThanOrEqual(page[i - 1]!.sequence)
  expect(new Set(page.map(({ document }) => document)).size, 'a document twice').toBe(page.length)
}

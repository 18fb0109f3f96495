/**
 * Keeps the rows of the parts that this node holds:
 *
 *   changes ─▶ pending ─▶ documents brought forward ─▶ adapters ─▶ one batch ─▶ store
 *
 * - Exactly once: the store changes rows, progress and cursors in one transaction, under the fence of each part. Whatever is
 *   projected again writes the same rows.
 * - Two feeds of the same log. The front follows what people type. The back fills tables that are behind (a rebuild), from where
 *   they are to where the front was when the part was taken; meanwhile the front writes to all tables, so that nobody
 *   waits for a rebuild. They take turns, a batch each, and never have the same document.
 * - While a batch is being written, the next one is made.
 * - A document whose adapter throws, or whose rows the database refuses, becomes a dead letter, for that adapter only. The
 *   others go on, and so do all other documents.
 * - While the database is away nothing is read but its state: what changed stands in the log, and `pending` is bounded.
 * - What was brought forward and not written is dropped, so a document in memory is never further than its rows.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { DocumentId } from '../../core/document-id.ts'
import type { Adapter } from '../../core/domain/adapter.ts'
import type { Log } from '../log/log.ts'
import type { Logger } from '../logger.ts'
import { type Batch, Batches, type BatchesParts } from './batches.ts'
import type { LiveDocuments } from './live-documents.ts'
import { Pending } from './pending.ts'
import { type ProjectorLimits, projectorLimits } from './projector-limits.ts'
import { type DeadLetter, type Held, type RowStore, StoreError } from './row-store.ts'
import { Watched } from './watched.ts'

export interface ProjectorParts {
  readonly log: Pick<Log, 'changes'>
  readonly adapters: readonly Adapter[]
  readonly documents: LiveDocuments
  /** For the back, which sees each document once: it needs to keep none. */
  readonly visited: LiveDocuments
  readonly pending: Pending
  readonly watched?: Watched
  readonly store: RowStore
  readonly logger: Logger
  /** See `Batches`. */
  readonly onFolded?: BatchesParts['onFolded']
  /** The store is of no use any more; nothing happens until `close`. */
  readonly onMoved?: () => void
  readonly limits?: Partial<ProjectorLimits>
}

interface Feed {
  readonly pending: Pending
  readonly documents: LiveDocuments
  readonly writtenCursors: Map<number, number>
  /** Under way, and not in a batch yet. */
  queue: readonly DocumentId[]
  /** The batch that is being written. Rejects when it was not; its documents are given back then. */
  writing: Promise<void>
  isWriting: boolean
}

export interface ProjectorCounts {
  /** Documents whose rows were brought up to date, and those that could not be; each time counted. */
  readonly projected: number
  readonly dead: number
  /** Rows that tables were filled with. */
  readonly filled: number
}

export class Projector {
  private readonly parts: ProjectorParts
  private readonly limits: ProjectorLimits
  private readonly closing = new AbortController()
  private running: Promise<void> = Promise.resolve()
  /** Something changed since the last look. */
  private woken = false
  private endPause: (() => void) | null = null
  private claimedMs = Number.NEGATIVE_INFINITY
  private failures = 0
  /** What was known at the last look is in the batches that it made. */
  private hasAll = true
  private readonly counted = { projected: 0, dead: 0, filled: 0 }
  private readonly batches: Batches
  private readonly front: Feed
  private readonly back: Feed
  /** Up to where the back goes, by part. */
  private readonly until = new Map<number, number>()

  constructor(parts: ProjectorParts) {
    this.parts = parts
    this.limits = { ...projectorLimits, ...parts.limits }
    const { adapters, store, watched = new Watched(), documents, visited, pending } = parts
    this.batches = new Batches({
      adapters,
      store,
      watched,
      rowsMax: this.limits.batchRowsMax,
      msMax: this.limits.batchMsMax,
      ...(parts.onFolded !== undefined && { onFolded: parts.onFolded }),
    })
    this.front = feedOf(pending, documents)
    this.back = feedOf(new Pending(), visited)
  }

  get counts(): ProjectorCounts {
    return this.counted
  }

  start(): void {
    this.running = this.run(this.closing.signal)
  }

  /** Waits for the batch that is being written. */
  async close(): Promise<void> {
    this.closing.abort()
    await this.running
    await Promise.allSettled([this.front.writing, this.back.writing])
    await this.parts.store.release().catch(() => undefined) // Its parts are free when their time is over.
    this.parts.documents.close()
    this.parts.visited.close()
  }

  /** Something changed: do not wait for the next look. */
  wake(): void {
    this.woken = true
    this.endPause?.()
  }

  /** Never rejects. */
  private async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        this.woken = false
        this.hasAll = true
        const startedMs = performance.now()
        const more = await this.step()
        this.failures = 0
        if (!more && !this.woken) await this.pause(signal)
        else if (more && this.hasAll) await this.rest(startedMs, signal)
      } catch (error) {
        if (error instanceof StoreError && error.kind === 'moved') return this.parts.onMoved?.()
        if (error instanceof StoreError && error.kind === 'fenced') this.loseParts()
        if (this.failures++ === 0) this.parts.logger.warn({ err: error }, 'views wait')
        const waitMs = Math.min(this.limits.backoffMsMax, 100 * 2 ** this.failures)
        // Whoever edits does not shorten it. Aborted: the end, seen by the loop.
        await sleep(waitMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined)
      }
    }
  }

  /** So that what changes meanwhile is written together. What changes alone does not wait. */
  private async rest(startedMs: number, signal: AbortSignal): Promise<void> {
    const restMs = startedMs + this.limits.paceMs - performance.now()
    // Aborted: the end, seen by the loop.
    if (restMs > 0) await sleep(restMs, undefined, { signal }).catch(() => undefined)
  }

  /** Until the next look is due, or something changed. */
  private async pause(signal: AbortSignal): Promise<void> {
    const woken = new AbortController()
    this.endPause = () => woken.abort()
    const end = AbortSignal.any([woken.signal, signal])
    // Aborted: woken, or closing.
    await sleep(this.limits.pollMs, undefined, { signal: end }).catch(() => undefined)
    this.endPause = null
  }

  /** True when there is more to do at once. */
  async step(): Promise<boolean> {
    const nowMs = performance.now()
    if (nowMs - this.claimedMs >= this.limits.claimMs) await this.claim(nowMs)
    const more = await this.follow(this.front)
    // What the back has taken is withheld from the front until it is done.
    const isFilling = this.until.size > 0 || this.back.queue.length > 0
    return (isFilling && (await this.fill())) || more
  }

  private async claim(nowMs: number): Promise<void> {
    const { pending } = this.front
    const { parts, retries } = await this.parts.store.claim()
    this.claimedMs = nowMs
    const known = new Set(pending.parts)
    for (const part of known) if (!parts.has(part)) this.lose(part)
    for (const [part, held] of parts) if (!known.has(part)) this.hold(part, held)
    for (const document of retries) pending.again(document)
  }

  private hold(part: number, { cursor, behind }: Held): void {
    this.front.pending.hold(part, cursor)
    if (behind === null) return
    this.back.pending.hold(part, behind.from)
    this.until.set(part, behind.until)
  }

  private lose(part: number): void {
    for (const { pending, writtenCursors } of [this.front, this.back]) {
      pending.release(part)
      writtenCursors.delete(part)
    }
    this.until.delete(part)
  }

  /** True when there is more to do at once. */
  private async follow(feed: Feed): Promise<boolean> {
    const more = await this.read(feed)
    if (feed.queue.length === 0) {
      const other = feed === this.front ? this.back : this.front
      feed.queue = feed.pending.take(this.limits.batchDocumentsMax, performance.now(), (document) =>
        other.pending.isUnderWay(document),
      )
    }
    const hasSome = feed.queue.length > 0
    if (more || feed.queue.length >= this.limits.batchDocumentsMax) this.hasAll = false
    if (hasSome) await this.next(feed)
    // Who has no next batch does not make the other feed wait for the one that is being written.
    else if (!feed.isWriting) await this.writeCursors(feed)
    if (feed.queue.length > 0) this.hasAll = false
    return more || hasSome
  }

  private async fill(): Promise<boolean> {
    const more = await this.follow(this.back)
    for (const [part, until] of this.until) {
      if ((this.back.writtenCursors.get(part) ?? -1) < until) continue
      // Begun before, it has written no cursor of what was behind: that comes with the next one.
      await this.written(this.front)
      this.front.writtenCursors.delete(part)
      this.back.pending.release(part)
      this.back.writtenCursors.delete(part)
      this.until.delete(part)
    }
    return more
  }

  private async read(feed: Feed): Promise<boolean> {
    const { pending } = feed
    const { from } = pending
    if (from === null || pending.size >= this.limits.pendingMax) return false
    const changes = await this.parts.log.changes(from, this.limits.pageMax)
    // A log that lost its end has nothing up to where the front was.
    const end = changes.length === 0 && feed === this.back ? Math.max(...this.until.values()) : undefined
    pending.read(from, changes, end)
    return changes.length >= this.limits.pageMax
  }

  /** Makes a batch, and begins to write it when the one before is written. */
  private async next(feed: Feed): Promise<void> {
    let batch: Batch | null = null
    try {
      batch = await this.batches.of(feed.queue, feed.documents)
      feed.queue = feed.queue.slice(batch.documents.length + batch.unread.length)
      for (const document of batch.unread) this.giveBack(feed, document)
      await this.written(feed)
      feed.isWriting = true
      feed.writing = this.write(feed, batch).finally(() => {
        feed.isWriting = false
        this.wake()
      })
      // Told to whoever waits for it.
      feed.writing.catch(() => undefined)
    } catch (error) {
      for (const document of [...(batch?.documents ?? []), ...feed.queue]) this.giveBack(feed, document)
      feed.queue = []
      throw error
    }
  }

  /** Rejects once for a batch that was not written. */
  private async written(feed: Feed): Promise<void> {
    const { writing } = feed
    feed.writing = Promise.resolve()
    await writing
  }

  private giveBack(feed: Feed, document: DocumentId): void {
    this.forget(document)
    feed.pending.failed(document, performance.now())
  }

  private forget(document: DocumentId): void {
    this.batches.forget(document)
    this.parts.documents.drop(document)
    this.parts.visited.drop(document)
  }

  // --- the database -----------------------------------------------------------------------------

  private async write(feed: Feed, batch: Batch): Promise<void> {
    // Those of the batch are not done yet: the cursors do not pass them.
    const cursors = movedCursors(feed)
    try {
      await this.store(feed, batch, cursors)
    } catch (error) {
      if (error instanceof StoreError && error.kind === 'refused') return this.writeSingly(feed, batch)
      for (const document of batch.documents) this.giveBack(feed, document)
      throw error
    }
    for (const document of batch.documents) feed.pending.done(document)
    this.count(batch)
    this.logDead(batch.dead)
  }

  private async store(
    feed: Feed,
    { projected, dead }: Pick<Batch, 'projected' | 'dead'>,
    cursors: ReadonlyMap<number, number>,
  ): Promise<void> {
    const { store } = this.parts
    if (feed === this.front) await store.write(projected, dead, cursors)
    else await store.write(projected, dead, none, cursors)
    for (const [part, cursor] of cursors) feed.writtenCursors.set(part, cursor)
  }

  /** Something in the batch is at fault: each document for itself, and what is refused then is dead. */
  private async writeSingly(feed: Feed, batch: Batch): Promise<void> {
    const left = [...batch.documents]
    try {
      for (const document of batch.documents) {
        const of = <T extends { readonly document: DocumentId }>(all: readonly T[]): T[] =>
          all.filter((each) => each.document === document)
        const dead = of(batch.dead)
        for (const projected of of(batch.projected)) {
          try {
            await this.store(feed, { projected: [projected], dead: [] }, none)
            this.count({ projected: [projected] })
          } catch (error) {
            if (!(error instanceof StoreError) || error.kind !== 'refused') throw error
            const { adapter, progress } = projected
            dead.push({ adapter, document, progress, reason: error.message })
            this.forget(document)
          }
        }
        if (dead.length > 0) await this.store(feed, { projected: [], dead }, none)
        this.logDead(dead)
        feed.pending.done(document)
        left.shift()
      }
    } catch (error) {
      for (const document of left) this.giveBack(feed, document)
      throw error
    }
  }

  /** Another node may hold them: they are claimed anew before anything else. */
  private loseParts(): void {
    for (const part of this.front.pending.parts) this.lose(part)
    this.claimedMs = Number.NEGATIVE_INFINITY
  }

  private count({ projected }: Pick<Batch, 'projected'>): void {
    this.counted.projected += projected.length
    for (const { isNew, replacements } of projected)
      if (isNew) for (const { rows } of replacements) this.counted.filled += rows.length
  }

  private logDead(dead: readonly DeadLetter[]): void {
    this.counted.dead += dead.length
    for (const { adapter, document, reason } of dead)
      this.parts.logger.error({ adapter: adapter.name, document, reason }, 'document not projected')
  }

  private async writeCursors(feed: Feed): Promise<void> {
    await this.written(feed)
    const moved = movedCursors(feed)
    if (moved.size > 0) await this.store(feed, { projected: [], dead: [] }, moved)
  }
}

const none: ReadonlyMap<number, number> = new Map()

const feedOf = (pending: Pending, documents: LiveDocuments): Feed => ({
  pending,
  documents,
  writtenCursors: new Map(),
  queue: [],
  writing: Promise.resolve(),
  isWriting: false,
})

function movedCursors({ pending, writtenCursors }: Feed): Map<number, number> {
  const moved = pending.cursors()
  for (const [part, cursor] of moved) if (writtenCursors.get(part) === cursor) moved.delete(part)
  return moved
}

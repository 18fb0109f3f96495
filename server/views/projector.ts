/**
 * Keeps the rows of the parts that this node holds:
 *
 *   changes ─▶ pending ─▶ documents brought forward ─▶ adapters ─▶ one batch ─▶ store
 *
 * - Exactly once: the store changes rows, progress and cursors in one transaction, under the fence of each part. Whatever is
 *   projected again writes the same rows.
 * - A document whose adapter throws, or whose rows the database refuses, becomes a dead letter, for that adapter only. The
 *   others go on, and so do all other documents.
 * - While the database is away nothing is read but its state: what changed stands in the log, and `pending` is bounded.
 * - What was brought forward and not written is dropped, so a document in memory is never further than its rows.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { DocumentId } from '../../core/document-id.ts'
import type { Adapter } from '../../core/domain/adapter.ts'
import { AdapterError } from '../../core/domain/adapter-error.ts'
import { project, projectEntries, type Replacement } from '../../core/domain/project.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import type { Log } from '../log/log.ts'
import type { Logger } from '../logger.ts'
import type { Brought, LiveDocuments, Progress } from './live-documents.ts'
import type { Pending } from './pending.ts'
import { type DeadLetter, type Projected, type RowStore, StoreError } from './row-store.ts'

export interface ProjectorLimits {
  /** Documents of one batch. */
  readonly batchDocumentsMax: number
  /** Rows after which a batch is written, about. */
  readonly batchRowsMax: number
  /** Documents that wait; while there are more, no changes are read. */
  readonly pendingMax: number
  readonly pageMax: number
  /** Between two looks for changes when nothing woke it. */
  readonly pollMs: number
  readonly claimMs: number
  readonly backoffMsMax: number
}

export const projectorLimits: ProjectorLimits = {
  batchDocumentsMax: 200,
  batchRowsMax: 5_000,
  pendingMax: 100_000,
  pageMax: 1_000,
  pollMs: 100,
  claimMs: 2_000,
  backoffMsMax: 10_000,
}

export interface ProjectorParts {
  readonly log: Pick<Log, 'changes'>
  readonly adapters: readonly Adapter[]
  readonly documents: LiveDocuments
  readonly pending: Pending
  readonly store: RowStore
  readonly logger: Logger
  /** The store is of no use any more; nothing happens until `close`. */
  readonly onMoved?: () => void
  readonly limits?: Partial<ProjectorLimits>
}

const progressMax = 50_000

interface Batch {
  readonly documents: DocumentId[]
  readonly projected: Projected[]
  readonly dead: DeadLetter[]
  /** Could not be read from the log now. */
  readonly unread: DocumentId[]
}

export class Projector {
  private readonly parts: ProjectorParts
  private readonly limits: ProjectorLimits
  private readonly closing = new AbortController()
  private running: Promise<void> = Promise.resolve()
  /** Something changed since the last look. */
  private woken = false
  private endPause: (() => void) | null = null
  private dead = 0
  private projected = 0
  private claimedMs = Number.NEGATIVE_INFINITY
  private failures = 0
  /** What there are rows for, where it is the same for all adapters. Latest last; at most `progressMax`. */
  private readonly progress = new Map<DocumentId, Progress>()
  private readonly writtenCursors = new Map<number, number>()

  constructor(parts: ProjectorParts) {
    this.parts = parts
    this.limits = { ...projectorLimits, ...parts.limits }
  }

  /** Documents whose rows were brought up to date, and those that could not be; each time counted. */
  get counts(): { readonly projected: number; readonly dead: number } {
    return { projected: this.projected, dead: this.dead }
  }

  start(): void {
    this.running = this.run(this.closing.signal)
  }

  /** Waits for the batch that is being written. */
  async close(): Promise<void> {
    this.closing.abort()
    await this.running
    await this.parts.store.release().catch(() => undefined) // Its parts are free when their time is over.
    this.parts.documents.close()
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
        const more = await this.step()
        this.failures = 0
        if (!more && !this.woken) await this.pause(signal)
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
    const more = await this.read()
    const documents = this.parts.pending.take(this.limits.batchDocumentsMax, performance.now())
    if (documents.length > 0) await this.projectAll(documents)
    else await this.writeCursors()
    return more || documents.length > 0
  }

  private async claim(nowMs: number): Promise<void> {
    const { store, pending } = this.parts
    const claimed = await store.claim()
    this.claimedMs = nowMs
    for (const part of pending.parts) {
      if (claimed.has(part)) continue
      pending.release(part)
      this.writtenCursors.delete(part)
    }
    const known = new Set(pending.parts)
    for (const [part, cursor] of claimed) if (!known.has(part)) pending.hold(part, cursor)
  }

  private async read(): Promise<boolean> {
    const { log, pending } = this.parts
    const { from } = pending
    if (from === null || pending.size >= this.limits.pendingMax) return false
    const changes = await log.changes(from, this.limits.pageMax)
    pending.read(from, changes)
    return changes.length >= this.limits.pageMax
  }

  private async projectAll(documents: readonly DocumentId[]): Promise<void> {
    let left = documents
    try {
      while (left.length > 0) {
        const batch = await this.batch(left)
        left = left.slice(batch.documents.length + batch.unread.length)
        await this.write(batch)
        for (const document of batch.unread) this.giveBack(document)
      }
    } catch (error) {
      for (const document of left) this.giveBack(document)
      throw error
    }
  }

  private giveBack(document: DocumentId): void {
    this.forget(document)
    this.parts.pending.failed(document, performance.now())
  }

  private remember(document: DocumentId, progress: Progress): void {
    this.progress.delete(document)
    this.progress.set(document, progress)
    if (this.progress.size <= progressMax) return
    for (const oldest of this.progress.keys()) {
      this.progress.delete(oldest)
      return
    }
  }

  private forget(document: DocumentId): void {
    this.progress.delete(document)
    this.parts.documents.drop(document)
  }

  // --- rows -------------------------------------------------------------------------------------

  /** Of as many as make one batch. */
  private async batch(documents: readonly DocumentId[]): Promise<Batch> {
    const { adapters, store } = this.parts
    const batch: Batch = { documents: [], projected: [], dead: [], unread: [] }
    const taken = documents.map((document) => ({
      document,
      own: adapters.filter((adapter) => adapter.contextOf(document) !== null),
    }))
    const unknown = taken
      .filter(({ document, own }) => own.length > 0 && !this.progress.has(document))
      .map(({ document }) => document)
    const stored = unknown.length === 0 ? new Map() : await store.progressOf(unknown)
    let rows = 0
    for (const { document, own } of taken) {
      if (own.length > 0) {
        const base = this.progress.get(document) ?? shared(own, stored.get(document))
        rows += await this.projectOne(document, own, base, batch)
      } else batch.documents.push(document)
      if (rows >= this.limits.batchRowsMax) break
    }
    return batch
  }

  private async projectOne(
    document: DocumentId,
    own: readonly Adapter[],
    base: Progress | null,
    batch: Batch,
  ): Promise<number> {
    let brought: Brought
    try {
      brought = await this.parts.documents.bring(document, base)
    } catch (error) {
      this.forget(document)
      if (!(error instanceof TidemarkError) || error.code !== 'document_unreadable') {
        batch.unread.push(document)
        return 0
      }
      const reason = 'The document cannot be read'
      for (const adapter of own) batch.dead.push({ adapter, document, progress: null, reason })
      batch.documents.push(document)
      return 0
    }
    batch.documents.push(document)
    this.remember(document, brought.progress)
    let rows = 0
    for (const adapter of own) {
      try {
        const replacements = replacementsOf(adapter, document, brought)
        batch.projected.push({ adapter, document, progress: brought.progress, replacements })
        rows += replacements.reduce((sum, replacement) => sum + replacement.rows.length, 0)
      } catch (error) {
        if (!(error instanceof AdapterError)) throw error
        batch.dead.push({ adapter, document, progress: brought.progress, reason: error.message })
        // Its rows stay where they are: next time it is projected whole.
        this.progress.delete(document)
      }
    }
    return rows
  }

  // --- the database -----------------------------------------------------------------------------

  private async write(batch: Batch): Promise<void> {
    const { store, pending } = this.parts
    // Those of the batch are not done yet: the cursors do not pass them.
    const cursors = this.movedCursors()
    try {
      await store.write(batch.projected, batch.dead, cursors)
    } catch (error) {
      if (error instanceof StoreError && error.kind === 'refused') return this.writeSingly(batch)
      for (const document of batch.documents) this.giveBack(document)
      throw error
    }
    for (const [part, cursor] of cursors) this.writtenCursors.set(part, cursor)
    for (const document of batch.documents) pending.done(document)
    this.projected += batch.projected.length
    this.logDead(batch.dead)
  }

  /** Something in the batch is at fault: each document for itself, and what is refused then is dead. */
  private async writeSingly(batch: Batch): Promise<void> {
    const { store, pending } = this.parts
    const none = new Map<number, number>()
    const left = [...batch.documents]
    try {
      for (const document of batch.documents) {
        const of = <T extends { readonly document: DocumentId }>(all: readonly T[]): T[] =>
          all.filter((each) => each.document === document)
        const dead = of(batch.dead)
        for (const projected of of(batch.projected)) {
          try {
            await store.write([projected], [], none)
            this.projected++
          } catch (error) {
            if (!(error instanceof StoreError) || error.kind !== 'refused') throw error
            const { adapter, progress } = projected
            dead.push({ adapter, document, progress, reason: error.message })
            this.forget(document)
          }
        }
        if (dead.length > 0) await store.write([], dead, none)
        this.logDead(dead)
        pending.done(document)
        left.shift()
      }
    } catch (error) {
      for (const document of left) this.giveBack(document)
      throw error
    }
  }

  /** Another node may hold them: they are claimed anew before anything else. */
  private loseParts(): void {
    const { pending } = this.parts
    for (const part of pending.parts) pending.release(part)
    this.writtenCursors.clear()
    this.claimedMs = Number.NEGATIVE_INFINITY
  }

  private logDead(dead: readonly DeadLetter[]): void {
    this.dead += dead.length
    for (const { adapter, document, reason } of dead)
      this.parts.logger.error({ adapter: adapter.name, document, reason }, 'document not projected')
  }

  private async writeCursors(): Promise<void> {
    const moved = this.movedCursors()
    if (moved.size > 0) await this.parts.store.write([], [], moved)
    for (const [part, cursor] of moved) this.writtenCursors.set(part, cursor)
  }

  private movedCursors(): Map<number, number> {
    const moved = this.parts.pending.cursors()
    for (const [part, cursor] of moved) if (this.writtenCursors.get(part) === cursor) moved.delete(part)
    return moved
  }
}

/** Null when they differ, or one has none: then all is projected whole. */
function shared(
  adapters: readonly Adapter[],
  stored: ReadonlyMap<string, Progress> | undefined,
): Progress | null {
  const first = stored?.get(adapters[0]!.name) ?? null
  if (first === null) return null
  const same = adapters.every(({ name }) => {
    const own = stored?.get(name)
    return own !== undefined && own.epoch === first.epoch && own.offset === first.offset
  })
  return same ? first : null
}

function replacementsOf(adapter: Adapter, document: DocumentId, brought: Brought): readonly Replacement[] {
  const context = adapter.contextOf(document)!
  switch (brought.kind) {
    case 'gone':
      return adapter.tables.map((table) => ({ table, entries: null, rows: [] }))
    case 'whole':
      return project(adapter, brought.state, context)
    case 'touched':
      return projectEntries(adapter, brought.state, brought.touched, context)
  }
}

/**
 * Moves entries from the journal into LMDB:
 *
 *   target = durable LSN; for the documents that have entries in memory, about `sliceBytes` at a time:
 *     one transaction: chunks, document record and place among the changes → forget those entries
 *   mark the target in LMDB → drop segments and slabs wholly at or below it
 *
 * A document is written up to its durable head, which may be past the target; recovery skips what LMDB
 * already has. So a crash anywhere leaves entries in both places, never in neither. Between slices
 * other LMDB writes get their turn, and no transaction keeps the event loop for long.
 *
 * When LMDB cannot be written (a full disk), `failure` says why and the checkpoint is tried again
 * with backoff; nothing in memory or journal was given up meanwhile.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '../../logger.ts'
import type { Chunk, DocumentState } from './document-state.ts'
import type { Exclusive } from './exclusive.ts'
import type { Journal } from './journal.ts'
import type { EmbeddedLogLimits, Step } from './limits.ts'
import type { Slabs } from './slabs.ts'
import type { Store } from './store.ts'

interface Slice {
  readonly state: DocumentState
  readonly chunks: readonly Chunk[]
  readonly head: number
}

export interface CheckpointParts {
  readonly journal: Journal
  readonly slabs: Slabs
  readonly store: Store
  readonly exclusive: Exclusive
  readonly limits: EmbeddedLogLimits
  readonly step: Step
  readonly logger: Logger
  /** Called when a checkpoint has ended, well or not. */
  onEnd(): void
}

export class Checkpointer {
  failure: string | null = null
  /** Journal bytes up to the last checkpoint. */
  checkpointedBytes = 0
  lastMs = 0
  private readonly parts: CheckpointParts
  private readonly aborter = new AbortController()
  /** Documents with entries that are not in LMDB, in the order in which they got the first of them. */
  private readonly dirty = new Set<DocumentState>()
  private running: Promise<void> | null = null
  private timer: NodeJS.Timeout | null = null

  constructor(parts: CheckpointParts) {
    this.parts = parts
  }

  get uncheckpointedBytes(): number {
    return this.parts.journal.durableBytes - this.checkpointedBytes
  }

  /** Documents of which memory knows more than LMDB; of all others LMDB knows everything. */
  unwritten(): Iterable<DocumentState> {
    return this.dirty
  }

  /** The document has entries that are not in LMDB. */
  add(state: DocumentState): void {
    state.dirty = true
    this.dirty.add(state)
    if (this.timer !== null || this.aborter.signal.aborted) return
    this.timer = setTimeout(() => this.request(), this.parts.limits.checkpointAgeMs)
    this.timer.unref()
  }

  /** Starts a checkpoint unless one is under way. */
  request(): void {
    if (this.running !== null || this.aborter.signal.aborted) return
    this.running = this.retry().finally(() => {
      this.running = null
      this.parts.onEnd()
      // What came in meanwhile may be enough for the next one, and appends may wait for it.
      if (this.uncheckpointedBytes >= this.parts.limits.checkpointBytes) this.request()
    })
  }

  private async retry(): Promise<void> {
    const { limits, logger, onEnd } = this.parts
    const { signal } = this.aborter
    let pauseMs = limits.retryMs
    while (!signal.aborted) {
      try {
        await this.run()
        return
      } catch (error) {
        this.failure = `checkpoint: ${(error as Error).message}`
        logger.error({ err: error }, 'checkpoint failed')
        onEnd()
      }
      await delay(pauseMs * (0.5 + Math.random()), undefined, { signal }).catch(() => {
        // Aborted: the loop ends at its next check.
      })
      pauseMs = Math.min(pauseMs * 2, limits.retryMsMax)
    }
  }

  private async run(): Promise<void> {
    const { journal, store, exclusive, step } = this.parts
    const started = performance.now()
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    const lsn = journal.durableLsn
    const bytes = journal.durableBytes
    step('checkpoint.start')
    // Those first in line; who gets entries after it was written goes to the end of it.
    let left = this.dirty.size
    while (left > 0) {
      const most = left
      left -= await exclusive.run(() => this.slice(most))
    }
    await exclusive.run(() => store.write((write) => write.mark(lsn)))
    step('checkpoint.marked')
    this.checkpointedBytes = bytes
    await journal.trim(lsn)
    this.failure = null
    this.lastMs = performance.now() - started
  }

  /** Writes at most `countMax` documents, until the slice is full; returns how many are done with. */
  private async slice(countMax: number): Promise<number> {
    const { slabs, store, limits, step } = this.parts
    const slices: Slice[] = []
    let whole = true
    let bytes = 0
    for (const state of this.dirty) {
      if (slices.length === countMax || bytes >= limits.sliceBytes) break
      const chunks: Chunk[] = []
      for (const chunk of state.chunks(0, slabs, limits.chunkBytes)) {
        chunks.push(chunk)
        bytes += chunk.value.length
        if (bytes >= limits.sliceBytes) break
      }
      const head = chunks.at(-1)?.lastOffset ?? state.checkpointedHead
      slices.push({ state, chunks, head })
      // The rest of a document that exceeds the slice comes first in the next one.
      whole = head === state.durableHead
      if (!whole) break
    }
    step('checkpoint.slice')
    await store.write((write) => {
      for (const { state, chunks, head } of slices) {
        if (chunks.length === 0) continue
        for (const { firstOffset, value } of chunks) write.chunk(state.id, firstOffset, value)
        write.document(state.id, state.stored(head, state.snapshotOffset))
      }
    })
    step('checkpoint.sliced')
    const done = whole ? slices : slices.slice(0, -1)
    for (const { state, head } of slices) state.checkpointed(head)
    for (const { state } of done) {
      state.dirty = false
      this.dirty.delete(state)
      if (state.durableHead > state.checkpointedHead) this.add(state)
    }
    return done.length
  }

  /** Ends the background work; with `last`, after one more checkpoint. */
  async close(last: boolean): Promise<void> {
    if (this.timer !== null) clearTimeout(this.timer)
    this.aborter.abort()
    await this.running
    if (last && this.dirty.size > 0) await this.run()
  }
}

/**
 * Turns tails into snapshots, in a worker, while people go on editing.
 *
 *   take the lease (other nodes skip) → load → due still? → build in a worker → compact with
 *   compare-and-set on the offset of the snapshot that was loaded → release
 *
 * A crash anywhere leaves the old snapshot and the whole tail: extra bytes, never fewer (P3). The
 * lease only saves work; what keeps two nodes from harming each other is the compare-and-set.
 * A document that cannot be compacted (a poisoned entry, memory, time) is tried again later, each
 * time after a longer wait; its edits go on meanwhile.
 */
import { Piscina } from 'piscina'
import type { DocumentId } from '../../core/document-id.ts'
import type { Engine, IndexedState } from '../../core/engine/engine.ts'
import { noOffset } from '../../core/offset.ts'
import { fold, metadataOf } from '../log/lineage.ts'
import type { Loaded, Log } from '../log/log.ts'
import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import { pack } from './packed.ts'
import { type CompactionLimits, type CompactionReason, compactionDue, type TailStats } from './policy.ts'
import type { CompactTask } from './worker.ts'

export interface CompactorOptions {
  readonly log: Log
  readonly engine: Engine
  readonly limits: CompactionLimits
  readonly threads: number
  /** One compaction may take this long. */
  readonly timeoutMs: number
  readonly workerMemoryMb: number
  readonly logger: Logger
  readonly metrics: Metrics
  readonly onCompacted: (document: DocumentId, result: CompactionResult) => void
}

export interface CompactionResult {
  readonly snapshotBytes: number
  readonly droppedCount: number
  readonly droppedBytes: number
}

/** Longer than most compactions take, short enough that a node's death holds nobody up. */
const leaseMs = 15_000
const closeMsMax = 2_000
const retryMsMin = 1_000
const retryMsMax = 600_000
const waitingMax = 100_000

interface Failing {
  readonly waitMs: number
  readonly notBeforeMs: number
}

// Sources run from TypeScript (in tests) use the compiled worker.
const workerUrl = import.meta.url.endsWith('.ts')
  ? new URL('../../dist/server/compaction/worker.js', import.meta.url)
  : new URL('./worker.js', import.meta.url)

export class Compactor {
  private readonly options: CompactorOptions
  private readonly pool: Piscina
  private readonly waiting = new Map<DocumentId, CompactionReason>()
  private readonly running = new Map<DocumentId, Promise<void>>()
  private readonly failing = new Map<DocumentId, Failing>()
  private readonly stopping = new AbortController()
  private closing = false

  constructor(options: CompactorOptions) {
    this.options = options
    this.pool = new Piscina({
      filename: workerUrl.href,
      minThreads: 0,
      maxThreads: options.threads,
      idleTimeout: 30_000,
      resourceLimits: { maxOldGenerationSizeMb: options.workerMemoryMb },
    })
  }

  /** Cheap: called with every batch of entries. */
  consider(document: DocumentId, stats: TailStats, idle = false): void {
    if (this.running.has(document) || this.waiting.has(document)) return
    const nowMs = Date.now()
    const reason = compactionDue(stats, this.options.limits, nowMs, idle)
    if (reason === null || this.waiting.size >= waitingMax || this.closing) return
    if ((this.failing.get(document)?.notBeforeMs ?? 0) > nowMs) return
    this.waiting.set(document, reason)
    this.next()
  }

  /** Resolves when nothing runs or waits. */
  async idle(): Promise<void> {
    while (this.running.size > 0) await Promise.all(this.running.values())
  }

  /**
   * Lets what runs end, at most `closeMsMax`; nothing depends on it, but Node 20 can crash as a whole when a
   * worker is terminated while it is still loading its modules.
   */
  async close(): Promise<void> {
    this.closing = true
    this.waiting.clear()
    const deadline = setTimeout(() => this.stopping.abort(), closeMsMax)
    await Promise.all(this.running.values())
    clearTimeout(deadline)
    await this.pool.destroy()
  }

  private next(): void {
    for (const [document, reason] of this.waiting) {
      if (this.running.size >= this.options.threads) return
      this.waiting.delete(document)
      const done = this.run(document, reason).finally(() => {
        this.running.delete(document)
        this.next()
      })
      this.running.set(document, done)
    }
  }

  /** Never rejects. */
  private async run(document: DocumentId, reason: CompactionReason): Promise<void> {
    const { log, logger, metrics } = this.options
    const startedMs = performance.now()
    try {
      const lease = await log.lease(document, leaseMs)
      if (lease === null) return metrics.compacted('leased', 0)
      try {
        const result = await this.compact(document, reason)
        metrics.compacted(result, performance.now() - startedMs)
        logger.debug(
          { document, reason, result, ms: Math.round(performance.now() - startedMs) },
          'compaction',
        )
      } finally {
        await lease.release()
      }
      this.failing.delete(document)
    } catch (error) {
      if (this.closing) return
      const waitMs = Math.min(retryMsMax, (this.failing.get(document)?.waitMs ?? retryMsMin / 2) * 2)
      this.failing.set(document, { waitMs, notBeforeMs: Date.now() + waitMs })
      metrics.compacted('failed', performance.now() - startedMs)
      logger.error({ document, reason, err: error, retryMs: waitMs }, 'compaction failed')
    }
  }

  private async compact(
    document: DocumentId,
    reason: CompactionReason,
  ): Promise<'done' | 'lost' | 'nothing'> {
    const { log, limits, engine, onCompacted, timeoutMs } = this.options
    const loaded = await log.load(document)
    const content = fold(loaded, engine)
    const stats = statsOf(loaded)
    if (compactionDue(stats, limits, Date.now(), reason === 'idle') === null) {
      // Another node was faster; its room learns the true size of the tail.
      onCompacted(document, {
        snapshotBytes: stats.snapshotBytes,
        droppedCount: Infinity,
        droppedBytes: Infinity,
      })
      return 'nothing'
    }
    const updates = content.entries.map((entry) => entry.update)
    if (content.snapshot !== null) updates.unshift(content.snapshot.bytes)
    const task: CompactTask = { engine: engine.name, updates: pack(updates) }
    const state: IndexedState = await this.pool.run(task, {
      name: 'compact',
      transferList: [task.updates.bytes.buffer],
      signal: AbortSignal.any([this.stopping.signal, AbortSignal.timeout(timeoutMs)]),
    })
    const snapshot = { ...state, offset: loaded.offset, metadata: metadataOf(content, loaded) }
    if (!(await log.compact(document, snapshot, loaded.snapshot?.offset ?? noOffset))) return 'lost'
    onCompacted(document, {
      snapshotBytes: state.bytes.length,
      droppedCount: stats.tailCount,
      droppedBytes: stats.tailBytes,
    })
    return 'done'
  }
}

function statsOf(loaded: Loaded): TailStats {
  return {
    tailBytes: loaded.tail.reduce((sum, entry) => sum + entry.update.length, 0),
    tailCount: loaded.tail.length,
    snapshotBytes: loaded.snapshot?.bytes.length ?? 0,
    oldestMs: loaded.tail[0]?.timeMs ?? 0,
    compactedMs: 0,
  }
}

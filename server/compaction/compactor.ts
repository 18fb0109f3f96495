/**
 * Turns tails into snapshots, in a worker, while people go on editing.
 *
 *   take the lease (other nodes skip) → load → due still? → build in a worker → compact with
 *   compare-and-set on the offset of the snapshot that was loaded → release
 *
 * A crash anywhere leaves the old snapshot and the whole tail: extra bytes, never fewer (P3). The
 * lease only saves work; what keeps two nodes from harming each other is the compare-and-set.
 * A document that cannot be compacted is tried again later, each time after a longer wait; its edits go on
 * meanwhile. When single updates are to blame, which passed validation and break the engine, they are set
 * aside by a statement in the log, and the document goes on without them.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { DocumentId } from '../../core/document-id.ts'
import type { IndexedState } from '../../core/engine/engine.ts'
import { noOffset, type Offset } from '../../core/offset.ts'
import { type Content, fold, metadataOf, nothing, statement } from '../log/lineage.ts'
import type { Loaded, Log } from '../log/log.ts'
import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import { type CulpritLimits, findCulprits } from './culprit.ts'
import {
  type CompactionLimits,
  type CompactionReason,
  compactionDue,
  dueForNewcomer,
  type TailStats,
} from './policy.ts'
import { Workers } from './workers.ts'

export interface CompactorOptions {
  readonly log: Log
  readonly limits: CompactionLimits
  readonly threads: number
  /** One compaction may take this long. */
  readonly timeoutMs: number
  readonly workerMemoryMb: number
  /** Somebody who has nothing waits no longer than this to be given less. */
  readonly newcomerMsMax: number
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
const culpritLimits: Omit<CulpritLimits, 'wholeMsMax'> = { updateMsMax: 10_000, culpritsMax: 16 }
const reasonLengthMax = 500
const retryMsMin = 1_000
const retryMsMax = 600_000
const waitingMax = 100_000
/** What was asked for and somebody else held, or overtook, is tried again after so long. */
const askAgainMs = 5_000

type Reason = CompactionReason | 'asked'

interface Failing {
  readonly waitMs: number
  readonly notBeforeMs: number
}

export class Compactor {
  private readonly options: CompactorOptions
  private readonly workers: Workers
  private readonly waiting = new Map<DocumentId, Reason>()
  private readonly running = new Map<DocumentId, Promise<void>>()
  private readonly failing = new Map<DocumentId, Failing>()
  /** Asked for, and not done yet. */
  private readonly again = new Map<DocumentId, NodeJS.Timeout>()
  private readonly origin = `compactor-${randomUUID()}`
  private readonly stopping = new AbortController()
  private closing = false

  constructor(options: CompactorOptions) {
    this.options = options
    const { threads, workerMemoryMb, timeoutMs } = options
    this.workers = new Workers({ threads, heapMb: workerMemoryMb, timeoutMs })
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

  /**
   * Compacts whatever tail the document has. Resolves when it was tried, never rejects; what did not succeed is tried
   * again by itself, as long as this node lives: what was deleted is to go, also when nobody opens it any more.
   */
  async compactNow(document: DocumentId): Promise<void> {
    await this.running.get(document)
    const waitMs = (this.failing.get(document)?.notBeforeMs ?? 0) - Date.now()
    if (this.closing) return
    clearTimeout(this.again.get(document))
    this.again.delete(document)
    if (waitMs > 0) return this.askAgain(document, waitMs)
    this.waiting.set(document, 'asked')
    this.next()
    while (this.waiting.has(document) || this.running.has(document)) await Promise.race(this.running.values())
  }

  /**
   * Somebody is about to be given all of a long tail. Resolves when it was compacted, or could not be, or takes too long, at once
   * when the threads have other work; never rejects.
   */
  async compactForNewcomer(document: DocumentId): Promise<void> {
    if (this.closing || (this.failing.get(document)?.notBeforeMs ?? 0) > Date.now()) return
    if (!this.running.has(document) && !this.waiting.has(document)) {
      if (this.waiting.size >= waitingMax) return
      this.waiting.set(document, 'newcomer')
      this.next()
    }
    const run = this.running.get(document)
    if (run === undefined) return
    const late = new AbortController()
    // Aborted: the run has ended, and nobody waits for this any more.
    const deadline = sleep(this.options.newcomerMsMax, undefined, { signal: late.signal, ref: false }).catch(
      () => undefined,
    )
    await Promise.race([run, deadline])
    late.abort()
  }

  private askAgain(document: DocumentId, waitMs: number): void {
    if (this.closing || this.again.has(document) || this.again.size >= waitingMax) return
    const timer = setTimeout(() => {
      this.again.delete(document)
      void this.compactNow(document)
    }, waitMs)
    this.again.set(document, timer.unref())
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
    for (const timer of this.again.values()) clearTimeout(timer)
    const deadline = setTimeout(() => this.stopping.abort(), closeMsMax)
    await Promise.all(this.running.values())
    clearTimeout(deadline)
    await this.workers.close()
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
  private async run(document: DocumentId, reason: Reason): Promise<void> {
    const { log, logger, metrics } = this.options
    const startedMs = performance.now()
    try {
      const lease = await log.lease(document, leaseMs)
      if (lease === null) {
        metrics.compacted('leased', 0)
        if (reason === 'asked') this.askAgain(document, askAgainMs)
        return
      }
      try {
        const result = await this.compact(document, reason)
        metrics.compacted(result, performance.now() - startedMs)
        if (reason === 'asked' && result === 'lost') this.askAgain(document, askAgainMs)
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
      if (reason === 'asked') this.askAgain(document, waitMs)
      metrics.compacted('failed', performance.now() - startedMs)
      logger.error({ document, reason, err: error, retryMs: waitMs }, 'compaction failed')
    }
  }

  private async compact(document: DocumentId, reason: Reason): Promise<'done' | 'lost' | 'nothing'> {
    const { log, limits, onCompacted } = this.options
    const loaded = await log.load(document)
    const content = fold(loaded)
    const stats = statsOf(loaded)
    const isForNewcomer = reason === 'newcomer' && dueForNewcomer(stats)
    const due =
      reason === 'asked' ||
      isForNewcomer ||
      compactionDue(stats, limits, Date.now(), reason === 'idle') !== null
    if (!due || stats.tailCount === 0) {
      // Another node was faster; its room learns the true size of the tail.
      onCompacted(document, {
        snapshotBytes: stats.snapshotBytes,
        droppedCount: Infinity,
        droppedBytes: Infinity,
      })
      return 'nothing'
    }
    const state = await this.build(document, content)
    const snapshot = { ...state, offset: loaded.offset, metadata: metadataOf(content, loaded) }
    if (!(await log.compact(document, snapshot, loaded.snapshot?.offset ?? noOffset))) return 'lost'
    onCompacted(document, {
      snapshotBytes: state.bytes.length,
      droppedCount: stats.tailCount,
      droppedBytes: stats.tailBytes,
    })
    return 'done'
  }

  private async build(document: DocumentId, { engine, snapshot, entries }: Content): Promise<IndexedState> {
    if (engine === null) return nothing
    const { timeoutMs } = this.options
    const before = snapshot === null ? [] : [snapshot.bytes]
    const updates = [...before, ...entries.map((entry) => entry.update)]
    const { signal } = this.stopping
    try {
      return await this.workers.compact(engine, updates, signal)
    } catch (error) {
      if (this.closing) throw error
      const limits = { ...culpritLimits, wholeMsMax: timeoutMs }
      const digest = this.workers.digest.bind(this.workers)
      const { culprits } = await findCulprits(digest, engine, updates, limits, signal)
      // A snapshot holds what was digested before: whatever is wrong with it, it is not poison.
      const found = culprits.filter(({ index }) => index >= before.length)
      for (const { index, reason, message } of found)
        await this.setAside(document, entries[index - before.length]!.offset, `${reason}: ${message}`)
      throw error
    }
  }

  /** The document goes on without this entry, which is kept; the next attempt is made without it. */
  private async setAside(document: DocumentId, offset: Offset, reason: string): Promise<void> {
    const { log, logger, metrics } = this.options
    const from = { timeMs: Date.now(), author: '', origin: this.origin }
    await log.append(document, [statement('quarantine', from, [offset], reason.slice(0, reasonLengthMax))])
    metrics.setAside()
    logger.error({ document, offset, reason }, 'update set aside')
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

/**
 * Finds the documents that nobody changed for `afterMs` and has them frozen. One node at a time, which holds
 * a lease from sweep to sweep:
 *
 *   changes, oldest first ──▶ idle? ──no──▶ end: all others changed later. Sleep until this one is due.
 *                              │yes
 *                              ▼
 *               a long tail? compact ──▶ freeze the snapshot ──▶ the next document
 *
 * A document that is open, or is edited while it is frozen, comes to no harm. One that cannot be compacted
 * keeps its tail in the log, and its snapshot moves all the same. One that fails is met again in the next
 * round, a day later; a store that fails ends the sweep, and the next ones come ever later.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { DocumentId } from '../../../core/document-id.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import { withDeadline } from '../../deadline.ts'
import type { Logger } from '../../logger.ts'
import type { Lease, Loaded, Log, Snapshot } from '../log.ts'
import { pointerOf } from './pointer.ts'
import { StoreError } from './snapshot-store.ts'

export type ColdResult = 'frozen' | 'skipped' | 'failed'

export interface SweeperParts {
  /** The log beneath: its loads give pointers as they are. */
  readonly log: Log
  readonly limits: SweeperLimits
  readonly logger: Logger
  /** False when there was nothing to move, or somebody else does. */
  freeze(document: DocumentId): Promise<boolean>
  /** Resolves when the document's tail is in its snapshot, or cannot be brought there now. */
  compactNow(document: DocumentId, signal: AbortSignal): Promise<void>
  /** A little of what else is to be done; true when it was the last of it. */
  clean(nowMs: number, signal: AbortSignal): Promise<boolean>
  /** Server time of the last entry in the snapshot, ms; 0 when it does not say. */
  lastTimeMs(metadata: Uint8Array): number
  count(result: ColdResult): void
}

export interface SweeperLimits {
  readonly afterMs: number
  readonly everyMs: number
  /** A tail of at most so many bytes stays in the log: compacting it would cost more than it takes. */
  readonly tailBytesMax: number
  /** A snapshot of fewer bytes stays in the log: its pointer would save nothing. */
  readonly snapshotBytesMin: number
}

/** Impossible for clients: a control character. */
export const sweepDocument = '\u0000cold' as DocumentId
const pageMax = 100
const roundMs = 24 * 3_600_000
const failuresMax = 4
const compactMsMax = 150_000

export class Sweeper {
  private readonly parts: SweeperParts
  private lease: Lease | null = null
  private cursor = 0
  private roundFromMs = 0
  private nothingBeforeMs = 0
  private cleanAfterMs = 0

  constructor(parts: SweeperParts) {
    this.parts = parts
  }

  /** Ends with the signal. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0
    while (!signal.aborted) {
      const pauseMs = this.parts.limits.everyMs * 2 ** failures * (0.75 + Math.random() / 2)
      // An aborted sleep is the end, seen by the loop.
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined)
      try {
        if (!signal.aborted) await this.sweep(Date.now(), signal)
        failures = 0
      } catch (error) {
        failures = Math.min(failures + 1, failuresMax)
        if (!signal.aborted) this.parts.logger.warn({ err: error }, 'looking for idle documents failed')
      }
    }
    await this.lease?.release().catch(() => {
      // It ends by itself.
    })
  }

  /** One sweep; the clock is an argument. Rejects when the log or the store is away. */
  async sweep(nowMs: number, signal: AbortSignal): Promise<void> {
    const { log, limits, clean } = this.parts
    await this.lease?.release()
    // Longer than until the next sweep, so that one node stays at it and knows how far it is.
    this.lease = await log.lease(sweepDocument, 3 * limits.everyMs)
    if (this.lease === null) return
    if (nowMs >= this.nothingBeforeMs) await this.walk(nowMs, signal)
    if (nowMs >= this.cleanAfterMs && (await clean(nowMs, signal))) this.cleanAfterMs = nowMs + roundMs
  }

  /** Until the first document that is not idle, or for as long as a sweep lasts. */
  private async walk(nowMs: number, signal: AbortSignal): Promise<void> {
    if (nowMs - this.roundFromMs > roundMs) {
      this.roundFromMs = nowMs
      this.cursor = 0
    }
    const endMs = performance.now() + this.parts.limits.everyMs
    const counts = { frozen: 0, skipped: 0, failed: 0 }
    try {
      while (performance.now() < endMs) {
        const page = await this.parts.log.changes(this.cursor, pageMax)
        for (const [i, { document, sequence }] of page.entries()) {
          signal.throwIfAborted()
          if (performance.now() >= endMs) return
          const result = await this.visit(document, nowMs, signal)
          if (typeof result === 'number') {
            this.nothingBeforeMs = result
            return
          }
          if (result !== null) counts[result]++
          // Several may share a sequence, and a page has all of them.
          if (page[i + 1]?.sequence !== sequence) this.cursor = sequence
        }
        if (page.length === 0) return
      }
    } finally {
      if (counts.frozen + counts.skipped + counts.failed > 0)
        this.parts.logger.debug({ ...counts }, 'idle documents went to the store of snapshots')
    }
  }

  /** What became of it; null: nothing to move; a number: when it will have been idle for long enough. */
  private async visit(
    document: DocumentId,
    nowMs: number,
    signal: AbortSignal,
  ): Promise<ColdResult | number | null> {
    const { log, limits, logger } = this.parts
    try {
      const loaded = await log.load(document)
      const { snapshot, tail } = loaded
      const lastMs = tail.at(-1)?.timeMs ?? this.parts.lastTimeMs(snapshot?.metadata ?? new Uint8Array())
      // By a clock that was ahead: it must not hold up those behind it.
      if (lastMs > nowMs) return null
      if (lastMs + limits.afterMs > nowMs) return lastMs + limits.afterMs
      const longTail = tailBytes(loaded) > limits.tailBytesMax
      if (!longTail && (pointerOf(snapshot) !== null || bytesOf(snapshot) < limits.snapshotBytesMin))
        return null
      if (longTail) await this.compacted(document, signal)
      const result = (await this.parts.freeze(document)) ? 'frozen' : 'skipped'
      this.parts.count(result)
      return result
    } catch (error) {
      if (signal.aborted) throw error
      this.parts.count('failed')
      if (error instanceof StoreError) throw error
      if (error instanceof TidemarkError && error.code !== 'document_unreadable') throw error
      logger.error({ document, err: error }, 'a document could not become cold')
      return 'failed'
    }
  }

  /** Or not, after `compactMsMax`. */
  private async compacted(document: DocumentId, closed: AbortSignal): Promise<void> {
    await withDeadline(compactMsMax, closed, async (signal) => {
      const ended = new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
      await Promise.race([this.parts.compactNow(document, signal), ended])
    })
  }
}

function bytesOf(snapshot: Snapshot | null): number {
  return snapshot === null ? 0 : snapshot.bytes.length + snapshot.index.length
}

function tailBytes({ tail }: Loaded): number {
  return tail.reduce((sum, { update }) => sum + update.length, 0)
}

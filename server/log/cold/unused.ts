/**
 * Removes the objects that no document needs any more: those of documents that became warm again, and those
 * of freezings that did not end. An object goes only if its document's log says so itself: it has a snapshot
 * at the object's offset or later, and no pointer to it. A log that is behind (restored from a backup, or
 * simply the wrong one) takes nothing away.
 *
 *   snapshots/k, not needed                 → unused/k is put, which keeps the time
 *   unused/k, older than keepMs             → look again → snapshots/k is deleted, then unused/k
 *   unused/k, but a document points to k    → unused/k is deleted
 *
 * `keepMs` is what makes the rest safe: a log that loses its last second in a power loss, fails over to a
 * replica that is behind, or is restored from a backup younger than that finds its objects. Rejected: deleting
 * at once when a compaction makes a document warm (each of these would then lose the whole document).
 *
 * Walks a page at a time, from a random place on, so that a large store costs little at once and restarts
 * do not leave its end alone.
 */
import { randomBytes } from 'node:crypto'
import { MalformedBytes } from '../../../core/bytes.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import type { Logger } from '../../logger.ts'
import type { Log } from '../log.ts'
import { pointerOf } from './pointer.ts'
import { type SealedHeader, sealedHeaderBytesMax, unsealHeader } from './sealed.ts'
import { type SnapshotStore, StoreError, snapshotsPrefix, unusedPrefix } from './snapshot-store.ts'

export interface UnusedParts {
  /** The log beneath: its loads give pointers as they are. */
  readonly log: Log
  readonly store: SnapshotStore
  readonly keepMs: number
  readonly logger: Logger
}

const pageMax = 100

export class Unused {
  private readonly parts: UnusedParts
  private afterMarker = ''
  private afterSnapshot = `${snapshotsPrefix}${randomBytes(1).toString('hex')}`
  private fromStart = false

  constructor(parts: UnusedParts) {
    this.parts = parts
  }

  /** Looks at one page of objects. True when that was the end of a whole walk. */
  async step(nowMs: number, signal: AbortSignal): Promise<boolean> {
    await this.markers(nowMs, signal)
    return this.snapshots(nowMs, signal)
  }

  private async markers(nowMs: number, signal: AbortSignal): Promise<void> {
    const { store, keepMs } = this.parts
    const page = await store.list(unusedPrefix, this.afterMarker, pageMax, signal)
    for (const marker of page) {
      if (nowMs - marker.modifiedMs < keepMs) continue
      const key = snapshotsPrefix + marker.key.slice(unusedPrefix.length)
      const need = await this.need(marker.key, key, signal)
      if (need === 'none') {
        await store.delete(key, signal)
        this.parts.logger.debug({ key }, 'unused snapshot removed')
      }
      if (need !== 'unknown') await store.delete(marker.key, signal)
    }
    this.afterMarker = page.length < pageMax ? '' : (page.at(-1)?.key ?? '')
  }

  private async snapshots(nowMs: number, signal: AbortSignal): Promise<boolean> {
    const { store, keepMs } = this.parts
    const page = await store.list(snapshotsPrefix, this.afterSnapshot, pageMax, signal)
    for (const { key, modifiedMs } of page) {
      // Too young to be unused for long, or being frozen just now.
      if (nowMs - modifiedMs < keepMs) continue
      if ((await this.need(key, key, signal)) !== 'none') continue
      const marker = unusedPrefix + key.slice(snapshotsPrefix.length)
      if ((await this.start(marker, signal)) !== null) continue
      const start = await this.start(key, signal)
      if (start !== null) await store.put(marker, start, signal)
    }
    this.afterSnapshot = page.at(-1)?.key ?? ''
    if (page.length === pageMax) return false
    const whole = this.fromStart
    this.fromStart = true
    this.afterSnapshot = ''
    return whole
  }

  /** Whether a document needs the object under `key`; `from` is itself or its marker, which begins alike. */
  private async need(from: string, key: string, signal: AbortSignal): Promise<'some' | 'none' | 'unknown'> {
    const start = await this.start(from, signal)
    if (start === null) return 'unknown'
    try {
      const { document, offset }: SealedHeader = unsealHeader(start)
      const { snapshot } = await this.parts.log.load(document)
      if (snapshot === null || snapshot.offset < offset) return 'unknown'
      return pointerOf(snapshot)?.key === key ? 'some' : 'none'
    } catch (error) {
      const unreadable = error instanceof TidemarkError && error.code === 'document_unreadable'
      if (!unreadable && !(error instanceof MalformedBytes)) throw error
      this.parts.logger.warn({ key: from, err: error }, 'cannot tell whose cold snapshot this is; left alone')
      return 'unknown'
    }
  }

  /** Null when it is not there. */
  private async start(key: string, signal: AbortSignal): Promise<Uint8Array | null> {
    try {
      return await this.parts.store.get(key, sealedHeaderBytesMax, signal)
    } catch (error) {
      if (error instanceof StoreError && error.failure === 'missing') return null
      throw error
    }
  }
}

/**
 * A log whose idle documents lie in a store of snapshots. To whoever uses it, it is the log beneath: the five
 * verbs promise what they promise there, and a cold document differs by the time its load takes.
 *
 *   cold document   its snapshot in the log beneath is a pointer (pointer.ts) to a sealed object (sealed.ts)
 *   freezing        freeze.ts, when sweeper.ts finds it idle
 *   load            the pointer is followed, the object verified (fetching.ts), or `document_unreadable`
 *   thawing         nothing: the next compaction writes a whole snapshot; unused.ts removes the object later
 *
 * What needs no snapshot needs no store: appends, follows, loads from an offset, presence. Metadata stays in
 * the log. Without a store it still knows pointers when it meets them, so that a forgotten setting is an
 * error for cold documents and not an empty document (P3).
 *
 * Rejected: a cold tier below each log (twice the code, twice the crashes to think through), a verb that
 * thaws (an append to a cold document would wait for the store).
 */

import type { DocumentId } from '../../../core/document-id.ts'
import type { Offset } from '../../../core/offset.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import { withDeadline } from '../../deadline.ts'
import type { Logger } from '../../logger.ts'
import type {
  Appended,
  Change,
  Durability,
  Follower,
  Lease,
  Loaded,
  Log,
  NewEntry,
  Snapshot,
  Subscription,
} from '../log.ts'
import { Fetching, type FetchLimits, fetchLimits } from './fetching.ts'
import { type FreezeStep, freeze } from './freeze.ts'
import { type Pointer, pointerOf } from './pointer.ts'
import { type SnapshotStore, snapshotsPrefix } from './snapshot-store.ts'
import { type ColdResult, Sweeper, type SweeperLimits } from './sweeper.ts'
import { Unused } from './unused.ts'

export interface TieredLogLimits extends SweeperLimits, FetchLimits {
  /** How long an object stays after the last document that needed it. */
  readonly keepMs: number
}

const daysMs = 24 * 3_600_000

export const tieredLogLimits: TieredLogLimits = {
  ...fetchLimits,
  afterMs: 7 * daysMs,
  everyMs: 300_000,
  tailBytesMax: 4096,
  snapshotBytesMin: 1024,
  keepMs: 7 * daysMs,
}

/** What the server does for the log, once it is there. */
export interface Host {
  /** Brings the document's tail into its snapshot; resolves also when that cannot be done now. */
  compactNow(document: DocumentId, signal: AbortSignal): Promise<void>
  count(result: ColdResult): void
}

export interface TieredLogOptions {
  readonly log: Log
  /** Null: nothing becomes cold, and what is cold cannot be read. */
  readonly store: SnapshotStore | null
  readonly lastTimeMs: (metadata: Uint8Array) => number
  readonly logger: Logger
  readonly limits?: Partial<TieredLogLimits>
  readonly onStep?: FreezeStep
}

const probeMsMax = 10_000

export class TieredLog implements Log {
  private readonly log: Log
  private readonly store: SnapshotStore | null
  private readonly logger: Logger
  private readonly limits: TieredLogLimits
  private readonly step: FreezeStep
  private readonly closing = new AbortController()
  private readonly fetching: Fetching | null
  private readonly unused: Unused | null
  private readonly sweeper: Sweeper | null
  private sweeping: Promise<void> | null = null
  private host: Host = { compactNow: async () => undefined, count: () => undefined }

  constructor({ log, store, lastTimeMs, logger, limits, onStep }: TieredLogOptions) {
    this.log = log
    this.store = store
    this.logger = logger
    this.limits = { ...tieredLogLimits, ...limits }
    this.step = onStep ?? (() => undefined)
    this.fetching = store === null ? null : new Fetching(store, this.limits, this.closing.signal)
    this.unused = store === null ? null : new Unused({ log, store, keepMs: this.limits.keepMs, logger })
    this.sweeper =
      this.unused === null
        ? null
        : new Sweeper({
            log,
            limits: this.limits,
            logger,
            lastTimeMs,
            freeze: (document) => this.freeze(document),
            compactNow: (document, signal) => this.host.compactNow(document, signal),
            clean: (nowMs, signal) => this.unused!.step(nowMs, signal),
            count: (result) => this.host.count(result),
          })
  }

  get durability(): Durability {
    return this.log.durability
  }

  /** Before `start`. */
  attach(host: Host): void {
    this.host = host
  }

  async start(): Promise<void> {
    await this.store?.start()
    try {
      await this.log.start()
    } catch (error) {
      await this.store?.close()
      throw error
    }
    if (this.store === null || this.sweeper === null) return
    this.sweeping = Promise.all([this.probe(this.store), this.sweeper.run(this.closing.signal)]).then(
      () => undefined,
    )
  }

  async close(): Promise<void> {
    this.closing.abort(new TidemarkError('shutting_down', 'The log is closing'))
    await this.sweeping
    await this.log.close()
    await this.store?.close()
  }

  /** A store that is away at the start harms cold documents only, so the log starts; but somebody should know. */
  private async probe(store: SnapshotStore): Promise<void> {
    try {
      await withDeadline(probeMsMax, this.closing.signal, (signal) =>
        store.list(snapshotsPrefix, '', 1, signal),
      )
      this.logger.info({ store: store.name }, 'idle documents go to the store of snapshots')
    } catch (error) {
      if (this.closing.signal.aborted) return
      this.logger.error({ store: store.name, err: error }, 'THE STORE OF SNAPSHOTS DOES NOT ANSWER')
    }
  }

  unavailable(): string | null {
    return this.log.unavailable()
  }

  append(document: DocumentId, entries: readonly NewEntry[]): Promise<readonly Appended[]> {
    return this.log.append(document, entries)
  }

  publish(document: DocumentId, bytes: Uint8Array): void {
    this.log.publish(document, bytes)
  }

  async load(document: DocumentId, after?: Offset): Promise<Loaded> {
    let failedKey = ''
    let failure: unknown
    for (;;) {
      const loaded = await this.log.load(document, after)
      const { snapshot } = loaded
      const pointer = this.pointerIn(document, snapshot)
      if (snapshot === null || pointer === null) return loaded
      // Still the same: the object was not replaced meanwhile, it cannot be had.
      if (pointer.key === failedKey) throw this.unreadable(document, failure, failedKey)
      try {
        if (this.fetching === null) throw new Error('the document is cold, and SNAPSHOT_STORE is not set')
        const { offset, metadata } = snapshot
        const { bytes, index } = await this.fetching.fetch(pointer, { document, offset })
        return { ...loaded, snapshot: { offset, bytes, index, metadata } }
      } catch (error) {
        failedKey = pointer.key
        failure = error
      }
    }
  }

  private pointerIn(document: DocumentId, snapshot: Snapshot | null): Pointer | null {
    try {
      return pointerOf(snapshot)
    } catch (error) {
      throw this.unreadable(document, error)
    }
  }

  private unreadable(document: DocumentId, error: unknown, key?: string): TidemarkError {
    if (this.closing.signal.aborted) return new TidemarkError('shutting_down', 'The log is closing')
    this.logger.error({ document, key, err: error }, 'a cold document cannot be read')
    return new TidemarkError('document_unreadable', 'The stored document could not be fetched', {
      cause: error,
    })
  }

  follow(document: DocumentId, after: Offset, follower: Follower): Promise<Subscription> {
    return this.log.follow(document, after, follower)
  }

  compact(document: DocumentId, snapshot: Snapshot, expected: Offset): Promise<boolean> {
    return this.log.compact(document, snapshot, expected)
  }

  list(prefix: string, after: string, countMax: number): Promise<readonly DocumentId[]> {
    return this.log.list(prefix, after, countMax)
  }

  changes(after: number, countMax: number): Promise<readonly Change[]> {
    return this.log.changes(after, countMax)
  }

  lease(document: DocumentId, leaseMs: number): Promise<Lease | null> {
    return this.log.lease(document, leaseMs)
  }

  /** Moves the document's snapshot to the store; false when there is none to move, or another node does it. */
  async freeze(document: DocumentId): Promise<boolean> {
    const { log, store, limits, step } = this
    if (store === null) return false
    const parts = { log, store, bytesMin: limits.snapshotBytesMin, step }
    return freeze(document, parts, this.closing.signal)
  }

  /** One look for idle documents and unused objects, as every `everyMs`. */
  async sweep(nowMs: number): Promise<void> {
    await this.sweeper?.sweep(nowMs, this.closing.signal)
  }

  /** Looks at every object of the store once, and removes those that have been unused for `keepMs`. */
  async removeUnused(nowMs: number): Promise<void> {
    while (this.unused !== null && !(await this.unused.step(nowMs, this.closing.signal)));
  }
}

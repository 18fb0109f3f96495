/**
 * A document's log: five verbs, two implementations (`lmdb`, `redis`), one contract suite.
 *
 * - Offsets are contiguous from 1 per document, given by `append` in the order in which entries
 *   became durable. No promise of `append` resolves, and no follower is called, before that (P1).
 * - Followers see every entry after their offset, once, in order, without gap (P2); the
 *   implementation repairs whatever its transport loses.
 * - `load` either gives the whole state or rejects with `document_unreadable` (P3).
 * - An append that rejects may still have become durable (the reply was lost). The caller resends;
 *   an idempotency key makes the retry append nothing.
 */
import type { DocumentId } from '../../core/document-id.ts'
import type { IndexedState } from '../../core/engine/engine.ts'
import type { Offset } from '../../core/offset.ts'

/**
 * What an ack is worth. `fsync`: on the disk of this machine. `aof-always`: on the disk of the
 * Redis machine. `aof-everysec`: survives a kill of Redis, except what it holds back, for two seconds
 * at most, while its disk is slow to sync; a power loss takes as much.
 * `memory`: lost with the Redis process.
 */
export type Durability = 'fsync' | 'aof-always' | 'aof-everysec' | 'memory'

/** Names a push across retries: `sequence` rises by one with each push of a replica. */
export interface IdempotencyKey {
  readonly replica: string
  readonly sequence: number
}

export interface NewEntry {
  /** Server time at which the update was taken in, ms since the epoch. Never used to merge. */
  readonly timeMs: number
  /** Who: the subject of the token, or '' without one. */
  readonly author: string
  /** Which session: unique over all nodes. */
  readonly origin: string
  readonly key?: IdempotencyKey
  readonly update: Uint8Array
}

export interface Entry extends NewEntry {
  readonly offset: Offset
}

export interface Appended {
  /** For a duplicate, an offset at or after that of the first append. */
  readonly offset: Offset
  readonly duplicate: boolean
}

/** Merged state as of an offset. */
export interface Snapshot extends IndexedState {
  readonly offset: Offset
}

export interface Loaded {
  readonly snapshot: Snapshot | null
  /** Entries after the snapshot (or after the offset that `load` was given), in order. */
  readonly tail: readonly Entry[]
  /** The log's head: offset of the last entry, or of the snapshot, or 0. */
  readonly offset: Offset
}

export interface Follower {
  /** Contiguous, in order, durable. Must not throw. */
  onEntries(entries: readonly Entry[]): void
  /** What another node published for this document; not sent back to the publisher. */
  onEphemeral(bytes: Uint8Array): void
  /** The entries after the follower's position were compacted away meanwhile: load anew and follow from there. */
  onCompactedPast(): void
}

export interface Subscription {
  close(): void
}

export interface Lease {
  release(): Promise<void>
}

export interface Log {
  /** As found when the log was started, or last reconnected. */
  readonly durability: Durability
  start(): Promise<void>
  close(): Promise<void>
  /** Null when appends can be expected to succeed, else why not, for /readyz. */
  unavailable(): string | null

  /** All entries of one call become durable in their order; entries of other calls may come between calls only. */
  append(document: DocumentId, entries: readonly NewEntry[]): Promise<readonly Appended[]>
  /** Presence and the like: to followers on other nodes, at most once, never stored. */
  publish(document: DocumentId, bytes: Uint8Array): void
  /**
   * The whole state; or, for a reader that has everything up to `after` (an offset it was given), only
   * what follows, with `snapshot` null, unless that was compacted away.
   */
  load(document: DocumentId, after?: Offset): Promise<Loaded>
  /** Resolves once every entry after `after` is sure to reach the follower. */
  follow(document: DocumentId, after: Offset, follower: Follower): Promise<Subscription>
  /**
   * Replaces the snapshot at offset `expected` (0: none) and drops the entries up to the new one's
   * offset; false, with nothing changed, when the snapshot in place is not the expected one.
   */
  compact(document: DocumentId, snapshot: Snapshot, expected: Offset): Promise<boolean>
  /** Exclusive among all nodes for at most `leaseMs`; null when somebody else holds it. */
  lease(document: DocumentId, leaseMs: number): Promise<Lease | null>
}

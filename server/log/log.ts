/**
 * A document's log: five verbs, two implementations (`lmdb`, `redis`), one contract suite. `list` and
 * `changes` look over all documents at once.
 *
 * - Offsets are contiguous from 1 per document, given by `append` in the order in which entries
 *   became durable. No promise of `append` resolves, and no follower is called, before that (P1).
 * - Followers see every entry after their offset, once, in order, without gap (P2); the
 *   implementation repairs whatever its transport loses.
 * - `load` either gives the whole state or rejects with `document_unreadable` (P3).
 * - An append that rejects may still have become durable (the reply was lost). The caller resends;
 *   an idempotency key makes the retry append nothing.
 * - The log stores entries of every kind alike and reads none of them. What a removal or a creation means
 *   for the entries around it is the fold in lineage.ts; its result travels in `Snapshot.metadata`.
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

/**
 * What an entry is. `update`: engine bytes. The rest are statements about the document, so that all nodes
 * learn of them in the log's one order: `removal` ends its lineage, `creation` begins a new one, `quarantine`
 * sets entries aside that followers cannot digest, `release` takes them back in, `discard` forgets them.
 * The numbers are stored: never reuse one.
 */
export const entryKinds = {
  update: 0,
  removal: 1,
  creation: 2,
  quarantine: 3,
  release: 4,
  discard: 5,
} as const
export type EntryKind = keyof typeof entryKinds

export interface NewEntry {
  /** Absent: `update`. */
  readonly kind?: EntryKind
  /** Which lineage it is meant for: the offset of that lineage's creation. Absent: 0, the first one. */
  readonly epoch?: Offset
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
  /** What else holds as of the offset: lineage, history, quarantine (lineage.ts). Opaque to the log; may be empty. */
  readonly metadata: Uint8Array
}

/** A document that got entries, as `changes` tells it. */
export interface Change {
  readonly document: DocumentId
  /** Its latest place in the order of all documents' changes: rises, not contiguous. */
  readonly sequence: number
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
  /**
   * Ids of documents with entries that begin with `prefix`, in the order of their UTF-8 bytes, those after
   * `after` (exclusive; '' from the start), at most `countMax`. Without the ones that only Tidemark itself
   * names (their ids begin with a control character, which no client's may). May lag an append by a moment.
   */
  list(prefix: string, after: string, countMax: number): Promise<readonly DocumentId[]>
  /**
   * Documents that got entries after the point `after` (0: from the start) in the order of all appends, each
   * once at its latest place, ascending; about `countMax` of them, but never part of those that share a
   * sequence. Empty when there are none. Durable entries only; survives restarts and compactions. What
   * is read with `load` after this call includes what the change was about.
   */
  changes(after: number, countMax: number): Promise<readonly Change[]>
  /** Exclusive among all nodes for at most `leaseMs`; null when somebody else holds it. */
  lease(document: DocumentId, leaseMs: number): Promise<Lease | null>
}

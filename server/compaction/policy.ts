/**
 * When a tail becomes a snapshot. The limit on bytes grows with the snapshot, so that all compactions
 * of a document together rewrite a constant number of bytes per byte written, and the log stays
 * bounded at about twice the state, however long people type. A pause between two compactions of one
 * document keeps a burst of a hundred thousand small edits a second from compacting ten times in it.
 *
 * Entries cost the next joiner after a restart about 10 µs each, so few of them are let stand; but with a
 * large snapshot that many small edits would rewrite it each time, so their limit grows with it as well.
 */
/** At most so many bytes of the snapshot are rewritten for each entry that the tail had. */
const snapshotBytesPerEntry = 1024
/** Less than this is sent as it is: a worker costs more than it saves. */
const newcomerTailBytesMin = 16 * 1024
/** A tail of a smaller share of the snapshot is. */
const newcomerTailShare = 4
/** More is compacted when it is due, whoever comes. */
const newcomerBytesMax = 8 * 1024 * 1024
/** Nobody is let wait for more to be built. */
const waitedForBytesMax = 2 * 1024 * 1024

export interface TailStats {
  tailBytes: number
  tailCount: number
  snapshotBytes: number
  /** Server time of the oldest entry of the tail, 0 without one. */
  oldestMs: number
  /** When this node last saw a compaction of the document end, 0 when it saw none. */
  compactedMs: number
}

type Bytes = Pick<TailStats, 'tailBytes' | 'snapshotBytes'>

export interface CompactionLimits {
  /** A tail of fewer bytes than this, or than the snapshot has, is left alone. */
  readonly tailBytesMax: number
  readonly tailCountMax: number
  readonly tailAgeMsMax: number
  /** The least time between two compactions of a document. */
  readonly intervalMs: number
  /** A document nobody has open is compacted when its tail has at least this many entries. */
  readonly idleTailCountMin: number
}

export type CompactionReason = 'bytes' | 'count' | 'age' | 'idle' | 'newcomer'

export function compactionDue(
  stats: Readonly<TailStats>,
  limits: CompactionLimits,
  nowMs: number,
  idle = false,
): CompactionReason | null {
  if (stats.tailCount === 0 || nowMs - stats.compactedMs < limits.intervalMs) return null
  if (stats.tailBytes >= Math.max(limits.tailBytesMax, stats.snapshotBytes)) return 'bytes'
  const tailCountMax = Math.max(limits.tailCountMax, stats.snapshotBytes / snapshotBytesPerEntry)
  if (stats.tailCount >= tailCountMax) return 'count'
  // One entry is as good a tail as any: there is nothing to win.
  if (stats.tailCount > 1 && nowMs - stats.oldestMs >= limits.tailAgeMsMax) return 'age'
  if (idle && stats.tailCount >= limits.idleTailCountMin) return 'idle'
  return null
}

/**
 * Whether a document whose tail is sent as it was written (`Engine.sendsTail`) is compacted because somebody comes who has nothing. It
 * would have been anyway, with more of the tail; it is done for those only who have use for it.
 */
export function dueForNewcomer({ tailBytes, snapshotBytes }: Bytes): boolean {
  if (tailBytes + snapshotBytes > newcomerBytesMax) return false
  return tailBytes >= Math.max(newcomerTailBytesMin, snapshotBytes / newcomerTailShare)
}

/** Whether that takes so little time that they are let wait for it; else those who come after it have less to read. */
export function isWaitedFor({ tailBytes, snapshotBytes }: Bytes): boolean {
  return tailBytes + snapshotBytes <= waitedForBytesMax
}

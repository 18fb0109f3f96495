/** What a room counts of its document's tail, by which it is compacted. */
import type { CompactionResult } from '../compaction/compactor.ts'
import type { TailStats } from '../compaction/policy.ts'
import type { Entry, Loaded } from '../log/log.ts'

export function tailOf({ snapshot, tail }: Loaded): Omit<TailStats, 'compactedMs'> {
  return {
    snapshotBytes: snapshot?.bytes.length ?? 0,
    tailCount: tail.length,
    tailBytes: tail.reduce((sum, { update }) => sum + update.length, 0),
    oldestMs: tail[0]?.timeMs ?? 0,
  }
}

export function lengthen(stats: TailStats, entry: Entry): void {
  stats.tailCount++
  stats.tailBytes += entry.update.length
  if (stats.oldestMs === 0) stats.oldestMs = entry.timeMs
}

export function shorten(stats: TailStats, result: CompactionResult, nowMs: number): void {
  stats.snapshotBytes = result.snapshotBytes
  stats.tailCount = Math.max(0, stats.tailCount - result.droppedCount)
  stats.tailBytes = Math.max(0, stats.tailBytes - result.droppedBytes)
  stats.oldestMs = stats.tailCount === 0 ? 0 : nowMs
  stats.compactedMs = nowMs
}

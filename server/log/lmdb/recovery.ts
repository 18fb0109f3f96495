/**
 * Reads the journal at start and brings back what LMDB does not have:
 *
 *   mark = LSN up to which LMDB has everything
 *   segments in order, each up to its first invalid record
 *   dead: records at or past the first LSN of a later segment; done: records at or below the mark
 *   the rest: LSNs without a gap from mark + 1, offsets of each document without a gap from its head
 *
 * A torn record at the end of a segment is what a crash leaves. Anything else that does not fit, also a
 * gap, means that acked updates are damaged: the log does not start, and the error names the file.
 * Offsets that LMDB has already (a checkpoint that was cut short) are skipped.
 */
import type { DocumentId } from '../../../core/document-id.ts'
import type { DocumentState } from './document-state.ts'
import type { PastSegment } from './journal.ts'
import type { EmbeddedLogLimits } from './limits.ts'
import { readRecord } from './record.ts'
import { CorruptJournal, type ReadSegment } from './segment.ts'
import type { Slabs } from './slabs.ts'

export interface Recovered {
  readonly durableLsn: number
  readonly bytes: number
  readonly entries: number
  readonly past: readonly PastSegment[]
}

export interface RecoveryParts {
  readonly slabs: Slabs
  readonly limits: EmbeddedLogLimits
  state(document: DocumentId): DocumentState
  /** The document got entries that LMDB does not have. */
  onDirty(state: DocumentState): void
}

export async function recover(
  segments: AsyncIterable<ReadSegment>,
  mark: number,
  parts: RecoveryParts,
): Promise<Recovered> {
  const found: ReadSegment[] = []
  for await (const segment of segments) {
    const first = segment.records[0]
    // Records of earlier segments at or past this one's first are dead.
    for (const [i, earlier] of found.entries())
      if (first !== undefined)
        found[i] = { ...earlier, records: earlier.records.filter(({ lsn }) => lsn < first.lsn) }
    found.push(withoutBuffer(segment, mark))
  }
  let lsn = mark
  let bytes = 0
  let entries = 0
  const past: PastSegment[] = []
  let before: ReadSegment | null = null
  for (const segment of found) {
    const { path, buffer, records } = segment
    const live = records.filter((record) => record.lsn > mark)
    if (live.length > 0) {
      const slab = parts.slabs.add(buffer)
      for (const record of live) {
        if (record.lsn !== lsn + 1)
          throw new CorruptJournal(
            before?.path ?? path,
            before?.records.at(-1)?.end ?? record.start,
            `LSN ${lsn + 1} is missing, ${path} begins with ${record.lsn}`,
          )
        slab.lastLsn = lsn = record.lsn
        bytes += record.end - record.start
        readRecord(buffer, record, (document, offset, at) => {
          const state = parts.state(document)
          if (offset <= state.checkpointedHead) return
          if (offset !== state.durableHead + 1)
            throw new CorruptJournal(path, at, `offset ${offset} of ${document} follows ${state.durableHead}`)
          state.recover(buffer, at, slab.address(at), record.lsn, parts.limits.replicasMax)
          if (!state.dirty) parts.onDirty(state)
          entries++
        })
      }
    }
    past.push({ path, lastLsn: lsn })
    before = segment
  }
  return { durableLsn: lsn, bytes, entries, past }
}

/** A segment LMDB has wholly need not stay in memory. */
function withoutBuffer(segment: ReadSegment, mark: number): ReadSegment {
  return (segment.records.at(-1)?.lsn ?? 0) > mark ? segment : { ...segment, buffer: Buffer.alloc(0) }
}

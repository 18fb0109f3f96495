/**
 * What is said of a document: a pure function of its log's head. The lineage there follows the rules of `fold` in
 * log/lineage.ts, of which only those about removal and creation matter here, so no engine and no state is
 * needed; a property test holds the two together.
 */
import { createHash } from 'node:crypto'
import type { DocumentId } from '../../core/document-id.ts'
import { noOffset, type Offset } from '../../core/offset.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import type { Loaded } from '../log/log.ts'
import { decodeMetadata, firstLineage } from '../log/metadata.ts'

export interface Announcement {
  readonly id: string
  readonly offset: Offset
  readonly body: string
}

/** A document's head, and which of its lives it is in there. */
export interface Head {
  readonly offset: Offset
  readonly epoch: Offset
  readonly removed: boolean
  /** Server time of the last entry, ms; 0 when that is not known. */
  readonly timeMs: number
}

/** The head that `loaded` shows: of a whole load, or of one after `known`. Throws `document_unreadable`. */
export function headOf(loaded: Loaded, known: Head | null): Head {
  const { snapshot, tail, offset } = loaded
  const continues =
    known !== null && snapshot === null && (tail[0]?.offset ?? offset + 1) === known.offset + 1
  let { epoch, removed, timeMs } = continues ? known : startOf(loaded)
  for (const entry of tail) {
    timeMs = entry.timeMs
    if (entry.kind === 'removal') removed = true
    else if (entry.kind === 'creation' && removed) {
      removed = false
      epoch = entry.offset
    }
  }
  return { offset, epoch, removed, timeMs }
}

function startOf({ snapshot }: Loaded): Head {
  const before = { offset: snapshot?.offset ?? noOffset, ...firstLineage, timeMs: 0 }
  if (snapshot === null) return before
  try {
    const { lineage, history } = decodeMetadata(snapshot.metadata)
    return { ...before, ...lineage, timeMs: history.at(-1)?.toMs ?? 0 }
  } catch (error) {
    throw new TidemarkError('document_unreadable', "The snapshot's metadata is damaged", { cause: error })
  }
}

export function announcementOf(document: DocumentId, head: Head, nowMs: number): Announcement {
  const { offset, epoch, removed, timeMs } = head
  const body = JSON.stringify({
    type: removed ? 'document.removed' : 'document.changed',
    timestamp: new Date(timeMs || nowMs).toISOString(),
    data: { document, offset, epoch },
  })
  return { id: messageId(document, offset), offset, body }
}

/** The same for the same document and offset, whoever asks; without `.`, which separates what is signed. */
function messageId(document: DocumentId, offset: Offset): string {
  const digest = createHash('sha256').update(`${offset} ${document}`).digest()
  return `msg_${digest.toString('base64url').slice(0, 32)}`
}

/**
 * Finds out what to say of a document: reads its log from where it was last read. What was known then is kept for
 * `knownMax` documents, the latest ones; an announcement of the head that was delivered last is left out.
 *
 * Cost: the entries since then. The first time, and after a compaction, the log gives the whole document, of which only
 * the metadata is read. At most `wholeLoadsMax` of these are under way, so that many large documents do not
 * come into memory together; two, so that one that comes slowly from its store does not hold up the rest.
 *
 * Rejected: following each document (a subscription for every one that ever changed), asking the rooms (they are on
 * other nodes), storing what is known (it would be written with every announcement).
 */
import type { DocumentId } from '../../core/document-id.ts'
import { noOffset } from '../../core/offset.ts'
import type { Loaded, Log } from '../log/log.ts'
import { type Announcement, announcementOf, type Head, headOf } from './announcement.ts'

const knownMax = 20_000
const wholeLoadsMax = 2

interface Known {
  readonly head: Head
  delivered: number
}

export class Heads {
  private readonly log: Pick<Log, 'load'>
  /** Least recently used first. */
  private readonly known = new Map<DocumentId, Known>()
  private wholeLoads = 0
  private readonly turns: (() => void)[] = []

  constructor(log: Pick<Log, 'load'>) {
    this.log = log
  }

  /** Null when there is nothing new to say. Rejects as `Log.load`. */
  async announcement(document: DocumentId): Promise<Announcement | null> {
    const known = this.known.get(document)
    const loaded = await (known === undefined
      ? this.loadWhole(document)
      : this.log.load(document, known.head.offset))
    const head = headOf(loaded, known?.head ?? null)
    const delivered = known?.delivered ?? noOffset
    this.remember(document, { head, delivered })
    // Offset 0: the log lost what it had; there is nothing to tell.
    if (head.offset === noOffset || head.offset === delivered) return null
    return announcementOf(document, head, Date.now())
  }

  delivered(document: DocumentId, { offset }: Announcement): void {
    const known = this.known.get(document)
    if (known !== undefined) known.delivered = offset
  }

  private remember(document: DocumentId, known: Known): void {
    this.known.delete(document)
    this.known.set(document, known)
    if (this.known.size <= knownMax) return
    for (const oldest of this.known.keys()) {
      this.known.delete(oldest)
      return
    }
  }

  private async loadWhole(document: DocumentId): Promise<Loaded> {
    if (this.wholeLoads >= wholeLoadsMax) await new Promise<void>((resolve) => this.turns.push(resolve))
    else this.wholeLoads++
    try {
      return await this.log.load(document)
    } finally {
      const next = this.turns.shift()
      if (next === undefined) this.wholeLoads--
      else next()
    }
  }
}

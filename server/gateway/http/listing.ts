/**
 * Pages of the documents that somebody may read, without those that were deleted.
 *
 * A page looks at ids until it is full or has done `idsMax` and `bytesMax` worth of work; the next one goes on from
 * there. So a page can be short, even empty, and not be the last.
 *
 *   cursor = base64url of  skip ":" id       -- the last id that the caller may read, and how many to pass over after it
 *
 * It names nothing that the caller may not read: the ids in between are only counted. Documents are never taken out of
 * the log's list, so passing over as many ids never passes over one that was not looked at.
 *
 * That a document was deleted stands in its log, which must be read to know. The answer is remembered with the offset
 * it holds for, so that the next time costs only what came after. Rejected: a list of deleted documents beside the
 * log, which could differ from it (P5).
 */
import { type DocumentId, documentIdBytesMax } from '../../../core/document-id.ts'
import type { Offset } from '../../../core/offset.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import { type Identity, includes } from '../../access/access.ts'
import { fold } from '../../log/lineage.ts'
import type { Loaded, Log } from '../../log/log.ts'

export interface Page {
  readonly documents: readonly { readonly id: DocumentId }[]
  readonly next: string | null
}

export interface ListingLimits {
  /** Ids that one page looks at. */
  readonly idsMax: number
  /** Bytes of documents that one page reads; the last one may exceed it. */
  readonly bytesMax: number
  /** Documents of which it is remembered whether they were deleted. */
  readonly knownMax: number
}

const listingLimits: ListingLimits = { idsMax: 10_000, bytesMax: 32 * 1024 * 1024, knownMax: 50_000 }
const batchMax = 1_000
/** Larger ones are made up: no page skips so far. */
const skipMax = 10_000_000

interface Known {
  readonly offset: Offset
  readonly removed: boolean
}

interface Look {
  readonly removed: boolean
  readonly bytes: number
}

interface Cursor {
  readonly id: string
  readonly skip: number
}

export class Listing {
  private readonly log: Log
  private readonly limits: ListingLimits
  private readonly known = new Map<DocumentId, Known>()

  constructor(log: Log, limits: Partial<ListingLimits> = {}) {
    this.log = log
    this.limits = { ...listingLimits, ...limits }
  }

  /** Throws `invalid_request` for a cursor that is none, what `Log.load` throws, and the signal's reason. */
  async page(
    identity: Identity,
    prefix: string,
    after: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<Page> {
    const from = decodeCursor(after)
    const documents: { id: DocumentId }[] = []
    let { id: readable, skip: skipped } = from
    let idsLeft = this.limits.idsMax
    let bytesLeft = this.limits.bytesMax
    for await (const id of this.ids(prefix, from, signal)) {
      if (idsLeft-- <= 0 || bytesLeft <= 0 || documents.length >= limit)
        return { documents, next: encodeCursor({ id: readable, skip: skipped }) }
      if (!includes(identity.accessTo(id), 'read')) {
        skipped++
        continue
      }
      readable = id
      skipped = 0
      const { removed, bytes } = await this.look(id)
      bytesLeft -= bytes
      if (!removed) documents.push({ id })
    }
    return { documents, next: null }
  }

  private async *ids(prefix: string, { id, skip }: Cursor, signal: AbortSignal): AsyncGenerator<DocumentId> {
    let after = id
    let left = skip
    for (;;) {
      signal.throwIfAborted()
      const batch = await this.log.list(prefix, after, batchMax)
      for (const next of batch) {
        after = next
        if (left > 0) left--
        else yield next
      }
      if (batch.length < batchMax) return
    }
  }

  private async look(document: DocumentId): Promise<Look> {
    try {
      return await this.lookInto(document)
    } catch (error) {
      // It is there; whoever opens it learns what is wrong. One bad document does not hide the others.
      if (error instanceof TidemarkError && error.code === 'document_unreadable')
        return { removed: false, bytes: 0 }
      throw error
    }
  }

  private async lookInto(document: DocumentId): Promise<Look> {
    const known = this.known.get(document)
    let loaded = await this.log.load(document, known?.offset)
    let bytes = bytesOf(loaded)
    let removed = known?.removed ?? false
    const tells =
      loaded.snapshot !== null || loaded.tail.some((entry) => (entry.kind ?? 'update') !== 'update')
    if (known === undefined || tells) {
      if (known !== undefined && loaded.snapshot === null) {
        loaded = await this.log.load(document)
        bytes += bytesOf(loaded)
      }
      removed = fold(loaded).lineage.removed
    }
    // To the end: the first ones are those that nobody has asked for the longest.
    this.known.delete(document)
    this.known.set(document, { offset: loaded.offset, removed })
    if (this.known.size > this.limits.knownMax) {
      const [oldest] = this.known.keys()
      this.known.delete(oldest!)
    }
    return { removed, bytes }
  }
}

function bytesOf({ snapshot, tail }: Loaded): number {
  return tail.reduce((sum, entry) => sum + entry.update.length, snapshot?.bytes.length ?? 0)
}

function encodeCursor({ id, skip }: Cursor): string {
  return Buffer.from(`${skip}:${id}`).toString('base64url')
}

function decodeCursor(text: string): Cursor {
  if (text === '') return { id: '', skip: 0 }
  const [, digits, id] = /^(\d{1,8}):(.*)$/su.exec(Buffer.from(text, 'base64url').toString()) ?? []
  const skip = Number(digits)
  if (id === undefined || skip > skipMax || Buffer.byteLength(id) > documentIdBytesMax)
    throw new TidemarkError('invalid_request', '`after` is not the `next` of a page')
  return { id, skip }
}

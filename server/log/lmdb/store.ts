/**
 * What is checkpointed, in LMDB: five databases in one environment.
 *
 *   chunks     [document, first offset] → entries
 *   snapshots  document → offset, index, metadata, bytes
 *   documents  document → head, snapshot offset, sequence, replicas
 *   changes    [sequence, document] → nothing: every document once, where its record says
 *   marks      'journal' → the LSN up to which the journal is in here
 *
 * `write` is one transaction that is on the disk when it resolves (no overlapping sync: one
 * commit, one fdatasync, and an error reaches the caller). Writes run in LMDB's own thread; the caller
 * sees to it that one is under way at a time, and keeps the buffers unchanged until then.
 */
import { type Database, open, type RootDatabase } from 'lmdb'
import type { DocumentId } from '../../../core/document-id.ts'
import {
  CorruptValue,
  decodeDocument,
  decodeMark,
  encodeDocument,
  encodeMark,
  type StoredDocument,
} from './values.ts'

type Bytes = Database<Uint8Array, string>
type Chunks = Database<Uint8Array, [string, number]>
type Changes = Database<Uint8Array, [number, string]>

export interface StoreWrite {
  chunk(document: DocumentId, firstOffset: number, value: Uint8Array): void
  removeChunk(document: DocumentId, firstOffset: number): void
  snapshot(document: DocumentId, value: Uint8Array): void
  /** Also puts the document to its place among the changes, and takes it from where it was. */
  document(document: DocumentId, record: StoredDocument): void
  mark(lsn: number): void
}

const markKey = 'journal'
const noBytes = new Uint8Array()
/** The lowest id that a client can give. */
const firstListed = ' '

/** Not one of those that only Tidemark itself names. */
export function isListed(document: string): boolean {
  return document >= firstListed
}

export class Store {
  private readonly root: RootDatabase<Uint8Array, string>
  private readonly chunks: Chunks
  private readonly snapshots: Bytes
  private readonly documents: Bytes
  private readonly changes: Changes
  private readonly marks: Bytes

  constructor(directory: string) {
    this.root = open<Uint8Array, string>({
      path: directory,
      noSubdir: false,
      maxDbs: 5,
      encoding: 'binary',
      overlappingSync: false,
      // Else every turn's writes get an outer batch, whose rejected promise nobody could handle.
      eventTurnBatching: false,
    })
    const bytes = (name: string): Bytes => this.root.openDB({ name, encoding: 'binary' })
    this.chunks = this.root.openDB({ name: 'chunks', encoding: 'binary' })
    this.snapshots = bytes('snapshots')
    this.documents = bytes('documents')
    this.changes = this.root.openDB({ name: 'changes', encoding: 'binary' })
    this.marks = bytes('marks')
  }

  /** Null for a document LMDB knows nothing of. Throws `CorruptValue`. */
  document(document: DocumentId): StoredDocument | null {
    const value = this.documents.getBinary(document)
    return value === undefined ? null : decodeDocument(value)
  }

  /** Listed documents from `start` on, in the order of their UTF-8 bytes. */
  *documentsFrom(start: string): Generator<DocumentId> {
    for (const id of this.documents.getKeys({ start: start < firstListed ? firstListed : start }))
      yield id as DocumentId
  }

  /** Listed documents with their sequences, those after `after`, ascending. */
  *changesAfter(after: number): Generator<[number, DocumentId]> {
    for (const [sequence, id] of this.changes.getKeys({ start: [Math.floor(after) + 1, ''] }))
      yield [sequence, id as DocumentId]
  }

  snapshot(document: DocumentId): Uint8Array | null {
    return exactly(this.snapshots.getBinary(document))
  }

  mark(): number {
    const value = this.marks.getBinary(markKey)
    return value === undefined ? 0 : decodeMark(value)
  }

  /** First offsets of the document's chunks from the one that holds `offset`, ascending. */
  chunksFrom(document: DocumentId, offset: number): number[] {
    const holding = this.chunks.getKeys({
      start: [document, offset],
      end: [document, -1],
      reverse: true,
      limit: 1,
    })
    let start = offset
    for (const [, first] of holding) start = first
    const firsts: number[] = []
    for (const [, first] of this.chunks.getKeys({
      start: [document, start],
      end: [document, Number.POSITIVE_INFINITY],
    }))
      firsts.push(first)
    return firsts
  }

  chunk(document: DocumentId, firstOffset: number): Uint8Array | null {
    return exactly(this.chunks.getBinary([document, firstOffset]))
  }

  async write(fill: (write: StoreWrite) => void): Promise<void> {
    try {
      // Inside a batch the puts give no promises of their own: the batch's stands for all.
      await this.root.batch(() =>
        fill({
          chunk: (document, first, value) => void this.chunks.put([document, first], value),
          removeChunk: (document, first) => void this.chunks.remove([document, first]),
          snapshot: (document, value) => void this.snapshots.put(document, value),
          document: (document, record) => this.putDocument(document, record),
          mark: (lsn) => void this.marks.put(markKey, encodeMark(lsn)),
        }),
      )
    } catch (error) {
      throw await causeOf(error)
    } finally {
      // Reads from here on see what was written, whatever read transaction was open.
      this.root.resetReadTxn()
    }
  }

  private putDocument(document: DocumentId, record: StoredDocument): void {
    const before = this.storedSequence(document)
    void this.documents.put(document, encodeDocument(record))
    if (record.sequence === before || !isListed(document)) return
    if (before > 0) void this.changes.remove([before, document])
    void this.changes.put([record.sequence, document], noBytes)
  }

  /** What is stored decides, not what somebody remembers: a commit that failed may have happened. */
  private storedSequence(document: DocumentId): number {
    try {
      return this.document(document)?.sequence ?? 0
    } catch (error) {
      // It is about to be replaced. At worst it stays named at its old place as well.
      if (error instanceof CorruptValue) return 0
      throw error
    }
  }

  close(): Promise<void> {
    return this.root.close()
  }
}

/** LMDB may hand out a buffer whose length is only nominal. */
function exactly(value: Buffer | undefined): Uint8Array | null {
  return value === undefined ? null : new Uint8Array(value.buffer, value.byteOffset, value.length)
}

/** lmdb rejects with a generic error and puts the reason into a promise on it, which nobody else owns. */
async function causeOf(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !('commitError' in error)) return error
  return Promise.resolve(error.commitError).then(
    () => error,
    (cause: unknown) => cause,
  )
}

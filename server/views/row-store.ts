/** What the projector needs of the place where rows are. */
import type { DocumentId } from '../../core/document-id.ts'
import type { Adapter } from '../../core/domain/adapter.ts'
import type { Replacement } from '../../core/domain/project.ts'
import type { Progress } from './live-documents.ts'

/** What one adapter makes of one document. */
export interface Projected {
  readonly adapter: Adapter
  readonly document: DocumentId
  readonly progress: Progress
  /** Empty for a document that changed nothing of the adapter's, whose progress moves all the same. */
  readonly replacements: readonly Replacement[]
  /** The adapter has no rows of it. */
  readonly isNew: boolean
  /** See `DocumentRows`. */
  readonly keepsClaimsOf?: number | null
}

export interface DeadLetter {
  readonly adapter: Adapter
  readonly document: DocumentId
  readonly progress: Progress | null
  readonly reason: string
}

/** A part that this node holds. */
export interface Held {
  /** Everything up to this change is projected, but by adapters that are behind. */
  readonly cursor: number
  /** Where the tables of some adapters are being filled: they have everything up to `from`, and miss nothing after `until`. */
  readonly behind: { readonly from: number; readonly until: number } | null
}

export interface Claimed {
  /** What it says of a part is of the moment when that was taken. */
  readonly parts: ReadonlyMap<number, Held>
  /** Dead letters of these parts that somebody wants to be tried again. */
  readonly retries: readonly DocumentId[]
}

/** Where rows are. One node's projector is one holder of parts. */
export interface RowStore {
  /** Takes and renews what this node should hold. */
  claim(): Promise<Claimed>
  /** By document and adapter name; without those of which there are no rows, or rows of another version. */
  progressOf(
    documents: readonly DocumentId[],
  ): Promise<ReadonlyMap<DocumentId, ReadonlyMap<string, Progress>>>
  /** All or nothing. Throws `StoreError`. A dead letter is buried, one of a document that is projected again removed. */
  write(
    projected: readonly Projected[],
    dead: readonly DeadLetter[],
    cursors: ReadonlyMap<number, number>,
    /** Cursors of those that are behind. Once one is at `until`, they are behind no more. */
    behind?: ReadonlyMap<number, number>,
  ): Promise<void>
  release(): Promise<void>
}

export class StoreError extends Error {
  /**
   * `away`: the same may succeed later. `fenced`: another node holds a part. `refused`: something in the batch is at fault.
   * `moved`: the tables are somewhere else, or of another version.
   */
  readonly kind: 'away' | 'fenced' | 'refused' | 'moved'
  constructor(kind: StoreError['kind'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StoreError'
    this.kind = kind
  }
}

/**
 * The documents with state in memory. One that is idle and wholly in LMDB can be dropped and read
 * again (a get, some µs), so memory does not grow with the documents ever touched: beyond
 * `documentsMax` each new one looks at a few of the oldest and drops those it can.
 */
import type { DocumentId } from '../../../core/document-id.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import { DocumentState } from './document-state.ts'
import type { Store } from './store.ts'

const lookedAt = 8

export class Documents {
  private readonly states = new Map<DocumentId, DocumentState>()
  private readonly store: Store
  private readonly documentsMax: number

  constructor(store: Store, documentsMax: number) {
    this.store = store
    this.documentsMax = documentsMax
  }

  get count(): number {
    return this.states.size
  }

  /** What is in memory of the document, if anything is. */
  known(document: DocumentId): DocumentState | undefined {
    return this.states.get(document)
  }

  /** Throws `document_unreadable`. */
  get(document: DocumentId): DocumentState {
    const known = this.states.get(document)
    if (known !== undefined) return known
    if (this.states.size >= this.documentsMax) this.evict()
    let state: DocumentState
    try {
      state = new DocumentState(document, this.store.document(document))
    } catch (error) {
      throw unreadable(document, error)
    }
    this.states.set(document, state)
    return state
  }

  private evict(): void {
    let left = lookedAt
    for (const [id, state] of this.states) {
      if (left-- === 0) return
      this.states.delete(id)
      // Still needed: it goes to the end, so that the next look is at others.
      if (!state.evictable) this.states.set(id, state)
    }
  }

  all(): Iterable<DocumentState> {
    return this.states.values()
  }
}

export function unreadable(document: DocumentId, cause: unknown): TidemarkError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new TidemarkError('document_unreadable', `Document ${document} cannot be read: ${why}`, { cause })
}

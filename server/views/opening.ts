/**
 * Documents being opened, or brought forward, in a thread that may end of it: its heap is full, Automerge's WebAssembly has no
 * memory left, or panicked. After either of the last two Automerge is of no use to the thread any more (wasm-memory.ts), so it
 * ends at once, having said which document it was at (watched.ts); the next one goes on.
 *
 * Memory may be full of other documents. So the first time a document is only suspected, and the next thread opens it
 * when it keeps no others; when that one ends too, the document is at fault.
 */
import type { DocumentId } from '../../core/document-id.ts'
import { isTrap, type WasmMemory } from '../compaction/wasm-memory.ts'
import { anyAdapter, Watched } from './watched.ts'

export interface OpeningParts {
  readonly watched: Watched
  readonly memory: Pick<WasmMemory, 'share'>
  /** Ends the thread. */
  readonly end: () => void
}

/** Where nothing is bounded, and nobody looks. */
const alone: OpeningParts = { watched: new Watched(), memory: { share: 0 }, end: () => undefined }

export class Opening {
  private readonly parts: OpeningParts

  constructor(parts: OpeningParts = alone) {
    this.parts = parts
  }

  /** Why it is not to be opened now; null when it may be. */
  refusal(document: DocumentId): string | null {
    return this.parts.watched.refusal(anyAdapter, document)
  }

  /** It is to be opened when no others are. */
  isSuspected(document: DocumentId): boolean {
    return this.parts.watched.isSuspected(document)
  }

  /** With the share of the memory for WebAssembly that it took; none when there was room from before. Throws as `work`. */
  run<T>(document: DocumentId, work: () => T): readonly [value: T, share: number] {
    const { watched, memory } = this.parts
    const before = memory.share
    watched.begin(anyAdapter, document)
    try {
      const value = work()
      watched.end()
      return [value, memory.share - before]
    } catch (error) {
      if (!this.failed(document, error)) watched.end()
      throw error
    }
  }

  /** While the document was being opened, or read. True: the thread is ending. */
  failed(document: DocumentId, error: unknown): boolean {
    if (!isTrap(error)) return false
    this.parts.watched.accuse(document)
    this.parts.end()
    return true
  }
}

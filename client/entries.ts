/**
 * Root maps of a document by their entries, whatever its engine: what documents of facts (domain/) stand on. Those of Yjs are in
 * domain/yjs-entries.ts; those of Automerge come with its handle (automerge/entries.ts), so that nobody loads Automerge for a fold.
 */
import type { State, Value } from '../core/engine/live-document.ts'
import type { WrittenEntry } from '../core/engine/yjs/written-entries.ts'

export interface NewEntry {
  readonly key: string
  readonly value: Value | undefined
}

export interface DocumentEntries {
  /** All that the document says now. */
  readonly state: State
  /** Calls `onEntries` with all there are, now, and with those that change, until the returned function is called. */
  follow(root: string, onEntries: (entries: readonly WrittenEntry[]) => void): () => void
  /** Entries that are written once, as one edit. */
  write(root: string, entries: readonly NewEntry[]): void
  /** One that anybody may write again, in the place of whatever is there. */
  assign(root: string, key: string, value: Value): void
}

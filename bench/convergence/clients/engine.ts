/**
 * What histories need of a CRDT, so that neither the oracle nor the observers know which one it is. A new engine implements this in
 * a file of its own, has kinds of clients, and is added to index.ts.
 */
import type { ClientKind, Content } from './replica.ts'

export type EngineName = 'yjs' | 'automerge'

export interface Engine {
  readonly name: EngineName
  /** Those who take part, in turns. */
  readonly kinds: readonly ClientKind[]
  /** The id of a document that nobody has. */
  documentId(label: string): string
  /** What is there before anybody edits; null: nothing. */
  readonly beginning: Uint8Array | null
  /** `onEdit` is told of each name in the map of edits, once it is there and whenever that is no addition. */
  read(onEdit?: (edit: string, isAdded: boolean) => void): Reading
  /** The document that all of these make, and nothing else does. */
  replay(updates: readonly Uint8Array[]): Reading
  /** What of an update cannot be divided, each with whoever made it. */
  parts(update: Uint8Array): Iterable<Part>
}

export interface Part {
  readonly writer: string
  readonly id: string
}

/** A document that somebody only reads. */
export interface Reading {
  /** As of the log: in any order, known ones again. */
  apply(updates: readonly Uint8Array[]): void
  /** What the protocol calls so. */
  version(): Uint8Array
  content(): Content
  fold(): string
  readonly edits: number
  /** Parts that did not come and that something builds on which did, by their ids; not all, if there are several. */
  waitsFor(): readonly string[]
  /** What the server wrote, as it wrote it; none where an edit never builds on it. */
  decisions(): readonly Uint8Array[]
}

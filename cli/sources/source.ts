/**
 * Where documents come from. A source says which documents it has, and reads one when it is asked to: what is in memory
 * is what is being worked on, however large the source is.
 *
 * - A source is never written to, not even by the library that reads it (private-view.ts).
 * - One document that cannot be read does not stop the others: `read` throws for that one.
 * - Nothing is interpreted here: updates are the engine's bytes, in the order in which the source keeps them.
 */

export const sourceKinds = [
  'yjs',
  'yjs-v2',
  'automerge',
  'folder',
  'y-leveldb',
  'hocuspocus-sqlite',
  'automerge-repo',
] as const

export type SourceKind = (typeof sourceKinds)[number]

export interface SourceDocument {
  /** As the source calls it. */
  readonly name: string
  /** Throws `SourceError` when it is damaged. Empty when the source knows only its name. */
  read(): Promise<readonly Uint8Array[]>
}

export interface Source {
  readonly kind: SourceKind
  /** How many documents, without reading them. */
  count(): Promise<number>
  documents(): AsyncIterable<SourceDocument>
  /** Whether somebody has written to the source since it was opened: what was read may lack what came in between. */
  hasChanged(): Promise<boolean>
  close(): Promise<void>
}

/** The source, or one document of it, is not what it should be. The message is shown. */
export class SourceError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'SourceError'
  }
}

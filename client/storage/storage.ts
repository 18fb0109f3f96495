/**
 * Where the client keeps documents between visits. An app may bring its own (a file, SQLite, React Native).
 *
 * The one promise that matters: a `Batch` is written whole or not at all, and batches in the order of their calls. So an
 * edit is in the document and in the outbox or in neither, and the position never says more than what is stored.
 */

/** What the server had, and we have, up to. */
export interface Position {
  /** The document's lineage. */
  readonly epoch: number
  /** Everything up to here is stored; 0: nothing is known. */
  readonly offset: number
}

/** A local edit, or several, that the server has not acknowledged. Never changes once it was sent. */
export interface OutboxEntry {
  readonly replica: string
  /** From 1, without gap in a replica. */
  readonly sequence: number
  /** How many edits (transactions) are in it. */
  readonly edits: number
  readonly update: Uint8Array
}

export interface AsideRecord {
  readonly update: Uint8Array
  readonly unsaved: number
  readonly code: string
  readonly why: string
  readonly epoch: number
  readonly atMs: number
}

export interface StoredDocument {
  readonly updates: readonly Uint8Array[]
  readonly position: Position
  /** Of all replicas, ordered by replica and sequence. */
  readonly outbox: readonly OutboxEntry[]
  /** The newest one. */
  readonly aside: AsideRecord | null
  /** How often the document was set aside. */
  readonly lineage: number
}

export interface Batch {
  /** Added to the document. */
  readonly updates: readonly Uint8Array[]
  readonly position: Position | null
  /** Replaces what has the same replica and sequence. */
  readonly put: readonly OutboxEntry[]
  /** Of each replica, the sequences from `from` to `to`, both included. Applied before `put`. */
  readonly remove: readonly { readonly replica: string; readonly from: number; readonly to: number }[]
}

/** One document's storage. Every method may reject; after that, nothing of the call is stored. */
export interface DocumentStorage {
  load(): Promise<StoredDocument>
  write(batch: Batch): Promise<void>
  /** What another tab left unsent. */
  outboxOf(replica: string): Promise<readonly OutboxEntry[]>
  /**
   * Replaces all stored updates by one. `merge` gets those that were added since `load` or the last call by anybody,
   * and gives the state that has them too; it is called while the storage is locked, and must not wait.
   */
  compact(merge: (added: readonly Uint8Array[]) => Uint8Array): Promise<void>
  /**
   * Empties the document, its outbox and its position, and keeps the record that `make` gives instead. `make` gets what was
   * added (as `compact`) and all outboxes, is called while the storage is locked, and must not wait.
   */
  setAside(
    make: (added: readonly Uint8Array[], outbox: readonly OutboxEntry[]) => AsideRecord,
  ): Promise<AsideRecord>
  /** Deletes the newest record; gives the one before it. */
  discardAside(): Promise<AsideRecord | null>
  close(): Promise<void>
}

export interface Storage {
  /** False when what is stored ends with the page. */
  readonly durable: boolean
  /**
   * `scope` names the server and the user: documents of different scopes are different documents. `onLost` is called
   * when the storage goes away under the open document.
   */
  open(scope: string, document: string, onLost: (why: Error) => void): Promise<DocumentStorage>
  /** Documents that have an outbox. May name some whose outbox is empty. */
  unsaved(scope: string): Promise<readonly string[]>
  /** Deletes all documents of the scope. */
  forget(scope: string): Promise<void>
}

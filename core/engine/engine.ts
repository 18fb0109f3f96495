/**
 * What Tidemark needs of a CRDT. Everything above `core/engine` handles opaque bytes through this
 * interface; only the folders beneath import Yjs or Automerge.
 *
 * The methods come in two groups. The light ones parse structure and never build a document; they
 * run on the relay's event loop, at a cost near the bytes they read. The heavy ones build documents;
 * they run in workers.
 */

import type { LiveDocument, Value } from './live-document.ts'

export type EngineName = 'yjs' | 'automerge'

export interface UpdateLimits {
  /** The largest update accepted, in bytes. */
  readonly updateBytesMax: number
}

declare const outline: unique symbol
/** What an update says it contains, in the words of the engine that read it; opaque to everybody else. */
export interface Outline {
  readonly [outline]?: never
}

/** A merged state with the index that lets joins copy byte ranges out of it. */
export interface IndexedState {
  /** One update, as the engine encodes a whole document. */
  readonly bytes: Uint8Array
  /** Made by `Engine.index(bytes)`. Opaque. */
  readonly index: Uint8Array
}

/** What a log is known to contain, over all its updates. */
export interface Coverage {
  /**
   * True when applying the update to any document that has this coverage changes nothing. Throws `malformed_update` for one
   * that contradicts what is there (Automerge: another change with an actor and number that were used).
   */
  covers(outline: Outline): boolean
  add(outline: Outline): void
  /** The parts of the outline that are not covered. */
  missing(outline: Outline): Outline
  /**
   * The encoded version (Yjs: state vector; Automerge: heads) of a document with this coverage; what waits for others does
   * not count.
   */
  version(): Uint8Array
  /** What `Engine.ended` needs to know of a lineage that ends with this coverage. */
  ending(): Uint8Array
}

/** Lineages of a document that have ended: who still holds part of one must not bring it back. */
export interface Ended {
  /** True when something in the update is of an ended lineage or builds on one. */
  holds(outline: Outline): boolean
  /** True when a replica at this version has part of one. Throws `malformed_frame` when it is no version. */
  seenBy(version: Uint8Array): boolean
}

/** What an update writes to a map whose entries are written once, or why it must not be stored. */
export interface Examined {
  /**
   * `rewrites`, `deletes`: an entry that is there. `no_entry`: writes something else into the map. `incomplete`: builds on what
   * is not there, so nobody can tell what it will do.
   */
  readonly refused: null | 'rewrites' | 'deletes' | 'no_entry' | 'incomplete'
  /** None of what is refused. */
  readonly writes: readonly Write[]
  /** The update is stored, refused or not. Once, and before anything else is examined. */
  accept(): void
}

export type Write = readonly [key: string, value: Value]

/** A replica that only writes, and how much it has written: entries count one each. */
export interface Next {
  /** Drawn at random from 32 bits, for one document. */
  readonly replica: number
  readonly written: number
}

/** Knows a map's entries well enough to tell whether an update leaves them alone; the document is not built. */
export interface WriteOnce {
  /** Entries that were there at the start, in no order. */
  readonly written: readonly Write[]
  /** Changes nothing. The update is validated. What is there already is not among the writes. */
  examine(update: Uint8Array): Examined
}

export interface Engine {
  readonly name: EngineName
  /** The version of a replica that has nothing. */
  readonly emptyVersion: Uint8Array
  /** `join` gives a tail as it was written, which is more than a state takes. Absent: no more than that. */
  readonly sendsTail?: boolean

  /** Before a heavy method is called in a thread; light ones do without. Again is cheap. */
  load(): Promise<void>

  // Light: structure only.

  /**
   * Does what `validate` of these updates, `coverageOf` and `join` would begin with, in steps of some milliseconds, and remembers it
   * as they do. Skips what cannot be read. Absent: that takes no time.
   */
  readAhead?(state: IndexedState | null, tail: readonly Uint8Array[]): Iterable<void>
  /** Refuses what is malformed, truncated, trailing or oversized (`TidemarkError`), else says what it holds. */
  validate(update: Uint8Array, limits: UpdateLimits): Outline
  /** Throws `malformed_frame` when the bytes are not a version. */
  validateVersion(version: Uint8Array): void
  /** May keep `state.bytes` alive. */
  coverageOf(state: IndexedState | null): Coverage
  /**
   * The update that brings a replica at `version` to the state of `state` plus `tail` (in offset
   * order, each validated), as chunks to be sent one after the other; none when nothing is lacking, where the engine's format
   * allows that. Never smaller knowledge than the engine's own diff; may repeat what the replica has. Chunks may alias `state.bytes`
   * and updates of the tail. Work is remembered for the next joiner: bytes must not change, and the array `tail` may only grow.
   */
  join(state: IndexedState | null, tail: readonly Uint8Array[], version: Uint8Array): Uint8Array[]
  /** From what `Coverage.ending` said of each; throws `document_unreadable`. */
  ended(endings: readonly Uint8Array[]): Ended
  isSubsumed(update: Uint8Array, coverage: Coverage): boolean
  /**
   * True when a replica at `version` has all changes (Yjs: structs) of an update that was validated; also when it has none:
   * versions of Yjs do not tell deletes. Throws `malformed_frame` when it is no version.
   */
  predates(update: Uint8Array, version: Uint8Array): boolean
  /**
   * The update without what `coverage` already has, where leaving that out is cheap; the same bytes
   * when it saves nothing. Adding the outline of either to the coverage comes to the same.
   */
  trim(update: Uint8Array, outline: Outline, coverage: Coverage): Uint8Array
  /** An update that writes one entry of a root map, as the replica's next one. */
  entry(root: string, key: string, value: Value, next: Next): Uint8Array
  /** Of the root map with this name, over the updates that are stored; reads all of them once. */
  writeOnce(root: string, updates: readonly Uint8Array[]): WriteOnce

  /** One update that says what these say. Deleted content that is in them stays; see `compact`. */
  merge(updates: readonly Uint8Array[]): Uint8Array
  /** What the update says that a replica at `version` lacks. */
  diff(update: Uint8Array, version: Uint8Array): Uint8Array
  version(update: Uint8Array): Uint8Array

  // Heavy: build a document.

  /** What `IndexedState` needs beside the bytes; reads all of them once. Light for Yjs. */
  index(bytes: Uint8Array): Uint8Array
  /** State of all updates as the engine itself encodes it: deleted content is gone, nothing else is. */
  compact(updates: readonly Uint8Array[]): IndexedState
  /**
   * Applies the updates one after the other, saying the index of each before it, and throws
   * `document_unreadable` at one that `compact` would not take. Finds who is at fault when `compact` fails.
   */
  digest(updates: readonly Uint8Array[], applying: (index: number) => void): void
  toJson(updates: readonly Uint8Array[]): Record<string, unknown>
  /** To be read, and to be kept up to date with what follows. Throws `document_unreadable`. */
  open(updates: readonly Uint8Array[]): LiveDocument
}

/**
 * What a document says, for whoever computes something from it (core/domain), in words that every engine has.
 *
 * - Read-only. Replicas that have the same updates read the same, whatever the order in which these came (P4): keys are
 *   sorted, neighbouring runs of text with the same marks are one.
 * - A root has a name and no kind of its own: it is read as what it is asked for as. Asked for as something else, or
 *   never written to, it is empty.
 * - Values are JSON. What JSON lacks becomes: binary base64, a big integer its decimal digits, undefined and what
 *   is no finite number null. Halves of surrogate pairs become U+FFFD.
 * - Where an engine keeps several concurrent values of one key, `get` is the one that all replicas choose, `conflicts` all.
 */

export type Value = null | boolean | number | string | readonly Value[] | { readonly [key: string]: Value }

export interface State {
  map(name: string): MapState
  list(name: string): ListState
  text(name: string): TextState
  /** A root that a structured editor (ProseMirror, TipTap) writes: its node is of type `doc`. */
  tree(name: string): ElementNode
}

/** Nested maps are objects, lists arrays, texts strings, elements nodes. `text`: a nested text with its marks. */
export interface MapState {
  /** Sorted by UTF-16 code units. Reads all of them, as `entries` does; `has`, `get` and `text` read one. */
  keys(): string[]
  entries(): [key: string, value: Value][]
  has(key: string): boolean
  get(key: string): Value | undefined
  text(key: string): TextState
  /**
   * All values that the key has for those who wrote it without knowing of each other, in the same order for every replica, the
   * one that `get` gives last. Yjs keeps one.
   */
  conflicts(key: string): Value[]
  /** As `conflicts`, with who wrote each. */
  concurrent(key: string): ConcurrentValue[]
  /**
   * An update that assigns the value, in the place of all that the key has here, by an author who does nothing else: 32 hexadecimal
   * digits, drawn for this. An engine that keeps one value of a key has none.
   */
  assignment?(key: string, value: Value, author: string): { readonly id: string; readonly update: Uint8Array }
  /** What such an author assigned, whether it is still there or not; null: nothing. */
  assignedBy?(key: string, author: string): ConcurrentValue | null
  /** Every key that was ever written, deleted ones too. In no order. */
  written(): Iterable<string>
  /** How many these are; does not read them. */
  writtenCount(): number
  /** Whether the key was written once, and is there: its value is the only one it ever had, for every replica. */
  isIntact(key: string): boolean
}

export interface ConcurrentValue {
  /** The same for every replica, and of no other value. */
  readonly id: string
  /** As the engine calls whoever wrote it: a replica. */
  readonly author: string
  readonly value: Value
}

/**
 * In the list's order. An element's key is its identity: it stays when others come or go before it, and never
 * comes back for another element. It fits into 64 bytes, and says nothing to people.
 */
export interface ListState {
  keys(): string[]
  entries(): [key: string, value: Value][]
  values(): Value[]
  has(key: string): boolean
  get(key: string): Value | undefined
  text(key: string): TextState
}

/** A stretch with the same marks, as Quill and Yjs have it; what is no text in it (an image) is no string. */
export interface Run {
  readonly insert: Value
  readonly attributes?: Readonly<Record<string, Value>>
}

export interface TextState {
  /** Without marks and embedded objects. */
  toString(): string
  delta(): Run[]
}

export type TreeNode = ElementNode | TextNode

export type ElementNode = {
  readonly type: string
  readonly attributes: { readonly [name: string]: Value }
  readonly content: readonly TreeNode[]
}

export type TextNode = {
  readonly type: 'text'
  readonly text: string
  readonly marks: readonly Mark[]
}

export type Mark = { readonly type: string; readonly attributes: { readonly [name: string]: Value } }

/** What of a root is different, or was for a moment. Nested changes count for the key or the element they are in. */
export interface TouchedRoot {
  readonly keys: ReadonlySet<string>
  /** Keys of list elements. */
  readonly elements: ReadonlySet<string>
}

/** By name, all roots that are different in any way: a text or a tree is among them without keys or elements. */
export type Touched = ReadonlyMap<string, TouchedRoot>

export interface LiveDocument {
  /** Always that of all updates so far. */
  readonly state: State
  /**
   * In any order, known ones again. Costs what the updates change, whatever the size of the document. An update that
   * waits for others is touched when they come. Throws `document_unreadable`; the document is of no use after that.
   */
  apply(updates: readonly Uint8Array[]): Touched
  close(): void
}

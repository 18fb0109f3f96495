/**
 * Entries of an Automerge document that is open. What has changed is told by the operations of the changes that came, so a new
 * entry costs what it is, whatever the size of the document; and a value that is not the one that Automerge chose is seen as well.
 *
 * A root map is made by a change that everybody can make alone and alike (core/engine/automerge/written-entries.ts): two replicas that
 * each made a map of their own would have two, of which one shows. What is written once goes in as scalars: Automerge would
 * make a text of every string, with an operation for each letter.
 */
import * as Automerge from '@automerge/automerge'
import { ListKeys } from '../../core/engine/automerge/list-keys.ts'
import { type Operation, operationsOf, rootId } from '../../core/engine/automerge/operations.ts'
import { AutomergeState } from '../../core/engine/automerge/state.ts'
import { plainOf } from '../../core/engine/automerge/values.ts'
import type { Handle } from '../../core/engine/automerge/wasm.ts'
import { WrittenKeys } from '../../core/engine/automerge/written-keys.ts'
import type { State, Value } from '../../core/engine/live-document.ts'
import type { WrittenEntry } from '../../core/engine/yjs/written-entries.ts'
import type { DocumentEntries, NewEntry } from '../entries.ts'

export type OnEntries = (entries: readonly WrittenEntry[]) => void
/** Does this to the map at that root, as one edit. */
export type EditMap = (root: string, edit: (map: Record<string, unknown>) => void) => void

/** Keys of a root that were touched; null: all of it. */
type Keys = Set<string> | null
/** The root map that an object is, or is in, and the key there; nothing for what is in no root map. */
type Place = readonly [root?: string, key?: string]

export class AutomergeEntries implements DocumentEntries {
  private readonly handle: Handle
  private readonly edit: EditMap
  private readonly written: WrittenKeys
  private readonly followers = new Map<OnEntries, string>()
  /** What was looked at. */
  private heads: string[]

  constructor(doc: Automerge.Doc<unknown>, edit: EditMap) {
    // All that follow this one share it.
    this.handle = Automerge.getBackend(doc)
    this.edit = edit
    this.written = new WrittenKeys(this.handle)
    this.heads = this.handle.getHeads()
  }

  get state(): State {
    return new AutomergeState(this.handle, this.written, new ListKeys(this.handle))
  }

  follow(root: string, onEntries: OnEntries): () => void {
    this.changed()
    const own: OnEntries = (entries) => onEntries(entries)
    this.followers.set(own, root)
    own(this.all(root))
    return () => {
      this.followers.delete(own)
    }
  }

  write(root: string, entries: readonly NewEntry[]): void {
    this.edit(root, (map) => {
      for (const { key, value } of entries) put(map, key, value as Value, storedOf)
    })
  }

  assign(root: string, key: string, value: Value): void {
    this.edit(root, (map) => {
      put(map, key, value, assignedOf)
    })
  }

  /** The document is another one than when it was last looked at. */
  changed(): void {
    const before = this.heads
    this.heads = this.handle.getHeads()
    if (`${before}` === `${this.heads}`) return
    const touched = this.touchedSince(before)
    for (const [own, root] of [...this.followers]) {
      const keys = touched.get(root)
      if (keys === undefined || !this.followers.has(own)) continue
      own(keys === null ? this.all(root) : this.some(root, keys))
    }
  }

  private touchedSince(before: string[]): Map<string, Keys> {
    const touched = new Map<string, Keys>()
    const places = new Map<string, Place>()
    for (const chunk of this.handle.getChanges(before))
      for (const operation of operationsOf(chunk)) {
        this.written.add(operation)
        touch(touched, this.placeOf(operation, places))
      }
    return touched
  }

  /** `places`: of objects, also of those that these changes have made: to ask for each would cost more than all else. */
  private placeOf({ id, object, key, action }: Operation, places: Map<string, Place>): Place {
    if (object === rootId) return [key ?? '']
    let place = places.get(object)
    if (place === undefined) {
      const [root, within] = this.handle.objInfo(object).path ?? []
      place = root === undefined ? [] : within === undefined ? [String(root)] : [String(root), String(within)]
      places.set(object, place)
    }
    const [root, within = key ?? undefined] = place
    const found: Place = root === undefined || within === undefined ? place : [root, within]
    if (action.startsWith('make')) places.set(id, found)
    return found
  }

  private all(root: string): WrittenEntry[] {
    const state = this.state.map(root)
    const id = this.mapAt(root)
    if (id === null) return []
    const plain = plainOf(this.handle.materialize(id)) as Readonly<Record<string, Value>>
    const counts = this.written.of(id)
    return [...state.written()].map((key) => {
      // A key that was written twice is looked at closely.
      if (counts.get(key) !== 1 || !Object.hasOwn(plain, key)) return this.entryOf(root, key)
      return { key, value: plain[key]!, intact: true }
    })
  }

  private some(root: string, keys: Iterable<string>): WrittenEntry[] {
    return [...keys].map((key) => this.entryOf(root, key))
  }

  private entryOf(root: string, key: string): WrittenEntry {
    const map = this.state.map(root)
    return { key, value: map.get(key), intact: map.isIntact(key) }
  }

  private mapAt(root: string): string | null {
    const found = this.handle.getWithType('_root', root) as readonly [string, unknown] | null
    return found !== null && (found[0] === 'map' || found[0] === 'table') ? (found[1] as string) : null
  }
}

function touch(touched: Map<string, Keys>, [root, key]: Place): void {
  if (root === undefined) return
  const keys = touched.get(root)
  if (keys === null) return
  if (key === undefined) touched.set(root, null)
  else if (keys === undefined) touched.set(root, new Set([key]))
  else keys.add(key)
}

const storedOf = (value: Value): unknown =>
  typeof value === 'string' ? new Automerge.ImmutableString(value) : nested(value, storedOf)

/** Strings are texts that people can type in, as in all that an app assigns. */
const assignedOf = (value: Value): unknown => nested(value, assignedOf)

function nested(value: Value, of: (value: Value) => unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(of)
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, of(each as Value)]))
}

type Target = Record<string, unknown> | unknown[]

/** Automerge cannot keep integers beyond 2^63, and takes floats in their place only one by one. */
function put(into: Target, key: string, value: Value, of: (value: Value) => unknown): void {
  if (!hasLarge(value) || typeof value !== 'object') {
    set(into, key, typeof value === 'number' && hasLarge(value) ? new Automerge.Float64(value) : of(value))
    return
  }
  const made = set(into, key, Array.isArray(value) ? [] : {}) as Target
  for (const [within, each] of Object.entries(value as object)) put(made, within, each as Value, of)
}

/** Gives what is there now. */
function set(into: Target, key: string, value: unknown): unknown {
  // What is pushed to a list goes in by the way that takes no floats.
  const place = Array.isArray(into) ? into.length : key
  Reflect.set(into, place, value)
  return Reflect.get(into, place)
}

function hasLarge(value: Value): boolean {
  if (typeof value === 'number') return Number.isInteger(value) && !Number.isSafeInteger(value)
  return typeof value === 'object' && value !== null && Object.values(value).some(hasLarge)
}

/**
 * The keys of lists' elements, in order, kept from their first use on: to have them from Automerge costs 30 µs an object and up to
 * a tenth of a millisecond a scalar (it looks for a place from the list's beginning), so after that only what patches name is
 * asked for.
 */
import { allOf } from './values.ts'
import type { Handle } from './wasm.ts'

/** What of a patch matters here; `place` counts when the patches before it are applied. */
export type Edit =
  | { readonly kind: 'insert'; readonly place: number; readonly count: number }
  | { readonly kind: 'delete'; readonly place: number; readonly count: number }
  | { readonly kind: 'replace'; readonly place: number }

const objectId = Symbol.for('_am_objectId')

export class ListKeys {
  private readonly handle: Handle
  private readonly known = new Map<string, readonly string[]>()

  constructor(handle: Handle) {
    this.handle = handle
  }

  of(list: string): readonly string[] {
    const keys = this.known.get(list) ?? this.read(list)
    this.known.set(list, keys)
    return keys
  }

  /** As it was at these heads. */
  before(list: string, heads: string[]): readonly string[] {
    return this.known.get(list) ?? this.read(list, heads)
  }

  /** Says the keys that have come and gone. The handle is past the edits. */
  edit(list: string, before: readonly string[], edits: readonly Edit[]): Set<string> {
    const keys: (string | null)[] = [...before]
    const touched = new Set<string>()
    const gone = (key: string | null): void => {
      if (key !== null) touched.add(key)
    }
    for (const edit of edits) {
      const { place } = edit
      if (edit.kind === 'insert') keys.splice(place, 0, ...Array<null>(edit.count).fill(null))
      else if (edit.kind === 'delete') for (const key of keys.splice(place, edit.count)) gone(key)
      else {
        gone(keys[place] ?? null)
        if (place < keys.length) keys[place] = null
      }
    }
    const now = keys.length === this.handle.length(list) ? this.filled(list, keys) : this.read(list)
    const known = new Set(before)
    for (const key of now) if (!known.has(key)) touched.add(key)
    this.known.set(list, now)
    return touched
  }

  private filled(list: string, keys: readonly (string | null)[]): string[] {
    return keys.map((key, i) => key ?? this.keyAt(list, i))
  }

  private read(list: string, heads?: string[]): string[] {
    const values = this.handle.materialize(list, heads, {}) as readonly unknown[]
    return values.map((value, i) => {
      const id = typeof value === 'object' && value !== null ? Reflect.get(value, objectId) : undefined
      return typeof id === 'string' ? id : this.keyAt(list, i, heads)
    })
  }

  private keyAt(list: string, place: number, heads?: string[]): string {
    return allOf(this.handle, list, place, heads).at(-1)?.[2] ?? ''
  }
}

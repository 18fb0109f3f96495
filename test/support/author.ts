/**
 * Somebody who edits a document of either engine as its clients do: who hears of updates in the order of the log, and whose own
 * come out one for each edit. For tests that hold for every engine.
 */
import * as Automerge from '@automerge/automerge'
import * as Y from 'yjs'
import { concat } from '../../core/engine/automerge/outline.ts'
import { rootChange } from '../../core/engine/automerge/written-entries.ts'
import type { EngineName } from '../../core/engine/engine.ts'
import type { Value } from '../../core/engine/live-document.ts'

export interface Author {
  hear(updates: readonly Uint8Array[]): void
  /** Each gives what is to be sent, or null where nothing is different. */
  set(map: string, key: string, value: Value): Uint8Array | null
  unset(map: string, key: string): Uint8Array | null
  /** `at` may be past the end: there, then. */
  insert(list: string, at: number, value: Value): Uint8Array | null
  cut(list: string, at: number): Uint8Array | null
}

export const newAuthor: Readonly<Record<EngineName, () => Author>> = {
  yjs: () => new YjsAuthor(),
  automerge: () => new AutomergeAuthor(),
}

/** Which engine a test's documents have, by their number. */
export const enginesInTurn: readonly { readonly name: string; engineOf(index: number): EngineName }[] = [
  { name: 'yjs', engineOf: () => 'yjs' },
  { name: 'automerge', engineOf: () => 'automerge' },
  { name: 'both engines', engineOf: (index) => (index % 2 === 0 ? 'automerge' : 'yjs') },
]

class YjsAuthor implements Author {
  private readonly doc = new Y.Doc()

  hear(updates: readonly Uint8Array[]): void {
    for (const update of updates) Y.applyUpdate(this.doc, update)
  }

  set(map: string, key: string, value: Value): Uint8Array {
    return this.edit(() => this.doc.getMap(map).set(key, value))
  }

  unset(map: string, key: string): Uint8Array {
    return this.edit(() => this.doc.getMap(map).delete(key))
  }

  insert(list: string, at: number, value: Value): Uint8Array {
    const array = this.doc.getArray(list)
    return this.edit(() => array.insert(Math.min(at, array.length), [value]))
  }

  cut(list: string, at: number): Uint8Array {
    const array = this.doc.getArray(list)
    return this.edit(() => array.length > 0 && array.delete(at % array.length, 1))
  }

  private edit(change: () => unknown): Uint8Array {
    const version = Y.encodeStateVector(this.doc)
    change()
    return Y.encodeStateAsUpdate(this.doc, version)
  }
}

type Roots = Record<string, Record<string, Value> | Value[]>

class AutomergeAuthor implements Author {
  private doc = Automerge.init<Roots>()
  /** Roots that are there for everybody, by a change that all make alike. */
  private readonly roots = new Set<string>()

  hear(updates: readonly Uint8Array[]): void {
    if (updates.length > 0) this.doc = Automerge.loadIncremental(this.doc, concat(updates))
  }

  set(map: string, key: string, value: Value): Uint8Array | null {
    return this.edit(map, (roots) => {
      const entries = roots[map] as Record<string, Value>
      entries[key] = value
    })
  }

  unset(map: string, key: string): Uint8Array | null {
    return this.edit(map, (roots) => Reflect.deleteProperty(roots[map]!, key))
  }

  insert(list: string, at: number, value: Value): Uint8Array | null {
    return this.edit(null, (roots) => {
      roots[list] ??= []
      const values = roots[list] as Value[]
      values.splice(Math.min(at, values.length), 0, value)
    })
  }

  cut(list: string, at: number): Uint8Array | null {
    return this.edit(null, (roots) => {
      const values = roots[list] as Value[] | undefined
      if (values !== undefined && values.length > 0) values.splice(at % values.length, 1)
    })
  }

  private edit(map: string | null, change: (roots: Roots) => unknown): Uint8Array | null {
    const heads = Automerge.getHeads(this.doc)
    if (map !== null && !this.roots.has(map)) {
      this.hear([rootChange(map).chunk])
      this.roots.add(map)
    }
    this.doc = Automerge.change(this.doc, (roots) => void change(roots))
    const changes = Automerge.getChangesSince(this.doc, heads)
    return changes.length === 0 ? null : concat(changes)
  }
}

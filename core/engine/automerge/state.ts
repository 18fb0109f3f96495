/**
 * An Automerge document as engine-neutral state: reads from the handle when asked, keeps nothing, changes nothing. A root is
 * what the document's root object has at the name; of several there (replicas that made it each for themselves), the one that
 * all replicas choose. A list's element has the id of the object or of the operation that is there, which is another once
 * it is replaced.
 */
import type {
  ElementNode,
  ListState,
  MapState,
  Mark,
  State,
  TextState,
  TreeNode,
  Value,
} from '../live-document.ts'
import { assignedBy, assignmentIn } from './assignment.ts'
import type { ListKeys } from './list-keys.ts'
import { allOf, concurrentOf, isObject, plainOf, runsOf, type Stored, scalarOf, toValue } from './values.ts'
import type { Handle } from './wasm.ts'
import type { WrittenKeys } from './written-keys.ts'

const nothing: ReadonlyMap<string, number> = new Map()
const noText: TextState = { toString: () => '', delta: () => [] }

export class AutomergeState implements State {
  private readonly handle: Handle
  private readonly writtenKeys: WrittenKeys
  private readonly listKeys: ListKeys

  constructor(handle: Handle, writtenKeys: WrittenKeys, listKeys: ListKeys) {
    this.handle = handle
    this.writtenKeys = writtenKeys
    this.listKeys = listKeys
  }

  map(name: string): MapState {
    const { handle } = this
    const idOf = (): string | null => this.root(name, 'map') ?? this.root(name, 'table')
    const keys = (): string[] => {
      const id = idOf()
      return id === null ? [] : handle.keys(id).sort()
    }
    const all = (key: string): Stored[] => {
      const id = idOf()
      return id === null ? [] : allOf(handle, id, key)
    }
    const writes = (): ReadonlyMap<string, number> => {
      const id = idOf()
      return id === null ? nothing : this.writtenKeys.of(id)
    }
    return {
      keys,
      entries: () => keys().map((key) => [key, toValue(handle, all(key).at(-1)!)]),
      has: (key) => all(key).length > 0,
      get: (key) => this.value(all(key).at(-1)),
      text: (key) => this.textAt(all(key).at(-1)),
      conflicts: (key) => all(key).map((stored) => toValue(handle, stored)),
      concurrent: (key) => all(key).map((stored) => concurrentOf(handle, stored)),
      assignment: (key, value, author) => assignmentIn(handle, idOf(), key, value, author),
      assignedBy: (key, author) => assignedBy(handle, idOf(), key, author),
      written: () => writes().keys(),
      writtenCount: () => writes().size,
      isIntact: (key) => writes().get(key) === 1 && all(key).length === 1,
    }
  }

  list(name: string): ListState {
    const { handle } = this
    const keys = (): readonly string[] => {
      const id = this.root(name, 'list')
      return id === null ? [] : this.listKeys.of(id)
    }
    const find = (key: string): Stored | undefined => {
      const place = keys().indexOf(key)
      return place < 0 ? undefined : allOf(handle, this.root(name, 'list')!, place).at(-1)
    }
    const values = (): Value[] => {
      const id = this.root(name, 'list')
      return id === null ? [] : (plainOf(handle.materialize(id)) as Value[])
    }
    return {
      keys: () => [...keys()],
      entries: () => {
        const all = values()
        return keys().map((key, i) => [key, all[i]!])
      },
      values,
      has: (key) => keys().includes(key),
      get: (key) => this.value(find(key)),
      text: (key) => this.textAt(find(key)),
    }
  }

  text(name: string): TextState {
    const id = this.root(name, 'text')
    return id === null ? noText : this.textOf(id)
  }

  /** Blocks become elements one after the other, each with the text up to the next: Automerge's text does not nest. */
  tree(name: string): ElementNode {
    const id = this.root(name, 'text')
    const content: TreeNode[] = []
    let block: { type: string; attributes: Record<string, Value>; content: TreeNode[] } | null = null
    for (const { insert, attributes = {} } of id === null ? [] : runsOf(this.handle, id)) {
      if (typeof insert === 'string') {
        const marks = Object.entries(attributes).map(([type, value]) => markOf(type, value))
        ;(block?.content ?? content).push({ type: 'text', text: insert, marks })
        continue
      }
      const { type, ...rest } = (insert ?? {}) as Record<string, Value>
      block = { type: typeof type === 'string' ? type : 'block', attributes: rest, content: [] }
      content.push(block)
    }
    return { type: 'doc', attributes: {}, content }
  }

  private value(stored: Stored | undefined): Value | undefined {
    return stored === undefined ? undefined : toValue(this.handle, stored)
  }

  private textAt(stored: Stored | undefined): TextState {
    if (stored === undefined) return noText
    const [type, value] = stored
    if (type === 'text') return this.textOf(value as string)
    if (isObject(type) || type !== 'str') return noText
    const plain = scalarOf(value) as string
    return { toString: () => plain, delta: () => (plain === '' ? [] : [{ insert: plain }]) }
  }

  private textOf(id: string): TextState {
    return {
      toString: () =>
        runsOf(this.handle, id)
          .map(({ insert }) => (typeof insert === 'string' ? insert : ''))
          .join(''),
      delta: () => runsOf(this.handle, id),
    }
  }

  private root(name: string, as: string): string | null {
    const found = allOf(this.handle, '_root', name).at(-1)
    return found !== undefined && found[0] === as ? (found[1] as string) : null
  }
}

function markOf(type: string, value: Value): Mark {
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    return { type, attributes: value === true ? {} : { value } }
  return { type, attributes: value as Mark['attributes'] }
}

/** A Y.Doc as engine-neutral state: reads when asked, keeps nothing, changes nothing. See values.ts. */
import * as Y from 'yjs'
import type { ElementNode, ListState, MapState, State, TextState, Value } from '../live-document.ts'
import {
  absent,
  elementsOf,
  entryOf,
  holdsElements,
  type Items,
  isIntact,
  keysOf,
  nodesOf,
  plainOf,
  textOf,
  toValue,
} from './values.ts'

const nothing: Items = { _start: null, _map: new Map() }

export class YjsState implements State {
  private readonly document: Y.Doc
  constructor(document: Y.Doc) {
    this.document = document
  }

  map(name: string): MapState {
    const root = this.root(name)
    return {
      ...entriesOf((key) => entryOf(root, key)),
      keys: () => keysOf(root),
      entries: () => keysOf(root).map((key) => [key, toValue(entryOf(root, key))]),
      conflicts: (key) => {
        const value = entryOf(root, key)
        return value === absent ? [] : [toValue(value)]
      },
      concurrent: (key) => {
        const value = entryOf(root, key)
        if (value === absent) return []
        const { client, clock } = root._map.get(key)!.id
        return [{ id: `${clock}@${client}`, author: String(client), value: toValue(value) }]
      },
      written: () => root._map.keys(),
      writtenCount: () => root._map.size,
      isIntact: (key) => isIntact(root._map.get(key)),
    }
  }

  list(name: string): ListState {
    const root = this.root(name)
    const elements = () => [...elementsOf(root)]
    return {
      ...entriesOf((key) => this.elementOf(root, key)),
      keys: () => elements().map(([key]) => key),
      entries: () => elements().map(([key, value]) => [key, toValue(value)]),
      values: () => elements().map(([, value]) => toValue(value)),
    }
  }

  text(name: string): TextState {
    return textStateOf(this.root(name))
  }

  tree(name: string): ElementNode {
    return { type: 'doc', attributes: {}, content: nodesOf(this.root(name)) }
  }

  /** Looking at a root must not make it. */
  private root(name: string): Items {
    return this.document.share.get(name) ?? nothing
  }

  private elementOf(root: Items, key: string): unknown {
    const { store } = this.document
    const [client = Number.NaN, clock = Number.NaN] = key.split(':').map(Number)
    const structs = store.clients.get(client)
    if (structs === undefined || !(clock >= 0 && clock < Y.getState(store, client))) return absent
    const item = structs[Y.findIndexSS(structs as Y.Item[], clock)]
    if (!(item instanceof Y.Item) || item.deleted || item.parent !== root) return absent
    return holdsElements(item) ? item.content.getContent()[clock - item.id.clock] : absent
  }
}

function entriesOf(read: (key: string) => unknown) {
  return {
    has: (key: string): boolean => read(key) !== absent,
    get(key: string): Value | undefined {
      const value = read(key)
      return value === absent ? undefined : toValue(value)
    },
    text: (key: string): TextState => textStateOf(read(key)),
  }
}

function textStateOf(of: unknown): TextState {
  const items = of instanceof Y.AbstractType ? of : nothing
  return { toString: () => plainOf(items), delta: () => textOf(items) }
}

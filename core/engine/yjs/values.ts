/**
 * What is in Yjs's types, as values, text with marks, and trees, read from their items: roots have no kind
 * (live-document.ts), and Yjs gives the keys of a map in the order in which they came.
 *
 * - How items are split, and in which order keys and marks were set, differs between replicas that came to the same. So
 *   stretches with equal marks are joined; keys, attributes and marks are sorted.
 * - What is in a type says what it can be read as: entries -> map; values and nested types -> list; characters, embeds and
 *   formatting -> text; nested XML types -> tree. So a list and a text never show each other's content.
 * - The tree is that of ProseMirror as y-prosemirror and TipTap store it: an XML element is a node, its attributes
 *   the node's; XML text is text nodes, and what formats it their marks. Of marks that may overlap themselves, the stored
 *   name has a hash behind it (`comment--Xy9+/abc`), which is taken off.
 */
import { toBase64 } from 'lib0/buffer'
import * as Y from 'yjs'
import type { ElementNode, Mark, Run, TreeNode, Value } from '../live-document.ts'

/** What every type and every root of Yjs has. */
export interface Items {
  readonly _start: Y.Item | null
  readonly _map: ReadonlyMap<string, Y.Item>
}
type Attributes = { readonly [name: string]: Value }

export function toValue(value: unknown): Value {
  if (typeof value === 'string') return value.toWellFormed()
  if (typeof value === 'boolean') return value
  if (typeof value === 'number') return Number.isFinite(value) ? value : null
  if (typeof value === 'bigint') return value.toString()
  if (typeof value !== 'object' || value === null) return null
  if (value instanceof Y.AbstractType) return nestedOf(value)
  if (value instanceof Y.Doc) return { guid: value.guid }
  if (value instanceof Uint8Array) return toBase64(value)
  if (Array.isArray(value)) return value.map(toValue)
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key.toWellFormed(), toValue(each)]))
}

function nestedOf(type: Items): Value {
  if (type instanceof Y.XmlElement || type instanceof Y.XmlHook) return elementOf(type)
  if (type instanceof Y.XmlFragment) return { type: 'doc', attributes: {}, content: nodesOf(type) }
  if (type instanceof Y.Map) return attributesOf(type)
  if (type instanceof Y.Text) return plainOf(type)
  return [...elementsOf(type)].map(([, value]) => toValue(value))
}

/** Marks something that is not there, which `undefined` does not: Yjs stores it. */
export const absent = Symbol('absent')

export function entryOf(type: Items, key: string): unknown {
  const item = type._map.get(key)
  return item === undefined || item.deleted ? absent : item.content.getContent()[item.length - 1]
}

/** Written once, and there: whatever wins of several stands behind the others, in whatever order they came. */
export const isIntact = (item: Y.Item | undefined): boolean =>
  item !== undefined && !item.deleted && item.left === null

export function keysOf(type: Items): string[] {
  return [...type._map].flatMap(([key, item]) => (item.deleted ? [] : [key])).sort()
}

/** As own properties, whatever their names. */
function attributesOf(type: Items): Attributes {
  return Object.fromEntries(keysOf(type).map((key) => [key.toWellFormed(), toValue(entryOf(type, key))]))
}

/** Of one element of a list. */
export const keyOfElement = (client: number, clock: number): string => `${client}:${clock}`

/** A hostile update can put an entry of a map between elements. */
export function holdsElements({ content, parentSub }: Y.Item): boolean {
  return (
    parentSub === null &&
    (content instanceof Y.ContentAny ||
      content instanceof Y.ContentJSON ||
      content instanceof Y.ContentBinary ||
      content instanceof Y.ContentDoc ||
      content instanceof Y.ContentType)
  )
}

export function* elementsOf(type: Items): Iterable<[key: string, value: unknown]> {
  for (let item = type._start; item !== null; item = item.right) {
    if (item.deleted || !holdsElements(item)) continue
    const { client, clock } = item.id
    for (const [i, value] of item.content.getContent().entries())
      yield [keyOfElement(client, clock + i), value]
  }
}

export function plainOf(type: Items): string {
  return textOf(type)
    .map(({ insert }) => (typeof insert === 'string' ? insert : ''))
    .join('')
}

export function textOf(type: Items): Run[] {
  const runs: { insert: Value; attributes: Attributes; sameAs: string }[] = []
  const current = new Map<string, Value>()
  let attributes: Attributes = {}
  let sameAs = '{}'
  for (let item = type._start; item !== null; item = item.right) {
    if (item.deleted) continue
    const { content } = item
    if (content instanceof Y.ContentFormat) {
      if (content.value === null) current.delete(content.key)
      else current.set(content.key, toValue(content.value))
      attributes = Object.fromEntries([...current].sort(([a], [b]) => (a < b ? -1 : 1)))
      sameAs = JSON.stringify(attributes)
    } else if (content instanceof Y.ContentString) {
      const last = runs.at(-1)
      if (typeof last?.insert === 'string' && last.sameAs === sameAs) last.insert += content.str
      else runs.push({ insert: content.str, attributes, sameAs })
    } else if (content instanceof Y.ContentEmbed || content instanceof Y.ContentType) {
      // As an object, so that none is taken for text.
      const embed = toValue(content.getContent()[0])
      runs.push({ insert: typeof embed === 'string' ? { embed } : embed, attributes, sameAs })
    }
  }
  return runs.map(({ insert, attributes }) => {
    const wellFormed = typeof insert === 'string' ? insert.toWellFormed() : insert
    return Object.keys(attributes).length === 0 ? { insert: wellFormed } : { insert: wellFormed, attributes }
  })
}

export function nodesOf(type: Items): TreeNode[] {
  const nodes: TreeNode[] = []
  for (let item = type._start; item !== null; item = item.right) {
    if (item.deleted || !(item.content instanceof Y.ContentType)) continue
    const { type: child } = item.content
    if (child instanceof Y.XmlText) nodes.push(...textOf(child).map(nodeOf))
    else if (child instanceof Y.XmlElement || child instanceof Y.XmlHook) nodes.push(elementOf(child))
  }
  return nodes
}

function elementOf(type: Y.XmlElement | Y.XmlHook): ElementNode {
  const name = type instanceof Y.XmlHook ? type.hookName : type.nodeName
  return { type: name, attributes: attributesOf(type), content: nodesOf(type) }
}

function nodeOf({ insert, attributes = {} }: Run): TreeNode {
  if (typeof insert !== 'string') return { type: 'embed', attributes: { value: insert }, content: [] }
  return { type: 'text', text: insert, marks: Object.entries(attributes).map(markOf) }
}

function markOf([name, value]: [string, Value]): Mark {
  const type = name.replace(/--[a-zA-Z0-9+/=]{8}$/, '')
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    return { type, attributes: value === true ? {} : { value } }
  return { type, attributes: value as Attributes }
}

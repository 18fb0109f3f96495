/**
 * A document as JSON. Nested types know what they are; an update does not say what a root is, so it
 * is read from what is in it that is not deleted:
 *
 *   only entries                             -> map: an object
 *   XML elements, XML text or hooks          -> XML: a string of markup, as Yjs writes it
 *   characters, formatting or embeds         -> text: a string; formatting and embeds are left out
 *   other items                              -> array
 *   entries and items                        -> { attributes: object, children: as above }
 *   nothing left, or nothing yet             -> an object if there were entries once, else null
 *
 * Values that JSON lacks: binary becomes base64, a bigint its decimal digits, undefined and what is no
 * finite number null, a subdocument { guid }.
 */
import { toBase64 } from 'lib0/buffer'
import * as Y from 'yjs'
import { TidemarkError } from '../../protocol/errors.ts'
import { documentOf } from './compact.ts'

export function toJson(updates: readonly Uint8Array[]): Record<string, unknown> {
  const document = documentOf(updates)
  try {
    const names = [...document.share.keys()]
    return Object.fromEntries(names.map((name) => [name, rootToJson(document, name)]))
  } catch (error) {
    throw new TidemarkError('document_unreadable', 'The document nests too deep for JSON', { cause: error })
  } finally {
    document.destroy()
  }
}

function rootToJson(document: Y.Doc, name: string): unknown {
  const root = document.get(name)
  const hadEntries = root._map.size > 0
  const hasEntries = [...root._map.values()].some((item) => !item.deleted)
  const kind = sequenceKind(root)
  const children =
    kind === 'xml'
      ? () => document.getXmlFragment(name).toString()
      : kind === 'text'
        ? () => document.getText(name).toString()
        : () => document.getArray(name).toArray().map(valueToJson)
  const attributes = () => mapToJson(document.getMap(name))
  if (kind === 'none') return hadEntries ? attributes() : null
  if (!hasEntries) return children()
  // Entries first: reading the root as a text or an array gives it another class.
  const entries = [...root._map].filter(([, item]) => !item.deleted)
  return {
    attributes: Object.fromEntries(
      entries.map(([key, item]) => [key, valueToJson(item.content.getContent().at(-1))]),
    ),
    children: children(),
  }
}

function sequenceKind(root: Y.AbstractType<unknown>): 'xml' | 'text' | 'array' | 'none' {
  let kind: 'text' | 'array' | 'none' = 'none'
  for (let item = root._start; item !== null; item = item.right) {
    if (item.deleted) continue
    const { content } = item
    if (content instanceof Y.ContentType) {
      const { type } = content
      if (type instanceof Y.XmlElement || type instanceof Y.XmlText || type instanceof Y.XmlHook) return 'xml'
    }
    if (
      content instanceof Y.ContentString ||
      content instanceof Y.ContentFormat ||
      content instanceof Y.ContentEmbed
    )
      kind = 'text'
    else if (kind === 'none') kind = 'array'
  }
  return kind
}

function mapToJson(map: Y.Map<unknown>): unknown {
  return Object.fromEntries([...map.entries()].map(([key, value]) => [key, valueToJson(value)]))
}

function valueToJson(value: unknown): unknown {
  if (value === undefined || value === null) return null
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'number') return Number.isFinite(value) ? value : null
  if (typeof value !== 'object') return value
  if (value instanceof Y.Map) return mapToJson(value)
  if (value instanceof Y.Array) return value.toArray().map(valueToJson)
  if (value instanceof Y.AbstractType) return value.toString()
  if (value instanceof Y.Doc) return { guid: value.guid }
  if (value instanceof Uint8Array) return toBase64(value)
  if (Array.isArray(value)) return value.map(valueToJson)
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, valueToJson(entry)]))
}

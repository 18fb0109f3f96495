/**
 * What Automerge's values are as JSON: objects, lists and texts nest; a counter is its number, a point in time its milliseconds
 * since 1970, binary base64, an integer beyond 2^53 its decimal digits, what is no finite number null. An entry with the key
 * `__proto__` is left out of objects: Automerge sets the object's prototype with it.
 */
import { toBase64 } from 'lib0/buffer'
import type { ConcurrentValue, Run, Value } from '../live-document.ts'
import type { Handle } from './wasm.ts'

/** Type, value or object id, operation id. */
export type Stored = readonly [type: string, value: unknown, id: string]

export function isObject(type: string): boolean {
  return type === 'map' || type === 'list' || type === 'text' || type === 'table'
}

/** What all replicas choose comes last. */
export function allOf(handle: Handle, object: string, at: string | number, heads?: string[]): Stored[] {
  return handle.getAll(object, at, heads).map((found) => {
    // Its types know no values of an unknown type, and an object comes without an id beside it.
    const [type, value, id] = found as unknown as Stored
    return [type, value, isObject(type) ? (value as string) : id]
  })
}

export function toValue(handle: Handle, [type, value]: Stored, heads?: string[]): Value {
  if (!isObject(type)) return scalarOf(value)
  const object = value as string
  if (type === 'text') return handle.text(object, heads).toWellFormed()
  return plainOf(handle.materialize(object, heads))
}

export function concurrentOf(handle: Handle, stored: Stored, heads?: string[]): ConcurrentValue {
  const [, , id] = stored
  return { id, author: id.slice(id.indexOf('@') + 1), value: toValue(handle, stored, heads) }
}

/** Of what `materialize` gives. */
export function plainOf(value: unknown): Value {
  if (Array.isArray(value)) return value.map(plainOf)
  if (value === null || typeof value !== 'object' || isScalarObject(value)) return scalarOf(value)
  const keys = Object.keys(value).sort()
  return Object.fromEntries(
    keys.map((key) => [key.toWellFormed(), plainOf((value as Record<string, unknown>)[key])]),
  )
}

export function scalarOf(value: unknown): Value {
  if (typeof value === 'string') return value.toWellFormed()
  if (typeof value === 'boolean') return value
  if (typeof value === 'number') return Number.isFinite(value) ? value : null
  if (typeof value === 'bigint') {
    const number = Number(value)
    return Number.isSafeInteger(number) ? number : value.toString()
  }
  if (value instanceof Uint8Array) return toBase64(value)
  if (value instanceof Date) return scalarOf(value.getTime())
  if (isMarked(value, plainString)) return scalarOf(Reflect.get(value, 'val'))
  if (isMarked(value, counter)) return scalarOf(Reflect.get(value, 'value'))
  return null
}

/** What Automerge marks its own classes with. */
const plainString = Symbol.for('_am_immutableString')
const counter = Symbol.for('_am_counter')

function isMarked(value: unknown, mark: symbol): value is object {
  return typeof value === 'object' && value !== null && Reflect.get(value, mark) === true
}

function isScalarObject(value: object): boolean {
  return (
    value instanceof Uint8Array ||
    value instanceof Date ||
    isMarked(value, plainString) ||
    isMarked(value, counter)
  )
}

/** Stretches of a text with the same marks; blocks are embedded objects. */
export function runsOf(handle: Handle, object: string): Run[] {
  const runs: { insert: Value; attributes: Record<string, Value>; sameAs: string }[] = []
  for (const span of handle.spans(object)) {
    const marks = Object.entries(span.type === 'text' ? (span.marks ?? {}) : {}).filter(
      ([, value]) => value !== null,
    )
    const attributes = Object.fromEntries(
      marks
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, value]) => [name.toWellFormed(), scalarOf(value)]),
    )
    const sameAs = JSON.stringify(attributes)
    const last = runs.at(-1)
    if (span.type === 'text' && typeof last?.insert === 'string' && last.sameAs === sameAs)
      last.insert += span.value
    else runs.push({ insert: span.type === 'text' ? span.value : plainOf(span.value), attributes, sameAs })
  }
  return runs.map(({ insert, attributes }) => {
    const wellFormed = typeof insert === 'string' ? insert.toWellFormed() : insert
    return Object.keys(attributes).length === 0 ? { insert: wellFormed } : { insert: wellFormed, attributes }
  })
}

/**
 * A value assigned to a key of a map, as any replica of Automerge would: it takes the place of all that the key has, and strings are texts
 * that people can type in. It is made in a copy of the document, by an author of its own, by whom it can be found again.
 */
import type { ConcurrentValue, Value } from '../live-document.ts'
import { allOf, concurrentOf, type Stored } from './values.ts'
import type { Handle } from './wasm.ts'

export function assignmentIn(
  handle: Handle,
  map: string | null,
  key: string,
  value: Value,
  author: string,
): { readonly id: string; readonly update: Uint8Array } {
  if (map === null) throw new Error('There is no such map to assign in')
  const copy = handle.fork(author)
  try {
    put(copy, map, key, value)
    copy.commit()
    const id = writtenBy(author, allOf(copy, map, key))?.[2]
    const update = copy.getLastLocalChange()
    if (id === undefined || update === null) throw new Error('Automerge has not assigned what it was given')
    return { id, update }
  } finally {
    copy.free()
  }
}

/** As it was right after its change. */
export function assignedBy(
  handle: Handle,
  map: string | null,
  key: string,
  author: string,
): ConcurrentValue | null {
  const change = handle.getChangesMeta([]).find(({ actor }) => actor === author)
  if (change === undefined || map === null) return null
  const heads = [change.hash]
  const stored = writtenBy(author, allOf(handle, map, key, heads))
  return stored === undefined ? null : concurrentOf(handle, stored, heads)
}

const writtenBy = (author: string, all: readonly Stored[]): Stored | undefined =>
  all.find(([, , id]) => id.endsWith(`@${author}`))

function put(handle: Handle, object: string, at: string | number, value: Value): void {
  if (typeof value === 'string') handle.putObject(object, at, value)
  else if (typeof value !== 'object' || value === null) handle.put(object, at, value, typeOf(value))
  else {
    const made = handle.putObject(object, at, Array.isArray(value) ? [] : {})
    fill(handle, made, value)
  }
}

function fill(handle: Handle, object: string, value: object): void {
  for (const [key, each] of Object.entries(value) as [string, Value][]) {
    if (!Array.isArray(value)) put(handle, object, key, each)
    else if (typeof each === 'string') handle.insertObject(object, Number(key), each)
    else if (typeof each !== 'object' || each === null) handle.insert(object, Number(key), each, typeOf(each))
    else fill(handle, handle.insertObject(object, Number(key), Array.isArray(each) ? [] : {}), each)
  }
}

/** Left to itself, Automerge makes an integer of whatever is near to one. */
function typeOf(value: null | boolean | number): 'null' | 'boolean' | 'int' | 'f64' {
  if (value === null) return 'null'
  if (typeof value === 'boolean') return 'boolean'
  return Number.isSafeInteger(value) ? 'int' : 'f64'
}

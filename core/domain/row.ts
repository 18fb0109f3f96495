/**
 * Rows as adapters give them, and as they are written: `document` and `entry` filled in, values that SQL can take.
 *
 * Text that Postgres has no way to hold is changed rather than refused, since people can type it: U+0000 and halves of
 * surrogate pairs become U+FFFD, in JSON as well. Everything else that does not fit is the adapter's mistake.
 */
import type { Value } from '../engine/live-document.ts'

/** `undefined` is null. Arrays and objects are for columns of arrays and JSON. */
export type ColumnValue = Value | undefined | bigint | Date | Uint8Array

export type Row = { readonly [column: string]: ColumnValue }

/** The row to write. Throws an `Error` that names the column. */
export function completeRow(row: unknown, filledIn: Row): Row {
  if (!isPlain(row)) throw new Error(`gave ${nameOf(row)} instead of a row, which is an object`)
  const complete: [string, ColumnValue][] = Object.entries(filledIn)
  for (const [column, value] of Object.entries(row)) {
    if (column === 'document' || column === 'entry')
      throw new Error(`gave a column "${column}", which Tidemark fills in`)
    const problem = (what: string): never => {
      throw new Error(`column "${column}" got ${what}; SQL takes JSON, Date, bigint and Uint8Array`)
    }
    complete.push([column, toSql(value, problem)])
  }
  return Object.fromEntries(complete)
}

function toSql(value: unknown, problem: (what: string) => never): ColumnValue {
  if (value === undefined) return null
  if (typeof value === 'bigint' || value instanceof Uint8Array) return value
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? problem('an invalid Date') : value
  return toJson(value, problem)
}

function toJson(value: unknown, problem: (what: string) => never): Value {
  if (typeof value === 'string') return toText(value)
  if (value === null || typeof value === 'boolean') return value
  if (typeof value === 'number') return Number.isFinite(value) ? value : problem(String(value))
  if (Array.isArray(value)) return value.map((each) => toJson(each, problem))
  if (!isPlain(value)) return problem(nameOf(value))
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, each]) => each !== undefined)
      .map(([key, each]) => [toText(key), toJson(each, problem)]),
  )
}

const toText = (text: string): string => text.toWellFormed().replaceAll('\0', '\ufffd')

function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  // Of another realm too: tests and servers may load modules in contexts of their own.
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

export function nameOf(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (typeof value !== 'object') return `a ${typeof value}`
  return `an object of ${value.constructor?.name || 'no class'}`
}

/**
 * From state to rows: the same pure functions in tests, in the projector and in a rebuild.
 *
 * What comes out are replacements: of all rows that a table has of a document, or of those of some of its
 * entries, by the rows given. Replacing what was touched, update after update, comes to the same rows as replacing all at
 * the end. Rows for an update cost what it touched, but for tables that `document` fills: these are given whole.
 *
 * An entry whose key SQL cannot hold in an index (U+0000, or more than `entryBytesMax`) has no rows.
 */
import type { State, Touched, Value } from '../engine/live-document.ts'
import type { Adapter, Context } from './adapter.ts'
import { AdapterError } from './adapter-error.ts'
import type { FieldRows } from './fields/project-fields.ts'
import { completeRow, nameOf, type Row } from './row.ts'

export const entryBytesMax = 1024

export interface Replacement {
  readonly table: string
  /** Which entries' rows are replaced; null: all rows of the document. */
  readonly entries: readonly string[] | null
  readonly rows: readonly Row[]
}

/** All rows of a document. Throws `AdapterError`, also around what the adapter throws. */
export function project(adapter: Adapter, state: State, context: Context): Replacement[] {
  const whole = projectDocument(adapter, state, context)
  const facts = completed(adapter, context, () => adapter.facts?.projection.whole(state, adapter.name) ?? [])
  const entries = [...adapter.entries].map(([table, { map, list }]) => {
    const read = map === undefined ? state.list(list!) : state.map(map)
    const entries = reading(adapter, table, context, () => read.entries())
    const rows = entries.flatMap(([key, value]) => entryRows(adapter, table, key, value, context))
    return { table, entries: null, rows }
  })
  return [...facts, ...whole, ...entries]
}

/** What is to be replaced after an update that touched this. Nothing when it touched nothing. */
export function projectEntries(
  adapter: Adapter,
  state: State,
  touched: Touched,
  context: Context,
): Replacement[] {
  if (touched.size === 0) return []
  const replacements = projectDocument(adapter, state, context)
  replacements.push(
    ...completed(
      adapter,
      context,
      () => adapter.facts?.projection.touched(state, touched, adapter.name) ?? [],
    ),
  )
  for (const [table, { map, list }] of adapter.entries) {
    const root = touched.get(map ?? list!)
    const keys = [...((map === undefined ? root?.elements : root?.keys) ?? [])].filter(fits).sort()
    if (keys.length === 0) continue
    const read = map === undefined ? state.list(list!) : state.map(map)
    const rows = keys.flatMap((key) => {
      const value = reading(adapter, table, context, () => read.get(key))
      return value === undefined ? [] : entryRows(adapter, table, key, value, context)
    })
    replacements.push({ table, entries: keys, rows })
  }
  return replacements
}

function completed(adapter: Adapter, context: Context, work: () => FieldRows[]): Replacement[] {
  return call(adapter, '"fields"', context, work).map(({ table, entries, rows }) => ({
    table,
    entries: entries === null ? null : entries.filter(fits),
    rows: rows.flatMap(({ entry, ...row }) => {
      if (entry === undefined) return checked(adapter, table, [row], { document: context.document })
      return fits(entry as string)
        ? checked(adapter, table, [row], { document: context.document, entry: entry as string })
        : []
    }),
  }))
}

function projectDocument(adapter: Adapter, state: State, context: Context): Replacement[] {
  if (adapter.documentTables.length === 0) return []
  const given = call(adapter, '"document"', context, () => adapter.document(state, context))
  if (typeof given !== 'object' || given === null)
    throw new AdapterError(adapter.name, `"document" gave ${nameOf(given)} instead of rows by table`)
  const unknown = Object.keys(given).find((table) => !adapter.documentTables.includes(table))
  if (unknown !== undefined)
    throw new AdapterError(adapter.name, `"document" gave rows for "${unknown}", a table it does not fill`)
  const byTable = given as Readonly<Record<string, unknown>>
  return adapter.documentTables.map((table) => ({
    table,
    entries: null,
    rows: checked(adapter, table, byTable[table] ?? [], { document: context.document }),
  }))
}

function entryRows(adapter: Adapter, table: string, key: string, value: Value, context: Context): Row[] {
  if (!fits(key)) return []
  const form = adapter.entries.get(table)!
  const given = call(adapter, `"entries.${table}"`, context, () => form.rows(key, value, context))
  return checked(adapter, table, given, { document: context.document, entry: key })
}

function call<T>(adapter: Adapter, what: string, context: Context, work: () => T): T {
  try {
    const given = work()
    if (!(given instanceof Promise)) return given
    // It may reject, and nobody would hear of it.
    given.catch(() => undefined)
    throw new Error('it must return its rows, not a promise')
  } catch (error) {
    throw failure(adapter, `${what} threw for "${context.document}"`, error)
  }
}

/** Types can be nested deeper than the stack reaches: only this document's rows are the worse for it. */
function reading<T>(adapter: Adapter, table: string, { document }: Context, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw failure(adapter, `"${document}" cannot be read for the table "${table}"`, error)
  }
}

function failure(adapter: Adapter, what: string, error: unknown): AdapterError {
  const reason = error instanceof Error ? error.message : String(error)
  return new AdapterError(adapter.name, `${what}: ${reason}`, { cause: error })
}

function checked(adapter: Adapter, table: string, given: unknown, filledIn: Row): Row[] {
  if (!Array.isArray(given))
    throw new AdapterError(adapter.name, `table "${table}" got ${nameOf(given)} instead of an array of rows`)
  try {
    return given.map((row) => completeRow(row, filledIn))
  } catch (error) {
    throw failure(adapter, `table "${table}"`, error)
  }
}

function fits(key: string): boolean {
  if (key.includes('\0') || !key.isWellFormed()) return false
  return key.length * 3 <= entryBytesMax || new TextEncoder().encode(key).length <= entryBytesMax
}

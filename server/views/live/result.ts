/**
 * One result of a live query, as it is kept and sent: rows with keys, as JSON texts, and a name, which is a hash of all of it.
 * So two results of one name are the same result, on any node, and a client that comes back with the name of what it has
 * needs nothing when that is what there is.
 *
 * - A row's key is made of the columns that were asked for; else of `document` and `entry`, those of them that the result has,
 *   while they tell its rows apart; else of the whole row. What is equal is numbered, so keys are there once.
 * - Rows that are as they were before are the same objects as before: results that are kept for a while cost what changed.
 */
import { createHash } from 'node:crypto'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import type { QueryColumn } from '../../../core/protocol/query.ts'
import { difference, type KeyedRow, type Placed } from './difference.ts'

export interface LiveResult {
  readonly id: string
  /** As JSON. */
  readonly columns: string
  readonly keyColumns: KeyColumns
  readonly rows: readonly KeyedRow[]
  /** About what it takes in memory. */
  readonly bytes: number
}

/** Null: of the whole row. */
export type KeyColumns = readonly string[] | null

export interface Answer {
  readonly columns: readonly QueryColumn[]
  /** Each an object, as JSON. */
  readonly rows: readonly string[]
}

const rowBytes = 64
const keyLengthMax = 256

/** Throws `invalid_request` for a column that is not there. */
export function keyColumnsOf(asked: KeyColumns, { columns, rows }: Answer): KeyColumns {
  const there = new Set(columns.map(({ name }) => name))
  for (const name of asked ?? [])
    if (!there.has(name)) throw new TidemarkError('invalid_request', `The result has no column "${name}"`)
  if (asked !== null) return asked
  const own = ['document', 'entry'].filter((name) => there.has(name))
  if (own.length === 0) return null
  const keys = new Set(rows.map((text) => keyOf(text, own)))
  return keys.size === rows.length ? own : null
}

/** `before`: what there was, null at first. It is returned when nothing changed. */
export function resultOf(
  { columns, rows }: Answer,
  keyColumns: KeyColumns,
  before: LiveResult | null,
): LiveResult {
  const isKeyedAlike = String(before?.keyColumns) === String(keyColumns)
  const byText = new Map(isKeyedAlike ? before?.rows.map((row) => [row.text, row.key]) : [])
  const byKey = new Map(before?.rows.map((row) => [row.key, row]))
  const numbers = new Map<string, number>()
  const keyed = rows.map((text): KeyedRow => {
    const base = byText.get(text)?.replace(/#\d+$/, '') ?? baseOf(text, keyColumns)
    const number = numbers.get(base) ?? 0
    numbers.set(base, number + 1)
    const key = number === 0 ? base : `${base}#${number}`
    const was = byKey.get(key)
    return was?.text === text ? was : { key, text }
  })
  const columnsText = JSON.stringify(columns)
  if (before !== null && before.columns === columnsText && sameRows(before.rows, keyed)) return before
  const hash = createHash('sha256').update(columnsText)
  for (const { key, text } of keyed) hash.update(`\n${key.length} ${text.length} `).update(key).update(text)
  return {
    id: hash.digest('base64url').slice(0, 22),
    columns: columnsText,
    keyColumns,
    rows: keyed,
    bytes: bytesOf(keyed),
  }
}

/** What keeping it costs, once `successor` has the rows that both have. */
export function bytesBeside(result: LiveResult, successor: LiveResult): number {
  const shared = new Set(successor.rows)
  return rowBytes + bytesOf(result.rows.filter((row) => !shared.has(row))) + 8 * result.rows.length
}

/** Server-sent events. JSON has no line ends, so each is one line of data. */
export function rowsEvent({ id, columns, rows }: LiveResult): string {
  const list = rows.map(({ key, text }) => `{"key":${JSON.stringify(key)},"row":${text}}`)
  return `id: ${id}\nevent: rows\ndata: {"columns":${columns},"rows":[${list.join()}]}\n\n`
}

/** What lies between `old` and `now`; all rows when their columns differ. */
export function changeEvent(old: LiveResult, now: LiveResult): string {
  if (old.columns !== now.columns) return rowsEvent(now)
  const { added, changed, removed } = difference(old.rows, now.rows)
  const list = (placed: readonly Placed[]): string =>
    placed.map(({ row, at }) => `{"key":${JSON.stringify(row.key)},"row":${row.text},"at":${at}}`).join()
  const data = `{"added":[${list(added)}],"changed":[${list(changed)}],"removed":${JSON.stringify(removed)}}`
  return `id: ${now.id}\nevent: change\ndata: ${data}\n\n`
}

export function errorEvent(code: string, message: string): string {
  return `event: error\ndata: ${JSON.stringify({ code, message })}\n\n`
}

/** Ends with a bracket, or is a hash: what follows a `#` behind it is a number of ours. */
function baseOf(text: string, keyColumns: KeyColumns): string {
  if (keyColumns === null) return hashOf(text)
  const key = keyOf(text, keyColumns)
  return key.length <= keyLengthMax ? key : hashOf(key)
}

function keyOf(text: string, columns: readonly string[]): string {
  const row = JSON.parse(text) as Readonly<Record<string, unknown>>
  return JSON.stringify(columns.map((name) => row[name] ?? null))
}

const hashOf = (text: string): string => createHash('sha256').update(text).digest('base64url').slice(0, 22)

function bytesOf(rows: readonly KeyedRow[]): number {
  return rows.reduce((sum, { key, text }) => sum + key.length + text.length + rowBytes, rowBytes)
}

function sameRows(a: readonly KeyedRow[], b: readonly KeyedRow[]): boolean {
  return a.length === b.length && a.every((row, i) => row === b[i])
}

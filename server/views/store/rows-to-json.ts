/**
 * Rows as one JSON text that the types of their columns read: bytes as `\\x…`, what JSON has no numbers for as text, a Date
 * as its `toJSON`. Text is well-formed already (core/domain/row.ts).
 */
import type { ColumnValue, Row } from '../../../core/domain/row.ts'

/** `columns`: only these. */
export function toJson(rows: readonly Row[], columns?: readonly string[]): string {
  return JSON.stringify(
    rows.map((row) => (columns === undefined ? encoded(row) : encoded(pick(row, columns)))),
  )
}

const pick = (row: Row, columns: readonly string[]): Row =>
  Object.fromEntries(columns.map((column) => [column, row[column]]))

/** The row itself where nothing has to change, as in most. */
function encoded(row: Row): object {
  let changed: Record<string, ColumnValue> | undefined
  for (const column in row) {
    const value = row[column]
    const text = textFor(value)
    if (text === undefined) continue
    changed ??= { ...row }
    changed[column] = text
  }
  return changed ?? row
}

function textFor(value: ColumnValue): string | undefined {
  if (typeof value === 'bigint') return String(value)
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`
  return undefined
}

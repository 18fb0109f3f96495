/**
 * A table of 71,000 rows × 10 cells, about 20 MB, as a spreadsheet or a list of leads makes it: a map of rows,
 * each a map of cells. Typed in by twenty authors one after the other, the same in every run. After it 100
 * cells are changed by somebody else, one update each; each of them deletes the value it replaces.
 */
import { writeFileSync } from 'node:fs'
import * as Y from 'yjs'
import { writeUpdates } from './update-file.ts'

/** About 20 MB. */
export const largeRowCount = 71_000
export const columns = ['name', 'city', 'state', 'phone', 'email', 'owner', 'stage', 'value', 'since', 'note']
export const authors = 20
const authorsFrom = 1_500_000_000
const editor = 2_500_000_000
export const pendingCount = 100

export interface LargeDocument {
  readonly bytes: number
  /** State vectors, base64. `lacking`: all but the last update of them. */
  readonly version: string
  readonly lacking: string
  /** With the pending updates. */
  readonly pendingVersion: string
  readonly pendingLacking: string
}

/** Writes the document as one update to `updateFile`, what comes after it to `pendingFile`. */
export function writeLargeDocument(
  updateFile: string,
  pendingFile: string,
  rowCount = largeRowCount,
): LargeDocument {
  const document = new Y.Doc()
  const rows = document.getMap<Y.Map<string>>('rows')
  const rowsPerAuthor = Math.ceil(rowCount / authors)
  for (let author = 0; author < authors; author++) {
    document.clientID = authorsFrom + author
    document.transact(() => {
      for (let i = author * rowsPerAuthor; i < Math.min(rowCount, (author + 1) * rowsPerAuthor); i++) {
        const row = new Y.Map<string>()
        for (const [column, name] of columns.entries()) row.set(name, cellOf(i, column))
        rows.set(rowName(i), row)
      }
    })
  }
  const update = Y.encodeStateAsUpdate(document)
  writeFileSync(updateFile, update)
  const version = Y.encodeStateVector(document)

  const pending: Uint8Array[] = []
  document.on('update', (each: Uint8Array) => pending.push(each))
  document.clientID = editor
  let pendingLacking = version
  for (let i = 0; i < pendingCount; i++) {
    pendingLacking = Y.encodeStateVector(document)
    rows.get(rowName((i * 709) % rowCount))!.set(columns[i % columns.length]!, `changed ${i}`)
  }
  writeUpdates(pendingFile, pending)
  return {
    bytes: update.length,
    version: base64(version),
    lacking: base64(withoutLast(version)),
    pendingVersion: base64(Y.encodeStateVector(document)),
    pendingLacking: base64(pendingLacking),
  }
}

export function rowName(row: number): string {
  return `row-${row.toString(36).padStart(4, '0')}`
}

export function cellOf(row: number, column: number): string {
  return (Math.imul(row * 10 + column + 1, 0x9e3779b1) >>> 0).toString(36).padEnd(9, 'x')
}

/** One cell of the last author's is missing. */
function withoutLast(version: Uint8Array): Uint8Array {
  const clocks = Y.decodeStateVector(version)
  const last = authorsFrom + authors - 1
  clocks.set(last, clocks.get(last)! - 1)
  return Y.encodeStateVector(clocks)
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}

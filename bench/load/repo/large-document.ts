/**
 * The table of ../large-document.ts as Automerge has it: as many rows of as many cells, typed in by twenty authors, and 100 cells changed
 * after it. A file of changes, for loads in other processes.
 */
import * as Automerge from '@automerge/automerge'
import { authors as authorCount, cellOf, columns, pendingCount, rowName } from '../large-document.ts'
import { readUpdates, writeUpdates } from '../update-file.ts'

export interface LargeRepoDocument {
  readonly file: string
  /** The first so many changes are the table, the others are pending. */
  readonly tableChanges: number
  /** In hexadecimal: of the table alone, and with what is pending. */
  readonly head: string
  readonly pendingHead: string
  /** As Automerge saves the table. */
  readonly bytes: number
}

/** `head`: of the document with it. */
export interface Change {
  readonly head: Uint8Array
  readonly bytes: Uint8Array
}

type Row = Record<string, string>
interface Table extends Record<string, unknown> {
  rows: Record<string, Row>
}

export function writeLargeRepoDocument(file: string, rowCount: number): LargeRepoDocument {
  let document = Automerge.from<Table>({ rows: {} })
  const changes: Change[] = []
  const keepLast = (): void => {
    const head = Buffer.from(Automerge.getHeads(document)[0]!, 'hex')
    changes.push({ head, bytes: Automerge.getLastLocalChange(document)! })
  }
  keepLast()
  const perAuthor = Math.ceil(rowCount / authorCount)
  for (let author = 0; author < authorCount; author++) {
    document = Automerge.change(Automerge.clone(document), (table) => {
      for (let i = author * perAuthor; i < Math.min(rowCount, (author + 1) * perAuthor); i++) {
        const row: Row = {}
        for (const [column, name] of columns.entries()) row[name] = cellOf(i, column)
        table.rows[rowName(i)] = row
      }
    })
    keepLast()
  }
  const head = Automerge.getHeads(document)[0]!
  const { length: bytes } = Automerge.save(document)
  const tableChanges = changes.length
  for (let i = 0; i < pendingCount; i++) {
    document = Automerge.change(document, (table) => {
      table.rows[rowName((i * 709) % rowCount)]![columns[i % columns.length]!] = `changed ${i}`
    })
    keepLast()
  }
  writeUpdates(
    file,
    changes.flatMap(({ head, bytes }) => [head, bytes]),
  )
  return { file, tableChanges, head, pendingHead: Automerge.getHeads(document)[0]!, bytes }
}

export const tableChangesOf = (document: LargeRepoDocument): Change[] =>
  readChanges(document).slice(0, document.tableChanges)

export const pendingChangesOf = (document: LargeRepoDocument): Change[] =>
  readChanges(document).slice(document.tableChanges)

function readChanges({ file }: LargeRepoDocument): Change[] {
  const entries = readUpdates(file)
  return Array.from({ length: entries.length / 2 }, (_, i) => ({
    head: entries[i * 2]!,
    bytes: entries[i * 2 + 1]!,
  }))
}

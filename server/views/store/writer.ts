/**
 * A batch: the rows of many documents, how far they are, and who says so, in one transaction (P5).
 *
 *   1. the fences of the parts, locked: a holder that was paused, and is one no more, writes nothing
 *   2. progress. It may go back: who holds the fence has read the log later than all before, so a log that has less
 *      has lost its end (a Redis that syncs every second), and the rows follow it
 *   3. rows that are there no more, last table first; then rows that are new or differ, first table first
 *   4. dead letters, cursors
 *   5. which tables changed, for those who have live queries of them
 *
 * Whatever is written a second time changes no row. So a batch whose fate is unknown is simply written again.
 */
import type { Replacement } from '../../../core/domain/project.ts'
import type { Row } from '../../../core/domain/row.ts'
import { notifying } from '../live/notification.ts'
import type { Touch } from '../live/touch.ts'
import { type Result, type Sql, SqlError, type Statement } from '../sql/sql.ts'
import { fenceOf } from './fence.ts'
import { toJson } from './rows-to-json.ts'
import { statementsFor, type TableStatements } from './table-statements.ts'
import type { Table } from './tables.ts'

export interface Progress {
  readonly epoch: number
  readonly offset: number
  readonly gone?: true
}

export interface DocumentRows {
  /** Where the adapter's tables are. */
  readonly schema: string
  readonly document: string
  readonly progress: Progress
  readonly replacements: readonly Replacement[]
  /** There is no progress of it, so there are no rows that could have to go. */
  readonly isNew?: boolean
  /** Claims of other lineages than this one end; null: all of the document. Undefined: they stay as they are. */
  readonly keepsClaimsOf?: number | null
}

export interface DeadDocument {
  readonly schema: string
  readonly document: string
  readonly version: number
  readonly progress: Progress | null
  readonly reason: string
}

export interface WriteBatch {
  readonly documents: readonly DocumentRows[]
  readonly dead: readonly DeadDocument[]
  /** By part. */
  readonly fences: ReadonlyMap<number, number>
  readonly cursors: readonly Cursor[]
  readonly partCount: number
}

/** Of one part: done up to this change. */
export interface Cursor {
  /** Whose; a rebuild has its own. */
  readonly name: string
  readonly part: number
  readonly sequence: number
}

export interface Written {
  readonly rowsWritten: number
  readonly rowsDeleted: number
}

/** The batch did not fit the tables: a column that is not there. Nothing was written. */
export class RowsRefused extends Error {
  override readonly name = 'RowsRefused'
}

interface KnownTable {
  readonly table: Table
  readonly statements: TableStatements
  readonly columns: ReadonlySet<string>
}

/** What is to be done to one table. */
interface Work {
  readonly rows: Row[]
  /** Documents of which all other rows go. */
  readonly documents: string[]
  readonly documentRows: Row[]
  readonly entries: { document: string; entry: string }[]
  readonly entryRows: Row[]
}

export interface WriterOptions {
  /** Tables that were written, once that is committed; `uncertain`: that may have been, or may yet be. */
  readonly onTouched?: (touches: readonly Touch[], uncertain: boolean) => void
  /** The database tells other nodes, with the commit, under this name of the one that writes. Null: there are none. */
  readonly notifyAs?: string | null
}

/** A statement that writes rows of a table. */
interface RowStatement {
  readonly statement: Statement
  readonly touch: Touch
}

export class Writer {
  private readonly sql: Sql
  private readonly options: WriterOptions
  private readonly tables = new Map<string, Map<string, KnownTable>>()

  constructor(sql: Sql, options: WriterOptions = {}) {
    this.sql = sql
    this.options = options
  }

  /** The tables of a schema, in the order in which they were made. */
  know(schema: string, tables: readonly Table[]): void {
    const known = tables.map((table): [string, KnownTable] => {
      const columns = new Set(table.columns.map(({ name }) => name))
      return [table.name, { table, statements: statementsFor(table), columns }]
    })
    this.tables.set(schema, new Map(known))
  }

  /**
   * Throws `SqlError` and `RowsRefused`. Code `rowsUnexpected`: a fence. Another code that is not retryable is of a row:
   * the batch is to be tried in smaller ones.
   */
  async write(batch: WriteBatch): Promise<Written> {
    const { onTouched, notifyAs = null } = this.options
    const { deletions, upserts } = this.rowStatements(batch.documents)
    const before = [...(batch.fences.size > 0 ? [fenceOf(batch.fences)] : []), ...progressOf(batch), byIndex]
    const rows = [...deletions, ...upserts]
    const touches = rows.map(({ touch }) => touch)
    let results: readonly Result[]
    try {
      results = await this.sql.batch([
        ...before,
        ...rows.map(({ statement }) => statement),
        ...endedClaimsOf(batch),
        ...deadOf(batch),
        ...cursorsOf(batch),
        ...(notifyAs === null ? [] : notifying(notifyAs, touches)),
      ])
    } catch (error) {
      // The same batch, written again, would touch nothing any more.
      if (error instanceof SqlError && error.outcome === 'unknown') onTouched?.(touches, true)
      throw error
    }
    const counts = results.slice(before.length, before.length + rows.length).map(({ count }) => count)
    const touched = touches.filter((_, i) => counts[i]! > 0)
    if (touched.length > 0) onTouched?.(touched, false)
    const sum = (some: readonly number[]): number => some.reduce((total, count) => total + count, 0)
    return {
      rowsDeleted: sum(counts.slice(0, deletions.length)),
      rowsWritten: sum(counts.slice(deletions.length)),
    }
  }

  private rowStatements(documents: readonly DocumentRows[]): {
    deletions: RowStatement[]
    upserts: RowStatement[]
  } {
    const deletions: RowStatement[] = []
    const upserts: RowStatement[] = []
    for (const schema of [...new Set(documents.map((one) => one.schema))].sort()) {
      const tables = this.tables.get(schema)
      if (tables === undefined) throw new RowsRefused(`There is no schema "${schema}"`)
      const work = workOf(
        tables,
        documents.filter((one) => one.schema === schema),
      )
      for (const [name, { table, statements }] of tables) {
        const own = work.get(name)
        if (own === undefined) continue
        const touch = { schema, table: name }
        const deleting = deletionsOf(table, statements, own)
        deletions.unshift(...deleting.map((statement) => ({ statement, touch })))
        if (own.rows.length === 0) continue
        const statement = { text: statements.upsert, parameters: [toJson(own.rows)] }
        upserts.push({ statement, touch })
      }
    }
    return { deletions, upserts }
  }
}

function workOf(
  tables: ReadonlyMap<string, KnownTable>,
  documents: readonly DocumentRows[],
): Map<string, Work> {
  const work = new Map<string, Work>()
  // In one order everywhere, so that two writers do not lock rows crosswise.
  for (const { document, replacements, isNew = false } of documents.toSorted(byDocument))
    for (const { table, entries, rows } of replacements) {
      const known = tables.get(table)
      if (known === undefined) throw new RowsRefused(`There is no table "${table}"`)
      for (const row of rows) assertColumns(known, row)
      const own = work.get(table) ?? { rows: [], documents: [], documentRows: [], entries: [], entryRows: [] }
      work.set(table, own)
      for (const row of rows) own.rows.push(row)
      if (isNew) continue
      if (entries === null) {
        // A key that is the document has one row: it stays or goes.
        if (known.table.key.length > 1 || rows.length === 0) own.documents.push(document)
        if (known.table.key.length > 1) for (const row of rows) own.documentRows.push(row)
      } else if (known.table.key.length > 2) {
        for (const entry of entries) own.entries.push({ document, entry })
        for (const row of rows) own.entryRows.push(row)
      } else {
        const there = new Set(rows.map(({ entry }) => entry))
        for (const entry of entries) if (!there.has(entry)) own.entries.push({ document, entry })
      }
    }
  return work
}

function deletionsOf({ key }: Table, statements: TableStatements, work: Work): Statement[] {
  const deletions: Statement[] = []
  if (work.documents.length > 0) {
    const documents = JSON.stringify(work.documents)
    deletions.push(
      work.documentRows.length === 0
        ? { text: statements.deleteDocuments, parameters: [documents] }
        : { text: statements.deleteOthers, parameters: [documents, toJson(work.documentRows, key)] },
    )
  }
  if (work.entries.length > 0) {
    const entries = JSON.stringify(work.entries)
    deletions.push(
      work.entryRows.length === 0
        ? { text: statements.deleteEntries, parameters: [entries] }
        : { text: statements.deleteOtherEntries, parameters: [entries, toJson(work.entryRows, key)] },
    )
  }
  return deletions
}

function assertColumns({ table, columns }: KnownTable, row: Row): void {
  for (const column of Object.keys(row)) {
    if (columns.has(column)) continue
    throw new RowsRefused(
      table.generated.includes(column)
        ? `The column "${table.name}.${column}" is generated; leave it out`
        : `The table "${table.name}" has no column "${column}"`,
    )
  }
}

const byDocument = (a: DocumentRows, b: DocumentRows): number =>
  a.document < b.document ? -1 : a.document > b.document ? 1 : 0

/**
 * PostgreSQL takes a JSON parameter for a hundred rows, and would rather read a table of ten thousand than look up as many in its
 * index; one touched entry then costs with the table's size.
 */
const byIndex: Statement = { text: "select set_config('enable_seqscan', 'off', true)" }

function progressOf({ documents }: WriteBatch): Statement[] {
  if (documents.length === 0) return []
  const rows = documents
    .toSorted(byDocument)
    .map(({ schema, document, progress: { epoch, offset, gone = false } }) => ({
      adapter: schema,
      document,
      epoch,
      offset,
      gone,
    }))
  return [
    {
      text: `insert into tidemark.progress as p (adapter, document, epoch, "offset", gone)
        select adapter, document, epoch, "offset", gone
        from json_to_recordset($1::json) as r(adapter text, document text, epoch bigint, "offset" bigint, gone boolean)
        on conflict (adapter, document) do update set epoch = excluded.epoch, "offset" = excluded."offset", gone = excluded.gone
        where (p.epoch, p."offset", p.gone) is distinct from (excluded.epoch, excluded."offset", excluded.gone)`,
      parameters: [JSON.stringify(rows)],
    },
  ]
}

/** In the transaction that removes the rows: a document that is gone keeps nobody from anything. */
function endedClaimsOf({ documents }: WriteBatch): Statement[] {
  const ended = documents.flatMap(({ document, keepsClaimsOf: lineage }) =>
    lineage === undefined ? [] : [{ document, lineage }],
  )
  if (ended.length === 0) return []
  return [
    {
      text: `delete from tidemark.claims c using json_to_recordset($1::json) as r(document text, lineage bigint)
        where c.document = r.document and c.lineage is distinct from r.lineage`,
      parameters: [JSON.stringify(ended)],
    },
  ]
}

/** A document that is projected is dead no more. */
function deadOf({ documents, dead }: WriteBatch): Statement[] {
  const statements: Statement[] = []
  if (documents.length > 0) {
    const alive = documents.map(({ schema, document }) => ({ adapter: schema, document }))
    statements.push({
      text: `delete from tidemark.dead_letters d using json_to_recordset($1::json) as r(adapter text, document text)
        where d.adapter = r.adapter and d.document = r.document`,
      parameters: [JSON.stringify(alive)],
    })
  }
  if (dead.length > 0) {
    const rows = dead.map(({ schema, document, version, progress, reason }) => ({
      adapter: schema,
      document,
      version,
      epoch: progress?.epoch ?? null,
      offset: progress?.offset ?? null,
      reason: reason.toWellFormed().replaceAll('\0', '\ufffd').slice(0, reasonCharactersMax),
    }))
    statements.push({
      text: `insert into tidemark.dead_letters (adapter, document, version, epoch, "offset", reason)
        select * from json_to_recordset($1::json)
          as r(adapter text, document text, version int, epoch bigint, "offset" bigint, reason text)
        on conflict (adapter, document) do update set version = excluded.version, epoch = excluded.epoch,
          "offset" = excluded."offset", reason = excluded.reason, at = now(), retry_at = null`,
      parameters: [JSON.stringify(rows)],
    })
  }
  return statements
}

const reasonCharactersMax = 2_000

function cursorsOf({ cursors, partCount }: WriteBatch): Statement[] {
  if (cursors.length === 0) return []
  const rows = cursors.map(({ name, part, sequence }) => ({ name, part, part_count: partCount, sequence }))
  return [
    {
      text: `insert into tidemark.cursors (name, part, part_count, sequence)
        select * from json_to_recordset($1::json) as r(name text, part int, part_count int, sequence bigint)
        on conflict (name, part) do update set part_count = excluded.part_count, sequence = excluded.sequence`,
      parameters: [JSON.stringify(rows)],
    },
  ]
}

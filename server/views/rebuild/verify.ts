/**
 * What is known of tables that were built beside those that are served, before they take their place.
 *
 * - `compare`: of a rebuild by the same code, all rows of each document of both, by a hash of their text. The projector writes
 *   a document to both in one transaction, so whatever one statement sees of it must be equal, while edits go on. What
 *   differs was changed by hand, or shows a bug: what was made from the log is right.
 * - `sample`: some documents, projected from the log at this moment, give the rows that are there: also for a new version,
 *   whose rows cannot be compared with those of other code. What differs is an adapter that is not pure, or a bug.
 *
 * Ranges of documents, one after the other, so that no statement is long and PGlite, which has one session, goes on between them.
 * Left out: dead letters, whose old rows stand still, and what is not at the same place in both.
 */
import type { DocumentId } from '../../../core/document-id.ts'
import { AdapterError } from '../../../core/domain/adapter-error.ts'
import { project } from '../../../core/domain/project.ts'
import type { LiveDocuments } from '../live-documents.ts'
import { quoted, type Sql, SqlError, type Statement } from '../sql/sql.ts'
import { toJson } from '../store/rows-to-json.ts'
import { statementsFor } from '../store/table-statements.ts'
import type { Table } from '../store/tables.ts'
import { type Placed, patient } from '../versions.ts'

const rangeDocuments = 500
const sampleDocuments = 20

/** Ids of documents whose rows differ. Rejects with `SqlError`; `undefined_column` and the like: the tables do. */
export async function compare(
  sql: Sql,
  live: Placed,
  next: Placed,
  signal: AbortSignal,
): Promise<Set<string>> {
  const differing = new Set<string>()
  let after = ''
  while (!signal.aborted) {
    const to = await endOfRange(sql, next.schema, after)
    const results = await sql.batch(
      next.tables.map((table) => comparison(live, next, table, after, to)),
      patient,
    )
    for (const { rows } of results) for (const [document] of rows) differing.add(document ?? '')
    if (to === null) break
    after = to
  }
  return differing
}

/** Null: the range has no end. */
async function endOfRange(sql: Sql, schema: string, after: string): Promise<string | null> {
  const [result] = await sql.batch([
    {
      text: `select document from tidemark.progress where adapter = $1 and document > $2
        order by document offset ${rangeDocuments - 1} limit 1`,
      parameters: [schema, after],
    },
  ])
  return result?.rows[0]?.[0] ?? null
}

function comparison(live: Placed, next: Placed, table: Table, after: string, to: string | null): Statement {
  const columns = [...table.columns.map(({ name }) => name), ...table.generated].map(quoted).join(', ')
  const hashes = (schema: string): string =>
    `select document, count(*) as count, sum(hashtextextended(r::text collate "C", 0)::numeric) as hash
     from (select ${columns} from ${quoted(schema)}.${quoted(table.name)}
       where document > $1 ${to === null ? '' : 'and document <= $2'}) r group by document`
  return {
    text: `select document from (${hashes(live.schema)}) o full join (${hashes(next.schema)}) n using (document)
      where (o.count, o.hash) is distinct from (n.count, n.hash)
        and not exists (select from tidemark.dead_letters d where d.document = document and d.adapter in ${schemas(live, next)})
        and not exists (select from tidemark.progress p join tidemark.progress q on q.document = p.document
          where p.adapter = ${literal(live.schema)} and q.adapter = ${literal(next.schema)}
            and p.document = document and (p.epoch, p."offset") <> (q.epoch, q."offset"))`.replaceAll(
      '= document',
      '= coalesce(o.document, n.document)',
    ),
    parameters: to === null ? [after] : [after, to],
  }
}

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`
const schemas = (...placed: readonly Placed[]): string =>
  `(${placed.map(({ schema }) => literal(schema)).join(', ')})`

/** Ids of documents whose rows are not what the log says. */
export async function sample(sql: Sql, next: Placed, documents: LiveDocuments): Promise<Set<string>> {
  const { adapter, schema, tables } = next
  const [chosen] = await sql.batch([
    {
      text: `select document from tidemark.progress where adapter = $1
        order by hashtextextended(document, 0) limit ${sampleDocuments}`,
      parameters: [schema],
    },
  ])
  const differing = new Set<string>()
  for (const [id] of chosen?.rows ?? []) {
    const document = id as DocumentId
    try {
      const brought = await documents.bring(document, null)
      if (brought.kind === 'touched') continue
      const given =
        brought.kind === 'gone' ? [] : project(adapter, brought.state, adapter.contextOf(document)!)
      const { epoch, offset } = brought.progress
      const results = await sql.batch(
        tables.map((table) => ({
          text: statementsFor(table).differing,
          parameters: [
            toJson(given.find((one) => one.table === table.name)?.rows ?? []),
            document,
            schema,
            epoch,
            offset,
          ],
        })),
      )
      if (results.some(({ rows }) => rows[0]?.[0] !== '0')) differing.add(document)
    } catch (error) {
      // A dead letter, told as such; what the database will not compare cannot be there.
      if (!(error instanceof AdapterError) && !(error instanceof SqlError && !error.retryable)) throw error
    } finally {
      documents.drop(document)
    }
  }
  return differing
}

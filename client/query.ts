/** One question, and the pages of its answer. */
import type { QueryAnswer, QueryRequest, QueryValue } from '../core/protocol/query.ts'
import { type Asker, answerOf } from './asking.ts'
import type { QueryOptions, QueryResult } from './query-types.ts'

export async function query<Row extends object>(
  asker: Asker,
  sql: string,
  params: readonly QueryValue[] = [],
  { after, signal }: QueryOptions = {},
): Promise<QueryResult<Row>> {
  const offsets = after === true ? offsetsOf(asker) : after
  const request = { sql, params, ...(offsets === undefined ? {} : { after: offsets }) }
  return resultOf(asker, request, signal)
}

async function resultOf<Row extends object>(
  asker: Asker,
  request: QueryRequest,
  signal: AbortSignal | undefined,
): Promise<QueryResult<Row>> {
  const question = { body: JSON.stringify(request), signal }
  const { columns, rows, cursor } = await answerOf<QueryAnswer>(asker, 'query', question)
  return {
    columns,
    // What a row is, only who wrote the query knows.
    rows: rows as unknown as readonly Row[],
    ...(cursor === undefined ? {} : { more: () => resultOf(asker, { ...request, cursor }, signal) }),
  }
}

/** What this client has of each document that is open; what it has of a refused one the views may never have. */
function offsetsOf(asker: Asker): Record<string, number> {
  const documents = asker
    .inspect()
    .documents.filter(({ offset, access, status }) => offset > 0 && access !== null && status !== 'refused')
  return Object.fromEntries(documents.map(({ id, offset }) => [id, offset]))
}

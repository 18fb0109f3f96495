/** One question: asked once, and once more with a new token when the server does not take the one it had. */
import { TidemarkError } from '../core/protocol/error-codes.ts'
import type { QueryAnswer, QueryRequest, QueryValue } from '../core/protocol/query.ts'
import { type Asker, post, refusalOf } from './asking.ts'
import { isAboutToken } from './connection-state.ts'
import type { QueryOptions, QueryResult } from './query-types.ts'

/** The server has its own, shorter limits; this is for one that does not answer at all. */
const answerMsMax = 60_000

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
  const { columns, rows, cursor } = await answerTo(asker, request, signal)
  return {
    columns,
    rows: rows as unknown as readonly Row[],
    ...(cursor === undefined ? {} : { more: () => resultOf(asker, { ...request, cursor }, signal) }),
  }
}

async function answerTo(
  asker: Asker,
  request: QueryRequest,
  given: AbortSignal | undefined,
): Promise<QueryAnswer> {
  if (asker.paused) throw new TidemarkError('views_unavailable', 'The client is paused')
  const closing = asker.closing.signal
  const body = JSON.stringify(request)
  const late = AbortSignal.timeout(answerMsMax)
  const signal = AbortSignal.any([closing, late, ...(given === undefined ? [] : [given])])
  for (let attempt = 1; ; attempt++)
    try {
      const answer = await post(asker, 'query', body, signal)
      if (answer.ok) return (await answer.json()) as QueryAnswer
      throw await refusalOf(answer)
    } catch (error) {
      if (error instanceof TidemarkError) {
        if (attempt === 1 && isAboutToken(error) && asker.connection.tokenRenewable) continue
        throw error
      }
      given?.throwIfAborted()
      if (closing.aborted) throw new TidemarkError('shutting_down', 'The client was closed')
      const why = late.aborted ? 'No answer in time' : 'The server was not reached'
      throw new TidemarkError('views_unavailable', why, { cause: error })
    }
}

/** What this client has of each document that is open; what it has of a refused one the views may never have. */
function offsetsOf(asker: Asker): Record<string, number> {
  const documents = asker
    .inspect()
    .documents.filter(({ offset, access, status }) => offset > 0 && access !== null && status !== 'refused')
  return Object.fromEntries(documents.map(({ id, offset }) => [id, offset]))
}

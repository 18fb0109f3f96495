/**
 * What a batch says to the database, the same for both drivers:
 *
 *   begin; settings; the statements        one pipeline, answered up to the first refusal
 *   commit, or rollback                    when the counts of rows are as expected
 *
 * The commit goes alone, so that `rowsExpected` is decided before it, and so that it is known of every lost connection
 * whether it was lost before the commit (nothing happened) or around it (unknown).
 */
import {
  type BatchOptions,
  batchBytesMax,
  type Column,
  connectionFailure,
  quoted,
  type Result,
  rowsUnexpected,
  SqlError,
  type Statement,
  statementCountMax,
  statementTimeoutMs,
} from './sql.ts'

/** What the database said to one statement. */
export type Answer = (Result & { readonly tag: string }) | Refusal

export interface Refusal {
  readonly refused: { readonly code: string; readonly message: string; readonly position?: number }
}

/** Sends all at once. The answers end with the first refusal. Rejects when the connection is lost, with any error. */
export type Pipeline = (statements: readonly Statement[]) => Promise<readonly Answer[]>

export async function transact(
  pipeline: Pipeline,
  statements: readonly Statement[],
  options: BatchOptions,
): Promise<readonly Result[]> {
  const opening = openingOf(options)
  const answers = await pipeline([...opening, ...statements]).catch((error: unknown) => {
    throw lost(error, 'rolled_back')
  })
  const fault = faultIn(answers, statements, opening.length, options)
  if (fault !== undefined) {
    // The transaction ends with its connection, if not by this.
    await pipeline([{ text: 'rollback' }]).catch(() => {})
    throw fault
  }
  const [committed] = await pipeline([{ text: 'commit' }]).catch((error: unknown) => {
    throw lost(error, 'unknown')
  })
  if (committed === undefined) throw lost(undefined, 'unknown')
  if ('refused' in committed) {
    const { code, message } = committed.refused
    throw new SqlError(message, { code, outcome: /^(08|57)/.test(code) ? 'unknown' : 'rolled_back' })
  }
  if (committed.tag !== 'COMMIT') throw new SqlError('The transaction was rolled back', { code: '40000' })
  return (answers as readonly Result[])
    .slice(opening.length)
    .map(({ rows, columns, count }) => ({ rows, columns, count }))
}

/** Throws for a batch that is beyond the limits. */
export function assertWithinLimits(statements: readonly Statement[]): void {
  if (statements.length > statementCountMax)
    throw new SqlError(`A batch has at most ${statementCountMax} statements`, { code: '54000' })
  let bytes = 0
  for (const { text, parameters = [] } of statements) {
    bytes += text.length
    for (const value of parameters)
      if (typeof value === 'string' || value instanceof Uint8Array) bytes += value.length
  }
  if (bytes > batchBytesMax)
    throw new SqlError(`A batch has at most ${batchBytesMax} bytes, not ${bytes}`, { code: '54000' })
}

export function lost(cause: unknown, outcome: 'rolled_back' | 'unknown'): SqlError {
  const reason = cause instanceof Error ? cause.message : 'no answer'
  return new SqlError(`The connection to the database was lost: ${reason}`, {
    code: connectionFailure,
    outcome,
    cause,
  })
}

function openingOf(options: BatchOptions): Statement[] {
  const settings: [string, string][] = [
    ['statement_timeout', String(options.statementTimeoutMs ?? statementTimeoutMs)],
  ]
  if (options.searchPath !== undefined)
    settings.push(['search_path', options.searchPath.map(quoted).join(', ')])
  if (options.claims !== undefined) settings.push(['request.jwt.claims', options.claims])
  settings.push(...Object.entries(options.settings ?? {}))
  // Last: after it, the settings above might not be allowed.
  if (options.role !== undefined) settings.push(['role', options.role])
  return [
    { text: options.readOnly === true ? 'begin read only' : 'begin' },
    {
      text: `select ${settings.map((_, i) => `set_config($${2 * i + 1}, $${2 * i + 2}, true)`).join(', ')}`,
      parameters: settings.flat(),
    },
  ]
}

function faultIn(
  answers: readonly Answer[],
  statements: readonly Statement[],
  openingCount: number,
  options: BatchOptions,
): SqlError | undefined {
  for (const [i, answer] of answers.entries()) {
    const statement = i - openingCount
    if ('refused' in answer) {
      const { code, message, position } = answer.refused
      const ownFault = code === '25006' && options.readOnly === true
      return new SqlError(message, {
        code,
        statement,
        ...(position !== undefined && { position }),
        ...(ownFault && { retryable: false }),
      })
    }
    const expected = statements[statement]?.rowsExpected
    if (expected !== undefined && answer.count !== expected)
      return new SqlError(`${answer.count} rows instead of ${expected}`, { code: rowsUnexpected, statement })
  }
  if (answers.length < openingCount + statements.length) return lost(undefined, 'rolled_back')
  return undefined
}

export const placeOf = (position: string | undefined): { readonly position?: number } =>
  position === undefined ? {} : { position: Number(position) }

export function columnOf(name: string, typeId: number): Column {
  return { name, type: typeNames.get(typeId) ?? `oid ${typeId}` }
}

/** `INSERT 0 3` wrote three rows, `SELECT 2` gave two. */
export function countOf(tag: string): number {
  return Number(/ (\d+)$/.exec(tag)?.[1] ?? 0)
}

const typeNames = new Map<number, string>([
  [16, 'boolean'],
  [17, 'bytea'],
  [19, 'name'],
  [20, 'bigint'],
  [21, 'smallint'],
  [23, 'integer'],
  [25, 'text'],
  [26, 'oid'],
  [114, 'json'],
  [199, 'json[]'],
  [700, 'real'],
  [701, 'double precision'],
  [1000, 'boolean[]'],
  [1001, 'bytea[]'],
  [1005, 'smallint[]'],
  [1007, 'integer[]'],
  [1009, 'text[]'],
  [1015, 'character varying[]'],
  [1016, 'bigint[]'],
  [1021, 'real[]'],
  [1022, 'double precision[]'],
  [1042, 'character'],
  [1043, 'character varying'],
  [1082, 'date'],
  [1083, 'time without time zone'],
  [1114, 'timestamp without time zone'],
  [1115, 'timestamp without time zone[]'],
  [1182, 'date[]'],
  [1184, 'timestamp with time zone'],
  [1185, 'timestamp with time zone[]'],
  [1186, 'interval'],
  [1231, 'numeric[]'],
  [1266, 'time with time zone'],
  [1700, 'numeric'],
  [2249, 'record'],
  [2278, 'void'],
  [2950, 'uuid'],
  [2951, 'uuid[]'],
  [3614, 'tsvector'],
  [3615, 'tsquery'],
  [3802, 'jsonb'],
  [3807, 'jsonb[]'],
])

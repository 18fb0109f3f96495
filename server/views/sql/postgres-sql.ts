/**
 * Batches to a PostgreSQL server, over a small pool of connections in pipeline mode.
 *
 * - A batch is two trips: all statements, then the commit. Nothing waits between statements.
 * - A connection that failed, was told that the server goes away or met a read-only server is dropped: after a failover
 *   the pool would keep the old primary. The next batch connects anew, so a server that was away is found when it is back.
 * - Each wait has an end: to get a connection (`connectMs`), on the server (statement_timeout), for an answer (`batchMs`;
 *   then the connection is dropped), and for a client that stopped inside a transaction
 *   (idle_in_transaction_session_timeout, so that a paused node holds no locks).
 */
import pg from 'pg'
import type { Logger } from '../../logger.ts'
import { cancelQuery } from './postgres-cancel.ts'
import {
  type BatchOptions,
  batchesWaitingMax,
  batchMs,
  connectionFailure,
  givenUp,
  type Result,
  type Sql,
  SqlError,
  type Statement,
} from './sql.ts'
import {
  type Answer,
  assertWithinLimits,
  columnOf,
  lost,
  type Pipeline,
  placeOf,
  transact,
} from './transaction.ts'

export interface PostgresSqlOptions {
  readonly url: string
  readonly connectionsMax: number
  readonly logger: Logger
}

const connectMs = 5_000
const idleMs = 30_000
const idleInTransactionMs = 15_000

export class PostgresSql implements Sql {
  private readonly pool: pg.Pool
  private readonly logger: Logger
  private reason: string | null = null
  private closed = false

  constructor({ url, connectionsMax, logger }: PostgresSqlOptions) {
    this.logger = logger
    this.pool = new pg.Pool({
      connectionString: url,
      max: connectionsMax,
      connectionTimeoutMillis: connectMs,
      idleTimeoutMillis: idleMs,
      idle_in_transaction_session_timeout: idleInTransactionMs,
      keepAlive: true,
      application_name: 'tidemark',
      pipeline: true,
    })
    // Without a listener of its own an error would end the process: between two answers, and in the packet that ends a handshake, before
    // anybody has the connection. What is asked of it rejects.
    this.pool.on('connect', (client) => client.on('error', () => {}))
    this.pool.on('error', (error) => this.logger.debug({ reason: error.message }, 'idle connection lost'))
  }

  async start(): Promise<void> {}

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    await this.pool.end()
  }

  unavailable(): string | null {
    return this.reason
  }

  async batch(
    statements: readonly Statement[],
    options: BatchOptions = {},
    signal?: AbortSignal,
  ): Promise<readonly Result[]> {
    assertWithinLimits(statements)
    const client = await this.connect()
    const cancelling: (() => void)[] = []
    const giveUp = (): void => void cancelling.push(cancelQuery(client))
    if (signal?.aborted === true) {
      client.release()
      throw givenUp()
    }
    signal?.addEventListener('abort', giveUp, { once: true })
    const deadline = performance.now() + (options.batchMs ?? batchMs)
    let failure: SqlError | undefined
    try {
      const results = await transact(pipelineOn(client, deadline), statements, options)
      this.reason = null
      return results
    } catch (error) {
      failure = error instanceof SqlError ? error : lost(error, 'unknown')
      if (mustDrop(failure)) this.note(failure.message)
      else this.reason = null
      throw failure
    } finally {
      signal?.removeEventListener('abort', giveUp)
      for (const end of cancelling) end()
      // A request to cancel may still be on its way, and must not meet the next batch.
      client.release(cancelling.length > 0 || (failure !== undefined && mustDrop(failure)))
    }
  }

  private async connect(): Promise<pg.PoolClient> {
    if (this.closed) throw unavailable('The views are closed')
    if (this.pool.waitingCount >= batchesWaitingMax) throw unavailable('Too many batches wait')
    try {
      return await this.pool.connect()
    } catch (error) {
      const reason = reasonOf(error)
      if (!this.closed) this.note(reason)
      throw unavailable(`No connection to the database: ${reason}`, error)
    }
  }

  private note(reason: string): void {
    if (this.reason === null) this.logger.warn({ reason }, 'the database of the views is away')
    this.reason = reason
  }
}

/** Whatever keeps a connection from being made may pass: a wrong password is put right without a restart of the relay. */
const unavailable = (message: string, cause?: unknown): SqlError =>
  new SqlError(message, { code: connectionFailure, retryable: true, cause })

const mustDrop = ({ code, retryable }: SqlError): boolean =>
  retryable && (/^(08|57P|58)/.test(code) || code === '25006' || code === '25P03')

/** Addresses that resolve to several give one error for each. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join('; ')
  return error instanceof Error ? error.message : String(error)
}

function pipelineOn(client: pg.PoolClient, deadline: number): Pipeline {
  return async (statements) => {
    const leftMs = Math.max(1, Math.ceil(deadline - performance.now()))
    const sent = statements.map((statement) => send(client, statement, leftMs))
    const answers: Answer[] = []
    for (const one of await Promise.allSettled(sent)) {
      if (one.status === 'fulfilled') {
        answers.push(one.value)
        continue
      }
      // Ends the answers: what follows in the pipeline fails because of this one.
      if (!(one.reason instanceof pg.DatabaseError)) throw one.reason
      const { code = 'XX000', message, position } = one.reason
      answers.push({ refused: { code, message, ...placeOf(position) } })
      break
    }
    return answers
  }
}

const asText = { getTypeParser: () => (value: unknown) => value } as pg.CustomTypesConfig

async function send(
  client: pg.PoolClient,
  { text, parameters = [], script }: Statement,
  leftMs: number,
): Promise<Answer> {
  const query: pg.QueryArrayConfig & { queryMode?: string; query_timeout: number } = {
    text,
    rowMode: 'array',
    types: asText,
    query_timeout: leftMs,
    ...(script !== true && {
      queryMode: 'extended',
      values: parameters.map((value) =>
        value instanceof Uint8Array ? `\\x${Buffer.from(value).toString('hex')}` : textOf(value),
      ),
    }),
  }
  const result = await client.query(query)
  if (script === true) return { rows: [], columns: [], count: 0, tag: 'SCRIPT' }
  return {
    rows: result.rows,
    columns: result.fields.map(({ name, dataTypeID }) => columnOf(name, dataTypeID)),
    count: result.rowCount ?? 0,
    tag: result.command,
  }
}

const textOf = (value: Exclude<Statement['parameters'], undefined>[number]): string | null =>
  value === null ? null : String(value)

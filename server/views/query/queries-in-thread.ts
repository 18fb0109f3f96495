/**
 * Queries as the thread of the views has them: from when their roles and tables are there.
 *
 *   starting ──(roles, tables)──▶ open
 *            └─(roles cannot be made)──▶ shut, with a reason for the log; tried again when somebody asks
 *
 * Rows are kept also where queries cannot be had: an owner that may not make roles still projects.
 */
import { TidemarkError } from '../../../core/protocol/errors.ts'
import type { Logger } from '../../logger.ts'
import { PostgresSql } from '../sql/postgres-sql.ts'
import { type Sql, SqlError } from '../sql/sql.ts'
import { assertLogin, installLogin, installRoles } from '../store/roles.ts'
import { openInbox, secure } from '../store/secure.ts'
import { TablesRefused } from '../store/tables.ts'
import { AfterWaits, type Takes } from './after.ts'
import type { TableName } from './catalog.ts'
import { loginUrl } from './login-url.ts'
import type { Ask, QueryFromRelay, QueryFromViews } from './messages.ts'
import { Queries, type Query, type QueryLimits, type Rows } from './queries.ts'

export interface QuerySettings {
  /** DATABASE_READER_URL: a login that was made by hand. */
  readonly readerUrl: string | null
  readonly afterTimeoutMs: number
  readonly limits: Omit<QueryLimits, 'waitingMax'>
}

export interface QueryAdapter extends Takes {
  readonly roles: readonly string[]
}

export interface QueriesInThreadParts {
  readonly sql: Sql
  /** Null: PGlite. */
  readonly databaseUrl: string | null
  readonly settings: QuerySettings
  readonly adapters: readonly QueryAdapter[]
  readonly logger: Logger
  readonly tell: (message: QueryFromViews, transfer: ArrayBuffer[]) => void
  /** Between two tries to make what queries need. */
  readonly retryMs?: number
}

type State =
  | { readonly at: 'starting' }
  | { readonly at: 'open'; readonly queries: Queries; readonly reader: Sql; isVerified: boolean }
  | { readonly at: 'shut'; readonly sinceMs: number }

const waitingMax = 100
const retryMs = 10_000

export class QueriesInThread {
  private readonly parts: QueriesInThreadParts
  private readonly declared: readonly string[]
  private readonly waits: AfterWaits
  private readonly asking = new Map<number, AbortController>()
  private state: State = { at: 'starting' }
  private areRolesThere = false
  private schemas: readonly string[] = []

  constructor(parts: QueriesInThreadParts) {
    this.parts = parts
    this.declared = [...new Set(parts.adapters.flatMap(({ roles }) => roles))]
    this.waits = new AfterWaits(parts.sql, parts.adapters, parts.settings.afterTimeoutMs)
  }

  /** Before the adapters' SQL, which may name them. Throws `SqlError`. */
  async makeRoles(): Promise<void> {
    await this.orShut(async () => {
      await installRoles(this.parts.sql, this.declared)
      this.areRolesThere = true
    })
  }

  /** The adapters' tables are in these schemas, new or not. Throws `SqlError`. */
  async open(schemas: readonly string[]): Promise<void> {
    const { sql } = this.parts
    this.schemas = schemas
    if (!this.areRolesThere) return
    for (const schema of schemas) await secure(sql, schema, this.declared)
    await openInbox(sql)
    if (this.state.at === 'open') return this.state.queries.catalog.forget()
    await this.orShut(async () => {
      const reader = await this.reader()
      const queries = new Queries({
        sql,
        reader,
        declaredRoles: this.declared,
        limits: { ...this.parts.settings.limits, ...this.embedded, waitingMax },
        logger: this.parts.logger,
        isEmbedded: this.parts.databaseUrl === null,
      })
      this.state = { at: 'open', queries, reader, isVerified: this.parts.settings.readerUrl === null }
    })
  }

  /** Throws `views_unavailable`. */
  get queries(): Queries {
    if (this.state.at === 'open') return this.state.queries
    throw this.state.at === 'starting'
      ? new TidemarkError('views_unavailable', 'The views are starting')
      : notSetUp()
  }

  /** Rows were written here. */
  wrote(): void {
    this.waits.wake()
  }

  /** Throws as `Queries.run`. */
  async run(query: Query, signal: AbortSignal): Promise<Rows> {
    await this.ready()
    return this.queries.run(query, signal)
  }

  /** Throws as `Queries.tablesOf`. */
  async tablesOf(sql: string): Promise<readonly TableName[]> {
    await this.ready()
    return this.queries.tablesOf(sql)
  }

  heard(message: QueryFromRelay): void {
    if (message.kind === 'query-leave') this.asking.get(message.id)?.abort(new Error('nobody waits'))
    else void this.answer(message.id, message.ask)
  }

  async close(): Promise<void> {
    for (const left of this.asking.values()) left.abort(new Error('closing'))
    await this.closeReader()
  }

  private async closeReader(): Promise<void> {
    if (this.state.at === 'open' && this.state.reader !== this.parts.sql) await this.state.reader.close()
  }

  /** Never rejects. */
  private async answer(id: number, ask: Ask): Promise<void> {
    const { tell, logger } = this.parts
    const left = new AbortController()
    this.asking.set(id, left)
    try {
      // Before anybody waits.
      await this.ready()
      await this.waits.reached(ask.after, left.signal)
      const { columns, rows, cursor } = await this.run(ask, left.signal)
      const more = cursor === null ? '' : `,"cursor":${JSON.stringify(cursor)}`
      const text = `{"columns":${JSON.stringify(columns)},"rows":[${rows.join(',')}]${more}}`
      const body = new TextEncoder().encode(text)
      tell({ kind: 'query-answer', id, body }, [body.buffer])
    } catch (error) {
      const isTold = error instanceof TidemarkError && error.code !== 'internal'
      if (!isTold && !left.signal.aborted) logger.error({ err: error }, 'a query failed')
      const code = isTold ? error.code : 'internal'
      tell({ kind: 'query-refusal', id, code, message: isTold ? error.message : 'The query failed' }, [])
    } finally {
      this.asking.delete(id)
    }
  }

  /** PGlite does one thing at a time, and the projector is to have its turns. */
  private get embedded(): Partial<QueryLimits> {
    return this.parts.databaseUrl === null ? { runningMax: 1 } : {}
  }

  private async reader(): Promise<Sql> {
    const { sql, databaseUrl, settings, logger } = this.parts
    if (databaseUrl === null) return sql
    const url = settings.readerUrl ?? loginUrl(databaseUrl, await installLogin(sql, this.declared))
    return new PostgresSql({ url, connectionsMax: settings.limits.runningMax, logger })
  }

  /** Throws `views_unavailable`. */
  private async ready(): Promise<void> {
    const { state } = this
    if (state.at === 'shut' && performance.now() - state.sinceMs > (this.parts.retryMs ?? retryMs)) {
      this.state = { at: 'shut', sinceMs: performance.now() }
      await this.makeRoles()
        .then(() => this.open(this.schemas))
        .catch(away)
    }
    // What a login that was made by hand may do, before it is used.
    if (this.state.at === 'open' && !this.state.isVerified) await this.verify(this.state)
    // Throws when there are none.
    void this.queries
  }

  private async verify(state: Extract<State, { readonly at: 'open' }>): Promise<void> {
    try {
      await assertLogin(this.parts.sql, state.reader, this.declared)
      state.isVerified = true
    } catch (error) {
      this.parts.logger.error({ err: error }, 'queries are not answered')
      if (error instanceof SqlError) away(error)
      throw notSetUp()
    }
  }

  private async orShut(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (!(error instanceof TablesRefused)) throw error
      if (this.state.at !== 'shut') this.parts.logger.error({ err: error }, 'queries are not answered')
      await this.closeReader()
      this.state = { at: 'shut', sinceMs: performance.now() }
    }
  }
}

function away(error: unknown): never {
  throw new TidemarkError('views_unavailable', 'The database of the views is away', { cause: error })
}

const notSetUp = (): TidemarkError =>
  new TidemarkError('views_unavailable', 'Queries are not set up in the database; the server log says why')

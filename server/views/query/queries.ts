/**
 * Asks the views, with somebody's rights.
 *
 *   analyse ─▶ catalog ─▶ a place ─▶ (after: the views have what was written) ─▶ database ─▶ JSON
 *
 * - In the database a query has a transaction of its own that only reads, a timeout, and the role and settings of its rights. On
 *   PostgreSQL its connection is of a login that owns nothing; on PGlite, which has one session, it is the owner's.
 * - Places are few, also for one user, and those who wait for one are few as well. On PGlite there is one place, between which
 *   the projector has its turns.
 * - An answer ends at `rowsMax` or `bytesMax`, whichever is first; the database sends no more than that.
 * - What goes wrong is told in PostgreSQL's words when they are about the query, and never with details: a table that may not be
 *   read is as one that is not there.
 */
import { TidemarkError } from '../../../core/protocol/errors.ts'
import type { QueryColumn, QueryValue } from '../../../core/protocol/query.ts'
import { Slots } from '../../access/slots.ts'
import type { Logger } from '../../logger.ts'
import { type Column, type Sql, SqlError } from '../sql/sql.ts'
import { analyse, type SqlName } from './analyse.ts'
import { Catalog, noTable, type TableName } from './catalog.ts'
import { cursorOf, placeIn } from './cursor.ts'
import { type QueryRights, roleOf, settingsOf } from './rights.ts'
import { framed, isTooLarge, pageOf } from './statement.ts'
import { TypeNames } from './type-names.ts'
import { parameterOf, toJson } from './values.ts'

export interface QueryLimits {
  readonly timeoutMs: number
  readonly rowsMax: number
  readonly bytesMax: number
  /** At the same time. */
  readonly runningMax: number
  readonly waitingMax: number
  /** Of one user, running and waiting. */
  readonly perUserMax: number
}

/** What is asked, in plain data: it comes from another thread. */
export interface Query {
  readonly sql: string
  readonly params: readonly QueryValue[]
  readonly rights: QueryRights
  readonly cursor: string | null
}

export interface Rows {
  readonly columns: readonly QueryColumn[]
  /** Each an object, as JSON. */
  readonly rows: readonly string[]
  /** Where there are more. */
  readonly cursor: string | null
}

export interface QueriesParts {
  /** Of the owner: for the catalog. */
  readonly sql: Sql
  /** With which queries are run. */
  readonly reader: Sql
  readonly declaredRoles: readonly string[]
  readonly limits: QueryLimits
  readonly logger: Logger
  /** It cannot be interrupted: its database is restarted instead. */
  readonly isEmbedded: boolean
}

const paramsMax = 1_000
/** Beyond the statement's timeout: for connecting, and for what is beside it. */
const graceMs = 5_000

export class Queries {
  readonly catalog: Catalog
  private readonly parts: QueriesParts
  private readonly declared: ReadonlySet<string>
  private readonly slots: Slots
  private readonly byUser = new Map<string, number>()
  private readonly types: TypeNames

  constructor(parts: QueriesParts) {
    this.parts = parts
    this.declared = new Set(parts.declaredRoles)
    this.catalog = new Catalog(parts.sql)
    this.types = new TypeNames(parts.sql)
    this.slots = new Slots(parts.limits.runningMax, parts.limits.waitingMax)
  }

  /** The role that these rights give: queries of other rights have other answers. */
  roleOf(rights: QueryRights): string {
    return roleOf(rights, this.declared)
  }

  /** Which tables a query reads. Throws as `run`. */
  async tablesOf(sql: string): Promise<readonly TableName[]> {
    const analysis = await analyse(sql)
    return this.catalog.check(analysis).catch((error: unknown) => {
      throw this.told(error, analysis.tables)
    })
  }

  /**
   * Rejects with TidemarkError `query_refused`, `query_failed`, `query_timeout`, `views_unavailable`, `rate_limited`,
   * `overloaded`; or, when the signal is aborted, with its reason.
   */
  async run(query: Query, signal: AbortSignal): Promise<Rows> {
    const release = await this.enter(query.rights.subject, signal)
    try {
      return await this.ask(query, signal)
    } finally {
      release()
    }
  }

  private async ask({ sql, params, rights, cursor }: Query, signal: AbortSignal): Promise<Rows> {
    const analysis = await analyse(sql)
    if (params.length > paramsMax || analysis.parameterCount !== params.length)
      throw new TidemarkError(
        'query_refused',
        `The statement has ${analysis.parameterCount} parameters, and ${params.length} were sent`,
      )
    const { limits, reader, isEmbedded } = this.parts
    const role = this.roleOf(rights)
    const identity = [sql, JSON.stringify(params), rights.subject, role]
    const place = cursor === null ? 0 : placeIn(cursor, identity)
    const { rowsMax, bytesMax, timeoutMs } = limits
    const frame = framed(analysis.statement, { place, rowsMax, bytesMax })
    try {
      await this.catalog.check(analysis)
      const [result] = await reader.batch(
        [{ text: frame.text, parameters: params.map(parameterOf) }],
        {
          role,
          readOnly: true,
          searchPath: this.catalog.searchPath,
          settings: { ...fixedSettings, ...settingsOf(rights) },
          statementTimeoutMs: timeoutMs,
          batchMs: isEmbedded ? timeoutMs : timeoutMs + graceMs,
        },
        signal,
      )
      const { columns, rows, hasMore } = pageOf(result!)
      const named = await this.namedColumns(columns)
      const texts = rowsOf(named, rows, bytesMax)
      if (texts.length === 0 && rows.length > 0) throw tooLarge(bytesMax)
      const more = hasMore || texts.length < rows.length
      return {
        columns: named,
        rows: texts,
        cursor: more ? cursorOf(place + texts.length, identity) : null,
      }
    } catch (error) {
      signal.throwIfAborted()
      throw this.told(error, analysis.tables, analysis.statementStart - frame.statementStart)
    }
  }

  private async namedColumns(columns: readonly Column[]): Promise<readonly QueryColumn[]> {
    const names = new Set<string>()
    for (const { name } of columns) {
      if (names.has(name))
        throw new TidemarkError(
          'query_refused',
          `Two columns are named "${name}": give one another name, with "as"`,
        )
      names.add(name)
    }
    return this.types.named(columns)
  }

  private async enter(subject: string, signal: AbortSignal): Promise<() => void> {
    const { perUserMax, waitingMax } = this.parts.limits
    const before = this.byUser.get(subject) ?? 0
    // In open mode everybody is one user.
    if (subject !== '' && before >= perUserMax)
      throw new TidemarkError('rate_limited', `More than ${perUserMax} queries of one user at the same time`)
    this.byUser.set(subject, before + 1)
    const leave = (): void => {
      const left = (this.byUser.get(subject) ?? 1) - 1
      if (left > 0) this.byUser.set(subject, left)
      else this.byUser.delete(subject)
    }
    try {
      const release = await this.slots.take(signal)
      return () => {
        release()
        leave()
      }
    } catch (error) {
      leave()
      signal.throwIfAborted()
      throw new TidemarkError('overloaded', `More than ${waitingMax} queries wait`, { cause: error })
    }
  }

  /** `shift`: from positions in what was sent to those in the query. */
  private told(error: unknown, tables: readonly SqlName[], shift = 0): unknown {
    if (!(error instanceof SqlError)) return error
    const { code, message, position, retryable } = error
    if (noAccess.has(code)) return noTable(tables)
    if (code === '57014')
      return new TidemarkError('query_timeout', `The query took more than ${this.parts.limits.timeoutMs} ms`)
    if (code === '25006' && !retryable)
      return new TidemarkError('query_refused', 'Not a query: it would change something')
    if (isTooLarge(message)) return tooLarge(this.parts.limits.bytesMax)
    if (exhausted.has(code))
      return new TidemarkError('query_failed', `The query takes more memory or disk than there is (${code})`)
    if (code === 'XX000' || retryable) {
      this.parts.logger.warn({ code, reason: message }, 'a query could not be run')
      return code === 'XX000'
        ? new TidemarkError('query_failed', 'PostgreSQL could not run this query (XX000)')
        : new TidemarkError('views_unavailable', 'The database of the views is away', { cause: error })
    }
    const character = (position ?? 0) + shift
    const where = position !== undefined && character > 0 ? `, character ${character}` : ''
    return new TidemarkError('query_failed', `${message} (${code}${where})`)
  }
}

/** No right to it, or not there: table, schema. */
const noAccess = new Set(['42501', '42P01', '3F000'])

/** Disk, memory, limits of the configuration: by this query, most likely, so it is not to be tried again. */
const exhausted = new Set(['53100', '53200', '53400'])

/** What the parser and the answer's format go by, whatever the server's defaults are. */
const fixedSettings = {
  standard_conforming_strings: 'on',
  row_security: 'on',
  TimeZone: 'UTC',
  DateStyle: 'ISO, MDY',
  IntervalStyle: 'postgres',
  extra_float_digits: '1',
  bytea_output: 'hex',
}

function tooLarge(bytesMax: number): TidemarkError {
  return new TidemarkError('query_refused', `A row is larger than an answer may be: ${bytesMax} bytes`)
}

/** Up to `bytesMax`; the database counted other bytes than JSON has. */
function rowsOf(
  columns: readonly QueryColumn[],
  rows: readonly (readonly (string | null)[])[],
  bytesMax: number,
): readonly string[] {
  const parts = columns.map(({ name, type }) => ({ key: `${JSON.stringify(name)}:`, json: toJson(type) }))
  const texts: string[] = []
  let bytes = 0
  for (const row of rows) {
    const fields = parts.map(({ key, json }, i) => {
      const value = row[i]
      return key + (value == null ? 'null' : json(value))
    })
    const text = `{${fields.join(',')}}`
    bytes += Buffer.byteLength(text) + 1
    if (bytes > bytesMax) break
    texts.push(text)
  }
  return texts
}

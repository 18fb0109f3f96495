/**
 * What whoever runs a relay asks of the views and tells them to do, answered by the thread that has the database: any node's,
 * since all that counts is in the database. A rebuild and a retry are noted there, and the node that has the parts acts on it
 * with its next claim.
 */
import type { Adapter } from '../../core/domain/adapter.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import {
  type ConflictsParts,
  type FieldAt,
  type FieldFound,
  fieldFound,
  type Settled,
  type Settling,
  settle,
} from './conflicts.ts'
import type { RebuildFigures } from './rebuild/rebuild.ts'
import { type Sql, SqlError } from './sql/sql.ts'
import { beginRebuild, nextOf } from './versions.ts'

export type Operation =
  | { readonly verb: 'status' }
  /** Empty: all. */
  | { readonly verb: 'rebuild'; readonly adapters: readonly string[] }
  | {
      readonly verb: 'letters'
      readonly adapter: string | null
      readonly after: string
      readonly countMax: number
    }
  | { readonly verb: 'retry'; readonly adapter: string | null; readonly document: string | null }
  | { readonly verb: 'field'; readonly at: FieldAt }
  | { readonly verb: 'settle'; readonly settling: Settling }

export interface ViewsStatus {
  readonly adapters: readonly AdapterStatus[]
}

export interface AdapterStatus {
  readonly name: string
  /** Of the code that this node has. */
  readonly version: number
  /** Of the tables that are served; null while there are none. */
  readonly served: number | null
  /** `aside`: there is a newer version than this node has. `absent`: no tables yet. */
  readonly state: 'live' | 'building' | 'aside' | 'absent'
  /** Documents whose rows are there, or that are known to have none. */
  readonly documents: number
  readonly deadLetters: number
  readonly rebuild: Omit<RebuildFigures, 'adapter'> | null
  readonly lastRebuild: LastRebuild | null
}

export interface LastRebuild {
  readonly version: number
  /** ISO 8601. */
  readonly began: string
  readonly ended: string
  readonly documents: number
  /** Documents whose rows were not what the log says, and some of their ids. */
  readonly differing: number
  readonly sample: readonly string[]
}

export interface Letters {
  readonly letters: readonly Letter[]
  /** For `after`; null at the end. */
  readonly next: string | null
}

export interface Letter {
  readonly adapter: string
  readonly document: string
  readonly version: number
  readonly epoch: number | null
  /** Which state of the document could not be projected; null when it could not be read. */
  readonly offset: number | null
  readonly reason: string
  readonly at: string
}

export interface OperationsParts extends ConflictsParts {
  readonly sql: Sql
  readonly rebuilding: () => readonly RebuildFigures[]
}

export type Answered =
  | ViewsStatus
  | Letters
  | { readonly retried: number }
  | { readonly found: FieldFound }
  | { readonly settled: Settled }

const isoOf = (column: string): string =>
  `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

/** Rejects with `not_found`, `already_exists`, `views_unavailable`; and as conflicts.ts does. */
export async function operate(operation: Operation, parts: OperationsParts): Promise<Answered> {
  try {
    switch (operation.verb) {
      case 'status':
        return await statusOf(parts)
      case 'rebuild':
        return await rebuild(operation.adapters, parts)
      case 'letters':
        return await lettersOf(operation, parts)
      case 'retry':
        return { retried: await retry(operation, parts) }
      case 'field':
        return { found: await fieldFound(operation.at, parts) }
      case 'settle':
        return { settled: await settle(operation.settling, parts) }
    }
  } catch (error) {
    if (!(error instanceof SqlError)) throw error
    throw new TidemarkError('views_unavailable', 'The database of the views gives no answer', {
      cause: error,
    })
  }
}

async function statusOf({ sql, adapters, rebuilding }: OperationsParts): Promise<ViewsStatus> {
  const names = JSON.stringify(adapters.flatMap(({ name }) => [name, nextOf(name)]))
  const own = 'in (select json_array_elements_text($1::json))'
  const counted = (table: string): string =>
    `select adapter, count(*) from tidemark.${table} where adapter ${own} group by adapter`
  const [made, progress, dead, last] = await sql.batch([
    { text: `select schema, version from tidemark.adapters where schema ${own}`, parameters: [names] },
    { text: counted('progress'), parameters: [names] },
    { text: counted('dead_letters'), parameters: [names] },
    {
      text: `select adapter, version, ${isoOf('began_at')}, ${isoOf('ended_at')}, documents, differing, sample
        from tidemark.rebuilds where adapter ${own}`,
      parameters: [names],
    },
  ])
  const numbers = (result: typeof made): Map<string, number> =>
    new Map((result?.rows ?? []).map(([name, count]) => [name ?? '', Number(count)]))
  const versions = numbers(made)
  const documents = numbers(progress)
  const letters = numbers(dead)
  const rebuilds = new Map((last?.rows ?? []).map((row) => [row[0] ?? '', lastOf(row)]))
  const building = new Map(rebuilding().map(({ adapter, ...figures }) => [adapter, figures]))
  return {
    adapters: adapters.map(({ name, version }) => {
      const next = versions.get(nextOf(name)) ?? 0
      const served = versions.get(name) ?? null
      const isAside = Math.max(served ?? 0, next) > version
      return {
        name,
        version,
        served,
        state: isAside ? 'aside' : next > 0 ? 'building' : served === null ? 'absent' : 'live',
        documents: documents.get(name) ?? 0,
        deadLetters: letters.get(name) ?? 0,
        rebuild: building.get(name) ?? null,
        lastRebuild: rebuilds.get(name) ?? null,
      }
    }),
  }
}

function lastOf(row: readonly (string | null)[]): LastRebuild {
  const [, version, began, ended, documents, differing, sample] = row as string[]
  return {
    version: Number(version),
    began: began!,
    ended: ended!,
    documents: Number(documents),
    differing: Number(differing),
    sample: JSON.parse(sample!) as string[],
  }
}

async function rebuild(names: readonly string[], parts: OperationsParts): Promise<ViewsStatus> {
  const chosen = names.length === 0 ? parts.adapters : names.map((name) => adapterOf(name, parts))
  for (const adapter of chosen)
    if (!(await beginRebuild(parts.sql, adapter)) && names.length > 0)
      throw new TidemarkError(
        'already_exists',
        `The tables of "${adapter.name}" are not those of version ${adapter.version}: they are being built already`,
      )
  return statusOf(parts)
}

async function lettersOf(
  { adapter, after, countMax }: Extract<Operation, { verb: 'letters' }>,
  parts: OperationsParts,
): Promise<Letters> {
  const names = adapter === null ? parts.adapters.map(({ name }) => name) : [adapterOf(adapter, parts).name]
  const [afterAdapter = '', afterDocument = ''] = after === '' ? [] : splitAt(after)
  const [result] = await parts.sql.batch([
    {
      text: `select adapter, document, version, epoch, "offset", reason, ${isoOf('at')} from tidemark.dead_letters
        where adapter in (select json_array_elements_text($1::json)) and (adapter, document) > ($2, $3)
        order by adapter, document limit $4::int`,
      parameters: [JSON.stringify(names), afterAdapter, afterDocument, countMax],
    },
  ])
  const letters = (result?.rows ?? []).map((row) => {
    const [name, document, version, epoch, offset, reason, at] = row as string[]
    const numbered = (text: string | null | undefined): number | null => (text == null ? null : Number(text))
    return {
      adapter: name!,
      document: document!,
      version: Number(version),
      epoch: numbered(epoch),
      offset: numbered(offset),
      reason: reason!,
      at: at!,
    }
  })
  const last = letters.length < countMax ? undefined : letters.at(-1)
  return { letters, next: last === undefined ? null : `${last.adapter} ${last.document}` }
}

async function retry(
  { adapter, document }: Extract<Operation, { verb: 'retry' }>,
  parts: OperationsParts,
): Promise<number> {
  const names = adapter === null ? parts.adapters.map(({ name }) => name) : [adapterOf(adapter, parts).name]
  const [result] = await parts.sql.batch([
    {
      text: `update tidemark.dead_letters set retry_at = now()
        where adapter in (select json_array_elements_text($1::json)) and ($2::text is null or document = $2)`,
      parameters: [JSON.stringify(names), document],
    },
  ])
  const count = result?.count ?? 0
  if (count === 0 && document !== null) throw new TidemarkError('not_found', 'There is no such dead letter')
  return count
}

function adapterOf(name: string, { adapters }: OperationsParts): Adapter {
  const adapter = adapters.find((one) => one.name === name)
  if (adapter === undefined) throw new TidemarkError('not_found', `There is no adapter "${name}"`)
  return adapter
}

/** An adapter's name has no space. */
function splitAt(after: string): [string, string] {
  const end = after.indexOf(' ')
  return end < 0 ? [after, ''] : [after.slice(0, end), after.slice(end + 1)]
}

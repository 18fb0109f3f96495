/**
 * An adapter says which documents it takes, which tables it owns, and how what a document says becomes rows.
 *
 * - Two forms. `document` gives all rows of a document at once. `entries` gives, for a table, the rows of one key of a
 *   named map or of one element of a named list; only touched ones are asked for. A table belongs to one form and one
 *   root, or nobody could say which of its rows are there no more.
 * - Pure: the same state gives the same rows (P4). An adapter gets the document's name and what is in it: no clock, no
 *   offset, nothing that a rebuild would see differently. It returns, it does not await.
 * - `document` and, for entries, `entry` are columns of every table, first in its primary key, and are filled in.
 *
 * Columns are SQL, which TypeScript does not read; `defineAdapter<{ notes: Note }>` tells it what they are.
 */
import type { State, Value } from '../engine/live-document.ts'
import { AdapterError } from './adapter-error.ts'
import { type ParametersOf, parsePattern } from './document-pattern.ts'
import { type Fact, factsRoot } from './facts/fact.ts'
import { FieldsProjection } from './fields/project-fields.ts'
import { type ColumnTypes, checkSettles, type Settles, tablesOf } from './fields/tables.ts'
import type { Fields, FieldsOfDocument } from './fold/fields.ts'
import type { Claims, From } from './fold/kind.ts'
import type { ColumnValue, Row } from './row.ts'
import { tablesIn } from './tables-in-sql.ts'

export interface Context<Parameters = Readonly<Record<string, string>>> {
  /** The document's id. */
  readonly document: string
  /** What the pattern's parameters stand for. */
  readonly parameters: Parameters
}

/** Checks that all columns are of types that SQL takes. */
type Columns<Tables> = {
  [Table in keyof Tables]: { readonly [Column in keyof Tables[Table]]: ColumnValue }
}

export type Entries<Columns, Parameters> = (
  | { readonly map: string; readonly list?: never }
  | { readonly list: string; readonly map?: never }
) & {
  /** For a map the key; for a list the element's identity, which no insertion moves. */
  rows(key: string, value: Value, context: Context<Parameters>): readonly Columns[]
}

export interface Definition<Tables, Pattern extends string> {
  /** Of the schema that holds the tables: a to z, 0 to 9 and _, at most 40. */
  readonly name: string
  /** Raise it whenever `sql` or the rows change: the views are then built anew. */
  readonly version: number
  /** `notes/:id`; see document-pattern.ts. */
  readonly documents: Pattern
  /** Makes the tables, and what belongs to them: indexes, generated columns, policies. Those of `fields` are there before. */
  readonly sql?: string
  /**
   * Roles that `sql` names in policies and grants. Who has some of them in the token asks as the first. a to z, 0 to 9
   * and _, at most 40.
   */
  readonly roles?: readonly string[]
  /** Whose rules hold offline too, kept as facts; they have tables of their own (fields/tables.ts). */
  readonly fields?: Fields
  /** Fields of entities within a document: `lines/7` has those of `lines`. */
  readonly collections?: Readonly<Record<string, Fields>>
  /** SQL types of fields that hold what the app says. */
  readonly columns?: ColumnTypes
  /** In whose inbox conflicts of a field are: `{ title: ['seller'], 'lines.price': ['clerk'] }`. It keeps nobody out. */
  readonly settles?: Settles
  /** By version: what facts of that version are in the next one. */
  readonly upcast?: FieldsOfDocument['upcast']
  /** What an intent takes and frees, over all documents, when it is accepted. Pure. */
  readonly claims?: ClaimsOf
  document?(
    state: State,
    context: Context<ParametersOf<Pattern>>,
  ): { readonly [Table in keyof Tables]?: readonly Tables[Table][] }
  readonly entries?: { readonly [Table in keyof Tables]?: Entries<Tables[Table], ParametersOf<Pattern>> }
}

/** A checked definition. Made by `defineAdapter` only. */
export interface Adapter {
  readonly name: string
  readonly version: number
  readonly documents: string
  readonly sql: string
  readonly roles: readonly string[]
  /** All of them, in the order in which the SQL makes them. */
  readonly tables: readonly string[]
  /** Those that `document` fills. */
  readonly documentTables: readonly string[]
  document(state: State, context: Context): Readonly<Record<string, unknown>>
  /** Null: its documents hold no facts. */
  readonly facts: FactsAdapter | null
  /** Tables whose rows belong to entries of a document. */
  readonly entryTables: ReadonlySet<string>
  /** By table. */
  readonly entries: ReadonlyMap<string, Entries<unknown, Readonly<Record<string, string>>>>
  /** Null for a document that it does not take. */
  contextOf(document: string): Context | null
}

/** An intent as rules over several documents see it. */
export type Intent = Pick<Fact, 'entity' | 'type' | 'payload' | 'actor'>

/** Null: nothing. `read` reads fields of the intent's entity. */
export type ClaimsOf = (intent: Intent, read: (field: string) => unknown) => Claims | null

export interface FactsAdapter {
  readonly fields: FieldsOfDocument
  readonly claims: ClaimsOf | null
  readonly projection: FieldsProjection
}

const versionMax = 2 ** 31 - 1
const reservedRole = /^(pg_.*|tidemark.*|public|none|postgres)$/
const reserved = /^(pg_.*|information_schema|public|tidemark)$/
/** Global, since an adapter may have been made by another copy of this module. */
const brand = Symbol.for('tidemark.adapter')

/** Throws `AdapterError`. */
export function defineAdapter<
  Tables extends Columns<Tables> = Record<string, Row>,
  const Pattern extends string = string,
>(definition: Definition<NoInfer<Tables>, Pattern>): Adapter {
  // As it may come from JavaScript.
  const {
    name,
    version,
    documents,
    fields,
    collections,
    columns,
    settles,
    upcast,
    claims,
    document,
    entries = {},
    roles = [],
    sql = fields === undefined ? undefined : '',
  } = definition as Partial<Definition<Tables, Pattern>>
  const refuse = (why: string): never => {
    throw new AdapterError(typeof name === 'string' ? name : '', why)
  }
  if (typeof name !== 'string' || !/^[a-z][a-z0-9_]{0,39}$/.test(name) || name.includes('__'))
    return refuse('a name begins with a to z and goes on with at most 39 of a to z, 0 to 9 and single _')
  if (reserved.test(name)) return refuse('this name is not free')
  if (!Number.isInteger(version) || version! < 1 || version! > versionMax)
    return refuse('its version must be an integer from 1')
  if (typeof documents !== 'string') return refuse('it must say which documents it takes, like "notes/:id"')
  if (typeof sql !== 'string') return refuse('it must have the SQL that makes its tables')
  if (!Array.isArray(roles)) return refuse('"roles" must be a list of names')
  for (const role of roles as readonly unknown[])
    if (typeof role !== 'string' || !/^[a-z][a-z0-9_]{0,39}$/.test(role) || reservedRole.test(role))
      return refuse(`the role ${JSON.stringify(role)} is not free, or not of a to z, 0 to 9 and _`)
  const pattern = orRefuse(() => parsePattern(documents))
  const ownTables = orRefuse(() => tablesIn(sql))
  if (!isObject(entries)) return refuse('"entries" must be an object with tables')
  if (fields === undefined && (collections ?? columns ?? settles ?? upcast ?? claims) !== undefined)
    return refuse('"collections", "columns", "settles", "upcast" and "claims" go with "fields"')
  const facts = orRefuse(() => {
    if (fields === undefined) return null
    for (const own of [fields, ...Object.values(collections ?? {})])
      if (Object.values(own).filter(({ epochOf }) => epochOf !== undefined).length > 1)
        return refuse('an entity has one field at most that says whose it is')
    checkFrom(fields, true)
    for (const own of Object.values(collections ?? {})) checkFrom(own, false)
    const all: FieldsOfDocument = {
      fields,
      version: version!,
      ...(collections !== undefined && { collections }),
      ...(upcast !== undefined && { upcast }),
    }
    if (settles !== undefined) checkSettles(all, settles)
    return {
      fields: all,
      claims: claims ?? null,
      projection: new FieldsProjection(tablesOf(name, all, columns), all, settles),
    }
  })
  const factTables = facts?.projection.tables
  const tables = [...(factTables?.names ?? []), ...ownTables]
  if (tables.length === 0) return refuse('its SQL makes no table')
  const twice = ownTables.find(
    (table) => factTables?.names.includes(table) || factTables?.views.includes(table),
  )
  if (twice !== undefined) return refuse(`its fields come with a table "${twice}": call its own otherwise`)
  const documentTables = ownTables.filter((table) => !Object.hasOwn(entries, table))
  if (document === undefined && documentTables.length > 0)
    return refuse(`nothing fills the table "${documentTables[0]}": give it "document" or "entries"`)
  if (document !== undefined && typeof document !== 'function') return refuse('"document" must be a function')
  if (document !== undefined && documentTables.length === 0)
    return refuse('"document" has no table to fill: all are in "entries"')
  for (const [table, form] of Object.entries<Partial<Entries<unknown, unknown>> | undefined>(entries)) {
    if (!ownTables.includes(table)) return refuse(`"entries" has "${table}", but the SQL makes no such table`)
    if (
      typeof form?.rows !== 'function' ||
      (typeof form.map === 'string') === (typeof form.list === 'string')
    )
      return refuse(`"entries.${table}" needs the name of a map or of a list, and the function "rows"`)
  }
  const adapter: Adapter = {
    name,
    version: version!,
    documents,
    roles: [...roles],
    sql: factTables === undefined ? sql : `${factTables.sql}\n${sql}`,
    tables,
    documentTables,
    facts,
    entryTables: new Set([...Object.keys(entries), ...(factTables?.entryTables ?? [])]),
    document: (document as Adapter['document'] | undefined) ?? (() => ({})),
    entries: new Map(Object.entries(entries)) as Adapter['entries'],
    contextOf(id) {
      const parameters = pattern.match(id)
      return parameters === null ? null : { document: id, parameters }
    },
  }
  return Object.freeze(Object.assign(adapter, { [brand]: true }))

  function orRefuse<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      return refuse((error as Error).message)
    }
  }
}

/** Throws an `Error` for what is no place in a document. */
function checkFrom(fields: Fields, mayHaveKey: boolean): void {
  for (const [field, { from }] of Object.entries(fields)) {
    if (from === undefined) continue
    const { map, key } = from as Partial<From>
    if (typeof map !== 'string' || map === '' || map === factsRoot)
      throw new Error(`"${field}" must say which map it is from, and not that of the facts`)
    if (key !== undefined && !(mayHaveKey && typeof key === 'string'))
      throw new Error(`"${field}" has a key of its own: only a field of the document itself can`)
  }
}

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null

export function isAdapter(value: unknown): value is Adapter {
  return isObject(value) && brand in (value as object)
}

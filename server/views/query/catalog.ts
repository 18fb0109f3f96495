/**
 * What may be named in a query, by the database's own catalog.
 *
 *   tables      those in the schemas of live adapters, and what waits in them (store/inbox.ts). Nothing else: no catalog, no
 *               `information_schema`, nothing of others
 *   functions   by every function that the name could mean: none of them changes anything (`volatile`), looks at the server or the
 *               catalog, or runs SQL from a text. Of extensions only those of a list: a `stable` function may do anything
 *   operators   as functions, by what is behind them
 *   types       none whose input looks up names in the catalog (`regclass` and its like)
 *
 * This is the second of three fences: the parser is before it, the role's rights behind it. A name that is not there and one that
 * may not be used are refused with the same words.
 *
 * Verdicts are kept for a minute, tables for some seconds; a name that is not known is looked up anew, at most every
 * `lookMs`, so tables of a new adapter are there at once and made-up names cost little.
 */
import type { TidemarkError } from '../../../core/protocol/errors.ts'
import type { Sql } from '../sql/sql.ts'
import { inboxTables } from '../store/inbox.ts'
import { textArray } from '../store/roles.ts'
import { type Analysis, keyOf, refused, type SqlName } from './analyse.ts'

export interface TableName {
  readonly schema: string
  readonly name: string
}

/** Looked at by name in every schema that a query's names could be in. */
interface Candidate {
  readonly schema: string
  readonly isVolatile: boolean
  /** Takes or gives what only the catalog has, and is not an aggregate. */
  readonly isInternal: boolean
  /** '' for none. */
  readonly extension: string
}

const tablesMsMax = 10_000
const verdictsMsMax = 60_000
const lookMs = 500
const verdictsMax = 5_000

export class Catalog {
  private readonly sql: Sql
  private readonly nowMs: () => number
  /** By name; of one name in several schemas the first, of which there is one: adapters have no tables of one name. */
  private tables = new Map<string, TableName>()
  private schemas: readonly string[] = []
  private readMs = Number.NEGATIVE_INFINITY
  private readonly verdicts = new Map<string, string | null>()
  private verdictsMs = Number.NEGATIVE_INFINITY

  constructor(sql: Sql, nowMs: () => number = () => performance.now()) {
    this.sql = sql
    this.nowMs = nowMs
  }

  /** In which unqualified names are looked up, after `pg_catalog`. `public` is where extensions are. */
  get searchPath(): readonly string[] {
    return [...this.schemas, 'public', 'pg_temp']
  }

  /** The tables that it reads. Throws `query_refused`, and `SqlError`. */
  async check(analysis: Analysis): Promise<readonly TableName[]> {
    const tables = (await this.checkTables(analysis.tables)).flatMap((table) => this.beneath(table))
    for (const type of analysis.types) if (!isType(type)) throw refused(`the type "${type.name}"`)
    await this.checkCalls(analysis)
    return tables
  }

  /** Something was placed or swapped. */
  forget(): void {
    this.readMs = Number.NEGATIVE_INFINITY
    this.verdicts.clear()
  }

  private async checkTables(names: readonly SqlName[]): Promise<readonly TableName[]> {
    const find = (): (TableName | undefined)[] => names.map((name) => this.find(name))
    if (this.nowMs() - this.readMs > tablesMsMax) await this.read()
    let found = find()
    if (found.includes(undefined) && this.nowMs() - this.readMs > lookMs) {
      await this.read()
      found = find()
    }
    if (found.includes(undefined)) throw noTable(names)
    return found as TableName[]
  }

  /** The tables that a view of Tidemark's own is made of. */
  private beneath(table: TableName): readonly TableName[] {
    if (table.schema !== 'tidemark') return [table]
    const names = this.schemas.map((schema) => `${schema}.${schema}${inboxTables.get(table.name)!}`)
    return names.flatMap((name) => this.tables.get(name) ?? [])
  }

  private find({ schema, name }: SqlName): TableName | undefined {
    if (schema === 'tidemark') return inboxTables.has(name) ? { schema, name } : undefined
    if (schema !== null) return this.tables.get(`${schema}.${name}`)
    // PostgreSQL looks into its catalog first, where all tables are named so.
    return name.startsWith('pg_') ? undefined : this.tables.get(name)
  }

  private async read(): Promise<void> {
    const [result] = await this.sql.batch([{ text: tablesSql }])
    const tables = new Map<string, TableName>()
    const schemas = new Set<string>()
    for (const [schema, name] of result?.rows ?? []) {
      schemas.add(schema!)
      if (name == null) continue
      const table = { schema: schema!, name }
      tables.set(`${schema}.${name}`, table)
      if (!tables.has(name)) tables.set(name, table)
    }
    if (schemas.size !== this.schemas.length) this.verdicts.clear()
    this.tables = tables
    this.schemas = [...schemas]
    this.readMs = this.nowMs()
  }

  private async checkCalls({ functions, operators }: Analysis): Promise<void> {
    if (this.nowMs() - this.verdictsMs > verdictsMsMax) {
      this.verdicts.clear()
      this.verdictsMs = this.nowMs()
    }
    const unknown = (kind: string, names: readonly SqlName[]): SqlName[] =>
      names.filter((name) => !this.verdicts.has(kind + keyOf(name)))
    const functionsLeft = unknown('f', functions)
    const operatorsLeft = unknown('o', operators)
    if (functionsLeft.length + operatorsLeft.length > 0) await this.judge(functionsLeft, operatorsLeft)
    for (const [kind, names] of [
      ['f', functions],
      ['o', operators],
    ] as const)
      for (const name of names) {
        const why = this.verdicts.get(kind + keyOf(name))
        if (why !== null) throw refused(why ?? 'too many names')
      }
  }

  private async judge(functions: readonly SqlName[], operators: readonly SqlName[]): Promise<void> {
    const schemas = ['pg_catalog', 'public', ...this.schemas]
    const [calls, signs] = await this.sql.batch([
      {
        text: functionsSql,
        parameters: [
          textArray(functions.map(({ name }) => name)),
          textArray(schemas),
          textArray(internalTypes),
        ],
      },
      {
        text: operatorsSql,
        parameters: [textArray(operators.map(({ name }) => name)), textArray(schemas)],
      },
    ])
    if (this.verdicts.size > verdictsMax) this.verdicts.clear()
    for (const name of functions) {
      const candidates = (calls?.rows ?? [])
        .filter(([own, schema]) => own === name.name && (name.schema === null || name.schema === schema))
        .map(([, schema, isVolatile, isInternal, extension]) => ({
          schema: schema!,
          isVolatile: isVolatile === 't',
          isInternal: isInternal === 't',
          extension: extension ?? '',
        }))
      const isElsewhere = name.schema !== null && !schemas.includes(name.schema)
      const isKnown = candidates.length > 0
      // What is no function may be a type, in which a cast is written as a call.
      const may =
        !isElsewhere && (isKnown || isType(name)) && candidates.every((each) => isCallable(name.name, each))
      this.verdicts.set(`f${keyOf(name)}`, may ? null : `the function "${name.name}"`)
    }
    const changing = new Set((signs?.rows ?? []).map(([name]) => name))
    for (const name of operators) {
      const may = (name.schema === null || schemas.includes(name.schema)) && !changing.has(name.name)
      this.verdicts.set(`o${keyOf(name)}`, may ? null : `the operator "${name.name}"`)
    }
  }
}

/** Also what the database says of a table that is there and may not be read. */
export function noTable(names: readonly SqlName[]): TidemarkError {
  const said = names.map(({ schema, name }) => `"${schema === null ? '' : `${schema}.`}${name}"`).join(', ')
  return refused(`one of these is not there, or this token may not read it: ${said}`)
}

function isCallable(name: string, { schema, isVolatile, isInternal, extension }: Candidate): boolean {
  if (schema === 'pg_catalog')
    return !isInternal && !about.test(name) && !aboutServer.test(name) && (!isVolatile || harmless.has(name))
  if (extension !== '') return !isVolatile && extensions.has(extension)
  // An adapter's own.
  return schema !== 'public' && !isVolatile
}

/** By name only: which type it is in which schema, the role's rights say. `_x` is how an array of x is named, too. */
function isType({ schema, name }: SqlName): boolean {
  const element = name.replace(/^_+/, '')
  // Rows of the catalog have columns of all those types.
  if (internalTypes.includes(element) || (element.startsWith('pg_') && element !== 'pg_lsn')) return false
  return schema === null || !/^(pg_(?!catalog$)|information_schema$|tidemark$)/.test(schema)
}

/** Their input looks names up, or they are handles of something. */
const internalTypes: readonly string[] = [
  'aclitem',
  'cstring',
  'internal',
  'oid',
  'oidvector',
  'refcursor',
  'regclass',
  'regcollation',
  'regnamespace',
  'regoper',
  'regoperator',
  'regproc',
  'regprocedure',
  'regrole',
  'regtype',
]

/** All of them look at the server or its catalog, but for these. */
const about = /^pg_(?!(typeof|size_pretty|size_bytes|collation_for|input_is_valid)$)/

/** What looks at the server, its settings or other users, though it changes nothing; or makes a query of its arguments. */
const aboutServer =
  /_to_xml|^(query|table|schema|database|cursor)_to_|^(to_reg|has_|txid_|inet_|current_(database|query|schemas|setting)|binary_upgrade_|lo_|dblink)|^(ts_stat|ts_rewrite|version|session_user|system_user|getpgusername|getdatabaseencoding|row_security_active|mxid_age|set_config|setseed)$/

/** Volatile since each call gives another value, and that is all they do. */
const harmless = new Set([
  'random',
  'random_normal',
  'gen_random_uuid',
  'uuidv4',
  'uuidv7',
  'clock_timestamp',
  'timeofday',
])

/** Whose functions that change nothing do nothing else either: none runs SQL that it is given. */
const extensions = new Set([
  'btree_gin',
  'btree_gist',
  'citext',
  'cube',
  'earthdistance',
  'fuzzystrmatch',
  'hstore',
  'intarray',
  'isn',
  'ltree',
  'pg_trgm',
  'postgis',
  'seg',
  'unaccent',
  'vector',
])

/** Schemas of live adapters, each with its tables, or with null when it has none. */
const tablesSql = `
  select n.nspname, c.relname
  from tidemark.adapters a
  join pg_namespace n on n.nspname = a.schema
  left join pg_class c on c.relnamespace = n.oid and c.relkind in ('r', 'p', 'v', 'm')
  where a.schema = a.name
  order by n.nspname, c.relname`

const functionsSql = `
  select p.proname, n.nspname, p.provolatile = 'v',
    p.prokind = 'p' or p.prokind = 'f' and exists (
      select from unnest(p.proargtypes::oid[] || p.prorettype || coalesce(p.proallargtypes, '{}')) used
      join pg_type t on t.oid = used left join pg_type e on e.oid = t.typelem and t.typelem <> 0
      where (t.typname = any ($3::text[]) or e.typname = any ($3::text[])) and p.proname <> 'pg_typeof'),
    (select e.extname from pg_depend d join pg_extension e on e.oid = d.refobjid
     where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
       and d.refclassid = 'pg_extension'::regclass)
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where p.proname = any ($1::text[]) and n.nspname = any ($2::text[])`

const operatorsSql = `
  select o.oprname from pg_operator o
  join pg_namespace n on n.oid = o.oprnamespace join pg_proc p on p.oid = o.oprcode
  where o.oprname = any ($1::text[]) and n.nspname = any ($2::text[]) and p.provolatile = 'v'`

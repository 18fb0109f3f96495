/**
 * What a statement is and what it names, before the database sees it. One statement, a `select` all the way down; every
 * part of it is one that nodes.ts knows, or it is refused.
 *
 * This says nothing of rights. Whether the tables may be read, and the functions called, is asked of the database's catalog
 * (catalog.ts), and in the end decided by the database. A live query runs again when one of `tables` is touched.
 */
import { TidemarkError } from '../../../core/protocol/errors.ts'
import { nodeKinds } from './nodes.ts'
import { Parser, sqlBytesMax } from './parser.ts'

/** `schema` null: looked up in the search path. As PostgreSQL has it: unquoted names are folded to lower case. */
export interface SqlName {
  readonly schema: string | null
  readonly name: string
}

export interface Analysis {
  /** The statement alone, without what stands before and after it. */
  readonly statement: string
  /** Characters before it. */
  readonly statementStart: number
  /** Without the names of its own common table expressions. */
  readonly tables: readonly SqlName[]
  /** Those that are called by name. A cast can be written as a call too. */
  readonly functions: readonly SqlName[]
  readonly operators: readonly SqlName[]
  /** Of casts and column definitions; of an array its element. */
  readonly types: readonly SqlName[]
  /** The highest `$n`. */
  readonly parameterCount: number
}

/** Levels of the tree. What PostgreSQL takes depends on its stack, and PGlite dies of more. */
const nestingMax = 400
const namesMax = 1_000
const parser = new Parser()

/** Throws TidemarkError `query_refused`. */
export async function analyse(sql: string): Promise<Analysis> {
  const bytes = Buffer.byteLength(sql)
  if (bytes > sqlBytesMax) throw refused(`a query has at most ${sqlBytesMax} bytes, not ${bytes}`)
  // The parser would end at the first, and replaces the second: it would read another text than the database.
  if (sql.includes('\0') || !sql.isWellFormed()) throw refused('the text has a character that is none')
  const outcome = await parser.parse(sql)
  if ('refused' in outcome) {
    const where = outcome.position === null ? '' : ` (character ${outcome.position})`
    throw new TidemarkError('query_failed', `${outcome.refused}${where}`)
  }
  const statements = (outcome.tree as { readonly stmts?: readonly RawStatement[] }).stmts ?? []
  const [only] = statements
  if (only === undefined) throw refused('there is no statement in it')
  if (statements.length > 1) throw refused('a query is one statement')
  const found = new Finding()
  found.node(only.stmt, noNames, 0, 'SelectStmt')
  const buffer = Buffer.from(sql)
  const start = only.stmt_location ?? 0
  const end = only.stmt_len === undefined ? buffer.length : start + only.stmt_len
  return {
    statement: buffer.subarray(start, end).toString(),
    statementStart: [...buffer.subarray(0, start).toString()].length,
    tables: [...found.tables.values()],
    functions: [...found.functions.values()],
    operators: [...found.operators.values()],
    types: [...found.types.values()],
    parameterCount: found.parameterCount,
  }
}

interface RawStatement {
  readonly stmt: unknown
  /** Bytes. */
  readonly stmt_location?: number
  /** Absent: to the end. */
  readonly stmt_len?: number
}

type Tree = Readonly<Record<string, unknown>>
/** Of common table expressions that a table's name may stand for. */
type Names = ReadonlySet<string>
const noNames: Names = new Set()

class Finding {
  readonly tables = new Map<string, SqlName>()
  readonly functions = new Map<string, SqlName>()
  readonly operators = new Map<string, SqlName>()
  readonly types = new Map<string, SqlName>()
  parameterCount = 0

  /** `{Kind: {…}}`. */
  node(value: unknown, names: Names, depth: number, wanted?: string): void {
    // A list may have places with nothing in them.
    if (!isTree(value)) throw refused('a part of it is not known here')
    const kinds = Object.keys(value)
    const [kind] = kinds
    if (kind === undefined && wanted === undefined) return
    if (kinds.length !== 1 || kind === undefined) throw refused('a part of it is not known here')
    if (wanted !== undefined && kind !== wanted)
      throw refused(`a query only reads: it begins with select, with, values or table (${kind})`)
    this.fields(kind, value[kind], names, depth)
  }

  private fields(kind: string, value: unknown, names: Names, depth: number): void {
    const known = Object.hasOwn(nodeKinds, kind) ? nodeKinds[kind] : undefined
    if (known === undefined || !isTree(value)) throw refused(`${wordsOf(kind)} has no place in a query`)
    if (depth > nestingMax) throw refused('the statement is nested too deeply')
    let inner = names
    if (kind === 'SelectStmt') inner = this.withClause(value['withClause'], names, depth + 1)
    for (const [field, part] of Object.entries(value)) {
      const how = Object.hasOwn(known, field) ? known[field] : undefined
      if (how === undefined) throw refused(`${wordsOf(field)} has no place in a query`)
      if (how === 'scalar' || field === 'withClause') continue
      if (how !== 'nodes') this.fields(how, part, inner, depth + 1)
      else if (Array.isArray(part)) for (const one of part) this.node(one, inner, depth + 1)
      else this.node(part, inner, depth + 1)
    }
    this.note(kind, value, names)
  }

  /**
   * Reads the common table expressions, each with the names that it sees, and gives those that the statement sees. Without
   * RECURSIVE one sees those before it; with it all.
   */
  private withClause(clause: unknown, outer: Names, depth: number): Names {
    if (clause === undefined) return outer
    if (!isTree(clause) || !Array.isArray(clause['ctes'])) throw refused('a part of it is not known here')
    const expressions = (clause['ctes'] as readonly Tree[]).map((each) => each['CommonTableExpr'] as Tree)
    const all = new Set([...outer, ...expressions.map((each) => String(each['ctename']))])
    const before = new Set(outer)
    for (const each of expressions) {
      // Data-modifying ones are no SelectStmt.
      const query = each['ctequery']
      if (!isTree(query) || !isTree(query['SelectStmt']))
        throw refused('a query only reads, in its common table expressions too')
      this.fields('CommonTableExpr', each, clause['recursive'] === true ? all : before, depth)
      before.add(String(each['ctename']))
    }
    return all
  }

  /** `x.f` can mean `f(x)`. What takes a row and does more than read is all named so. */
  private noteFields(fields: unknown): void {
    for (const field of Array.isArray(fields) ? fields : []) {
      const name = (field as { readonly String?: { readonly sval?: unknown } }).String?.sval
      if (typeof name === 'string' && name.startsWith('pg_')) add(this.functions, { schema: null, name })
    }
  }

  /** Syntax to this parser, a function to a server that is older. */
  private call(name: string): void {
    add(this.functions, { schema: null, name })
  }

  private note(kind: string, value: Tree, names: Names): void {
    switch (kind) {
      case 'RangeVar': {
        const name = String(value['relname'])
        const schema = value['schemaname'] === undefined ? null : String(value['schemaname'])
        if (schema !== null || !names.has(name)) add(this.tables, { schema, name })
        return
      }
      case 'ColumnRef':
      case 'A_Indirection':
        return this.noteFields(kind === 'ColumnRef' ? value['fields'] : value['indirection'])
      case 'FuncCall':
        return add(this.functions, nameIn(value['funcname']))
      case 'TypeName':
        return add(this.types, nameIn(value['names']))
      case 'A_Expr':
        // BETWEEN is not an operator, but is read as one named so; >= and <= are PostgreSQL's own.
        if (!String(value['kind']).includes('BETWEEN')) add(this.operators, nameIn(value['name']))
        return
      case 'SubLink':
        if (value['operName'] !== undefined) add(this.operators, nameIn(value['operName']))
        return
      case 'SortBy':
        if (value['useOp'] !== undefined) add(this.operators, nameIn(value['useOp']))
        return
      case 'JsonFuncExpr':
        return this.call(String(value['op']).replace(/_OP$/, '').toLowerCase())
      case 'JsonTable':
      case 'JsonObjectAgg':
      case 'JsonArrayAgg':
      case 'JsonObjectConstructor':
      case 'JsonArrayConstructor':
      case 'JsonArrayQueryConstructor':
      case 'JsonParseExpr':
      case 'JsonScalarExpr':
      case 'JsonSerializeExpr':
        return this.call(jsonNames[kind] ?? kind)
      case 'ParamRef':
        this.parameterCount = Math.max(this.parameterCount, Number(value['number'] ?? 0))
        if (!(Number(value['number']) >= 1)) throw refused('parameters are $1, $2 and so on')
        return
      case 'SQLValueFunction':
        if (/SESSION_USER|CATALOG/.test(String(value['op'])))
          throw refused('a query cannot ask who is connected to the database')
    }
  }
}

/** `[{String: {sval}}]`, of one name or two. */
function nameIn(parts: unknown): SqlName {
  if (!Array.isArray(parts) || parts.length > 2) throw refused('names have at most a schema before them')
  const names = parts.map((part) => (part as { readonly String?: { readonly sval?: unknown } }).String?.sval)
  const name = names.at(-1)
  const schema = names.length === 2 ? names[0] : null
  if (typeof name !== 'string' || (schema !== null && typeof schema !== 'string'))
    throw refused('a name in it is not known here')
  return { schema, name }
}

function add(found: Map<string, SqlName>, name: SqlName): void {
  found.set(keyOf(name), name)
  if (found.size > namesMax) throw refused(`a query has at most ${namesMax} names`)
}

/** Equal for equal names only. */
export function keyOf({ schema, name }: SqlName): string {
  return JSON.stringify([schema, name])
}

export function refused(why: string): TidemarkError {
  return new TidemarkError('query_refused', `Not a query: ${why}`)
}

const jsonNames: Readonly<Record<string, string>> = {
  JsonTable: 'json_table',
  JsonObjectAgg: 'json_objectagg',
  JsonArrayAgg: 'json_arrayagg',
  JsonObjectConstructor: 'json_object',
  JsonArrayConstructor: 'json_array',
  JsonArrayQueryConstructor: 'json_array',
  JsonParseExpr: 'json',
  JsonScalarExpr: 'json_scalar',
  JsonSerializeExpr: 'json_serialize',
}

const isTree = (value: unknown): value is Tree =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const wordsOf = (kind: string): string =>
  words[kind] ?? (/^[A-Z]/.test(kind) ? `"${kind}"` : `this use of "${kind}"`)

const words: Readonly<Record<string, string>> = {
  intoClause: 'INTO',
  lockingClause: 'FOR UPDATE or FOR SHARE',
  catalogname: 'the name of a database',
  RangeTableSample: 'TABLESAMPLE',
  XmlExpr: 'XML',
  XmlSerialize: 'XML',
  RangeTableFunc: 'XMLTABLE',
  setof: 'SETOF',
  pct_type: '%TYPE',
}

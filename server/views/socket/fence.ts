/**
 * Which statements a client of the port may send. PGlite has one session, that of its superuser, and clients share it with
 * the projector: a role without rights (turns.ts) keeps them from writing, and this from leaving that role, from statements that
 * would stay after them, and from functions that run SQL out of a text, which nobody here reads.
 *
 * A list of what is known, not a proof: the port is for the machine's own administrator.
 */
import { Parser, sqlBytesMax } from '../query/parser.ts'

const allowed = new Set([
  'SelectStmt',
  'ExplainStmt',
  'VariableShowStmt',
  'VariableSetStmt',
  'TransactionStmt',
  'PrepareStmt',
  'ExecuteStmt',
  'DeallocateStmt',
  'DeclareCursorStmt',
  'FetchStmt',
  'ClosePortalStmt',
  'CopyStmt',
])
/** They run SQL from a text, change settings or roles, wait, or hold what outlives a query. */
const refusedFunctions =
  /^(set_config|.*_to_xml(schema|_and_xmlschema)?|ts_stat|ts_rewrite|pg_sleep.*|pg_(try_)?advisory.*|lo_.*|pg_notify|dblink.*)$/
const refusedSettings = /^(role|session_authorization|.*read_only|statement_timeout|temp_.*|search_path_.*)$/

const parser = new Parser()

type Tree = Readonly<Record<string, unknown>>

/** Why it is refused; null when it is not, or when it cannot be parsed, which the database says better. */
export async function refusalOf(sql: string): Promise<string | null> {
  if (Buffer.byteLength(sql) > sqlBytesMax) return `at most ${sqlBytesMax} bytes of SQL`
  const outcome = await parser.parse(sql)
  if ('refused' in outcome) return null
  const { stmts = [] } = outcome.tree as { stmts?: readonly { readonly stmt?: Tree }[] }
  for (const { stmt = {} } of stmts) {
    const refusal = refusalOfStatement(stmt) ?? refusalWithin(stmt)
    if (refusal !== null) return refusal
  }
  return null
}

function refusalOfStatement(statement: Tree): string | null {
  const [kind = ''] = Object.keys(statement)
  const body = (statement[kind] ?? {}) as Tree
  if (!allowed.has(kind)) return 'views are read here; they are written by Tidemark alone'
  if (
    kind === 'CopyStmt' &&
    (body['is_from'] === true || body['filename'] !== undefined || body['is_program'] === true)
  )
    return 'copy goes to standard output only'
  if (kind === 'VariableSetStmt' && refusedSettings.test(String(body['name'] ?? '').toLowerCase()))
    return `"${String(body['name'])}" is not to be set here`
  if (kind === 'TransactionStmt' && /PREPARED|PREPARE/.test(String(body['kind'])))
    return 'no transaction is prepared here'
  return null
}

/** Anywhere in it, however deep. */
function refusalWithin(tree: Tree): string | null {
  const left: unknown[] = [tree]
  while (left.length > 0) {
    const node = left.pop()
    if (typeof node !== 'object' || node === null) continue
    const { FuncCall: call, SelectStmt: select } = node as { FuncCall?: Tree; SelectStmt?: Tree }
    const name = nameOf(call)
    if (refusedFunctions.test(name)) return `the function "${name}" is not to be called here`
    if (select?.['intoClause'] !== undefined) return 'select into makes a table'
    left.push(...Object.values(node))
  }
  return null
}

function nameOf(call: Tree | undefined): string {
  const parts = (call?.['funcname'] ?? []) as readonly { readonly String?: { readonly sval?: string } }[]
  return parts.at(-1)?.String?.sval ?? ''
}

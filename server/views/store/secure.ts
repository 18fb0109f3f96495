/**
 * Who may read an adapter's tables, said to the database once for each table, in one transaction:
 *
 *   admin                      all rows and columns of everything
 *   a table                    row security on; its own policies, or the one that compares `document` with what the token reads
 *   without grants of its own  all columns for tidemark_reader; else what the adapter's SQL says, columns too
 *   a view                     as a table when it is `security_invoker`; else, since it reads as the owner, only what the SQL grants
 *   materialized views, partitions on their own, functions that are `security definer`: only what the SQL grants
 *
 * Until this is done nobody but the owner reads anything. What is done is known by the admin's rights, and not looked at
 * again. Our policy lets pass who is no tidemark_reader: people and programs that have rights of their own, made by hand.
 */
import { quoted, type Sql, SqlError, type Statement } from '../sql/sql.ts'
import { readableCondition } from './readable-sql.ts'
import { adminRole, readerRole, textArray } from './roles.ts'
import { lock } from './schema.ts'

const relationsSql = `
  select c.relname, c.relkind, c.relispartition,
    exists (select from pg_policy p where p.polrelid = c.oid),
    exists (
      select from (
        select c.relacl as acl union all
        select a.attacl from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      ) acls, aclexplode(acls.acl) given left join pg_roles r on r.oid = given.grantee
      where given.grantee = 0 or r.rolname = any ($2::text[])),
    coalesce((select option_value::boolean from pg_options_to_table(c.reloptions)
      where option_name = 'security_invoker'), false),
    coalesce((select not l.collisdeterministic from pg_attribute a join pg_collation l on l.oid = a.attcollation
      where a.attrelid = c.oid and a.attname = 'document'), false)
  from pg_class c
  where c.relnamespace = (select oid from pg_namespace where nspname = $1) and c.relkind in ('r', 'p', 'v', 'm')
    and not (has_table_privilege('${adminRole}', c.oid, 'select') and (c.relkind in ('v', 'm') or exists (
      select from pg_policy p where p.polrelid = c.oid and p.polname in ('tidemark_admin', 'tidemark_rows'))))
  order by c.oid`

const functionsSql = `
  select p.oid::regprocedure from pg_proc p
  where p.pronamespace = (select oid from pg_namespace where nspname = $1) and p.prosecdef and p.proacl is null`

const usageSql = `
  select from pg_roles where rolname = any ($2::text[]) and not has_schema_privilege(rolname, $1, 'usage')`

/** The roles are there before. Throws `SqlError`. */
export async function secure(sql: Sql, schema: string, declared: readonly string[]): Promise<void> {
  try {
    await secureOnce(sql, schema, declared)
  } catch (error) {
    // Another node did the same: look at what is left.
    if (!(error instanceof SqlError) || error.code !== duplicateObject) throw error
    await secureOnce(sql, schema, declared)
  }
}

const duplicateObject = '42710'

async function secureOnce(sql: Sql, schema: string, declared: readonly string[]): Promise<void> {
  const readers = [readerRole, ...declared]
  const [relations, functions, usage] = await sql.batch([
    { text: relationsSql, parameters: [schema, textArray([adminRole, ...readers])] },
    { text: functionsSql, parameters: [schema] },
    { text: usageSql, parameters: [schema, textArray([readerRole, adminRole])] },
  ])
  const statements: Statement[] = []
  if ((usage?.count ?? 0) > 0)
    statements.push(
      { text: `grant usage on schema ${quoted(schema)} to ${quoted(readerRole)}, ${quoted(adminRole)}` },
      // For the policies; not every database lets everybody call what is new.
      {
        text: `grant execute on function tidemark.matches(text, text) to ${quoted(readerRole)}, ${quoted(adminRole)}`,
      },
    )
  for (const [name] of functions?.rows ?? [])
    statements.push({ text: `revoke all on function ${name} from public` })
  for (const row of relations?.rows ?? []) {
    const [name, kind, ...flags] = row as string[]
    const [isPartition, hasPolicies, hasGrants, isInvoker, isFolded] = flags.map((flag) => flag === 't')
    const relation = `${quoted(schema)}.${quoted(name!)}`
    const isTable = kind === 'r' || kind === 'p'
    if (isTable) statements.push(...rowSecurity(relation, hasPolicies === true, isFolded === true))
    const isReadable = isTable ? isPartition !== true : kind === 'v' && isInvoker === true
    if (isReadable && hasGrants !== true)
      statements.push({ text: `grant select on ${relation} to ${quoted(readerRole)}` })
    statements.push({ text: `grant select on ${relation} to ${quoted(adminRole)}` })
  }
  if (statements.length > 0) await sql.batch([lock, ...statements])
}

function rowSecurity(relation: string, hasPolicies: boolean, isFolded: boolean): Statement[] {
  // A collation that takes different ids for equal must not decide who reads.
  const document = isFolded ? 'document collate "C"' : 'document'
  const policy = hasPolicies
    ? `create policy tidemark_admin on ${relation} for select to ${quoted(adminRole)} using (true)`
    : `create policy tidemark_rows on ${relation} for select using (
        (select not pg_catalog.pg_has_role('${readerRole}', 'member')) or ${readableCondition(document)})`
  return [{ text: policy }, { text: `alter table ${relation} enable row level security` }]
}

const isOpenSql = `select has_table_privilege('${adminRole}', 'tidemark.intents', 'select')`

/** Lets queries read what waits (inbox.ts); the roles are there. Throws `SqlError`. */
export async function openInbox(sql: Sql): Promise<void> {
  const [result] = await sql.batch([{ text: isOpenSql }])
  if (result?.rows[0]?.[0] === 't') return
  const readers = [readerRole, adminRole].map(quoted).join(', ')
  await sql.batch([
    lock,
    { text: `grant usage on schema tidemark to ${readers}` },
    // Not every database lets everybody call what is new.
    {
      text: `grant execute on function tidemark.is_there(text), tidemark.served(), tidemark.conflict_rows(), tidemark.intent_rows(),
        tidemark.list_of(text, text, text[], text[], text[]) to ${readers}`,
    },
    { text: `grant select on tidemark.conflicts, tidemark.intents to ${readers}` },
  ])
}

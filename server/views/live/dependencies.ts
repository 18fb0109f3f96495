/**
 * Which tables the answer to a query depends on, by the catalog: those that it names; behind views, those that they read; and
 * those that the policies of any of them look into.
 *
 * It cannot be said (`any`) when a name is not found where adapters have their tables, or when a function takes part that
 * somebody wrote: what it reads stands in its text. Functions of PostgreSQL itself, of extensions and of Tidemark read no tables, but
 * for the one that says whether a document is there.
 */
import type { Sql } from '../sql/sql.ts'
import { type Dependencies, tableName } from './touch.ts'

export interface Name {
  /** Null: looked up in the schemas of adapters. */
  readonly schema: string | null
  readonly name: string
}

export interface Named {
  readonly tables: readonly Name[]
  /** Of functions. */
  readonly functions: readonly Name[]
}

const adapterSchemas =
  'select adapter.schema from tidemark.adapters adapter where adapter.schema = adapter.name'

const text = `with recursive
  asked as (select * from json_to_recordset($1::json) as a(schema text, name text)),
  named as (
    select a.name, c.oid from asked a left join (pg_class c join pg_namespace n on n.oid = c.relnamespace)
      on c.relname = a.name and c.relkind in ('r', 'p', 'v', 'm')
        and (n.nspname = a.schema or a.schema is null) and n.nspname in (${adapterSchemas})),
  read as (
    select oid from named where oid is not null
    union
    select d.refobjid from read
      join (select 'pg_rewrite'::regclass as class, oid as part, ev_class as owner from pg_rewrite
        union all select 'pg_policy'::regclass, oid, polrelid from pg_policy) rule on rule.owner = read.oid
      join pg_depend d on d.classid = rule.class and d.objid = rule.part and d.refclassid = 'pg_class'::regclass),
  called as (
    select d.refobjid as oid from read
      join (select 'pg_rewrite'::regclass as class, oid as part, ev_class as owner from pg_rewrite
        union all select 'pg_policy'::regclass, oid, polrelid from pg_policy) rule on rule.owner = read.oid
      join pg_depend d on d.classid = rule.class and d.objid = rule.part and d.refclassid = 'pg_proc'::regclass
    union
    select p.oid from json_to_recordset($2::json) as f(schema text, name text)
      join pg_proc p on p.proname = f.name
      join pg_namespace n on n.oid = p.pronamespace and (f.schema is null or n.nspname = f.schema))
  select n.nspname, c.relname, null from read join pg_class c on c.oid = read.oid
    join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p')
  union all
  select null, null, 'table' where exists (select from named where oid is null)
    or exists (select from read join pg_class c on c.oid = read.oid where c.relkind not in ('r', 'p', 'v', 'm', 'S', 'i'))
  union all
  select null, null, 'function' where exists (
    select from called join pg_proc p on p.oid = called.oid join pg_namespace n on n.oid = p.pronamespace
    where p.proname = 'is_there' and n.nspname = 'tidemark' or n.nspname not in ('pg_catalog', 'tidemark') and not exists (
      select from pg_depend e where e.classid = 'pg_proc'::regclass and e.objid = p.oid and e.deptype = 'e'))`

/** Throws `SqlError`. */
export async function dependenciesOf(sql: Sql, { tables, functions }: Named): Promise<Dependencies> {
  const [result] = await sql.batch([
    { text, parameters: [JSON.stringify(tables), JSON.stringify(functions)] },
  ])
  const found = new Set<string>()
  for (const [schema, table, unknown] of result?.rows ?? []) {
    if (unknown !== null) return 'any'
    found.add(tableName(schema ?? '', table ?? ''))
  }
  return found
}

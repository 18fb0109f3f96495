/**
 * Tables of Tidemark's own, in the schema `tidemark`, and the schemas of adapters, each made in one transaction.
 *
 *   progress       how far each document's rows are, by adapter schema
 *   parts          who projects a part; the fence rises with each holder
 *   nodes          who would project parts, so that each gets its share
 *   cursors        up to which change of the log a part is done
 *   dead_letters   documents that an adapter could not project, or the database refused
 *   adapters       which version a schema was made by, and when: a schema's cursors are named after both
 *   rebuilds       how the last rebuild of each adapter ended
 *   decisions      on intents, from before they are in the log (server/arbiter)
 *   claims         what accepted intents have taken, so that nobody else does; documents say the same (server/arbiter/claims.ts)
 *   claimants      adapters whose documents' claims are all among them
 *   logins         with which role and password this database's queries connect (roles.ts); for the owner's eyes only
 *
 * The format has a number. What is older is brought up to it, step by step; what is newer is refused: a node of an older
 * release must not write what it does not know.
 */

import { quoted, type Sql, SqlError, type Statement } from '../sql/sql.ts'
import { inboxSql } from './inbox.ts'
import { matchesSql } from './readable-sql.ts'
import { type EntryTables, readTables, type Table, TablesRefused } from './tables.ts'

/** One step per format, each from the one before. */
const steps: readonly string[] = [
  `create table tidemark.progress (
     adapter text not null, document text not null, epoch bigint not null, "offset" bigint not null,
     primary key (adapter, document));
   create table tidemark.parts (
     part int primary key, fence bigint not null, holder text, until timestamptz);
   create table tidemark.nodes (node text primary key, until timestamptz not null);
   create table tidemark.cursors (
     name text not null, part int not null, part_count int not null, sequence bigint not null,
     primary key (name, part));
   create table tidemark.dead_letters (
     adapter text not null, document text not null, version int not null, epoch bigint, "offset" bigint,
     reason text not null, at timestamptz not null default now(),
     primary key (adapter, document));
   create table tidemark.adapters (
     schema text primary key, name text not null, version int not null, made_at timestamptz not null default now());`,
  // Cursors are of schemas from here on, and begin anew.
  `delete from tidemark.cursors;
   alter table tidemark.dead_letters add column retry_at timestamptz;
   create index on tidemark.dead_letters (retry_at) where retry_at is not null;
   create table tidemark.rebuilds (
     adapter text primary key, version int not null, began_at timestamptz not null, ended_at timestamptz not null,
     documents bigint not null, differing bigint not null, sample json not null);`,
  `${matchesSql}
   create table tidemark.logins (role text primary key, password text not null);`,
  `create table tidemark.decisions (
     document text not null, intent text not null, update bytea not null, at timestamptz not null default now(),
     primary key (document, intent));
   create index on tidemark.decisions (at);
   create table tidemark.claims (
     resource text primary key, document text not null, entity text not null, intent text not null);`,
  // A document that was deleted and made anew has other intents of the same names.
  `alter table tidemark.decisions add column lineage bigint not null default 0,
     drop constraint decisions_pkey, add primary key (document, lineage, intent);
   alter table tidemark.claims add column lineage bigint not null default 0;
   create index on tidemark.claims (document);
   create table tidemark.claimants (adapter text primary key, read_at timestamptz not null default now());`,
  inboxSql,
]

// Two nodes that start at once make one schema. Any number does, as long as nobody else uses it.
export const lock: Statement = { text: 'select pg_advisory_xact_lock(7163201974512)' }

/** What this release writes. */
export const format = steps.length

/** Throws `SqlError`, or `TablesRefused` for a database of a newer release. */
export async function installTidemark(sql: Sql): Promise<void> {
  await sql.batch([
    lock,
    { text: 'create schema if not exists tidemark' },
    { text: 'create table if not exists tidemark.format (version int not null)' },
    {
      text: 'insert into tidemark.format select 0 where not exists (select from tidemark.format)',
    },
  ])
  for (;;) {
    const [result] = await sql.batch([{ text: 'select version from tidemark.format', rowsExpected: 1 }])
    const version = Number(result?.rows[0]?.[0])
    if (version > steps.length)
      throw new TablesRefused(
        `The database has format ${version} of Tidemark's tables, this release knows ${steps.length}: use the newer one`,
      )
    const step = steps[version]
    if (step === undefined) return
    const raise: Statement = {
      text: 'update tidemark.format set version = version + 1 where version = $1',
      parameters: [version],
      rowsExpected: 1,
    }
    try {
      await sql.batch([lock, raise, { text: step, script: true }])
    } catch (error) {
      // Another node was faster: look again.
      if (!(error instanceof SqlError) || error.statement !== 1) throw error
    }
  }
}

export interface AdapterTables {
  readonly name: string
  readonly version: number
  readonly sql: string
  readonly entryTables: EntryTables
}

/**
 * Makes a schema with the adapter's tables, in one transaction, or nothing. Throws `TablesRefused` with what to change in
 * the adapter's SQL, and `SqlError` with PostgreSQL's own words.
 */
export async function installAdapter(sql: Sql, schema: string, adapter: AdapterTables): Promise<Table[]> {
  const offence = refusedIn(adapter.sql)
  if (offence !== null)
    throw new TablesRefused(
      `The SQL of "${adapter.name}" has "${offence}"; it may only make what is in its own schema`,
    )
  const inside = quoted(schema)
  try {
    await sql.batch(
      [
        lock,
        { text: `create schema ${inside}` },
        { text: "select set_config('tidemark.transaction', pg_current_xact_id()::text, true)" },
        { text: adapter.sql, script: true },
        { text: nothingOutside(schema) },
        {
          text: 'insert into tidemark.adapters (schema, name, version) values ($1, $2, $3)',
          parameters: [schema, adapter.name, adapter.version],
          rowsExpected: 1,
        },
      ],
      // `public` is where extensions are.
      { searchPath: [schema, 'public'] },
    )
  } catch (error) {
    if (error instanceof SqlError && error.code === outsideCode)
      throw new TablesRefused(`The SQL of "${adapter.name}" ${error.message}`)
    throw error
  }
  try {
    return await readTables(sql, schema, adapter.entryTables)
  } catch (error) {
    if (error instanceof TablesRefused) await dropAdapter(sql, schema)
    throw error
  }
}

/** What there is of a schema that an adapter made. */
export interface Installed {
  readonly version: number
  /** Another one for each time that the schema was made: microseconds. */
  readonly made: string
}

export const madeSql = '(extract(epoch from made_at) * 1000000)::bigint::text'

/** Null when there is none. */
export async function installed(sql: Sql, schema: string): Promise<Installed | null> {
  const text = `select version, ${madeSql} from tidemark.adapters where schema = $1`
  const [result] = await sql.batch([{ text, parameters: [schema] }])
  const [version, made] = result?.rows[0] ?? []
  return version == null || made == null ? null : { version: Number(version), made }
}

/** Version that made the schema; null when there is none. */
export async function installedVersion(sql: Sql, schema: string): Promise<number | null> {
  return (await installed(sql, schema))?.version ?? null
}

/** The schema, its progress and its dead letters. */
export async function dropAdapter(sql: Sql, schema: string): Promise<void> {
  await sql.batch([
    lock,
    { text: `drop schema if exists ${quoted(schema)} cascade` },
    { text: 'delete from tidemark.adapters where schema = $1', parameters: [schema] },
    { text: 'delete from tidemark.progress where adapter = $1', parameters: [schema] },
    { text: 'delete from tidemark.dead_letters where adapter = $1', parameters: [schema] },
  ])
}

const outsideCode = 'TM002'

/**
 * Fails when this transaction wrote a table, function, type or schema that is not in `schema`, or is not the one that it was.
 * What belongs to an extension may be anywhere.
 */
function nothingOutside(schema: string): string {
  const own = `'${schema.replaceAll("'", "''")}'`
  const written = (catalog: string, name: string, namespace: string): string =>
    `select '${catalog}'::regclass as class, oid, ${name}::text as name from ${catalog}
     where xmin::text = pg_current_xact_id()::xid::text and ${namespace}::regnamespace::text not like 'pg\\_t%'
       and ${namespace} <> (select oid from pg_namespace where nspname = ${own})`
  return `do $tidemark$ declare outside text; begin
    if current_setting('tidemark.transaction', true) is distinct from pg_current_xact_id()::text then
      raise exception using errcode = '${outsideCode}', message = 'ends the transaction that it is part of';
    end if;
    select string_agg(name, ', ') into outside from (
      ${written('pg_class', 'relname', 'relnamespace')} union all
      ${written('pg_proc', 'proname', 'pronamespace')} union all
      ${written('pg_type', 'typname', 'typnamespace')} union all
      select 'pg_namespace'::regclass, oid, nspname from pg_namespace
      where xmin::text = pg_current_xact_id()::xid::text and nspname <> ${own}) found
    where not exists (select from pg_depend where classid = class and objid = found.oid and deptype = 'e');
    if outside is not null then
      raise exception using errcode = '${outsideCode}', message = 'changes what is not in its own schema: ' || outside;
    end if;
  end $tidemark$`
}

/** The first words that have no place in an adapter's SQL; null when there are none. Not a fence against malice. */
function refusedIn(text: string): string | null {
  const literals =
    /--[^\n]*|\/\*[\s\S]*?\*\/|\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\$([\p{L}_]\w*)?\$[\s\S]*?\$\1\$/gu
  const statements = text.replaceAll(literals, ' ').split(';')
  const refused =
    /^\s*(begin(?!\s+atomic)|start|commit|rollback|abort|end|savepoint|release|prepare|set|reset|discard|copy|drop|vacuum|listen|load|create\s+(?:schema|database|tablespace|subscription|publication|server))\b/i
  for (const statement of statements) {
    const found = refused.exec(statement)?.[1]
    // The end of a function's `begin atomic`.
    if (found !== undefined && !/^end$/i.test(found)) return found.toLowerCase().replaceAll(/\s+/g, ' ')
  }
  return null
}

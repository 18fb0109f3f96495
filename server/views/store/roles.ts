/**
 * The roles that queries have. They belong to the whole cluster, and several Tidemarks may live in one:
 *
 *   tidemark_reader    every token; what it reads of a table is decided by policies
 *   tidemark_admin     who administers the server: all rows
 *   as adapters say    `roles: ['seller']`: members of tidemark_reader, for policies and grants of their own
 *   tidemark_login_n   with which queries connect to PostgreSQL, n being the database's oid: owns nothing and may nothing but
 *                      become one of those above. `set role` can be undone by whoever runs under it, a login cannot.
 *
 * - Made when they are not there, at each start; nodes and Tidemarks that do the same at the same time do no harm.
 * - A role that is there and could do more than read (superuser, owner of something, member of something, …) is refused: an
 *   adapter names a role, and must not hand out what that role has.
 * - The login's password is random, in a table that only the owner reads; the server is told its SCRAM verifier, so that
 *   the password is in no log of statements.
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import { quoted, type Sql, SqlError } from '../sql/sql.ts'
import { lock } from './schema.ts'
import { TablesRefused } from './tables.ts'

export const readerRole = 'tidemark_reader'
export const adminRole = 'tidemark_admin'

export interface Login {
  readonly role: string
  readonly password: string
}

interface Found {
  readonly name: string
  /** What it could do beside reading; '' for nothing. */
  readonly powers: string
  readonly memberOf: readonly string[]
}

const rolesSql = `
  select r.rolname,
    concat_ws(', ',
      case when r.rolsuper then 'is a superuser' end,
      case when r.rolbypassrls then 'bypasses row security' end,
      case when r.rolcreaterole then 'makes roles' end,
      case when r.rolcreatedb then 'makes databases' end,
      case when r.rolreplication then 'replicates' end,
      case when r.rolcanlogin and r.rolname not like 'tidemark\\_login\\_%' then 'can log in' end,
      case when exists (select from pg_shdepend d where d.refclassid = 'pg_authid'::regclass and d.refobjid = r.oid
        and d.deptype = 'o') then 'owns something' end),
    array_to_json(array(select g.rolname from pg_auth_members m join pg_roles g on g.oid = m.roleid where m.member = r.oid))
  from pg_roles r where r.rolname = any ($1::text[])`

/**
 * Throws `TablesRefused` for a role that could do more than read or that this user may not make, and `SqlError`.
 */
export async function installRoles(sql: Sql, declared: readonly string[]): Promise<void> {
  const names = [readerRole, adminRole, ...declared]
  const before = await find(sql, names)
  for (const name of names) if (!before.has(name)) await make(sql, name, 'nologin')
  const found = await find(sql, names)
  for (const name of names) {
    const role = found.get(name)
    if (role === undefined) throw new TablesRefused(`The role "${name}" went while it was made`)
    assertHarmless(role, declared.includes(name) ? [readerRole] : [])
    if (declared.includes(name)) await join(sql, role, [readerRole])
  }
}

/**
 * The login of this database's queries, on PostgreSQL; one of these roles at a time is what it becomes. Throws as
 * `installRoles`.
 */
export async function installLogin(sql: Sql, declared: readonly string[]): Promise<Login> {
  const [own] = await sql.batch([
    { text: `select 'tidemark_login_' || oid from pg_database where datname = current_database()` },
  ])
  const role = own?.rows[0]?.[0]
  if (role == null) throw new TablesRefused('The database has no oid')
  const [, stored] = await sql.batch([
    {
      text: 'insert into tidemark.logins (role, password) values ($1, $2) on conflict do nothing',
      parameters: [role, randomBytes(24).toString('base64url')],
    },
    { text: 'select password from tidemark.logins where role = $1', parameters: [role], rowsExpected: 1 },
  ])
  const password = stored?.rows[0]?.[0]
  if (password == null) throw new TablesRefused('The table tidemark.logins is not as it should be')
  // Without powers, by default; to take one away takes a superuser, and then it is refused below.
  const attributes = `login noinherit password '${verifierOf(password)}'`
  const before = (await find(sql, [role])).get(role)
  if (before === undefined) await make(sql, role, attributes)
  else await change(sql, `alter role ${quoted(role)} ${attributes}`)
  const now = (await find(sql, [role])).get(role)
  if (now === undefined) throw new TablesRefused(`The role "${role}" went while it was made`)
  const roles = [readerRole, adminRole, ...declared]
  // What another set of adapters declared stays with it.
  for (const group of (await find(sql, now.memberOf)).values()) assertHarmless(group, [readerRole])
  assertHarmless(now, now.memberOf)
  await join(sql, now, roles)
  return { role, password }
}

/** A login that was made by hand: it can become each role of queries, and nothing that could do more. */
export async function assertLogin(owner: Sql, reader: Sql, declared: readonly string[]): Promise<void> {
  const [session] = await reader.batch([{ text: 'select session_user' }])
  const name = session?.rows[0]?.[0] ?? ''
  const login = (await find(owner, [name])).get(name)
  if (login === undefined)
    throw new TablesRefused(`DATABASE_READER_URL leads to another server: no role "${name}"`)
  const roles = [readerRole, adminRole, ...declared]
  const missing = roles.filter((role) => !login.memberOf.includes(role))
  if (missing.length > 0)
    throw new TablesRefused(`The user of DATABASE_READER_URL is no member of ${missing.join(', ')}`)
  // That is what it is for.
  const powers = login.powers.split(', ').filter((power) => power !== 'can log in')
  assertHarmless({ ...login, powers: powers.join(', ') }, roles)
}

async function find(sql: Sql, names: readonly string[]): Promise<Map<string, Found>> {
  const [result] = await sql.batch([{ text: rolesSql, parameters: [textArray(names)] }])
  return new Map(
    (result?.rows ?? []).map(([name, powers, memberOf]) => [
      name!,
      { name: name!, powers: powers ?? '', memberOf: JSON.parse(memberOf ?? '[]') as string[] },
    ]),
  )
}

function assertHarmless({ name, powers, memberOf }: Found, mayBeIn: readonly string[]): void {
  if (powers !== '')
    throw new TablesRefused(`There is a role "${name}" that ${powers}; queries must not have it`)
  const more = memberOf.filter((group) => !mayBeIn.includes(group))
  if (more.length > 0)
    throw new TablesRefused(
      `The role "${name}" is a member of ${more.join(', ')}; queries must not have what that has`,
    )
}

async function make(sql: Sql, name: string, attributes: string): Promise<void> {
  await change(sql, `create role ${quoted(name)} ${attributes}`)
}

async function join(sql: Sql, { name, memberOf }: Found, roles: readonly string[]): Promise<void> {
  const missing = roles.filter((role) => !memberOf.includes(role))
  if (missing.length === 0) return
  await change(sql, `grant ${missing.map(quoted).join(', ')} to ${quoted(name)}`)
}

/** Somebody in this database, or in another one of the cluster, may be doing the same. */
async function change(sql: Sql, text: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await sql.batch([lock, { text }])
      return
    } catch (error) {
      if (!(error instanceof SqlError)) throw error
      // Duplicate object, or of its name in the index: it is there now.
      if (error.code === '42710' || error.code === '23505') return
      if (error.code === '42501')
        throw new TablesRefused(
          `The user of DATABASE_URL may not make the roles of queries (${error.message}): give it CREATEROLE, or make them by hand and set DATABASE_READER_URL; docs/views.md says how`,
          { cause: error },
        )
      // "tuple concurrently updated".
      if (error.code !== 'XX000' || attempt === attemptsMax) throw error
    }
  }
}

const attemptsMax = 10

/** As `alter role … password` takes it; see "SCRAM-SHA-256" in PostgreSQL's documentation and RFC 5803. */
function verifierOf(password: string): string {
  const iterations = 4096
  const salt = createHash('sha256').update(`tidemark ${password}`).digest().subarray(0, 16)
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256')
  const key = (label: string): Buffer => createHmac('sha256', salted).update(label).digest()
  const stored = createHash('sha256').update(key('Client Key')).digest('base64')
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${stored}:${key('Server Key').toString('base64')}`
}

export function textArray(texts: readonly string[]): string {
  return `{${texts.map((text) => `"${text.replaceAll(/["\\]/g, '\\$&')}"`).join(',')}}`
}

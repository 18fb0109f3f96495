/** With which rights somebody asks: what the database is told of a token. A plain object, since it passes between threads. */
import { type Identity, includes } from '../../access/access.ts'
import { type Readable, readableOf } from '../../access/readable.ts'
import { readableSettings } from '../store/readable-sql.ts'
import { adminRole, readerRole, textArray } from '../store/roles.ts'

export interface QueryRights {
  readonly subject: string
  readonly roles: readonly string[]
  /** Administers the server: sees all. */
  readonly isAdmin: boolean
  /** As JSON. */
  readonly claims: string
  readonly readable: Readable
}

const known = new WeakMap<Identity, QueryRights>()

export function rightsOf(identity: Identity): QueryRights {
  const before = known.get(identity)
  if (before !== undefined) return before
  const { subject, roles, claims, readable, accessToAll } = identity
  const rights: QueryRights = {
    subject,
    roles,
    isAdmin: includes(accessToAll, 'admin'),
    claims: JSON.stringify(claims),
    readable: readableOf(readable),
  }
  known.set(identity, rights)
  return rights
}

/** `declared`: roles of all adapters. */
export function roleOf({ isAdmin, roles }: QueryRights, declared: ReadonlySet<string>): string {
  return isAdmin ? adminRole : (roles.find((role) => declared.has(role)) ?? readerRole)
}

/** Of the transaction. */
export function settingsOf({ claims, readable }: QueryRights): Readonly<Record<string, string>> {
  return {
    'request.jwt.claims': claims,
    [readableSettings.all]: String(readable.all),
    [readableSettings.ids]: textArray(readable.ids),
    [readableSettings.prefixes]: textArray(readable.prefixes),
    [readableSettings.patterns]: textArray(readable.patterns),
    [readableSettings.starts]: textArray(readable.starts),
  }
}

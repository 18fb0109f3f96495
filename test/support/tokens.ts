/** Tokens as an app would sign them, and as it should not. */
import { SignJWT } from 'jose'

export const tokenSecret = 'a secret of more than thirty-two bytes, for tests'

export interface Grant {
  readonly match: string
  readonly access: string
}

export interface TokenOptions {
  readonly subject?: string
  readonly roles?: readonly string[]
  readonly documents?: readonly Grant[]
  /** From now, s; negative: in the past. */
  readonly expiresIn?: number
  readonly issuedAgo?: number
  readonly audience?: string
  readonly secret?: string
}

/** May read and write everything for an hour unless told otherwise. */
export function token(options: TokenOptions = {}): Promise<string> {
  const nowSeconds = Math.floor(Date.now() / 1000)
  const jwt = new SignJWT({
    roles: options.roles ?? [],
    documents: options.documents ?? [{ match: '**', access: 'write' }],
  })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(options.subject ?? 'ann')
    .setIssuedAt(nowSeconds - (options.issuedAgo ?? 0))
    .setExpirationTime(nowSeconds + (options.expiresIn ?? 3600))
  if (options.audience !== undefined) jwt.setAudience(options.audience)
  return jwt.sign(new TextEncoder().encode(options.secret ?? tokenSecret))
}

/** A token whose header says that nobody signed it. */
export function unsignedToken(): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = { sub: 'ann', exp: 4_000_000_000, documents: [{ match: '**', access: 'admin' }] }
  return `${part({ alg: 'none' })}.${part(claims)}.`
}

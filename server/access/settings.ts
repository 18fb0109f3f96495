/**
 * What access control takes from the configuration, and which settings cannot stand together. A relay that is
 * set up so that it protects less than its settings suggest does not start: every refusal names the variables
 * and what to do. Nothing here reads the environment; server/config.ts does.
 */
import { isLoopback } from './loopback.ts'

export interface AccessConfig {
  readonly HOST: string
  readonly JWT_SECRET?: string | undefined
  readonly JWT_JWKS_URL?: string | undefined
  readonly JWT_ALGORITHMS?: readonly string[] | undefined
  readonly JWT_ISSUER?: string | undefined
  readonly JWT_AUDIENCE?: string | undefined
  readonly JWT_CLOCK_TOLERANCE_SECONDS: number
  readonly AUTHORIZE_URL?: string | undefined
  readonly AUTHORIZE_CACHE_SECONDS: number
  readonly AUTHORIZE_TIMEOUT_MS: number
  readonly ALLOW_UNAUTHENTICATED: boolean
  /** As `originOf` gives them. */
  readonly ALLOWED_ORIGINS?: readonly string[] | undefined
}

export const secretAlgorithms = ['HS256', 'HS384', 'HS512']
export const publicKeyAlgorithms = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
]
export const algorithms = [...secretAlgorithms, ...publicKeyAlgorithms]

/** True when nothing verifies tokens: everybody may do everything. */
export function isOpen(config: AccessConfig): boolean {
  return (
    config.JWT_SECRET === undefined && config.JWT_JWKS_URL === undefined && config.AUTHORIZE_URL === undefined
  )
}

/** Sentences to show whoever starts the relay; none when all is well. */
export function contradictionsIn(config: AccessConfig): string[] {
  const { JWT_SECRET, JWT_JWKS_URL, AUTHORIZE_URL, ALLOW_UNAUTHENTICATED, HOST } = config
  const open = isOpen(config)
  const key = JWT_SECRET !== undefined ? 'JWT_SECRET' : 'JWT_JWKS_URL'
  const fitting = key === 'JWT_SECRET' ? secretAlgorithms : publicKeyAlgorithms
  const unfit = (config.JWT_ALGORITHMS ?? []).filter((name) => !fitting.includes(name)).join(', ')
  const forTokens = (
    ['JWT_SECRET', 'JWT_JWKS_URL', 'JWT_ALGORITHMS', 'JWT_ISSUER', 'JWT_AUDIENCE'] as const
  ).filter((name) => config[name] !== undefined)
  const names = forTokens.join(', ')

  const found: string[] = []
  if (JWT_SECRET !== undefined && JWT_JWKS_URL !== undefined)
    found.push('JWT_SECRET and JWT_JWKS_URL are both set: tokens are verified with one of them')
  else if (config[key] !== undefined && unfit !== '')
    found.push(`JWT_ALGORITHMS has ${unfit}: with ${key} it takes ${fitting.join(', ')}`)
  if (AUTHORIZE_URL !== undefined && forTokens.length > 0)
    found.push(`AUTHORIZE_URL and ${names} are both set: the service judges tokens, or the relay does`)
  if (open && forTokens.length > 0)
    found.push(`${names} without JWT_SECRET or JWT_JWKS_URL: nothing would verify tokens`)
  if (ALLOW_UNAUTHENTICATED && !open)
    found.push('ALLOW_UNAUTHENTICATED=true, yet tokens are verified: remove it, or what verifies them')
  if (open && !ALLOW_UNAUTHENTICATED && !isLoopback(HOST))
    found.push(
      `HOST=${JSON.stringify(HOST)} can be reached from other machines, and nothing says who may do what: ` +
        'set JWT_SECRET, JWT_JWKS_URL or AUTHORIZE_URL, or ALLOW_UNAUTHENTICATED=true to let everybody do everything',
    )
  return found
}

/** An origin as browsers write it in the header, or `*`; null for what is neither. */
export function originOf(value: string): string | null {
  if (value === '*') return value
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^/?#@]+$/i.test(value) || !URL.canParse(value)) return null
  const { origin } = new URL(value)
  // Schemes that only apps have (`capacitor://localhost`): URL knows no origin of theirs, browsers send it so.
  return origin === 'null' ? value.toLowerCase() : origin
}

/**
 * Who somebody is, from a token, in one of three ways that the configuration chooses: the relay verifies it
 * (JWT_*), a service judges it (AUTHORIZE_URL), or there is none to show (open).
 *
 *   token → length → known? → verify or ask → revoked? → identity
 *
 * - A token is limited before anything looks at it, and kept nowhere: caches know its hash.
 * - A verified token is remembered for a while, at most until it expires; whether it is revoked is asked each time.
 * - Nothing but the codes of `Gatekeeper.identify` comes out, whatever comes in. A refusal is logged once, at
 *   `info`, with its reason and without any part of the token.
 */
import { createHash } from 'node:crypto'
import type { DocumentId } from '../../core/document-id.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import type { Logger } from '../logger.ts'
import type { Gatekeeper, Identity, Revocations } from './access.ts'
import { AuthorizationService } from './authorization-service.ts'
import { ExpiringCache } from './expiring-cache.ts'
import { openIdentity } from './grants.ts'
import { createOriginRule, type OriginRule } from './origins.ts'
import { createPublishedKeys, type PublishedKeys } from './published-keys.ts'
import { type AccessConfig, isOpen } from './settings.ts'
import { createTokenVerifier, type TokenVerifier } from './token-verifier.ts'

export const tokenBytesMax = 8 * 1024
/** What verified tokens may take in memory, about: some ten thousand of usual size. */
const verifiedBytesMax = 32 * 1024 * 1024
/** After so long a token is verified anew, so that it ends with its key when that is taken back. */
const verifiedMsMax = 600_000

export interface GatekeeperParts {
  readonly logger: Logger
  readonly revocations: Pick<Revocations, 'refuses'>
  /** Absent: the system's clock. */
  readonly nowMs?: () => number
}

export function createGatekeeper(config: AccessConfig, parts: GatekeeperParts): Gatekeeper {
  return isOpen(config) ? new OpenGatekeeper(config, parts) : new TokenGatekeeper(config, parts)
}

class OpenGatekeeper implements Gatekeeper {
  readonly allowsOrigin: OriginRule
  private readonly logger: Logger
  private readonly host: string

  constructor(config: AccessConfig, { logger }: GatekeeperParts) {
    this.allowsOrigin = createOriginRule(config)
    this.logger = logger
    this.host = config.HOST
  }

  async start(): Promise<void> {
    this.logger.warn({ host: this.host }, 'OPEN: everybody who can connect may read and change everything')
  }

  async close(): Promise<void> {}

  async identify(): Promise<Identity> {
    return openIdentity
  }
}

class TokenGatekeeper implements Gatekeeper {
  readonly allowsOrigin: OriginRule
  private readonly logger: Logger
  private readonly revocations: Pick<Revocations, 'refuses'>
  private readonly nowMs: () => number
  private readonly keys: PublishedKeys | null
  private readonly service: AuthorizationService | null
  private readonly verify: TokenVerifier
  private readonly verified = new ExpiringCache<Identity>(verifiedBytesMax)

  constructor(config: AccessConfig, { logger, revocations, nowMs = Date.now }: GatekeeperParts) {
    const { JWT_JWKS_URL: keysUrl, AUTHORIZE_URL: url } = config
    this.allowsOrigin = createOriginRule(config)
    this.logger = logger
    this.revocations = revocations
    this.nowMs = nowMs
    this.keys = keysUrl === undefined ? null : createPublishedKeys(keysUrl, logger)
    this.verify = createTokenVerifier(config, this.keys?.keyFor ?? null)
    const cacheMs = config.AUTHORIZE_CACHE_SECONDS * 1000
    const timeoutMs = config.AUTHORIZE_TIMEOUT_MS
    this.service =
      url === undefined ? null : new AuthorizationService({ url, cacheMs, timeoutMs, logger, nowMs })
  }

  async start(): Promise<void> {
    // Ahead of the first token, and not waited for: an issuer that is away must not keep the relay from starting.
    this.keys?.load().catch(() => {
      // Logged where it failed; the first token tries again.
    })
  }

  async close(): Promise<void> {
    this.service?.close()
    this.verified.clear()
  }

  async identify(token: string | null, document: DocumentId | null): Promise<Identity> {
    try {
      const identity = await this.identityOf(token, document)
      if (this.revocations.refuses(identity.subject, identity.issuedMs))
        throw new TidemarkError('revoked', 'An administrator ended the sessions of this user')
      return identity
    } catch (error) {
      if (error instanceof TidemarkError) {
        this.logger.info({ code: error.code, why: error.message }, 'not let in')
        throw error
      }
      // Only the kind: messages of others may quote what they were given.
      const kind = error instanceof Error ? error.name : typeof error
      this.logger.error({ kind }, 'a token could not be judged')
      throw new TidemarkError('unauthenticated', 'The token could not be judged')
    }
  }

  private async identityOf(token: string | null, document: DocumentId | null): Promise<Identity> {
    if (token === null || token === '') throw new TidemarkError('unauthenticated', 'There is no token')
    if (token.length > tokenBytesMax || Buffer.byteLength(token) > tokenBytesMax)
      throw new TidemarkError('unauthenticated', `The token exceeds ${tokenBytesMax} bytes`)
    const key = createHash('sha256').update(token).digest('base64')
    if (this.service !== null) return this.service.identify(key, token, document)
    const nowMs = this.nowMs()
    const known = this.verified.get(key, nowMs)
    if (known !== undefined) return known
    const identity = await this.verify(token, nowMs)
    const endsMs = Math.min(identity.expiresMs ?? nowMs, nowMs + verifiedMsMax)
    this.verified.set(key, identity, endsMs, 4 * token.length + 1_024)
    return identity
  }
}

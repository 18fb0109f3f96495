/**
 * The issuer's public keys, fetched from JWT_JWKS_URL when first needed and again every `freshMs`, or when a
 * token names a key that is not among them (at most once in `cooldownMs`: that is how a new key is found).
 *
 * While the issuer does not answer, the keys it last gave go on for `staleMsMax`, so that its outage does not
 * become ours; without any, tokens are neither good nor bad: `KeysUnavailable`, which is worth a retry. After a
 * failure it is left alone for `pauseMs`. A key that was taken back counts for `freshMs` more, then is refused.
 */
import { createRemoteJWKSet, customFetch, errors, type JWTVerifyGetKey } from 'jose'
import type { Logger } from '../logger.ts'
import { failureOf, limitedBody } from './limited-body.ts'

export const keysLimits = {
  freshMs: 600_000,
  cooldownMs: 5_000,
  timeoutMs: 5_000,
  pauseMs: 1_000,
  staleMsMax: 3_600_000,
  answerBytesMax: 512 * 1024,
}
export type KeysLimits = typeof keysLimits

export class KeysUnavailable extends Error {}

export interface PublishedKeys {
  readonly keyFor: JWTVerifyGetKey
  /** Fetches them; rejects when that fails and there are none. */
  load(): Promise<void>
}

export function createPublishedKeys(
  url: string,
  logger: Logger,
  limits: KeysLimits = keysLimits,
): PublishedKeys {
  let last: { readonly body: string; readonly atMs: number } | null = null
  let failed: { readonly error: unknown; readonly atMs: number } | null = null

  const fetchKeys = async (address: string, init: RequestInit): Promise<Response> => {
    if (failed !== null && Date.now() - failed.atMs < limits.pauseMs) return instead(failed.error)
    try {
      const response = await fetch(address, init)
      const body = await limitedBody(response, limits.answerBytesMax)
      if (response.status !== 200) throw new Error(`Status ${response.status}`)
      if (!isKeySet(JSON.parse(body))) throw new Error('The answer is no key set')
      last = { body, atMs: Date.now() }
      failed = null
      return new Response(body)
    } catch (error) {
      failed = { error, atMs: Date.now() }
      logger.warn({ why: failureOf(error), keysBefore: last !== null }, 'the published keys cannot be read')
      return instead(error)
    }
  }
  const instead = (error: unknown): Response => {
    if (last === null || Date.now() - last.atMs >= limits.staleMsMax) throw error
    return new Response(last.body)
  }
  const remote = createRemoteJWKSet(new URL(url), {
    cacheMaxAge: limits.freshMs,
    cooldownDuration: limits.cooldownMs,
    timeoutDuration: limits.timeoutMs,
    [customFetch]: fetchKeys,
  })

  return {
    load: () => remote.reload(),
    async keyFor(header, token) {
      try {
        return await remote(header, token)
      } catch (error) {
        if (error instanceof errors.JWKSMultipleMatchingKeys) throw error
        if (error instanceof errors.JOSENotSupported) throw error
        // With old keys only, a key that is missing may just be new.
        if (error instanceof errors.JWKSNoMatchingKey && failed === null) throw error
        throw new KeysUnavailable(failureOf(error))
      }
    },
  }
}

function isKeySet(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'keys' in value && Array.isArray(value.keys)
}

/**
 * Verifies a JWT with `jose` and reads from it who somebody is and what they may do.
 *
 * - Only algorithms of the configured kind of key: a public key can never be taken for a shared secret, and
 *   `none` is not an algorithm.
 * - `exp` and `sub` are required, `nbf` is honoured, `iss` and `aud` are checked when configured. The clock
 *   tolerance is part of `expiresMs`, so that a session ends when its token would be refused.
 * - Nothing is read from a token before its signature is verified, apart from its header.
 * - What it says of a refused token is written here, not by the token: no part of it gets into logs or answers.
 */
import { errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose'
import { z } from 'zod'
import { TidemarkError } from '../../core/protocol/errors.ts'
import type { Identity } from './access.ts'
import { grantsSchema, rightsOf, rolesSchema, subjectSchema } from './grants.ts'
import { KeysUnavailable } from './published-keys.ts'
import { type AccessConfig, publicKeyAlgorithms, secretAlgorithms } from './settings.ts'

const claimsSchema = z.object({
  sub: subjectSchema,
  // Milliseconds, a common mistake, would make a token that lives for 50,000 years: nothing after year 9999.
  exp: z.number().max(253_402_300_799),
  roles: rolesSchema,
  documents: grantsSchema,
})

export type TokenVerifier = (token: string, nowMs: number) => Promise<Identity>

/** `keys`: those of JWT_JWKS_URL; null: JWT_SECRET. */
export function createTokenVerifier(config: AccessConfig, keys: JWTVerifyGetKey | null): TokenVerifier {
  const toleranceMs = config.JWT_CLOCK_TOLERANCE_SECONDS * 1000
  const secret = new TextEncoder().encode(config.JWT_SECRET ?? '')
  const keyFor: JWTVerifyGetKey = keys ?? (() => secret)
  const options = {
    algorithms: [...(config.JWT_ALGORITHMS ?? (keys === null ? secretAlgorithms : publicKeyAlgorithms))],
    requiredClaims: ['exp', 'sub'],
    clockTolerance: config.JWT_CLOCK_TOLERANCE_SECONDS,
    ...(config.JWT_ISSUER === undefined ? {} : { issuer: config.JWT_ISSUER }),
    ...(config.JWT_AUDIENCE === undefined ? {} : { audience: config.JWT_AUDIENCE }),
  }

  const payloadOf = async (token: string, nowMs: number): Promise<JWTPayload> => {
    const dated = { ...options, currentDate: new Date(nowMs) }
    try {
      return (await jwtVerify(token, keyFor, dated)).payload
    } catch (error) {
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
      // A token without `kid`: any of the keys that fit its algorithm may be the one.
      for await (const key of error) {
        try {
          return (await jwtVerify(token, key, dated)).payload
        } catch (again) {
          if (!(again instanceof errors.JWSSignatureVerificationFailed)) throw again
        }
      }
      throw new errors.JWSSignatureVerificationFailed()
    }
  }

  return async (token, nowMs) => {
    let payload: JWTPayload
    try {
      payload = await payloadOf(token, nowMs)
    } catch (error) {
      throw refusalOf(error)
    }
    const parsed = claimsSchema.safeParse(payload)
    if (!parsed.success) {
      const claim = String(parsed.error.issues[0]?.path[0] ?? 'payload')
      throw new TidemarkError('unauthenticated', `The token's "${claim}" is not as it should be`)
    }
    const { sub, exp, roles, documents } = parsed.data
    const issuedMs = (payload.iat ?? Number.NaN) * 1000
    return {
      subject: sub,
      roles,
      claims: payload,
      // A token from the future would outlive every revocation until then: its time of issue counts as unknown.
      issuedMs: issuedMs <= nowMs + toleranceMs ? issuedMs : null,
      expiresMs: exp * 1000 + toleranceMs,
      renewable: false,
      ...rightsOf(documents),
    }
  }
}

function refusalOf(error: unknown): TidemarkError {
  if (error instanceof KeysUnavailable)
    return new TidemarkError('authorization_unavailable', 'The keys to verify tokens with cannot be read')
  if (error instanceof errors.JWTExpired) return new TidemarkError('token_expired', 'The token has expired')
  return new TidemarkError('unauthenticated', whyInvalid(error))
}

function whyInvalid(error: unknown): string {
  if (error instanceof errors.JWTClaimValidationFailed) {
    // Only claims that `options` names are checked, so this name is not the sender's.
    const what = error.reason === 'missing' ? 'is missing' : 'is not as it should be'
    return `The token's "${error.claim}" ${what}`
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return "The token's algorithm is not taken here"
  if (error instanceof errors.JWKSNoMatchingKey) return 'The token is signed with a key that is not published'
  if (error instanceof errors.JWSSignatureVerificationFailed) return "The token's signature is wrong"
  return 'The token is not a valid JWT'
}

/** Whatever is shown as a token: one of the named codes comes back, and no part of it is in the log or the error. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseDocumentId } from '../../../core/document-id.ts'
import { gatekeeperWith, type LocalServer, secret, serve, sign } from './tokens.ts'

const deal = parseDocumentId('deals/1')
const codes = ['unauthenticated', 'token_expired', 'revoked', 'forbidden', 'authorization_unavailable']
let service: LocalServer
let keys: LocalServer
let good: string

beforeAll(async () => {
  service = await serve((_request, response, body) => {
    // Depends on the token only, and takes every branch.
    const status = [200, 401, 403, 500][body.length % 4] ?? 500
    response.writeHead(status).end(body.length % 8 === 0 ? '{"subject":"ann"}' : 'garbage')
  })
  keys = await serve((_request, response) => response.end('{"keys":[]}'))
  good = await sign()
})
afterAll(() => Promise.all([service.close(), keys.close()]))

const base64url = (text: string): string => Buffer.from(text).toString('base64url')
const part = fc.oneof(
  fc.string(),
  fc.json().map(base64url),
  fc
    .record({ alg: fc.constantFrom('HS256', 'none', 'RS256', 'ES256', 'x'), kid: fc.string() })
    .map((header) => base64url(JSON.stringify(header))),
  fc
    .record({ sub: fc.string(), exp: fc.oneof(fc.integer(), fc.double()), crit: fc.array(fc.string()) })
    .map((claims) => base64url(JSON.stringify(claims))),
)
const damaged = fc.tuple(fc.nat(), fc.string({ unit: 'binary', maxLength: 3 })).map(([at, text]) => {
  const place = at % good.length
  return good.slice(0, place) + text + good.slice(place + 1)
})
const tokens = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.string({ unit: 'grapheme', maxLength: 9_000, size: 'max' }),
  fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('.')),
  damaged,
)

describe.each([
  ['a shared secret', () => ({ JWT_SECRET: secret })],
  ['published keys', () => ({ JWT_JWKS_URL: keys.url })],
  ['a service', () => ({ AUTHORIZE_URL: service.url })],
])('with %s', (_name, environment) => {
  test('random tokens are refused with a named code, or let in, and leave no trace', async () => {
    const { gatekeeper, logger } = await gatekeeperWith(environment())
    await fc.assert(
      fc.asyncProperty(tokens, fc.constantFrom(deal, null), async (token, document) => {
        logger.lines.length = 0
        const error = await gatekeeper.identify(token, document).then(
          () => null,
          (reason: unknown) => reason,
        )
        if (error === null) return
        expect(error).toMatchObject({ name: 'TidemarkError', code: expect.toBeOneOf(codes) as unknown })
        const told = JSON.stringify(logger.lines) + (error as Error).message + String((error as Error).cause)
        expect(logger.lines.length).toBeGreaterThan(0)
        expect(logger.lines.filter(({ level }) => level === 'error')).toEqual([])
        for (const piece of token.split('.')) if (piece.length > 12) expect(told).not.toContain(piece)
      }),
      { numRuns: 300 },
    )
  })
})

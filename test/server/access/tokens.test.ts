/** Every state a token can be in, and what becomes of it; with a shared secret and with published keys. */
import { exportSPKI, UnsecuredJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseDocumentId } from '../../../core/document-id.ts'
import {
  gatekeeperWith,
  goodClaims,
  keyPair,
  type LocalServer,
  nowMs,
  nowSeconds,
  outcome,
  type Pair,
  secret,
  serve,
  sign,
} from './tokens.ts'

const deal = parseDocumentId('deals/1')
const checks = { JWT_ISSUER: 'https://issuer.example', JWT_AUDIENCE: 'tidemark' }
const { sub: _sub, ...withoutSub } = goodClaims
const { exp: _exp, ...withoutExp } = goodClaims
const { iat: _iat, ...withoutIat } = goodClaims
const { aud: _aud, ...withoutAud } = goodClaims
const { documents: _documents, ...withoutDocuments } = goodClaims

let rsa: Pair
let published: LocalServer
let keys: readonly object[]

beforeAll(async () => {
  rsa = await keyPair('RS256', 'one')
  keys = [rsa.jwk]
  published = await serve((_request, response) => response.end(JSON.stringify({ keys })))
})
afterAll(() => published.close())

const bySecret = () => gatekeeperWith({ JWT_SECRET: secret, ...checks })
const byKeys = () => gatekeeperWith({ JWT_JWKS_URL: published.url, ...checks })
const rsaHeader = { alg: 'RS256', kid: 'one' }

describe.each([
  { way: 'a shared secret', open: bySecret, good: (claims?: object) => sign({ ...claims }) },
  {
    way: 'published keys',
    open: byKeys,
    good: (claims?: object) => sign({ ...claims }, rsa.privateKey, rsaHeader),
  },
])('with $way', ({ open, good }) => {
  const patterns = (count: number) =>
    Array.from({ length: count }, (_, i) => ({ match: `${i}`, access: 'read' }))

  test.each<[string, () => Promise<string | null> | string | null, string]>([
    ['a good one', () => good(goodClaims), 'let in'],
    ['none', () => null, 'unauthenticated'],
    ['an empty one', () => '', 'unauthenticated'],
    ['garbage', () => 'garbage', 'unauthenticated'],
    ['three parts of garbage', () => 'a.b.c', 'unauthenticated'],
    ['expired beyond the tolerance', () => good({ ...goodClaims, exp: nowSeconds - 5 }), 'token_expired'],
    ['expired within the tolerance', () => good({ ...goodClaims, exp: nowSeconds - 4 }), 'let in'],
    ['not yet valid', () => good({ ...goodClaims, nbf: nowSeconds + 6 }), 'unauthenticated'],
    ['not yet valid, within the tolerance', () => good({ ...goodClaims, nbf: nowSeconds + 5 }), 'let in'],
    ['of another audience', () => good({ ...goodClaims, aud: 'another' }), 'unauthenticated'],
    [
      'of several audiences, one of them this',
      () => good({ ...goodClaims, aud: ['x', 'tidemark'] }),
      'let in',
    ],
    ['of no audience', () => good(withoutAud), 'unauthenticated'],
    ['of another issuer', () => good({ ...goodClaims, iss: 'https://other.example' }), 'unauthenticated'],
    ['without exp', () => good(withoutExp), 'unauthenticated'],
    ['with an exp in milliseconds', () => good({ ...goodClaims, exp: nowMs + 1 }), 'unauthenticated'],
    ['without sub', () => good(withoutSub), 'unauthenticated'],
    ['with an empty sub', () => good({ ...goodClaims, sub: '' }), 'unauthenticated'],
    ['with a long sub', () => good({ ...goodClaims, sub: 'x'.repeat(256) }), 'unauthenticated'],
    ['with roles that are no list', () => good({ ...goodClaims, roles: 'admin' }), 'unauthenticated'],
    [
      'with an unknown access',
      () => good({ ...goodClaims, documents: [{ match: '*', access: 'own' }] }),
      'unauthenticated',
    ],
    [
      'with a broken pattern',
      () => good({ ...goodClaims, documents: [{ match: 'a**', access: 'read' }] }),
      'unauthenticated',
    ],
    ['without documents', () => good(withoutDocuments), 'let in'],
    ['with alg none', () => new UnsecuredJWT(goodClaims).encode(), 'unauthenticated'],
    [
      'signed with another secret',
      () => sign(goodClaims, new TextEncoder().encode(`${secret}!`)),
      'unauthenticated',
    ],
    ['oversized', () => good({ ...goodClaims, documents: patterns(300) }), 'unauthenticated'],
    ['of 8,193 bytes', () => 'x'.repeat(8193), 'unauthenticated'],
  ])('%s', async (_name, token, expected) => {
    const { gatekeeper, logger } = await open()
    const shown = await token()
    expect(await outcome(gatekeeper.identify(shown, deal))).toBe(expected)
    if (shown) expect(JSON.stringify(logger.lines)).not.toContain(shown.slice(-40))
    const refusals = logger.lines.filter(({ message }) => message === 'not let in')
    expect(refusals.map(({ level }) => level)).toEqual(expected === 'let in' ? [] : ['info'])
  })

  test('an altered signature or payload is refused', async () => {
    const { gatekeeper } = await open()
    const [header, payload = '', signature = ''] = (await good(goodClaims)).split('.')
    const forged = Buffer.from(JSON.stringify({ ...goodClaims, sub: 'eve' })).toString('base64url')
    const flipped = (signature.startsWith('A') ? 'B' : 'A') + signature.slice(1)
    expect(await outcome(gatekeeper.identify(`${header}.${forged}.${signature}`, deal))).toBe(
      'unauthenticated',
    )
    expect(await outcome(gatekeeper.identify(`${header}.${payload}.${flipped}`, deal))).toBe(
      'unauthenticated',
    )
    expect(await outcome(gatekeeper.identify(`${header}.${payload}.`, deal))).toBe('unauthenticated')
  })

  test('the identity is what the token says, until it expires, tolerance included', async () => {
    const { gatekeeper, clock } = await open()
    const token = await good(goodClaims)
    const identity = await gatekeeper.identify(token, deal)
    expect(identity).toMatchObject({
      subject: 'ann',
      roles: ['dealer'],
      claims: goodClaims,
      issuedMs: nowMs - 10_000,
      expiresMs: nowMs + 605_000,
      renewable: false,
    })
    expect(identity.accessTo(deal)).toBe('write')
    expect(identity.accessTo(parseDocumentId('notes/1'))).toBe('none')
    clock.nowMs = nowMs + 604_999
    expect(await outcome(gatekeeper.identify(token, deal))).toBe('let in')
    clock.nowMs = nowMs + 605_000
    expect(await outcome(gatekeeper.identify(token, deal))).toBe('token_expired')
  })

  test('revoked: those issued at or before, those of unknown time, and those from the future; known ones too', async () => {
    const { gatekeeper, revoked } = await open()
    const before = await good(goodClaims)
    const after = await good({ ...goodClaims, iat: nowSeconds })
    const unknown = await good(withoutIat)
    const future = await good({ ...goodClaims, iat: nowSeconds + 1000 })
    const outcomes = () =>
      Promise.all([before, after, unknown, future].map((token) => outcome(gatekeeper.identify(token, deal))))
    expect(await outcomes()).toEqual(['let in', 'let in', 'let in', 'let in'])
    revoked.add({ kind: 'subject', subject: 'ann', atMs: nowMs - 10_000 }, nowMs)
    expect(await outcomes()).toEqual(['revoked', 'let in', 'revoked', 'revoked'])
  })
})

describe('kinds of keys are not confused', () => {
  const keyText = async () => new TextEncoder().encode(await exportSPKI(rsa.publicKey))

  test('a token with a shared secret, where keys are published', async () => {
    const { gatekeeper } = await byKeys()
    expect(await outcome(gatekeeper.identify(await sign(), deal))).toBe('unauthenticated')
  })

  test('the public key as a shared secret', async () => {
    const { gatekeeper } = await byKeys()
    const token = await sign(goodClaims, await keyText(), { alg: 'HS256', kid: 'one' })
    expect(await outcome(gatekeeper.identify(token, deal))).toBe('unauthenticated')
  })

  test('a shared secret that is published', async () => {
    const oct = { kty: 'oct', k: Buffer.from(secret).toString('base64url'), kid: 'oct', alg: 'HS256' }
    const server = await serve((_request, response) => response.end(JSON.stringify({ keys: [oct] })))
    const { gatekeeper } = await gatekeeperWith({ JWT_JWKS_URL: server.url })
    const token = await sign(goodClaims, new TextEncoder().encode(secret), { alg: 'HS256', kid: 'oct' })
    expect(await outcome(gatekeeper.identify(token, deal))).toBe('unauthenticated')
    await server.close()
  })

  test('a token of a private key, where there is a shared secret', async () => {
    const { gatekeeper } = await bySecret()
    expect(await outcome(gatekeeper.identify(await sign(goodClaims, rsa.privateKey, rsaHeader), deal))).toBe(
      'unauthenticated',
    )
  })

  test('JWT_ALGORITHMS narrows them', async () => {
    const { gatekeeper } = await gatekeeperWith({ JWT_SECRET: secret, JWT_ALGORITHMS: 'HS512' })
    const key = new TextEncoder().encode(secret.repeat(2))
    expect(await outcome(gatekeeper.identify(await sign(), deal))).toBe('unauthenticated')
    const wide = await gatekeeperWith({ JWT_SECRET: secret.repeat(2), JWT_ALGORITHMS: 'HS512' })
    expect(await outcome(wide.gatekeeper.identify(await sign(goodClaims, key, { alg: 'HS512' }), deal))).toBe(
      'let in',
    )
  })

  test.each(['PS256', 'ES256', 'ES384', 'EdDSA'])('%s is taken from published keys', async (alg) => {
    const pair = await keyPair(alg, 'x')
    const server = await serve((_request, response) => response.end(JSON.stringify({ keys: [pair.jwk] })))
    const { gatekeeper } = await gatekeeperWith({ JWT_JWKS_URL: server.url })
    const token = await sign(goodClaims, pair.privateKey, { alg, kid: 'x' })
    expect(await outcome(gatekeeper.identify(token, deal))).toBe('let in')
    const wrong = await sign(goodClaims, (await keyPair(alg, 'x')).privateKey, { alg, kid: 'x' })
    expect(await outcome(gatekeeper.identify(wrong, deal))).toBe('unauthenticated')
    await server.close()
  })
})

/** Keys that an issuer publishes: fetched seldom, renewed in time, and nobody gets in on a guess. */
import { afterEach, beforeAll, expect, test } from 'vitest'
import { createPublishedKeys, type KeysLimits, keysLimits } from '../../../server/access/published-keys.ts'
import { createTokenVerifier, type TokenVerifier } from '../../../server/access/token-verifier.ts'
import { readConfig } from '../../../server/config.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'
import {
  goodClaims,
  keyPair,
  type LocalServer,
  nowMs,
  nowSeconds,
  outcome,
  type Pair,
  serve,
  sign,
} from './tokens.ts'

interface Issuer extends LocalServer {
  keys: readonly object[]
  asked: number
  /** Instead of the keys. */
  answer: { readonly status: number; readonly body: string } | null
}

const servers: LocalServer[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close()
})

let one: Pair
let two: Pair
let three: Pair
beforeAll(async () => {
  one = await keyPair('ES256', 'one')
  two = await keyPair('ES256', 'two')
  three = await keyPair('ES256', 'three')
})

async function issuer(...pairs: readonly Pair[]): Promise<Issuer> {
  const server = await serve((_request, response) => {
    issued.asked++
    const { status, body } = issued.answer ?? { status: 200, body: JSON.stringify({ keys: issued.keys }) }
    response.writeHead(status).end(body)
  })
  const issued: Issuer = { ...server, keys: pairs.map(({ jwk }) => jwk), asked: 0, answer: null }
  servers.push(server)
  return issued
}

function verifierOf(url: string, limits: Partial<KeysLimits> = {}): TokenVerifier {
  const keys = createPublishedKeys(url, silentLogger, { ...keysLimits, pauseMs: 0, ...limits })
  return createTokenVerifier(readConfig({ JWT_JWKS_URL: url }), keys.keyFor)
}

async function ask(verify: TokenVerifier, pair: Pair, kid: string | null = pair.kid, claims = goodClaims) {
  const header = kid === null ? { alg: pair.alg } : { alg: pair.alg, kid }
  return outcome(verify(await sign(claims, pair.privateKey, header), nowMs))
}

test('are fetched once for many tokens', async () => {
  const server = await issuer(one)
  const verify = verifierOf(server.url)
  const asked = Array.from({ length: 20 }, (_, i) =>
    ask(verify, one, 'one', { ...goodClaims, sub: `user ${i}` }),
  )
  expect(new Set(await Promise.all(asked))).toEqual(new Set(['let in']))
  expect(server.asked).toBe(1)
})

test('a token without kid is tried with each key that fits', async () => {
  const verify = verifierOf((await issuer(one, two)).url)
  expect(await ask(verify, two, null)).toBe('let in')
  expect(await ask(verify, three, null)).toBe('unauthenticated')
  expect(await ask(verify, two, null, { ...goodClaims, exp: nowSeconds - 60 })).toBe('token_expired')
})

test('a new key is found, and a key that was taken back is refused in time', async () => {
  const server = await issuer(one)
  const verify = verifierOf(server.url, { cooldownMs: 0, freshMs: 50 })
  expect(await ask(verify, one)).toBe('let in')
  server.keys = [one.jwk, two.jwk]
  expect(await ask(verify, two)).toBe('let in')
  expect(await ask(verify, one)).toBe('let in')
  server.keys = [two.jwk]
  await until('the old one is refused', async () => (await ask(verify, one)) === 'unauthenticated')
  expect(await ask(verify, two)).toBe('let in')
})

test('unknown keys do not have the issuer asked again and again', async () => {
  const server = await issuer(one)
  const verify = verifierOf(server.url)
  for (let i = 0; i < 10; i++) expect(await ask(verify, two, `made up ${i}`)).toBe('unauthenticated')
  expect(server.asked).toBe(1)
})

test.each([
  ['answers 500', { status: 500, body: '{}' }],
  ['answers garbage', { status: 200, body: '<html>' }],
  ['answers something else', { status: 200, body: '{"error":"no"}' }],
  ['answers without end', { status: 200, body: `{"keys":[${'1,'.repeat(400_000)}` }],
  ['sends elsewhere', { status: 302, body: '' }],
])(
  'an issuer that %s: nobody gets in, it is worth a retry, and a better answer is taken',
  async (_name, answer) => {
    const server = await issuer(one)
    const verify = verifierOf(server.url)
    server.answer = answer
    expect(await ask(verify, one)).toBe('authorization_unavailable')
    server.answer = null
    expect(await ask(verify, one)).toBe('let in')
  },
)

test('an issuer that is not there, or silent: nobody gets in', async () => {
  const server = await issuer(one)
  await server.close()
  expect(await ask(verifierOf(server.url), one)).toBe('authorization_unavailable')
  const silent = await serve(() => undefined)
  servers.push(silent)
  expect(await ask(verifierOf(silent.url, { timeoutMs: 50 }), one)).toBe('authorization_unavailable')
})

test('an issuer that fails after a failure is left alone for a while', async () => {
  const server = await issuer(one)
  server.answer = { status: 500, body: '' }
  const verify = verifierOf(server.url, { pauseMs: 60_000 })
  for (let i = 0; i < 5; i++) expect(await ask(verify, one)).toBe('authorization_unavailable')
  expect(server.asked).toBe(1)
})

test('an issuer that is away later: its last keys count, unknown ones are worth a retry, not for ever', async () => {
  const server = await issuer(one)
  const limits = { cooldownMs: 0, freshMs: 0 }
  const verify = verifierOf(server.url, limits)
  const strict = verifierOf(server.url, { ...limits, staleMsMax: 0 })
  expect(await ask(verify, one)).toBe('let in')
  expect(await ask(strict, one)).toBe('let in')
  server.answer = { status: 503, body: '' }
  expect(await ask(verify, one)).toBe('let in')
  server.answer = { status: 200, body: '{"keys":"none"}' }
  expect(await ask(verify, one)).toBe('let in')
  expect(await ask(verify, one)).toBe('let in')
  expect(await ask(verify, two)).toBe('authorization_unavailable')
  expect(await ask(strict, one)).toBe('authorization_unavailable')
})

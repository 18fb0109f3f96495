/** Which pages may use the relay, and which settings it refuses to start with. */
import { describe, expect, test } from 'vitest'
import { isLoopback } from '../../../server/access/loopback.ts'
import { createOriginRule } from '../../../server/access/origins.ts'
import { ConfigError, readConfig } from '../../../server/config.ts'
import { gatekeeperWith, secret } from './tokens.ts'

const rule = (environment: Record<string, string>) => createOriginRule(readConfig(environment))
type Case = readonly [origin: string | undefined, host: string | undefined, allowed: boolean]

describe.each<{ name: string; environment: Record<string, string>; cases: readonly Case[] }>([
  {
    name: 'open on loopback',
    environment: {},
    cases: [
      [undefined, undefined, true],
      [undefined, '127.0.0.1:8080', true],
      [undefined, 'localhost:8080', true],
      // A page whose name was rebound to 127.0.0.1 sends its GETs without Origin.
      [undefined, 'evil.example:8080', false],
      ['http://localhost:3000', '127.0.0.1:8080', true],
      ['http://127.0.0.1:3000', 'localhost:8080', true],
      ['http://[::1]:3000', '[::1]:8080', true],
      ['HTTP://LocalHost:3000', 'LOCALHOST:8080', true],
      ['https://evil.example', '127.0.0.1:8080', false],
      ['http://evil.example:8080', 'evil.example:8080', false],
      ['http://localhost:3000', 'evil.example:8080', false],
      ['http://localhost:3000', undefined, false],
      ['http://localhost.evil.example', '127.0.0.1:8080', false],
      ['http://127.0.0.1.evil.example', '127.0.0.1:8080', false],
      ['http://evil.example@localhost', '127.0.0.1:8080', false],
      ['http://localhost@evil.example', '127.0.0.1:8080', false],
      ['null', '127.0.0.1:8080', false],
      ['', '127.0.0.1:8080', false],
      ['*', '*', false],
      ['file://', '127.0.0.1:8080', false],
      [`http://localhost${'x'.repeat(3_000)}`, '127.0.0.1:8080', false],
    ],
  },
  {
    name: 'open to others by name',
    environment: { HOST: '0.0.0.0', ALLOW_UNAUTHENTICATED: 'true' },
    cases: [
      [undefined, 'relay.example', true],
      ['https://relay.example', 'relay.example', true],
      ['https://relay.example', 'relay.example:443', true],
      ['http://relay.example:8080', 'relay.example:8080', true],
      ['http://relay.example:8081', 'relay.example:8080', false],
      ['http://localhost:3000', 'relay.example:8080', true],
      ['https://evil.example', 'relay.example', false],
      ['null', 'relay.example', false],
    ],
  },
  {
    name: 'with tokens',
    environment: { JWT_SECRET: secret, HOST: '0.0.0.0' },
    cases: [
      [undefined, 'relay.example', true],
      ['https://anything.example', 'relay.example', true],
      ['null', 'relay.example', true],
    ],
  },
  {
    name: 'with a list',
    environment: {
      JWT_SECRET: secret,
      ALLOWED_ORIGINS: 'https://App.example:443, http://localhost:3000,capacitor://localhost',
    },
    cases: [
      [undefined, 'relay.example', true],
      ['https://app.example', 'relay.example', true],
      ['http://localhost:3000', 'relay.example', true],
      ['capacitor://localhost', 'relay.example', true],
      ['http://app.example', 'relay.example', false],
      ['https://app.example:8443', 'relay.example', false],
      ['https://app.example.evil.example', 'relay.example', false],
      ['https://relay.example', 'relay.example', false],
      ['null', 'relay.example', false],
      ['*', 'relay.example', false],
    ],
  },
  {
    name: 'with a list, open',
    environment: { ALLOWED_ORIGINS: 'https://app.example' },
    cases: [
      ['https://app.example', 'relay.example', true],
      ['http://localhost:3000', '127.0.0.1', false],
    ],
  },
  {
    name: 'with an asterisk',
    environment: { ALLOWED_ORIGINS: '*' },
    cases: [
      ['https://evil.example', 'x', true],
      ['null', undefined, true],
    ],
  },
])('$name', ({ environment, cases }) => {
  test.each(cases)('%s at %s: %s', (origin, host, allowed) => {
    expect(rule(environment)(origin, host)).toBe(allowed)
  })
})

test.each([
  ['127.0.0.1', true],
  ['127.1.2.3', true],
  ['localhost', true],
  ['LOCALHOST', true],
  ['::1', true],
  ['[::1]', true],
  ['0:0:0:0:0:0:0:1', true],
  ['0.0.0.0', false],
  ['::', false],
  ['10.0.0.1', false],
  ['::ffff:10.0.0.1', false],
  ['128.0.0.1', false],
  ['127.0.0.1.example', false],
  ['127.evil', false],
  ['example.com', false],
  ['', false],
])('%s is loopback: %s', (host, expected) => {
  expect(isLoopback(host)).toBe(expected)
})

describe('the start is refused, with the variables named', () => {
  const keys = 'https://issuer.example/keys'
  const service = 'https://app.example/authorize'
  test.each<[Record<string, string>, RegExp]>([
    [{ HOST: '0.0.0.0' }, /HOST.*JWT_SECRET, JWT_JWKS_URL or AUTHORIZE_URL, or ALLOW_UNAUTHENTICATED=true/],
    [{ HOST: 'relay.example' }, /HOST/],
    [{ HOST: '::' }, /HOST/],
    [{ JWT_SECRET: secret, JWT_JWKS_URL: keys }, /JWT_SECRET and JWT_JWKS_URL/],
    [{ JWT_SECRET: secret, AUTHORIZE_URL: service }, /AUTHORIZE_URL and JWT_SECRET/],
    [{ JWT_JWKS_URL: keys, AUTHORIZE_URL: service }, /AUTHORIZE_URL and JWT_JWKS_URL/],
    [{ JWT_ISSUER: 'x', AUTHORIZE_URL: service }, /AUTHORIZE_URL and JWT_ISSUER/],
    [{ JWT_AUDIENCE: 'x' }, /JWT_AUDIENCE without JWT_SECRET or JWT_JWKS_URL/],
    [{ JWT_SECRET: secret, JWT_ALGORITHMS: 'RS256' }, /JWT_ALGORITHMS has RS256.*HS256/],
    [{ JWT_JWKS_URL: keys, JWT_ALGORITHMS: 'RS256,HS256' }, /JWT_ALGORITHMS has HS256.*RS256/],
    [{ JWT_SECRET: secret, JWT_ALGORITHMS: 'none' }, /JWT_ALGORITHMS takes/],
    [{ JWT_SECRET: secret, ALLOW_UNAUTHENTICATED: 'true' }, /ALLOW_UNAUTHENTICATED/],
    [{ JWT_JWKS_URL: 'https://user:password@issuer.example/' }, /JWT_JWKS_URL takes/],
    [{ ALLOWED_ORIGINS: 'https://app.example/path' }, /ALLOWED_ORIGINS takes/],
    [{ ALLOWED_ORIGINS: 'https://app.example,' }, /ALLOWED_ORIGINS takes/],
  ])('%j', (environment, message) => {
    expect(() => readConfig(environment)).toThrowError(ConfigError)
    expect(() => readConfig(environment)).toThrowError(message)
  })

  test('and a secret is not shown', () => {
    const short = 'geheim'
    expect(() => readConfig({ JWT_SECRET: short })).toThrowError(/JWT_SECRET takes at least 32 bytes/)
    expect(() => readConfig({ JWT_SECRET: short })).not.toThrowError(/geheim/)
    expect(() => readConfig({ REDIS_URL: 'redis://:geheim@h/1' })).not.toThrowError(/geheim/)
  })

  test.each([
    { HOST: '0.0.0.0', ALLOW_UNAUTHENTICATED: 'true' },
    { HOST: '0.0.0.0', JWT_SECRET: secret },
    { HOST: '::', AUTHORIZE_URL: service },
    { HOST: '::1' },
  ])('%j starts', (environment) => {
    expect(() => readConfig(environment)).not.toThrowError()
  })
})

test('open: everybody may do everything, and the log says so once', async () => {
  const { gatekeeper, logger } = await gatekeeperWith({})
  const identity = await gatekeeper.identify(null, null)
  expect(identity).toMatchObject({ subject: '', claims: {}, expiresMs: null })
  expect(identity.mayList('')).toBe(true)
  expect(logger.lines.filter(({ level, message }) => level === 'warn' && /OPEN/.test(message))).toHaveLength(
    1,
  )
  const closed = await gatekeeperWith({ JWT_SECRET: secret })
  expect(closed.logger.lines).toEqual([])
})

/**
 * The market on this machine: `node examples/market/start.mjs`. It is `npm start` with the adapters that are here and a secret for
 * tokens, and it prints an address for each of four people. Open two or more of them, in windows of their own.
 *
 * Only for trying it out. In an app tokens are given by whoever knows who somebody is (docs/security.md).
 */
import { createHmac, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))
const days = 24 * 60 * 60

/** Sellers write listings, and dealers read them; both write deals, where the rules of the fields hold. */
const people = [
  { subject: 'ida', role: 'seller' },
  { subject: 'ravi', role: 'seller' },
  { subject: 'dora', role: 'dealer' },
  { subject: 'dirk', role: 'dealer' },
]

const { env } = process
env.DATA_DIR ??= 'data/market'
env.ADAPTERS ??= here('adapters')
env.JWT_SECRET ??= keptSecret()
await import('../../scripts/start.mjs')
const { listening } = await import('../../dist/server/main.js')
const url = (await listening).replace(/\/\/(0\.0\.0\.0|\[::\])/, '//127.0.0.1')
if (!existsSync(here('../../dist/examples/market/index.html')))
  console.error('  Its pages could not be built; what was wrong is said above.\n')
console.error('  The market, as each of four people:\n')
for (const person of people)
  console.error(`  ${person.subject}, a ${person.role}:\n  ${url}/market?token=${tokenOf(person)}\n`)

/** So that the addresses of yesterday work today. */
function keptSecret() {
  const file = join(env.DATA_DIR, 'secret')
  if (!existsSync(file)) {
    mkdirSync(env.DATA_DIR, { recursive: true })
    writeFileSync(file, randomBytes(32).toString('hex'), { mode: 0o600 })
  }
  return readFileSync(file, 'utf8')
}

function tokenOf({ subject, role }) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = {
    sub: subject,
    roles: [role],
    documents: [
      { match: 'deals/*', access: 'write' },
      { match: 'listings/*', access: role === 'seller' ? 'write' : 'read' },
    ],
    exp: Math.floor(Date.now() / 1000) + 30 * days,
  }
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`
  return `${signed}.${createHmac('sha256', env.JWT_SECRET).update(signed).digest('base64url')}`
}

/** Tokens signed by `jose`, published keys on a real server, and a gatekeeper with a clock that tests set. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose'
import type { Gatekeeper } from '../../../server/access/access.ts'
import { createGatekeeper } from '../../../server/access/gatekeeper.ts'
import { Revoked, revokedLimits } from '../../../server/access/revoked.ts'
import { readConfig } from '../../../server/config.ts'
import { type CollectingLogger, collectingLogger } from '../../support/collecting-logger.ts'

export const secret = 'a secret of thirty-two bytes or more'
/** When all of these tests take place. */
export const nowMs = Date.UTC(2030, 0, 1)
export const nowSeconds = nowMs / 1000

export const goodClaims: JWTPayload = {
  sub: 'ann',
  iss: 'https://issuer.example',
  aud: 'tidemark',
  iat: nowSeconds - 10,
  exp: nowSeconds + 600,
  roles: ['dealer'],
  documents: [{ match: 'deals/*', access: 'write' }],
}

type SignKey = Parameters<SignJWT['sign']>[0]

export function sign(
  claims: JWTPayload = goodClaims,
  key: SignKey = new TextEncoder().encode(secret),
  header: { alg: string; kid?: string } = { alg: 'HS256' },
): Promise<string> {
  return new SignJWT(claims).setProtectedHeader(header).sign(key)
}

export interface Pair {
  readonly kid: string
  readonly alg: string
  readonly publicKey: CryptoKey
  readonly privateKey: CryptoKey
  readonly jwk: JWK
}

export async function keyPair(alg: string, kid: string): Promise<Pair> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true })
  return { kid, alg, publicKey, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg } }
}

export interface Opened {
  readonly gatekeeper: Gatekeeper
  readonly logger: CollectingLogger
  readonly revoked: Revoked
  readonly clock: { nowMs: number }
}

export async function gatekeeperWith(environment: Record<string, string>): Promise<Opened> {
  const logger = collectingLogger()
  const revoked = new Revoked(86_400_000, revokedLimits)
  const clock = { nowMs }
  const gatekeeper = createGatekeeper(readConfig(environment), {
    logger,
    revocations: { refuses: (subject, issuedMs) => revoked.refuses(subject, issuedMs, clock.nowMs) },
    nowMs: () => clock.nowMs,
  })
  await gatekeeper.start()
  return { gatekeeper, logger, revoked, clock }
}

export interface LocalServer {
  readonly url: string
  readonly server: Server
  close(): Promise<void>
}

export async function serve(
  handler: (request: IncomingMessage, response: ServerResponse, body: string) => void,
): Promise<LocalServer> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => handler(request, response, Buffer.concat(chunks).toString()))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/x`,
    server,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** What identify rejected with, or `let in`. */
export async function outcome(identified: Promise<unknown>): Promise<string> {
  try {
    await identified
    return 'let in'
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : `not a code: ${String(error)}`
  }
}

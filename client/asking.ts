/**
 * What queries share: a request with the client's token to the HTTP API beside its door, and what a refusal says. Loaded with the
 * first query, like all that only queries need.
 */
import { isErrorCode, TidemarkError } from '../core/protocol/error-codes.ts'
import type { Connection } from './connection.ts'
import type { Environment } from './environment.ts'
import type { Client } from './types.ts'

/** The part of a client that is used. */
export interface Asker extends Pick<Client, 'inspect' | 'on' | 'paused'> {
  readonly connection: Pick<Connection, 'url' | 'askToken' | 'tokenRenewable'>
  readonly environment: Environment
  /** Aborted when the client is closed. */
  readonly closing: Pick<AbortController, 'signal'>
}

/** Rejects with what `fetch` rejects with, and what the token function throws. */
export async function post(
  { connection }: Asker,
  route: 'query' | 'live',
  /** JSON. */
  body: string,
  signal: AbortSignal,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  const token = await connection.askToken()
  return fetch(addressOf(connection.url, route), {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
      ...headers,
    },
    body,
    // The token goes to this server only.
    redirect: 'error',
    cache: 'no-store',
    signal,
  })
}

/** `wss://host/v1/sync` has its queries at `https://host/v1/query`; a path of its own is kept before `/v1`. */
export function addressOf(door: string, route: string): string {
  const base = door.replace(/^ws/, 'http').replace(/\/v1\/sync$/, '')
  return `${base}/v1/${route}`
}

/** Of an answer that is not ok. */
export async function refusalOf(answer: Response): Promise<TidemarkError> {
  // What stands between may answer with a page of its own, or be cut off: then the status says what there is to say.
  const problem = (await answer.json().catch(() => null)) as { code?: unknown; detail?: unknown } | null
  const text = typeof problem?.detail === 'string' ? problem.detail : `The server answered ${answer.status}`
  return errorOf(problem?.code, text, answer.status === 429 || answer.status >= 500)
}

/** Codes that this client does not know yet are `internal` when temporary, else `forbidden`. */
export function errorOf(code: unknown, message: string, isTemporary: boolean): TidemarkError {
  if (typeof code === 'string' && isErrorCode(code)) return new TidemarkError(code, message)
  return new TidemarkError(isTemporary ? 'internal' : 'forbidden', message)
}

/** What the server asks to wait, in milliseconds. */
export function retryAfterMs(answer: Response): number {
  const seconds = Number(answer.headers.get('retry-after'))
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), 300) * 1_000 : 0
}

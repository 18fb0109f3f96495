/**
 * What queries share: a request with the client's token to the HTTP API beside its door, and what a refusal says. Loaded with the
 * first query, like all that only queries need.
 */
import { isErrorCode, TidemarkError } from '../core/protocol/error-codes.ts'
import type { Connection } from './connection.ts'
import { isAboutToken } from './connection-state.ts'
import type { Environment } from './environment.ts'
import type { Client } from './types.ts'

/** The part of a client that is used. */
export interface Asker extends Pick<Client, 'inspect' | 'on' | 'paused'> {
  readonly connection: Pick<Connection, 'url' | 'askToken' | 'tokenRenewable'>
  readonly environment: Environment
  /** Aborted when the client is closed. */
  readonly closing: Pick<AbortController, 'signal'>
}

/** The server has its own, shorter limits; this is for one that does not answer at all. */
const answerMsMax = 60_000

/** What a refusal says, besides what `refusalOf` reads. */
export interface Problem {
  readonly code?: unknown
  readonly detail?: unknown
}

export interface Question {
  /** JSON, to be posted; without it the route is read. */
  readonly body?: string | undefined
  readonly signal?: AbortSignal | undefined
  readonly refused?: (problem: Problem, text: string, isTemporary: boolean) => TidemarkError
}

/**
 * What the server answers, as JSON: asked once, and once more with a new token when the server does not take the one it had. Rejects with a
 * `TidemarkError`, and with the given signal's reason.
 */
export async function answerOf<T>(
  asker: Asker,
  route: string,
  { body, signal: given, refused }: Question,
): Promise<T> {
  if (asker.paused) throw new TidemarkError('views_unavailable', 'The client is paused')
  const closing = asker.closing.signal
  const late = AbortSignal.timeout(answerMsMax)
  const signal = AbortSignal.any([closing, late, ...(given === undefined ? [] : [given])])
  for (let attempt = 1; ; attempt++)
    try {
      const answer = await send(asker, route, body, signal)
      if (answer.ok) return (await answer.json()) as T
      throw await refusalOf(answer, refused)
    } catch (error) {
      if (error instanceof TidemarkError) {
        if (attempt === 1 && isAboutToken(error) && asker.connection.tokenRenewable) continue
        throw error
      }
      given?.throwIfAborted()
      if (closing.aborted) throw new TidemarkError('shutting_down', 'The client was closed')
      const why = late.aborted ? 'No answer in time' : 'The server was not reached'
      throw new TidemarkError('views_unavailable', why, { cause: error })
    }
}

/** Rejects with what `fetch` rejects with, and what the token function throws. */
export async function send(
  { connection }: Asker,
  route: string,
  /** JSON, to be posted. */
  body: string | undefined,
  signal: AbortSignal,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  const token = await connection.askToken()
  return fetch(addressOf(connection.url, route), {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
      ...headers,
    },
    ...(body === undefined ? {} : { body }),
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
export async function refusalOf(
  answer: Response,
  refused: Question['refused'] = refusedAs,
): Promise<TidemarkError> {
  // What stands between may answer with a page of its own, or be cut off: then the status says what there is to say.
  const problem = (await answer.json().catch(() => null)) as Problem | null
  const text = typeof problem?.detail === 'string' ? problem.detail : `The server answered ${answer.status}`
  return refused(problem ?? {}, text, answer.status === 429 || answer.status >= 500)
}

const refusedAs: NonNullable<Question['refused']> = ({ code }, text, isTemporary) =>
  errorOf(code, text, isTemporary)

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

/**
 * The connection as a pure function: state × event → state. Clock and randomness are arguments; what is to be done (open a
 * socket, drop it, wake up at `retryAtMs`) is the difference between two states, see connection.ts.
 *
 *   offline ──want, due, online, resume──▶ connecting ──socket-open──▶ authenticating ──welcome──▶ live
 *      ▲                                        │                            │                      │
 *      └──────────── lost, and worth a retry; unwant; pause; offline ────────┴──────────────────────┤
 *                                                                                                   │
 *   refused ◀─────────────────────────── lost, for good ────────────────────────────────────────────┘
 *      └──retry──▶ connecting
 *
 * - Retries wait a random part of 1 s, 2 s, 4 s … 30 s (full jitter: a thousand clients that lost one server do not come
 *   back together), and at least what the server asked for. The count begins anew after 10 s of being live, so a
 *   server that takes connections and drops them is not hammered.
 * - `online` only brings forward what waits, and only when the last attempt is a second old: a network that flips does not
 *   make a client hammer either. Without a network an attempt is made every 30 s all the same, since browsers
 *   are sometimes wrong about it, and since the server may be on this machine.
 * - Refused for the token while a token function may know a better one: one more attempt, which asks it again.
 */
import { isRetryable, type TidemarkError } from '../core/protocol/error-codes.ts'

export const backoffBaseMs = 1_000
export const backoffMsMax = 30_000
export const stableMs = 10_000
export const onlineGapMs = 1_000

interface Common {
  /** Somebody has a document open. */
  readonly wanted: boolean
  readonly paused: boolean
  /** As the browser says. */
  readonly network: boolean
  /** Since the last stable connection. */
  readonly attempts: number
  /** Refusals of the token since one was last accepted. */
  readonly tokenRefusals: number
  readonly attemptedAtMs: number
  /** The server asked not to be called before. */
  readonly notBeforeMs: number
  /** Why the last connection ended, where the server said so. */
  readonly error: TidemarkError | null
}

/** Null: not by itself. */
interface Offline {
  readonly kind: 'offline'
  readonly retryAtMs: number | null
}
export type ConnectionState = Common &
  (
    | Offline
    | { readonly kind: 'connecting' }
    | { readonly kind: 'authenticating' }
    | { readonly kind: 'live'; readonly sinceMs: number }
    | { readonly kind: 'refused' }
  )

export type ConnectionEvent =
  | { readonly kind: 'want' | 'unwant' | 'pause' | 'resume' | 'online' | 'offline' | 'due' | 'retry' }
  | { readonly kind: 'socket-open' | 'welcome' }
  /** A document was opened: the token is good. */
  | { readonly kind: 'proven' }
  /** The server is about to end, and asks to come back after so long. */
  | { readonly kind: 'drain'; readonly milliseconds: number }
  /** The socket, or the attempt at one, is gone. */
  | { readonly kind: 'lost'; readonly error: TidemarkError | null }

export interface Circumstances {
  readonly nowMs: number
  /** At least 0, below 1. */
  readonly random: number
  /** The token comes from a function. */
  readonly tokenRenewable: boolean
}

export const initially: ConnectionState = {
  kind: 'offline',
  retryAtMs: null,
  wanted: false,
  paused: false,
  network: true,
  attempts: 0,
  tokenRefusals: 0,
  attemptedAtMs: Number.NEGATIVE_INFINITY,
  notBeforeMs: 0,
  error: null,
}

export function step(state: ConnectionState, event: ConnectionEvent, given: Circumstances): ConnectionState {
  switch (event.kind) {
    case 'want':
      return startIfIdle({ ...state, wanted: true }, given)
    case 'unwant':
      return stop({ ...state, wanted: false })
    case 'pause':
      return stop({ ...state, paused: true })
    case 'resume':
      return startIfIdle({ ...state, paused: false, attempts: 0 }, given)
    case 'online':
      return online({ ...state, network: true }, given)
    case 'offline':
      return offline({ ...state, network: false }, given)
    case 'due':
      return state.kind === 'offline' && state.retryAtMs !== null ? connect(state, given) : state
    case 'retry':
      if (isConnected(state) || !state.wanted || state.paused) return state
      return connect({ ...state, attempts: 0, tokenRefusals: 0, notBeforeMs: 0 }, given)
    case 'socket-open':
      return state.kind === 'connecting' ? { ...state, kind: 'authenticating' } : state
    case 'welcome':
      if (state.kind !== 'authenticating') return state
      return { ...state, kind: 'live', sinceMs: given.nowMs, error: null }
    case 'proven':
      return { ...state, tokenRefusals: 0 }
    case 'drain':
      return { ...state, notBeforeMs: given.nowMs + event.milliseconds }
    case 'lost':
      return isConnected(state) ? lost(state, event.error, given) : state
  }
}

/** A random part of a span that doubles. */
export function backoffMs(attempts: number, random: number): number {
  return random * Math.min(backoffMsMax, backoffBaseMs * 2 ** Math.min(attempts, 10))
}

function startIfIdle(state: ConnectionState, given: Circumstances): ConnectionState {
  const idle = state.kind === 'offline' && state.retryAtMs === null
  return idle && state.wanted && !state.paused ? connect(state, given) : state
}

function connect(state: ConnectionState, { nowMs }: Circumstances): ConnectionState {
  if (!state.wanted || state.paused) return state
  return { ...state, kind: 'connecting', attemptedAtMs: nowMs }
}

function stop(state: ConnectionState): ConnectionState {
  return state.kind === 'refused' ? state : { ...state, kind: 'offline', retryAtMs: null }
}

function online(state: ConnectionState, given: Circumstances): ConnectionState {
  if (state.kind !== 'offline' || state.retryAtMs === null) return state
  const soonestMs = Math.max(state.attemptedAtMs + onlineGapMs, state.notBeforeMs)
  if (soonestMs <= given.nowMs) return connect(state, given)
  return { ...state, retryAtMs: Math.min(state.retryAtMs, soonestMs) }
}

function offline(state: ConnectionState, given: Circumstances): ConnectionState {
  return isConnected(state) ? wait(state, backoffMsMax, given) : state
}

function lost(state: ConnectionState, error: TidemarkError | null, given: Circumstances): ConnectionState {
  const after = { ...state, error }
  if (error !== null && !isRetryable(error.code)) {
    const tokenRefusals = state.tokenRefusals + 1
    if (!isAboutToken(error) || !given.tokenRenewable || tokenRefusals > 1)
      return { ...after, kind: 'refused' }
    return wait({ ...after, tokenRefusals }, backoffMs(0, given.random), given)
  }
  const stable = state.kind === 'live' && given.nowMs - state.sinceMs >= stableMs
  const attempts = stable ? 0 : state.attempts
  const askedMs = Math.max(0, state.notBeforeMs - given.nowMs)
  const delayMs = state.network ? askedMs + backoffMs(attempts, given.random) : backoffMsMax
  return wait({ ...after, attempts: attempts + 1 }, delayMs, given)
}

function wait(state: ConnectionState, delayMs: number, { nowMs }: Circumstances): ConnectionState {
  return { ...state, kind: 'offline', retryAtMs: nowMs + delayMs }
}

/** There is a socket, or an attempt at one. */
export function isConnected({ kind }: ConnectionState): boolean {
  return kind === 'connecting' || kind === 'authenticating' || kind === 'live'
}

/** When to send `due`. */
export function retryAtOf(state: { readonly kind: string } | Offline): number | null {
  return 'retryAtMs' in state && state.kind === 'offline' ? state.retryAtMs : null
}

/** Another token may be accepted. `revoked` is none of these: an administrator meant the person. */
export function isAboutToken(error: TidemarkError | null): boolean {
  return error?.code === 'token_expired' || error?.code === 'unauthenticated'
}

/**
 * One document on the connection, as a pure function: state × event → state. What is to be done (ask for the document, close its
 * channel, ask for a token, wake up at `retryAtMs`) is the difference between two states, see document.ts.
 *
 *   offline ──connected, due──▶ syncing ──opened──▶ live ──reopen──▶ syncing
 *      ▲                           │                 │
 *      ├── disconnected; ended, to be tried again ───┤
 *      │                           │                 │
 *      ├─no-token─ renewing ◀─ ended for the token ──┤
 *      │               └─token─▶ syncing             │
 *      │                           │                 │
 *   refused ◀───── ended for good ─┴─────────────────┘
 *      └──retry──▶ syncing
 *
 * `connected` comes once the document is loaded from disk, never before: what the replica has is part of the question.
 */
import { isErrorCode, TidemarkError } from '../core/protocol/error-codes.ts'
import type { Problem } from '../core/protocol/tidemark-v1/messages.ts'
import type { Circumstances, ConnectionState } from './connection-state.ts'
import { backoffMs, isAboutToken } from './connection-state.ts'
import type { Status } from './types.ts'

interface Common {
  /** The connection is live and the document loaded. */
  readonly connected: boolean
  readonly attempts: number
  readonly tokenRefusals: number
  readonly error: TidemarkError | null
}
export type DocumentState = Common &
  (
    | { readonly kind: 'offline'; readonly retryAtMs: number | null }
    /** A new token is being asked for. */
    | { readonly kind: 'renewing' | 'syncing' | 'live' | 'refused' }
  )

export type DocumentEvent =
  | { readonly kind: 'connected' | 'disconnected' | 'due' | 'retry' }
  /** Open it again on the same connection, as another replica. */
  | { readonly kind: 'reopen' }
  | { readonly kind: 'opened' }
  /** The server has a new token; or the token function gave none for now. */
  | { readonly kind: 'token' | 'no-token' }
  /** `refused` or `closed`; `error` is its problem. */
  | { readonly kind: 'ended'; readonly error: TidemarkError; readonly retryMs: number | null }

export const unopened: DocumentState = {
  kind: 'offline',
  retryAtMs: null,
  connected: false,
  attempts: 0,
  tokenRefusals: 0,
  error: null,
}

export function stepDocument(
  state: DocumentState,
  event: DocumentEvent,
  given: Circumstances,
): DocumentState {
  switch (event.kind) {
    case 'connected':
      if (state.kind !== 'offline') return { ...state, connected: true }
      return open({ ...state, connected: true })
    case 'disconnected': {
      const away = { ...state, connected: false }
      if (state.kind === 'refused') return away
      return { ...away, kind: 'offline', retryAtMs: null }
    }
    case 'due':
      return state.kind === 'offline' ? open(state) : state
    case 'retry':
      if (state.kind !== 'offline' && state.kind !== 'refused') return state
      return open({ ...state, attempts: 0, tokenRefusals: 0 })
    case 'reopen':
      return state.kind === 'live' ? open(state) : state
    case 'token':
      return state.kind === 'renewing' ? open(state) : state
    case 'opened': {
      if (state.kind !== 'syncing') return state
      return { ...state, kind: 'live', attempts: 0, tokenRefusals: 0, error: null }
    }
    case 'no-token':
      if (state.kind !== 'renewing') return state
      // Opened without one, it is refused again, and the function asked again.
      return later({ ...state, tokenRefusals: 0 }, 0, given)
    case 'ended':
      return state.kind === 'syncing' || state.kind === 'live' ? ended(state, event, given) : state
  }
}

function open(state: DocumentState): DocumentState {
  return state.connected ? { ...state, kind: 'syncing' } : { ...state, kind: 'offline', retryAtMs: null }
}

function ended(
  state: DocumentState,
  { error, retryMs }: { readonly error: TidemarkError; readonly retryMs: number | null },
  given: Circumstances,
): DocumentState {
  if (retryMs !== null) return later({ ...state, error }, retryMs, given)
  const tokenRefusals = state.tokenRefusals + 1
  if (isAboutToken(error) && given.tokenRenewable && tokenRefusals <= 1)
    return { ...state, kind: 'renewing', tokenRefusals, error }
  return { ...state, kind: 'refused', error }
}

function later(state: DocumentState, askedMs: number, given: Circumstances): DocumentState {
  const delayMs = askedMs + backoffMs(state.attempts, given.random)
  return { ...state, kind: 'offline', attempts: state.attempts + 1, retryAtMs: given.nowMs + delayMs }
}

/** What the app is told. */
export function statusOf(connection: ConnectionState['kind'], document: DocumentState['kind']): Status {
  if (document === 'refused' || connection === 'refused') return 'refused'
  if (connection !== 'live') return connection
  return document === 'renewing' ? 'authenticating' : document
}

/** A problem as an error; codes that this client does not know yet are `internal` when temporary, else `forbidden`. */
export function errorOf({ code, reason, retryMs }: Problem): TidemarkError {
  if (isErrorCode(code)) return new TidemarkError(code, reason)
  return new TidemarkError(retryMs === null ? 'forbidden' : 'internal', `${code}: ${reason}`)
}

/**
 * One document on the connection, as a pure function: state × event → state and effects.
 *
 *   offline ──connected, due──▶ syncing ──opened──▶ live
 *      ▲                           │                 │
 *      ├─── disconnected; refused or closed, to be tried again ──┤
 *      │                                                         │
 *   refused ◀──── refused or closed for good ────────────────────┘
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
    | { readonly kind: 'syncing' }
    | { readonly kind: 'live' }
    | { readonly kind: 'refused' }
  )

export type DocumentEvent =
  | { readonly kind: 'connected' | 'disconnected' | 'due' | 'retry' }
  /** Open it again on the same connection, as another replica. */
  | { readonly kind: 'reopen' }
  | { readonly kind: 'opened' }
  /** The token function gave none for now. */
  | { readonly kind: 'no-token' }
  /** `refused` or `closed`; `error` is its problem. */
  | { readonly kind: 'ended'; readonly error: TidemarkError; readonly retryMs: number | null }

export type DocumentEffect =
  | { readonly kind: 'open' | 'no-timer' }
  /** Ask for a new token, then open. */
  | { readonly kind: 'renew-token' }
  /** Close the channel. */
  | { readonly kind: 'leave' }
  | { readonly kind: 'timer'; readonly delayMs: number }

export interface DocumentStep {
  readonly state: DocumentState
  readonly effects: readonly DocumentEffect[]
}

export const unopened: DocumentState = {
  kind: 'offline',
  retryAtMs: null,
  connected: false,
  attempts: 0,
  tokenRefusals: 0,
  error: null,
}

export function stepDocument(state: DocumentState, event: DocumentEvent, given: Circumstances): DocumentStep {
  switch (event.kind) {
    case 'connected':
      if (state.kind !== 'offline') return same({ ...state, connected: true })
      return open({ ...state, connected: true })
    case 'disconnected': {
      const away = { ...state, connected: false }
      if (state.kind === 'refused') return same(away)
      return { state: { ...away, kind: 'offline', retryAtMs: null }, effects: [{ kind: 'no-timer' }] }
    }
    case 'due':
      return state.kind === 'offline' ? open(state) : same(state)
    case 'retry':
      if (state.kind !== 'offline' && state.kind !== 'refused') return same(state)
      return open({ ...state, attempts: 0, tokenRefusals: 0 })
    case 'reopen': {
      if (state.kind !== 'live') return same(state)
      const { effects, state: syncing } = open(state)
      return { state: syncing, effects: [{ kind: 'leave' }, ...effects] }
    }
    case 'opened': {
      if (state.kind !== 'syncing') return same(state)
      return same({ ...state, kind: 'live', attempts: 0, tokenRefusals: 0, error: null })
    }
    case 'no-token':
      if (state.kind !== 'offline' || !state.connected) return same(state)
      // Opened without one, it is refused again, and the function asked again.
      return later({ ...state, tokenRefusals: 0 }, 0, given)
    case 'ended':
      return state.kind === 'syncing' || state.kind === 'live' ? ended(state, event, given) : same(state)
  }
}

function open(state: DocumentState): DocumentStep {
  if (!state.connected) return same({ ...state, kind: 'offline', retryAtMs: null })
  return { state: { ...state, kind: 'syncing' }, effects: [{ kind: 'no-timer' }, { kind: 'open' }] }
}

function ended(
  state: DocumentState,
  { error, retryMs }: { readonly error: TidemarkError; readonly retryMs: number | null },
  given: Circumstances,
): DocumentStep {
  if (retryMs !== null) return later({ ...state, error }, retryMs, given)
  const tokenRefusals = state.tokenRefusals + 1
  if (isAboutToken(error) && given.tokenRenewable && tokenRefusals <= 1)
    return {
      state: { ...state, kind: 'offline', retryAtMs: null, tokenRefusals, error },
      effects: [{ kind: 'renew-token' }],
    }
  return { state: { ...state, kind: 'refused', error }, effects: [{ kind: 'no-timer' }] }
}

function later(state: DocumentState, askedMs: number, given: Circumstances): DocumentStep {
  const delayMs = askedMs + backoffMs(state.attempts, given.random)
  const retryAtMs = given.nowMs + delayMs
  return {
    state: { ...state, kind: 'offline', attempts: state.attempts + 1, retryAtMs },
    effects: [{ kind: 'timer', delayMs }],
  }
}

/** What the app is told. */
export function statusOf(connection: ConnectionState['kind'], document: DocumentState['kind']): Status {
  if (document === 'refused' || connection === 'refused') return 'refused'
  return connection === 'live' ? document : connection
}

function same(state: DocumentState): DocumentStep {
  return { state, effects: [] }
}

/** A problem as an error; codes that this client does not know yet are `internal` when temporary, else `forbidden`. */
export function errorOf({ code, reason, retryMs }: Problem): TidemarkError {
  if (isErrorCode(code)) return new TidemarkError(code, reason)
  return new TidemarkError(retryMs === null ? 'forbidden' : 'internal', `${code}: ${reason}`)
}

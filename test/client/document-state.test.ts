/** Every state of a document × every event. */
import { describe, expect, test } from 'vitest'
import type { Circumstances } from '../../client/connection-state.ts'
import { retryAtOf } from '../../client/connection-state.ts'
import {
  type DocumentEvent,
  type DocumentState,
  errorOf,
  statusOf,
  stepDocument,
  unopened,
} from '../../client/document-state.ts'
import { noOffset } from '../../core/offset.ts'
import { type ErrorCode, TidemarkError } from '../../core/protocol/error-codes.ts'

const nowMs = 1_000_000
const given: Circumstances = { nowMs, random: 0.5, tokenRenewable: false }
const renewable = { ...given, tokenRenewable: true }
const error = (code: ErrorCode): TidemarkError => new TidemarkError(code, 'why')
const connected = { ...unopened, connected: true }

const states = {
  unopened,
  waiting: { ...connected, kind: 'offline', retryAtMs: nowMs + 5_000 },
  renewing: { ...connected, kind: 'renewing', tokenRefusals: 1 },
  syncing: { ...connected, kind: 'syncing' },
  live: { ...connected, kind: 'live' },
  refused: { ...connected, kind: 'refused', error: error('forbidden') },
} satisfies Record<string, DocumentState>

const events = {
  connected: { kind: 'connected' },
  disconnected: { kind: 'disconnected' },
  due: { kind: 'due' },
  retry: { kind: 'retry' },
  reopen: { kind: 'reopen' },
  opened: { kind: 'opened' },
  token: { kind: 'token' },
  'no-token': { kind: 'no-token' },
  'ended for now': { kind: 'ended', error: error('overloaded'), retryMs: 3_000 },
  'ended for good': { kind: 'ended', error: error('stale_replica'), retryMs: null },
} satisfies Record<string, DocumentEvent>

const table = `
                  unopened  waiting  renewing  syncing  live     refused
  connected       syncing   syncing  =         =        =        =
  disconnected    =         offline  offline   offline  offline  =
  due             =         syncing  =         =        =        =
  retry           =         syncing  =         =        =        syncing
  reopen          =         =        =         =        syncing  =
  opened          =         =        =         live     =        =
  token           =         =        syncing   =        =        =
  no-token        =         =        waiting   =        =        =
  ended for now   =         =        =         waiting  waiting  =
  ended for good  =         =        =         refused  refused  =
`
const [header, ...rows] = table.split('\n').filter((line) => line.trim() !== '')
const columns = header!.trim().split(/\s+/) as (keyof typeof states)[]
const nameOf = (state: DocumentState): string =>
  state.kind === 'offline' && retryAtOf(state) !== null ? 'waiting' : state.kind

test('the table is total', () => {
  expect(columns).toEqual(Object.keys(states))
  expect(rows.map((row) => row.trim().split(/\s{2,}/)[0])).toEqual(Object.keys(events))
})

describe.each(rows.map((row) => row.trim().split(/\s{2,}/)))('%s', (event, ...cells) => {
  test.each(columns.map((column, i) => [column, cells[i]] as const))('%s', (column, cell) => {
    const before: DocumentState = states[column]
    const after = stepDocument(before, events[event as keyof typeof events], given)
    expect(nameOf(after)).toBe(cell === '=' ? nameOf(before) : cell)
  })
})

test('what is to be tried again waits as long as the server asked, and a random while', () => {
  const after = stepDocument({ ...states.live, attempts: 2 }, events['ended for now'], given)
  expect(retryAtOf(after)).toBe(nowMs + 3_000 + 2_000)
  expect(after).toMatchObject({ attempts: 3, error: { code: 'overloaded' } })
})

test.each(['token_expired', 'unauthenticated'] as const)('%s: another token is asked for, once', (code) => {
  const ended: DocumentEvent = { kind: 'ended', error: error(code), retryMs: null }
  expect(stepDocument(states.live, ended, given).kind).toBe('refused')
  const once = stepDocument(states.live, ended, renewable)
  expect(once.kind).toBe('renewing')
  const again = stepDocument(once, events.token, renewable)
  expect(again.kind).toBe('syncing')
  expect(stepDocument(again, ended, renewable).kind).toBe('refused')
  const live = stepDocument(again, events.opened, renewable)
  expect(stepDocument(live, ended, renewable).kind).toBe('renewing')
})

test('while the token function gives none, it is asked again and again', () => {
  let state = stepDocument(states.renewing, events['no-token'], renewable)
  expect(nameOf(state)).toBe('waiting')
  state = stepDocument(state, events.due, renewable)
  const ended: DocumentEvent = { kind: 'ended', error: error('token_expired'), retryMs: null }
  expect(stepDocument(state, ended, renewable).kind).toBe('renewing')
})

test('a document that is refused stays so through reconnects, and is asked for again by retry alone', () => {
  const away = stepDocument(states.refused, events.disconnected, given)
  const back = stepDocument(away, events.connected, given)
  expect(back.kind).toBe('refused')
  expect(stepDocument(away, events.retry, given)).toMatchObject({ kind: 'offline', retryAtMs: null })
  expect(stepDocument(back, events.retry, given).kind).toBe('syncing')
})

test('the app is told where the connection is, and once that is live where the document is', () => {
  expect(statusOf('connecting', 'offline')).toBe('connecting')
  expect(statusOf('live', 'syncing')).toBe('syncing')
  expect(statusOf('live', 'renewing')).toBe('authenticating')
  expect(statusOf('offline', 'refused')).toBe('refused')
  expect(statusOf('refused', 'offline')).toBe('refused')
})

test('a code that only a newer server knows is an error all the same', () => {
  const problem = { reason: 'why', epoch: noOffset }
  expect(errorOf({ ...problem, code: 'read_only', retryMs: null })).toMatchObject({ code: 'read_only' })
  expect(errorOf({ ...problem, code: 'toString', retryMs: null })).toMatchObject({ code: 'forbidden' })
  expect(errorOf({ ...problem, code: 'moon_phase', retryMs: 10 })).toMatchObject({ code: 'internal' })
})

/** Every state of the connection × every event, and what the clock and chance have to do with it. */
import { describe, expect, test } from 'vitest'
import {
  backoffMs,
  backoffMsMax,
  type Circumstances,
  type ConnectionEvent,
  type ConnectionState,
  initially,
  onlineGapMs,
  retryAtOf,
  stableMs,
  step,
} from '../../client/connection-state.ts'
import { closeCodes, type ErrorCode, isRetryable, TidemarkError } from '../../core/protocol/error-codes.ts'

const nowMs = 1_000_000
const given: Circumstances = { nowMs, random: 0.5, tokenRenewable: false }
const common = { ...initially, wanted: true, attemptedAtMs: nowMs - 60_000 }
const error = (code: ErrorCode): TidemarkError => new TidemarkError(code, 'why')

const states = {
  unwanted: { ...initially, kind: 'offline', retryAtMs: null },
  paused: { ...common, paused: true, kind: 'offline', retryAtMs: null },
  waiting: { ...common, kind: 'offline', retryAtMs: nowMs + 20_000, attempts: 4 },
  connecting: { ...common, kind: 'connecting' },
  authenticating: { ...common, kind: 'authenticating' },
  live: { ...common, kind: 'live', sinceMs: nowMs - stableMs },
  refused: { ...common, kind: 'refused', error: error('forbidden') },
} satisfies Record<string, ConnectionState>

const events = {
  want: { kind: 'want' },
  unwant: { kind: 'unwant' },
  pause: { kind: 'pause' },
  resume: { kind: 'resume' },
  online: { kind: 'online' },
  offline: { kind: 'offline' },
  due: { kind: 'due' },
  retry: { kind: 'retry' },
  'socket-open': { kind: 'socket-open' },
  welcome: { kind: 'welcome' },
  proven: { kind: 'proven' },
  drain: { kind: 'drain', milliseconds: 5_000 },
  lost: { kind: 'lost', error: null },
  'lost for good': { kind: 'lost', error: error('forbidden') },
} satisfies Record<string, ConnectionEvent>

/** What becomes of each state: `=` the same kind, `waiting` is offline with a time to retry. */
const table = `
                  unwanted    paused      waiting     connecting      authenticating  live      refused
  want            connecting  =           =           =               =               =         =
  unwant          =           =           offline     offline         offline         offline   =
  pause           =           =           offline     offline         offline         offline   =
  resume          =           connecting  =           =               =               =         =
  online          =           =           connecting  =               =               =         =
  offline         =           =           =           waiting         waiting         waiting   =
  due             =           =           connecting  =               =               =         =
  retry           =           =           connecting  =               =               =         connecting
  socket-open     =           =           =           authenticating  =               =         =
  welcome         =           =           =           =               live            =         =
  proven          =           =           =           =               =               =         =
  drain           =           =           =           =               =               =         =
  lost            =           =           =           waiting         waiting         waiting   =
  lost for good   =           =           =           refused         refused         refused   =
`
const [header, ...rows] = table.split('\n').filter((line) => line.trim() !== '')
const columns = header!.trim().split(/\s+/) as (keyof typeof states)[]
const nameOf = (state: ConnectionState): string =>
  state.kind === 'offline' && retryAtOf(state) !== null ? 'waiting' : state.kind

test('the table is total', () => {
  expect(columns).toEqual(Object.keys(states))
  expect(rows.map((row) => row.trim().split(/\s{2,}/)[0])).toEqual(Object.keys(events))
})

describe.each(rows.map((row) => row.trim().split(/\s{2,}/)))('%s', (event, ...cells) => {
  test.each(columns.map((column, i) => [column, cells[i]] as const))('%s', (column, cell) => {
    const before: ConnectionState = states[column]
    const after = step(before, events[event as keyof typeof events], given)
    expect(nameOf(after)).toBe(cell === '=' ? nameOf(before) : cell)
  })
})

test('a retry waits a random part of a span that doubles up to 30 s', () => {
  expect([0, 1, 2, 3, 4, 5, 50].map((attempts) => backoffMs(attempts, 1))).toEqual([
    1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000,
  ])
  expect(backoffMs(3, 0)).toBe(0)
  const after = step({ ...states.connecting, attempts: 2 }, events.lost, given)
  expect(retryAtOf(after)).toBe(nowMs + 2_000)
  expect(after.attempts).toBe(3)
})

test('the count of attempts begins anew after 10 s of being live, not before', () => {
  const live = { ...states.live, attempts: 3 }
  expect(step(live, events.lost, given).attempts).toBe(1)
  expect(step({ ...live, sinceMs: nowMs - stableMs + 1 }, events.lost, given).attempts).toBe(4)
})

test('whoever is told to come back later comes back later', () => {
  const drained = step(states.live, events.drain, given)
  const after = step(drained, { kind: 'lost', error: error('shutting_down') }, given)
  expect(retryAtOf(after)).toBe(nowMs + 5_000 + 500)
  const online = step(after, events.online, given)
  expect(retryAtOf(online)).toBe(nowMs + 5_000)
  expect(step(online, events.retry, given).kind).toBe('connecting')
})

test('a network that flips brings nothing forward within a second of the last attempt', () => {
  const waiting = { ...states.waiting, attemptedAtMs: nowMs - 300 }
  const online = step(waiting, events.online, given)
  expect(retryAtOf(online)).toBe(nowMs - 300 + onlineGapMs)
  expect(retryAtOf(step(online, events.online, given))).toBe(nowMs - 300 + onlineGapMs)
})

test('without a network an attempt is made now and then all the same', () => {
  const offline = step(states.live, events.offline, given)
  expect(retryAtOf(offline)).toBe(nowMs + backoffMsMax)
  const tried = step(offline, events.due, given)
  expect(tried.kind).toBe('connecting')
  expect(retryAtOf(step(tried, events.lost, given))).toBe(nowMs + backoffMsMax)
})

test.each(Object.keys(closeCodes) as ErrorCode[])('%s is retried when the table says so', (code) => {
  const after = step(states.live, { kind: 'lost', error: error(code) }, given)
  expect(after.kind).toBe(isRetryable(code) ? 'offline' : 'refused')
  expect(after.error?.code).toBe(code)
})

test.each(['token_expired', 'unauthenticated'] as const)(
  '%s: a token function is asked once more, until it is believed',
  (code) => {
    const renewable = { ...given, tokenRenewable: true }
    const lost: ConnectionEvent = { kind: 'lost', error: error(code) }
    const once = step(states.live, lost, renewable)
    expect(nameOf(once)).toBe('waiting')
    const again = step(once, events.due, renewable)
    expect(step(again, lost, renewable).kind).toBe('refused')
    const proven = step({ ...states.live, tokenRefusals: 1 }, events.proven, renewable)
    expect(nameOf(step(proven, lost, renewable))).toBe('waiting')
    expect(step({ ...states.live, tokenRefusals: 1 }, lost, renewable).kind).toBe('refused')
  },
)

test('a person who tries again after a refusal begins from nothing', () => {
  const state = { ...states.refused, attempts: 7, tokenRefusals: 1, notBeforeMs: nowMs + 9_000 }
  expect(step(state, events.retry, given)).toMatchObject({
    kind: 'connecting',
    attempts: 0,
    tokenRefusals: 0,
    notBeforeMs: 0,
  })
  expect(step({ ...state, wanted: false }, events.retry, given).kind).toBe('refused')
  expect(step({ ...state, paused: true }, events.retry, given).kind).toBe('refused')
})

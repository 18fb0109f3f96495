import { expect, test } from 'vitest'
import type { AwarenessState } from '../../../core/protocol/awareness.ts'
import { Presence, remotePresenceMs } from '../../../server/room/presence.ts'

const json = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value))
const state = (client: number, clock: number, value: unknown): AwarenessState => ({
  client,
  clock,
  state: value === null ? null : json(value),
})
const a = { id: 'a' }
const b = { id: 'b' }
const presence = (max = 10): Presence => new Presence({ sessionAwarenessClientsMax: max })

test('a higher clock wins, an equal or lower one is nothing new', () => {
  const room = presence()
  expect(room.apply(a, [state(1, 5, { x: 1 })], 0)).toBe(true)
  expect(room.apply(b, [state(1, 5, { x: 2 })], 0)).toBe(false)
  expect(room.apply(b, [state(1, 4, { x: 3 })], 0)).toBe(false)
  expect(room.states()).toEqual([state(1, 5, { x: 1 })])
  expect(room.apply(a, [state(1, 6, { x: 4 })], 0)).toBe(true)
  expect(room.states()).toEqual([state(1, 6, { x: 4 })])
})

test('null at an equal clock removes; the echo of an older state does not bring it back', () => {
  const room = presence()
  room.apply(a, [state(1, 5, {})], 0)
  expect(room.apply(a, [state(1, 5, null)], 0)).toBe(true)
  expect(room.apply(b, [state(1, 5, {})], 1)).toBe(false)
  expect(room.states()).toEqual([])
})

test('null for somebody unknown changes nothing', () => {
  expect(presence().apply(a, [state(9, 1, null)], 0)).toBe(false)
})

test('a closed session takes its own states with it, not those another session took over', () => {
  const room = presence()
  room.apply(a, [state(1, 1, {}), state(2, 1, {})], 0)
  room.apply(b, [state(2, 2, { moved: true })], 0)
  room.takeDirty()
  expect(room.removeOwnedBy(a, 0)).toBe(true)
  expect(room.takeDirty().all).toEqual([state(1, 1, null)])
  expect(room.states()).toEqual([state(2, 2, { moved: true })])
})

test('what another node no longer renews is gone within 30 s, what is local stays', () => {
  const room = presence()
  room.apply('remote', [state(1, 1, {})], 0)
  room.apply(a, [state(2, 1, {})], 0)
  expect(remotePresenceMs).toBeLessThan(30_000)
  expect(room.sweep(remotePresenceMs)).toBe(false)
  room.apply('remote', [state(1, 2, {})], 20_000)
  expect(room.sweep(remotePresenceMs + 1)).toBe(false)
  expect(room.sweep(20_001 + remotePresenceMs)).toBe(true)
  expect(room.states()).toEqual([state(2, 1, {})])
})

test('removed clients are forgotten in the end', () => {
  const room = presence()
  room.apply(a, [state(1, 1, {})], 0)
  room.removeOwnedBy(a, 0)
  expect(room.needsSweep).toBe(true)
  room.sweep(120_000)
  expect(room.needsSweep).toBe(false)
  expect(room.apply(b, [state(1, 1, {})], 120_000)).toBe(true)
})

test('other nodes are told of local changes only', () => {
  const room = presence()
  room.apply('remote', [state(1, 1, {})], 0)
  room.apply(a, [state(2, 1, {})], 0)
  const { all, local } = room.takeDirty()
  expect(all.map(({ client }) => client)).toEqual([1, 2])
  expect(local.map(({ client }) => client)).toEqual([2])
  expect(room.hasDirty).toBe(false)
})

test('a session owns at most so many states', () => {
  const room = presence(2)
  expect(() => room.apply(a, [state(1, 1, {}), state(2, 1, {}), state(3, 1, {})], 0)).toThrowError(
    expect.objectContaining({ code: 'malformed_awareness' }),
  )
  expect(room.states().map(({ client }) => client)).toEqual([1, 2])
})

test('a state that a client could not parse is refused', () => {
  const broken = { client: 1, clock: 1, state: new TextEncoder().encode('{"a":') }
  expect(() => presence().apply(a, [broken], 0)).toThrowError(/not JSON/)
})

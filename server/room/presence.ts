/**
 * Who is in a room. States are opaque bytes with a clock; a higher clock wins, "null" at an equal
 * clock removes. A state belongs to the session that first brought its clock, or to another node.
 *
 * - y-websocket clients send back every change they are told of, so most of what comes in is known
 *   already and is dropped on its clock alone. A removed client's clock is remembered for a while,
 *   or such an echo would bring the client back.
 * - When a session closes, what it owned is removed. What came from another node is removed when it
 *   was not renewed for `remotePresenceMs`: clients renew every 15 s, so a dead node's users are gone
 *   within 30 s of its death.
 *
 * No timers and no I/O: time is an argument.
 */

import { type AwarenessState, checkState } from '../../core/protocol/awareness.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'

/** Clients renew every 15 to 18 s; two renewals missed would exceed the 30 s after which clients forget. */
export const remotePresenceMs = 25_000
const removedKeptMs = 60_000
const removedKeptMax = 10_000

export type Owner = { readonly id: string } | 'remote'

interface Known {
  clock: number
  state: Uint8Array | null
  owner: Owner
  seenMs: number
}

export interface PresenceLimits {
  /** Presence states one session may own. */
  readonly sessionAwarenessClientsMax: number
}

export class Presence {
  private readonly known = new Map<number, Known>()
  private readonly dirty = new Set<number>()
  private remoteCount = 0
  private readonly limits: PresenceLimits

  constructor(limits: PresenceLimits) {
    this.limits = limits
  }

  get hasDirty(): boolean {
    return this.dirty.size > 0
  }

  /** Something here ages: states of other nodes, or removed ones still remembered. */
  get needsSweep(): boolean {
    return this.remoteCount > 0
  }

  /** True when anything changed. Throws `malformed_awareness` for a state that is not JSON. */
  apply(owner: Owner, states: readonly AwarenessState[], nowMs: number): boolean {
    let changed = false
    for (const incoming of states) {
      const known = this.known.get(incoming.client)
      if (known === undefined ? incoming.state === null : !supersedes(incoming, known)) continue
      checkState(incoming)
      if (
        known === undefined &&
        owner !== 'remote' &&
        this.ownedBy(owner) >= this.limits.sessionAwarenessClientsMax
      )
        throw new TidemarkError(
          'malformed_awareness',
          `More than ${this.limits.sessionAwarenessClientsMax} presence states of one session`,
        )
      this.set(incoming.client, {
        clock: incoming.clock,
        // A copy: the bytes that came in are a view of a whole socket read.
        state: incoming.state === null ? null : incoming.state.slice(),
        owner,
        seenMs: nowMs,
      })
      this.dirty.add(incoming.client)
      changed = true
    }
    return changed
  }

  /** Removes what a closed session owned. */
  removeOwnedBy(owner: Owner, nowMs: number): boolean {
    let changed = false
    for (const [client, known] of this.known) {
      if (known.owner !== owner || known.state === null) continue
      this.set(client, { ...known, state: null, seenMs: nowMs })
      this.dirty.add(client)
      changed = true
    }
    return changed
  }

  /** Removes what other nodes no longer renew, and forgets what was removed long ago. */
  sweep(nowMs: number): boolean {
    let changed = false
    for (const [client, known] of this.known) {
      const age = nowMs - known.seenMs
      if (known.state === null) {
        if (age > removedKeptMs || this.known.size > removedKeptMax) this.forget(client)
      } else if (known.owner === 'remote' && age > remotePresenceMs) {
        this.set(client, { ...known, state: null, seenMs: nowMs })
        this.dirty.add(client)
        changed = true
      }
    }
    return changed
  }

  /** Everybody present; with `localOnly`, whom this node's sessions brought. */
  states(localOnly = false): AwarenessState[] {
    const states: AwarenessState[] = []
    for (const [client, { clock, state, owner }] of this.known) {
      if (state !== null && !(localOnly && owner === 'remote')) states.push({ client, clock, state })
    }
    return states
  }

  /** Everybody present, and who was removed of late: for a session that did not hear of it. */
  statesAndRemoved(): AwarenessState[] {
    return [...this.known].map(([client, { clock, state }]) => ({ client, clock, state }))
  }

  /** What changed since the last call: for this node's sessions, and the part that other nodes do not know yet. */
  takeDirty(): { readonly all: AwarenessState[]; readonly local: AwarenessState[] } {
    const all: AwarenessState[] = []
    const local: AwarenessState[] = []
    for (const client of this.dirty) {
      const known = this.known.get(client)
      if (known === undefined) continue
      const state = { client, clock: known.clock, state: known.state }
      all.push(state)
      if (known.owner !== 'remote') local.push(state)
    }
    this.dirty.clear()
    return { all, local }
  }

  private ownedBy(owner: Owner): number {
    let count = 0
    for (const known of this.known.values()) if (known.owner === owner && known.state !== null) count++
    return count
  }

  private set(client: number, next: Known): void {
    const before = this.known.get(client)
    if (ages(before)) this.remoteCount--
    if (ages(next)) this.remoteCount++
    this.known.set(client, next)
  }

  private forget(client: number): void {
    if (ages(this.known.get(client))) this.remoteCount--
    this.known.delete(client)
  }
}

const ages = (known: Known | undefined): boolean =>
  known !== undefined && (known.owner === 'remote' || known.state === null)

const supersedes = (incoming: AwarenessState, known: Known): boolean =>
  incoming.clock > known.clock ||
  (incoming.clock === known.clock && incoming.state === null && known.state !== null)

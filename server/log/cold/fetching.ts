/**
 * Gets cold states back, or says that it cannot: never a part of one, never another one. What comes is
 * checked against the hash in the pointer and the names in the object (sealed.ts).
 *
 * A store that does not answer is asked again, with growing pauses, until `deadlineMs`; an object that is
 * missing or damaged a few times only (a share may show a new file late, a transfer may break). Whoever wants
 * the same object at the same time shares one fetch. At most `fetchesMax` are under way, so that a
 * restart with a thousand cold documents does not hold all of them in memory at once; the rest wait,
 * within their deadline.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { MalformedBytes } from '../../../core/bytes.ts'
import type { IndexedState } from '../../../core/engine/engine.ts'
import { withDeadline } from '../../deadline.ts'
import type { Pointer } from './pointer.ts'
import { type SealedHeader, unseal } from './sealed.ts'
import { type SnapshotStore, StoreError } from './snapshot-store.ts'

export interface FetchLimits {
  readonly deadlineMs: number
  /** Large objects get more time: as long as they take at this rate. */
  readonly bytesPerSecondMin: number
  readonly fetchesMax: number
  /** Objects waited for beyond these; more are refused at once. */
  readonly waitingMax: number
  /** For what is missing or damaged. */
  readonly certainAttemptsMax: number
  readonly pauseMs: number
  readonly pauseMsMax: number
}

export const fetchLimits: FetchLimits = {
  deadlineMs: 10_000,
  bytesPerSecondMin: 4 * 1024 * 1024,
  fetchesMax: 16,
  waitingMax: 10_000,
  certainAttemptsMax: 3,
  pauseMs: 50,
  pauseMsMax: 2_000,
}

/** Whatever size a pointer claims. */
const fetchMsMax = 600_000

export class Fetching {
  private readonly store: SnapshotStore
  private readonly limits: FetchLimits
  private readonly closed: AbortSignal
  private readonly shared = new Map<string, Promise<IndexedState>>()
  private readonly waiting: (() => void)[] = []
  private running = 0

  constructor(store: SnapshotStore, limits: FetchLimits, closed: AbortSignal) {
    this.store = store
    this.limits = limits
    this.closed = closed
  }

  /** Rejects with the last `StoreError` or `MalformedBytes`. */
  fetch(pointer: Pointer, of: SealedHeader): Promise<IndexedState> {
    const key = `${pointer.key} ${of.offset} ${of.document}`
    let fetching = this.shared.get(key)
    if (fetching === undefined) {
      fetching = this.inTurn(pointer, of).finally(() => this.shared.delete(key))
      this.shared.set(key, fetching)
    }
    return fetching
  }

  private inTurn(pointer: Pointer, of: SealedHeader): Promise<IndexedState> {
    const { deadlineMs, bytesPerSecondMin } = this.limits
    const allowedMs = Math.ceil(deadlineMs + (pointer.objectBytes / bytesPerSecondMin) * 1_000)
    return withDeadline(Math.min(allowedMs, fetchMsMax), this.closed, (signal) =>
      this.whenItsTurn(pointer, of, signal),
    )
  }

  private async whenItsTurn(pointer: Pointer, of: SealedHeader, signal: AbortSignal): Promise<IndexedState> {
    if (this.running >= this.limits.fetchesMax) await this.turn(signal)
    else this.running++
    try {
      return await this.untilDeadline(pointer, of, signal)
    } finally {
      // Handed on, not given back and taken again: nobody can come in between.
      const next = this.waiting.shift()
      if (next === undefined) this.running--
      else next()
    }
  }

  private turn(signal: AbortSignal): Promise<void> {
    if (this.waiting.length >= this.limits.waitingMax) return Promise.reject(tooMany())
    return new Promise((resolve, reject) => {
      const mine = (): void => {
        signal.removeEventListener('abort', late)
        resolve()
      }
      const late = (): void => {
        this.waiting.splice(this.waiting.indexOf(mine), 1)
        reject(tooMany())
      }
      signal.addEventListener('abort', late, { once: true })
      this.waiting.push(mine)
    })
  }

  private async untilDeadline(
    pointer: Pointer,
    of: SealedHeader,
    signal: AbortSignal,
  ): Promise<IndexedState> {
    const { pauseMs, pauseMsMax, certainAttemptsMax } = this.limits
    let certain = 0
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.once(pointer, of, signal)
      } catch (error) {
        const certainly = error instanceof MalformedBytes || (error as StoreError).failure === 'missing'
        if (certainly && ++certain >= certainAttemptsMax) throw error
        const pause = Math.min(pauseMs * 2 ** attempt, pauseMsMax) * (0.5 + Math.random())
        const ended = await sleep(pause, false, { signal }).catch(() => true)
        if (ended) throw error
      }
    }
  }

  private async once(pointer: Pointer, of: SealedHeader, signal: AbortSignal): Promise<IndexedState> {
    if (signal.aborted) throw new StoreError('unavailable', 'no time left')
    // One byte more would be seen: a longer object is not the one that was written.
    const object = await this.store.get(pointer.key, pointer.objectBytes + 1, signal)
    if (object.length !== pointer.objectBytes) throw new MalformedBytes('not of the length it had')
    return unseal(object, { ...of, sha256: pointer.sha256 })
  }
}

function tooMany(): StoreError {
  return new StoreError('unavailable', 'too many cold documents are wanted at once')
}

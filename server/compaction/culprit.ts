/**
 * Which updates of a document cannot be digested, though each passed validation. A worker applies them one
 * after the other and notes in shared memory where it is; when it throws, runs out of memory or stays at one
 * for too long, that is the culprit, and the next worker goes on without it. When all can be applied
 * and only the whole cannot be compacted, a binary search finds the update with which that begins.
 *
 *   each ──ends at i──▶ i is a culprit ──▶ each, without it
 *     └─each one went well, the whole did not──▶ whole, with half of them …──▶ i is a culprit ──▶ each
 *
 * - A thrown error proves the fault. So does time: an update is blamed when it alone takes `updateMsMax`.
 *   Memory does not: it may be the last straw of a document that is simply too large. Such a
 *   verdict counts only when the rest can be digested without it.
 * - Time is measured in looks at the progress, not by the clock: a machine that was suspended, or a busy
 *   event loop, is one look. A worker that has not begun is never aborted: it may be waiting for its turn,
 *   and Node 20 can crash when a worker is terminated while it loads its modules.
 */
import { setInterval } from 'node:timers/promises'
import type { EngineName } from '../../core/engine/engine.ts'
import { pack } from './packed.ts'
import type { DigestTask } from './worker.ts'

export interface CulpritLimits {
  /** One update may take this long to apply. */
  readonly updateMsMax: number
  /** A compaction of all of them may take this long. */
  readonly wholeMsMax: number
  readonly culpritsMax: number
}

export interface Culprit {
  /** Its place among the updates given. */
  readonly index: number
  readonly reason: 'error' | 'memory' | 'time'
  readonly message: string
}

export interface Verdict {
  /** In ascending order. */
  readonly culprits: readonly Culprit[]
  /** Whether the other updates can be compacted. If not, there are more than `culpritsMax`, or it is no one update's fault. */
  readonly restDigestible: boolean
}

/** Runs `digest` in a pool: `(task, signal) => pool.run(task, { name: 'digest', signal })`. */
export type DigestRunner = (task: DigestTask, signal: AbortSignal) => Promise<void>

/** Rejects with the signal's reason when it aborts. */
export async function findCulprits(
  run: DigestRunner,
  engine: EngineName,
  updates: readonly Uint8Array[],
  limits: CulpritLimits,
  signal: AbortSignal,
): Promise<Verdict> {
  const attempt = (indexes: readonly number[], mode: DigestTask['mode']): Promise<Failure | null> =>
    digested(
      run,
      { engine, mode, updates: pack(indexes.map((index) => updates[index]!)), progress: newProgress() },
      limits,
      signal,
    )
  const culprits: Culprit[] = []
  let rest = updates.map((_, index) => index)
  for (;;) {
    let failure = await attempt(rest, 'each')
    if (failure === null) return verdict(culprits, true)
    if (culprits.length === limits.culpritsMax) return verdict(culprits, false)
    let at = failure.progress
    if (at === rest.length) {
      // The first `good` of them can be compacted, the first `at` cannot.
      for (let good = 0; at - good > 1; ) {
        const middle = (good + at) >> 1
        const found = await attempt(rest.slice(0, middle), 'whole')
        if (found === null) good = middle
        else [at, failure] = [middle, found]
      }
      at--
    }
    // Nothing to blame: the worker ends before it begins, or without any update.
    const index = rest[at]
    if (index === undefined) return verdict(culprits, false)
    culprits.push({ index, reason: failure.reason, message: failure.message })
    rest = rest.filter((other) => other !== index)
  }
}

function verdict(culprits: readonly Culprit[], restDigestible: boolean): Verdict {
  const proven = restDigestible ? culprits : culprits.filter(({ reason }) => reason !== 'memory')
  return { culprits: proven.toSorted((a, b) => a.index - b.index), restDigestible }
}

interface Failure {
  /** The update being applied; their number when it was about all; -1 before the first. */
  readonly progress: number
  readonly reason: Culprit['reason']
  readonly message: string
}

const looks = 8
const notBegun = -1

function newProgress(): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)).fill(notBegun)
}

/** Null when all went well. */
async function digested(
  run: DigestRunner,
  task: DigestTask,
  limits: CulpritLimits,
  signal: AbortSignal,
): Promise<Failure | null> {
  const late = new AbortController()
  const ended = new AbortController()
  const watching = watch(task, limits, late, ended.signal)
  try {
    await run(task, AbortSignal.any([signal, late.signal]))
    return null
  } catch (error) {
    signal.throwIfAborted()
    const message = error instanceof Error ? error.message : String(error)
    const outOfMemory = error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY'
    const reason = late.signal.aborted ? 'time' : outOfMemory ? 'memory' : 'error'
    return { progress: Atomics.load(task.progress, 0), reason, message }
  } finally {
    ended.abort()
    await watching
  }
}

/** Aborts `late` when the progress stays where it is; returns when `ended`. */
async function watch(
  { updates, progress }: DigestTask,
  { updateMsMax, wholeMsMax }: CulpritLimits,
  late: AbortController,
  ended: AbortSignal,
): Promise<void> {
  const lookMs = updateMsMax / looks
  let last = notBegun
  let unchanged = 0
  try {
    for await (const _ of setInterval(lookMs, undefined, { signal: ended })) {
      const now = Atomics.load(progress, 0)
      unchanged = now === last && now !== notBegun ? unchanged + 1 : 0
      last = now
      const msMax = now === updates.lengths.length ? wholeMsMax : updateMsMax
      if (unchanged * lookMs >= msMax) late.abort()
    }
  } catch (error) {
    if (!ended.aborted) throw error
  }
}

/**
 * Live queries: each is run once for all who ask the same with the same rights, and again when a table that it reads was touched.
 *
 *   touched ─▶ stale ─▶ (due, and a place is free) ─▶ run ─┬─ as before: nothing
 *                ▲                                          ├─ another result: its difference, to all who have the last one
 *                └── touched meanwhile ─────────────────────┴─ failed: again later, or the end
 *
 * - A run begins after the query is taken for fresh, so what is committed while it runs makes it stale again: no change is
 *   missed, and many changes together cost one run.
 * - A query is run at most every `intervalMs`, and every four times as long as it takes: it never keeps more than a quarter of a
 *   connection busy. At most `runsMax` run at once; those that wait are taken in turn.
 * - A listener has a result, by its name, and takes one event at a time: until it says that it is ready nothing is sent to it, and
 *   then what lies between what it has and what there is. So what is buffered for a slow one is one event.
 * - What was sent is kept for a while (kept-results.ts), so that who falls behind, or comes back, gets a difference.
 *
 * Rejected: differences kept as a list of events (a slow reader would get all of them), and results kept by listener.
 */
import { type ErrorCode, isRetryable, TidemarkError } from '../../../core/protocol/error-codes.ts'
import { KeptResults } from './kept-results.ts'
import {
  type Answer,
  bytesBeside,
  changeEvent,
  type KeyColumns,
  keyColumnsOf,
  resultOf,
  rowsEvent,
} from './result.ts'
import { begin, type Listener, type Shared, takers } from './shared-query.ts'
import { type Dependencies, isTouched, type Touch } from './touch.ts'

export const liveHubLimits = {
  /** Between the beginnings of two runs of one query. */
  intervalMs: 100,
  /** At the same time: whoever asks once is not to wait for them all. */
  runsMax: 2,
  /** Of all results as they are now. */
  resultBytesMax: 128 * 1024 * 1024,
  /** Of all results as they were. */
  keptBytesMax: 64 * 1024 * 1024,
  keepMs: 60_000,
  /** In a row, for what may pass by itself; the database being away does not count. */
  failuresMax: 5,
  backoffMsMax: 10_000,
}
export type LiveHubLimits = typeof liveHubLimits

/** A query runs at most one part in so many of the time. */
const restFactor = 4
const sweepMs = 5_000
/** It will be back: this is waited for as long as it takes. */
const away: ErrorCode = 'views_unavailable'
/** Others are in the way; nobody needs to be told. */
const busy: ReadonlySet<ErrorCode> = new Set(['overloaded', 'rate_limited'])

export interface LiveHubParts<Query> {
  /** Queries of one name have one answer: text, parameters, key and rights are the same. */
  readonly nameOf: (query: Query) => string
  /** Queries of one trace have results that one user may have seen: what lies between two of them is told. */
  readonly traceOf: (query: Query) => string
  readonly keyOf: (query: Query) => KeyColumns
  /** Throws `TidemarkError`; what is retryable is tried again. */
  readonly run: (query: Query, signal: AbortSignal) => Promise<Answer>
  /** As `run`. */
  readonly dependenciesOf: (query: Query) => Promise<Dependencies>
  readonly outlet: LiveOutlet
  readonly limits?: Partial<LiveHubLimits>
}

/** What listeners, by their numbers, are told. */
export interface LiveOutlet {
  /** Not before each of them is ready. */
  send(listeners: readonly number[], id: string, event: string): void
  /** It has what there is; said at most once, in place of the first event. */
  current(listener: number): void
  end(listeners: readonly number[], code: ErrorCode, message: string): void
}

export class LiveHub<Query> {
  private readonly parts: LiveHubParts<Query>
  private readonly limits: LiveHubLimits
  private readonly queries = new Map<string, Shared<Query>>()
  private readonly listeners = new Map<number, Listener<Query>>()
  private readonly kept: KeptResults
  private readonly waiting = new Set<Shared<Query>>()
  private readonly sweeper: NodeJS.Timeout
  private running = 0
  private runCount = 0
  private resultBytes = 0

  constructor(parts: LiveHubParts<Query>) {
    this.parts = parts
    this.limits = { ...liveHubLimits, ...parts.limits }
    this.kept = new KeptResults(this.limits)
    this.sweeper = setInterval(() => this.kept.sweep(performance.now()), sweepMs)
    this.sweeper.unref()
  }

  /** Listeners hear nothing of it. */
  close(): void {
    clearInterval(this.sweeper)
    for (const shared of this.queries.values()) this.drop(shared)
    this.listeners.clear()
    this.kept.clear()
  }

  /** Since the start. */
  get runs(): number {
    return this.runCount
  }

  /** Different ones. */
  get size(): number {
    return this.queries.size
  }

  /**
   * `has`: name of the result that it has. `begun`: somebody told it something before; while the database is away, it waits.
   * A listener that is there goes on with the other query, from what it has: its rights may have changed.
   */
  open(number: number, query: Query, has: string | null, begun = false): void {
    const before = this.listeners.get(number)
    const name = this.parts.nameOf(query)
    if (before?.shared.name === name) return
    const shared = this.queries.get(name) ?? begin(name, this.parts.traceOf(query), query)
    this.queries.set(name, shared)
    const listener = { ...(before ?? { number, has, ready: true, begun }), shared }
    shared.listeners.set(number, listener)
    if (before !== undefined) this.leave(number)
    this.listeners.set(number, listener)
    if (shared.stale) this.consider(shared)
    // Those who come together are served together.
    else setImmediate(() => this.deliver(shared))
  }

  /** They took what they were sent. */
  ready(numbers: readonly number[]): void {
    const shared = new Set<Shared<Query>>()
    for (const number of numbers) {
      const listener = this.listeners.get(number)
      if (listener === undefined) continue
      listener.ready = true
      shared.add(listener.shared)
    }
    for (const one of shared) this.deliver(one)
  }

  leave(number: number): void {
    const listener = this.listeners.get(number)
    if (listener === undefined) return
    const { shared } = listener
    this.listeners.delete(number)
    shared.listeners.delete(number)
    if (shared.listeners.size === 0) this.drop(shared)
  }

  /** Null: everything may have changed. */
  touched(touches: readonly Touch[] | null): void {
    const replaced = touches === null || touches.some(({ table }) => table === null)
    for (const shared of this.queries.values()) {
      const { dependencies } = shared
      const isUntouched = touches !== null && dependencies !== undefined && !isTouched(dependencies, touches)
      if (isUntouched) continue
      if (replaced) {
        shared.dependencies = undefined
        shared.replacements++
      }
      shared.stale = true
      // Whatever kept it from running may be over.
      if (touches === null && shared.failures > 0) this.hurry(shared)
      this.consider(shared)
    }
  }

  // --- when ---------------------------------------------------------------------------------------

  private consider(shared: Shared<Query>): void {
    if (shared.state !== 'idle' || !shared.stale || shared.left.signal.aborted) return
    const waitMs = shared.notBeforeMs - performance.now()
    if (waitMs > 0) {
      shared.timer ??= setTimeout(() => {
        shared.timer = null
        this.consider(shared)
      }, Math.ceil(waitMs))
      return
    }
    shared.state = 'waiting'
    this.waiting.add(shared)
    this.next()
  }

  private hurry(shared: Shared<Query>): void {
    if (shared.timer !== null) clearTimeout(shared.timer)
    shared.timer = null
    shared.notBeforeMs = 0
  }

  private next(): void {
    for (const shared of this.waiting) {
      if (this.running >= this.limits.runsMax) return
      this.waiting.delete(shared)
      this.running++
      void this.run(shared).finally(() => {
        this.running--
        shared.state = 'idle'
        this.consider(shared)
        this.next()
      })
    }
  }

  /** Never rejects. */
  private async run(shared: Shared<Query>): Promise<void> {
    const { run, dependenciesOf } = this.parts
    const { query, left } = shared
    const startedMs = performance.now()
    shared.state = 'running'
    shared.stale = false
    this.runCount++
    try {
      if (shared.dependencies === undefined) {
        const { replacements } = shared
        const dependencies = await dependenciesOf(query)
        if (replacements === shared.replacements) shared.dependencies = dependencies
      }
      const answer = await run(query, left.signal)
      if (left.signal.aborted) return
      this.take(shared, answer)
      shared.failures = 0
      shared.notBeforeMs =
        startedMs + Math.max(this.limits.intervalMs, restFactor * (performance.now() - startedMs))
      this.deliver(shared, true)
    } catch (error) {
      if (!left.signal.aborted) this.failed(shared, error)
    }
  }

  private failed(shared: Shared<Query>, error: unknown): void {
    const { code, message } =
      error instanceof TidemarkError ? error : new TidemarkError('internal', 'The query could not be run')
    const listeners = [...shared.listeners.values()]
    const { failuresMax, backoffMsMax } = this.limits
    shared.failures++
    const isPatient = code === away || busy.has(code)
    // It was fast enough before.
    const mayPass = isRetryable(code) || (code === 'query_timeout' && shared.current !== null)
    if (!mayPass || (shared.failures > failuresMax && !isPatient)) return this.end(listeners, code, message)
    // Who was told nothing yet decides whether to wait.
    const waiting = listeners.filter(({ begun }) => !begun)
    if (!busy.has(code)) this.end(waiting, code, message)
    shared.stale = true
    const waitMs = Math.min(backoffMsMax, 250 * 2 ** shared.failures)
    shared.notBeforeMs = performance.now() + waitMs * (0.5 + Math.random() / 2)
  }

  // --- what ---------------------------------------------------------------------------------------

  /** Throws `TidemarkError`. */
  private take(shared: Shared<Query>, answer: Answer): void {
    const { current } = shared
    const { keyOf } = this.parts
    // Once they did not tell the rows apart, they are not to be relied upon.
    if (shared.keyColumns !== null) shared.keyColumns = keyColumnsOf(keyOf(shared.query), answer)
    const result = resultOf(answer, shared.keyColumns, current)
    if (result === current) return
    this.resultBytes += result.bytes - (current?.bytes ?? 0)
    shared.current = result
    if (current !== null)
      this.kept.keep(shared.trace, current, bytesBeside(current, result), performance.now())
    if (this.resultBytes > this.limits.resultBytesMax)
      this.end([...shared.listeners.values()], 'overloaded', 'Live queries have too many rows for this node')
  }

  /** `justRun`: also to those who were told nothing yet, though something was touched meanwhile. */
  private deliver(shared: Shared<Query>, justRun = false): void {
    const { current, listeners, trace } = shared
    if (current === null) return
    const { outlet } = this.parts
    const mayBegin = justRun || !shared.stale
    const { behind, there } = takers(listeners.values(), current.id, mayBegin)
    for (const number of there) outlet.current(number)
    const lost: number[] = []
    for (const [has, numbers] of behind) {
      const base = has === null ? undefined : this.kept.find(trace, has)
      if (base === undefined) lost.push(...numbers)
      else outlet.send(numbers, current.id, changeEvent(base, current))
    }
    if (lost.length > 0) outlet.send(lost, current.id, rowsEvent(current))
  }

  private end(listeners: readonly Listener<Query>[], code: ErrorCode, message: string): void {
    if (listeners.length === 0) return
    const numbers = listeners.map(({ number }) => number)
    for (const number of numbers) this.leave(number)
    this.parts.outlet.end(numbers, code, message)
  }

  private drop(shared: Shared<Query>): void {
    const { name, trace, current, timer, left } = shared
    left.abort(new TidemarkError('shutting_down', 'Nobody listens any more'))
    if (timer !== null) clearTimeout(timer)
    this.waiting.delete(shared)
    this.queries.delete(name)
    if (current === null) return
    this.resultBytes -= current.bytes
    this.kept.keep(trace, current, current.bytes, performance.now())
    shared.current = null
  }
}

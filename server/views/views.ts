/**
 * The views, as the relay sees them: a thread that reads the log through this object and writes rows somewhere. Nothing waits
 * for it but the start, until adapters are loaded: a broken one ends the start with its file and line.
 *
 * A thread that dies is started anew, each time after a longer wait; what it was at is done again, unless an adapter was at
 * fault (watched.ts).
 */
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { DocumentId } from '../../core/document-id.ts'
import { type DocumentPattern, parsePattern } from '../../core/domain/document-pattern.ts'
import type { FactRules } from '../../core/domain/facts/door.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import type { Log } from '../log/log.ts'
import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import { AdapterLoadError } from './adapters.ts'
import { LiveListeners } from './live/listeners.ts'
import { isLive } from './live/messages.ts'
import { answer, isCall, type Served } from './log-port.ts'
import type { Answered, Operation } from './operations.ts'
import { isQuery } from './query/messages.ts'
import { RemoteQueries } from './query/remote-queries.ts'
import type { QueryRights } from './query/rights.ts'
import type { FromViews, ThreadData, ViewsFigures, ViewsSettings } from './views-messages.ts'
import { anyAdapter, Culprits, runningIn, watchedMemory } from './watched.ts'

export interface ViewsOptions {
  readonly log: Pick<Log, 'load' | 'changes'>
  /** Lets a decision into a document; resolves when it is durable. */
  readonly decide: Served['decide']
  readonly settings: ViewsSettings
  readonly logger: Logger
  readonly metrics: Pick<Metrics, 'watchViews' | 'watchLive' | 'liveRan' | 'decided'>
  /** How long an adapter may take for one document, before its thread is ended. */
  readonly projectionMsMax?: number
}

const closeMsMax = 2_000
const projectionMsMax = 10_000
/** A document may take so many times as long to be opened. */
const openingTimes = 6
const operationMsMax = 30_000
const operationsMax = 100
const wakeMs = 2
const restartMsMax = 30_000
/** A thread that lived so long began well. */
const stableMs = 60_000

// Sources run from TypeScript (in tests) use the compiled thread.
const threadUrl = import.meta.url.endsWith('.ts')
  ? new URL('../../dist/server/views/views-thread.js', import.meta.url)
  : new URL('./views-thread.js', import.meta.url)

const none: ViewsFigures = {
  pending: 0,
  projected: 0,
  dead: 0,
  unavailable: false,
  intents: 0,
  rebuilding: [],
}

export class Views {
  private facts: readonly { readonly pattern: DocumentPattern; readonly clocked: readonly string[] }[] = []
  readonly live: LiveListeners<QueryRights>
  readonly queries = new RemoteQueries()
  private readonly options: ViewsOptions
  private readonly closing = new AbortController()
  private worker: Worker | null = null
  private exited: Promise<unknown> = Promise.resolve()
  private running: Promise<void> = Promise.resolve()
  private figures = none
  private waking: NodeJS.Timeout | null = null
  private readonly projectionMsMax: number
  /** The last thread ended by an adapter's fault. */
  private wasBlamed = false
  private readonly culprits = new Culprits()
  private readonly operating = new Map<number, (answer: Answered | TidemarkError) => void>()
  private operations = 0

  constructor(options: ViewsOptions) {
    this.options = options
    this.projectionMsMax = options.projectionMsMax ?? projectionMsMax
    options.metrics.watchViews(() => this.figures)
    this.live = new LiveListeners((count) => options.metrics.liveRan(count))
    options.metrics.watchLive(() => this.live.size)
  }

  /** The log is started before, and closed after it. Throws `AdapterLoadError`. */
  async start(): Promise<void> {
    // Most relays have none: they are spared the thread.
    if (!existsSync(this.options.settings.folder)) return
    const adapters = await this.launch()
    if (adapters.length === 0) return
    const { databaseUrl } = this.options.settings
    this.options.logger.info({ adapters, sql: databaseUrl === null ? 'embedded' : 'postgres' }, 'views')
    this.running = this.watch(this.closing.signal)
  }

  /** Something became durable. Cheap: called with every batch. */
  wake(): void {
    if (this.waking !== null || this.worker === null) return
    this.waking = setTimeout(() => {
      this.waking = null
      this.worker?.postMessage({ kind: 'wake' })
    }, wakeMs)
  }

  async close(): Promise<void> {
    this.closing.abort()
    this.live.close('shutting_down', 'The server is shutting down')
    if (this.waking !== null) clearTimeout(this.waking)
    this.worker?.postMessage({ kind: 'close' })
    const late = sleep(closeMsMax, undefined, { ref: false }).then(() => this.worker?.terminate())
    await Promise.race([this.exited, late])
    await this.running
  }

  /** Rejects with `views_unavailable`, `not_found`, `already_exists`, `overloaded`. */
  async operate(operation: Operation): Promise<Answered> {
    const { worker, operating } = this
    if (worker === null)
      throw unavailable('There are no adapters in the folder ADAPTERS, or their thread is starting')
    if (operating.size >= operationsMax) throw new TidemarkError('overloaded', 'Too many ask the views')
    if (operation.verb === 'retry') this.culprits.forgive(operation.adapter, operation.document)
    const id = this.operations++
    return new Promise((resolve, reject) => {
      const late = setTimeout(
        () => operating.get(id)?.(unavailable('The views gave no answer')),
        operationMsMax,
      )
      operating.set(id, (answer) => {
        clearTimeout(late)
        operating.delete(id)
        if (answer instanceof TidemarkError) reject(answer)
        else resolve(answer)
      })
      worker.postMessage({ kind: 'operate', id, operation })
    })
  }

  /** Ends the thread when its adapter is at the same document for too long, and calls `onLate` before. */
  private guard(worker: Worker, memory: SharedArrayBuffer, onLate: (msMax: number) => void): NodeJS.Timeout {
    let seen = { run: 0, sinceMs: 0 }
    return setInterval(() => {
      const running = runningIn(memory)
      const run = running?.run ?? 0
      const nowMs = performance.now()
      if (run !== seen.run) seen = { run, sinceMs: nowMs }
      const msMax = this.projectionMsMax * (running?.adapter === anyAdapter ? openingTimes : 1)
      if (run === 0 || nowMs - seen.sinceMs < msMax) return
      onLate(msMax)
      void worker.terminate()
    }, this.projectionMsMax / 10)
  }

  /** A thread ended by itself, or by `guard`. */
  private blame(memory: SharedArrayBuffer, reason: string): void {
    const culprit = runningIn(memory)
    if (culprit === null || this.closing.signal.aborted) return
    const { adapter, document } = culprit
    if (adapter !== anyAdapter)
      this.options.logger.error({ adapter, document, reason }, 'an adapter ended the thread of the views')
    else this.options.logger.error({ document, reason }, 'a document ended the thread of the views')
    this.culprits.note(
      culprit,
      adapter === anyAdapter
        ? `It cannot be opened within ${this.options.settings.memoryMb} MiB: ${reason}`
        : reason,
      Date.now(),
    )
    this.wasBlamed = true
  }

  /** Never rejects. */
  private async watch(signal: AbortSignal): Promise<void> {
    const { logger } = this.options
    for (let failures = 0; !signal.aborted; ) {
      const startedMs = performance.now()
      await this.exited
      if (signal.aborted) return
      // It is known why, and will not happen again at once.
      if (this.wasBlamed || performance.now() - startedMs > stableMs) failures = 0
      else failures++
      this.wasBlamed = false
      const waitMs = Math.min(restartMsMax, 500 * 2 ** failures) * (0.5 + Math.random() / 2)
      logger.error({ waitMs: Math.round(waitMs) }, 'the thread of the views ended; it is started anew')
      // Aborted: the end, seen by the loop.
      await sleep(waitMs, undefined, { signal }).catch(() => undefined)
      if (signal.aborted) return
      await this.launch().catch((error: unknown) =>
        logger.error({ err: error }, 'views could not be started'),
      )
    }
  }

  /** Null: no adapter says that the document holds facts. */
  factRulesOf(document: DocumentId): FactRules | null {
    const own = this.facts.filter(({ pattern }) => pattern.match(document) !== null)
    return own.length === 0 ? null : { clocked: new Set(own.flatMap(({ clocked }) => clocked)) }
  }

  /** Resolves with the adapters' names once they are loaded. */
  private launch(): Promise<readonly string[]> {
    const { settings, log, decide, logger } = this.options
    const served: Served = {
      load: (...parameters) => log.load(...parameters),
      changes: (...parameters) => log.changes(...parameters),
      decide,
    }
    const watched = watchedMemory()
    const { refused, suspects } = this.culprits
    const workerData: ThreadData = { settings, watched, refused, suspects }
    const resourceLimits = { maxOldGenerationSizeMb: settings.memoryMb }
    const worker = new Worker(threadUrl, { workerData, resourceLimits })
    this.worker = worker
    this.queries.attach(worker)
    let reason = 'it ended the thread'
    const guard = this.guard(worker, watched, (msMax) => {
      reason = `it took more than ${msMax} ms`
    })
    return new Promise((resolve, reject) => {
      worker.on('message', (message: FromViews) => {
        if (isCall(message)) void answer(message, served, worker)
        else if (isQuery(message)) this.queries.heard(message)
        else if (isLive(message)) this.live.heard(message)
        else if (message.kind === 'ready') {
          if (message.adapters.length > 0) this.live.attach(worker)
          this.facts = message.facts.map(({ documents, clocked }) => ({
            pattern: parsePattern(documents),
            clocked,
          }))
          resolve(message.adapters)
        } else if (message.kind === 'broken') reject(new AdapterLoadError(message.message))
        else if (message.kind === 'figures') {
          this.figures = message.figures
          for (const batch of message.decided) this.options.metrics.decided(batch)
        } else if (message.kind === 'log') logger[message.level](message.fields, message.message)
        else if (message.kind === 'operated') this.operating.get(message.id)?.(message.answered)
        else if (message.kind === 'inoperable')
          this.operating.get(message.id)?.(new TidemarkError(message.code, message.reason))
      })
      worker.on('error', (error) => {
        if ('code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY')
          reason = `it took more than ${settings.memoryMb} MiB`
        logger.error({ err: error }, 'the thread of the views failed')
        reject(error)
      })
      this.exited = new Promise((done) => {
        worker.once('exit', () => {
          clearInterval(guard)
          if (this.worker === worker) this.queries.attach(null)
          this.blame(watched, reason)
          if (this.worker === worker) {
            this.worker = null
            this.live.attach(null)
          }
          this.figures = { ...none, unavailable: this.figures.unavailable }
          for (const tell of [...this.operating.values()]) tell(unavailable('The views ended'))
          reject(new Error('the thread of the views ended before it was ready'))
          done(undefined)
        })
      })
    })
  }
}

const unavailable = (reason: string): TidemarkError => new TidemarkError('views_unavailable', reason)

/**
 * The views, as the relay sees them: a thread that reads the log through this object and writes rows somewhere. Nothing waits
 * for it but the start, until adapters are loaded: a broken one ends the start with its file and line.
 *
 * A thread that dies is started anew, each time after a longer wait; what it was at is done again.
 */
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { Log } from '../log/log.ts'
import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import { AdapterLoadError } from './adapters.ts'
import { answer, isCall } from './log-port.ts'
import type { FromViews, ViewsFigures, ViewsSettings } from './views-messages.ts'

export interface ViewsOptions {
  readonly log: Pick<Log, 'load' | 'changes'>
  readonly settings: ViewsSettings
  readonly logger: Logger
  readonly metrics: Pick<Metrics, 'watchViews'>
}

const closeMsMax = 2_000
const wakeMs = 2
const restartMsMax = 30_000
/** A thread that lived so long began well. */
const stableMs = 60_000

// Sources run from TypeScript (in tests) use the compiled thread.
const threadUrl = import.meta.url.endsWith('.ts')
  ? new URL('../../dist/server/views/views-thread.js', import.meta.url)
  : new URL('./views-thread.js', import.meta.url)

const none: ViewsFigures = { pending: 0, projected: 0, dead: 0, unavailable: false }

export class Views {
  private readonly options: ViewsOptions
  private readonly closing = new AbortController()
  private worker: Worker | null = null
  private exited: Promise<unknown> = Promise.resolve()
  private running: Promise<void> = Promise.resolve()
  private figures = none
  private waking: NodeJS.Timeout | null = null

  constructor(options: ViewsOptions) {
    this.options = options
    options.metrics.watchViews(() => this.figures)
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
    if (this.waking !== null) clearTimeout(this.waking)
    this.worker?.postMessage({ kind: 'close' })
    const late = sleep(closeMsMax, undefined, { ref: false }).then(() => this.worker?.terminate())
    await Promise.race([this.exited, late])
    await this.running
  }

  /** Never rejects. */
  private async watch(signal: AbortSignal): Promise<void> {
    const { logger } = this.options
    for (let failures = 0; !signal.aborted; ) {
      const startedMs = performance.now()
      await this.exited
      if (signal.aborted) return
      failures = performance.now() - startedMs > stableMs ? 0 : failures + 1
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

  /** Resolves with the adapters' names once they are loaded. */
  private launch(): Promise<readonly string[]> {
    const { settings, log, logger } = this.options
    const worker = new Worker(threadUrl, { workerData: settings })
    this.worker = worker
    return new Promise((resolve, reject) => {
      worker.on('message', (message: FromViews) => {
        if (isCall(message)) void answer(message, log, worker)
        else if (message.kind === 'ready') resolve(message.adapters)
        else if (message.kind === 'broken') reject(new AdapterLoadError(message.message))
        else if (message.kind === 'figures') this.figures = message.figures
        else if (message.kind === 'log') logger[message.level](message.fields, message.message)
      })
      worker.on('error', (error) => {
        logger.error({ err: error }, 'the thread of the views failed')
        reject(error)
      })
      this.exited = new Promise((done) => {
        worker.once('exit', () => {
          if (this.worker === worker) this.worker = null
          this.figures = { ...none, unavailable: this.figures.unavailable }
          reject(new Error('the thread of the views ended before it was ready'))
          done(undefined)
        })
      })
    })
  }
}

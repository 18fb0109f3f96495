/**
 * Batches to PGlite, a PostgreSQL compiled to WebAssembly, in a thread of its own: it computes on the thread it runs on,
 * and the relay's must stay free.
 *
 *   idle ──batch──▶ starting ──▶ up ──▶ (the thread ends by itself, or is ended) ──▶ resting ──batch──▶ starting …
 *
 * - The thread starts with the first batch, which waits for it: two seconds where there is no database yet. Whoever calls
 *   `start` waits for nothing.
 * - One batch is with the thread, the others wait here, in order. A thread that ends takes its batch with it (`unknown`);
 *   those that wait are for the next one.
 * - PGlite cannot be interrupted: statement_timeout does nothing, for want of signals. A batch beyond its `batchMs` ends
 *   the thread, which is as good as kill -9: the transaction is gone, and the next start takes a third of a second.
 * - A database that does not open twice in a row is put away and begun anew, for views can be rebuilt.
 */
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import type { Logger } from '../../logger.ts'
import { type EmbeddedFolder, openFolder } from './embedded-folder.ts'
import type { FromWorker, ToWorker, WorkerSettings } from './embedded-messages.ts'
import {
  type BatchOptions,
  batchesWaitingMax,
  batchMs,
  connectionFailure,
  givenUp,
  type Result,
  type Sql,
  SqlError,
  type Statement,
} from './sql.ts'
import { assertWithinLimits } from './transaction.ts'

export interface EmbeddedSqlOptions {
  /** Made when it is not there. */
  readonly folder: string
  /** Archive with which a new database begins; without such a file it is made, which takes seconds. */
  readonly initial?: string
  /** Of 127.0.0.1, where psql and friends find it. 0 or none: nowhere. */
  readonly port?: number
  readonly logger: Logger
}

type State =
  | { readonly at: 'idle' }
  | { readonly at: 'starting' }
  | { readonly at: 'up'; readonly worker: Worker }
  /** Batches that come before `untilMs` are refused: the start that failed just now would fail again. */
  | { readonly at: 'resting'; readonly untilMs: number }

interface Job {
  readonly statements: readonly Statement[]
  readonly options: BatchOptions
  readonly resolve: (results: readonly Result[]) => void
  readonly reject: (error: SqlError) => void
}

const startMsMax = 120_000
const closeMsMax = 10_000
const restMsMin = 200
const restMsMax = 10_000

// Sources run from TypeScript (in tests) use the compiled worker.
const builtUrl = import.meta.url.endsWith('.ts')
  ? new URL('../../../dist/server/views/sql/', import.meta.url)
  : new URL('./', import.meta.url)
const workerUrl = new URL('embedded-worker.js', builtUrl)
const initialPath = fileURLToPath(new URL('initial-database.tar.gz', builtUrl))

export class EmbeddedSql implements Sql {
  private readonly folderPath: string
  private readonly initial: string
  private readonly port: number
  private readonly logger: Logger
  private state: State = { at: 'idle' }
  private folder: EmbeddedFolder | null = null
  private readonly waiting: Job[] = []
  private running: { job: Job; deadline: NodeJS.Timeout } | null = null
  private onIdle: (() => void) | null = null
  private launching: Promise<void> = Promise.resolve()
  private failedStarts = 0
  private reason: string | null = null
  private closing = false

  constructor({ folder, logger, initial = initialPath, port = 0 }: EmbeddedSqlOptions) {
    this.initial = initial
    this.port = port
    this.folderPath = folder
    this.logger = logger
  }

  async start(): Promise<void> {}

  unavailable(): string | null {
    return this.reason
  }

  async batch(
    statements: readonly Statement[],
    options: BatchOptions = {},
    signal?: AbortSignal,
  ): Promise<readonly Result[]> {
    assertWithinLimits(statements)
    if (this.closing) throw unavailable('The views are closed')
    if (this.state.at === 'resting' && performance.now() < this.state.untilMs)
      throw unavailable(this.reason ?? 'The database of the views is restarting')
    if (this.waiting.length >= batchesWaitingMax) throw unavailable('Too many batches wait')
    if (signal?.aborted === true) throw givenUp()
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        const at = this.waiting.indexOf(job)
        if (at === -1) return
        this.waiting.splice(at, 1)
        reject(givenUp())
      }
      const settled =
        <T>(settle: (value: T) => void) =>
        (value: T): void => {
          signal?.removeEventListener('abort', giveUp)
          settle(value)
        }
      const job: Job = { statements, options, resolve: settled(resolve), reject: settled(reject) }
      signal?.addEventListener('abort', giveUp, { once: true })
      this.waiting.push(job)
      this.next()
    })
  }

  async close(): Promise<void> {
    if (this.closing) return
    this.closing = true
    const idle = this.running === null ? Promise.resolve() : new Promise<void>((done) => (this.onIdle = done))
    this.refuseWaiting('The views are closed')
    await idle
    await this.launching
    const clean = this.state.at === 'up' && (await this.end(this.state.worker))
    await this.folder?.close(clean)
  }

  private next(): void {
    if (this.running !== null || this.waiting.length === 0) return
    if (this.state.at === 'idle' || this.state.at === 'resting') {
      this.state = { at: 'starting' }
      this.launching = this.launch()
    }
    if (this.state.at !== 'up') return
    const { worker } = this.state
    const job = this.waiting.shift() as Job
    const deadline = setTimeout(() => {
      this.lose(worker, `A batch took more than ${job.options.batchMs ?? batchMs} ms`, '57014')
    }, job.options.batchMs ?? batchMs)
    this.running = { job, deadline }
    post(worker, { type: 'batch', statements: job.statements, options: job.options })
  }

  private async launch(): Promise<void> {
    try {
      if (this.folder === null) {
        this.folder = await openFolder(this.folderPath)
        this.failedStarts = 0
        if (this.folder.discarded !== null) this.sayAnew(this.folder.discarded)
      } else if (this.failedStarts === 2) {
        await this.folder.putAway()
        this.sayAnew(this.reason ?? 'it did not open')
      }
      const { initial, port } = this
      const { worker, notBegun } = await launchWorker({ database: this.folder.database, initial, port })
      if (notBegun !== null)
        this.logger.warn({ initial, reason: notBegun }, 'the initial database cannot be used; one was made')
      worker.on('message', (message: FromWorker) => this.onMessage(message))
      worker.on('error', (error) => this.lose(worker, error.message))
      worker.on('exit', () => this.lose(worker, 'PGlite ended'))
      this.failedStarts = 0
      this.reason = null
      this.state = { at: 'up', worker }
      this.logger.info({}, 'the embedded database of the views is up')
      this.next()
    } catch (error) {
      this.failedStarts++
      this.rest(error instanceof Error ? error.message : String(error))
      this.refuseWaiting(this.reason ?? '')
    }
  }

  private onMessage(message: FromWorker): void {
    if (message.type === 'upkeep_failed')
      this.logger.warn({ reason: message.reason }, 'the embedded database of the views was not vacuumed')
    if (message.type === 'port_failed')
      this.logger.error({ port: this.port, reason: message.reason }, 'VIEWS_PORT cannot be opened')
    if (message.type !== 'done' && message.type !== 'refused') return
    const job = this.take()
    if (message.type === 'done') job?.resolve(message.results)
    else job?.reject(new SqlError(message.message, message.details))
    this.next()
  }

  /** The thread is gone, or is to go. */
  private lose(worker: Worker, reason: string, code: string = connectionFailure): void {
    if (this.state.at !== 'up' || this.state.worker !== worker) return
    this.reason = reason
    this.logger.warn({ reason }, 'the embedded database of the views is away')
    this.take()?.reject(new SqlError(reason, { code, outcome: 'unknown' }))
    // Only when the old thread has ended may another one open the database.
    this.state = { at: 'starting' }
    this.launching = worker.terminate().then(() => {
      this.state = { at: 'idle' }
      this.next()
    })
  }

  private take(): Job | undefined {
    const running = this.running
    if (running === null) return undefined
    clearTimeout(running.deadline)
    this.running = null
    this.onIdle?.()
    return running.job
  }

  private rest(reason: string): void {
    this.reason = reason
    const restMs = Math.min(restMsMax, restMsMin * 2 ** this.failedStarts) * (0.5 + Math.random() / 2)
    this.state = { at: 'resting', untilMs: performance.now() + restMs }
    this.logger.warn({ reason }, 'the embedded database of the views is away')
  }

  private sayAnew(reason: string): void {
    this.logger.warn({ reason }, 'the embedded database of the views is begun anew')
  }

  private refuseWaiting(reason: string): void {
    for (const job of this.waiting.splice(0)) job.reject(unavailable(reason))
  }

  /** True when the database was closed. */
  private async end(worker: Worker): Promise<boolean> {
    this.state = { at: 'idle' }
    const closed = new Promise<boolean>((resolve) => {
      worker.on('message', (message: FromWorker) => message.type === 'closed' && resolve(true))
      worker.on('exit', () => resolve(false))
      setTimeout(() => resolve(false), closeMsMax).unref()
    })
    post(worker, { type: 'close' })
    const clean = await closed
    await worker.terminate()
    return clean
  }
}

const unavailable = (message: string): SqlError =>
  new SqlError(message, { code: connectionFailure, retryable: true })

const post = (worker: Worker, message: ToWorker): void => worker.postMessage(message)

/** See `FromWorker`. */
interface Launched {
  readonly worker: Worker
  readonly notBegun: string | null
}

/** Resolves when PGlite has opened the database. */
async function launchWorker(workerData: WorkerSettings): Promise<Launched> {
  const worker = new Worker(workerUrl, { workerData, stdout: true, stderr: true })
  // PostgreSQL's own lines; unread they would fill memory.
  worker.stdout.resume()
  worker.stderr.resume()
  let deadline: NodeJS.Timeout | undefined
  try {
    const notBegun = await new Promise<string | null>((resolve, reject) => {
      deadline = setTimeout(() => reject(new Error(`PGlite did not start in ${startMsMax} ms`)), startMsMax)
      // `on`: a worker whose last listener is taken away gives no more messages, also to the next one.
      worker.on('message', (message: FromWorker) =>
        message.type === 'up'
          ? resolve(message.notBegun)
          : reject(new Error(`PGlite did not start: ${reasonOf(message)}`)),
      )
      worker.once('error', reject)
      worker.once('exit', () => reject(new Error('PGlite ended while it started')))
    })
    return { worker, notBegun }
  } catch (error) {
    await worker.terminate()
    throw error
  } finally {
    clearTimeout(deadline)
  }
}

const reasonOf = (message: FromWorker): string =>
  message.type === 'failed' ? message.reason : `unexpected ${message.type}`

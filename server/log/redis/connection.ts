/**
 * One connection to Redis that is kept alive: it dials, sets up, watches, and dials again, with
 * full-jitter backoff, until it is closed. While it is down every command rejects at once; there is
 * no offline queue.
 *
 *   down ──dial, set up──▶ up ──socket ends, no answer to a ping, a replica answers──▶ down ─▶ …
 *
 * Redis answers in order, so one unanswered PING bounds every command before it: a time limit for
 * all without a timer for each. When it passes, the socket is destroyed, which rejects all that
 * waits; whether it was executed is unknown. The client's own reconnecting is off: it would hand a
 * half-set-up connection to callers and resubscribe without telling.
 *
 * Where to dial is asked anew each time (`Whereabouts`), and what stands elsewhere than the master is dropped.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient, ErrorReply, RESP_TYPES } from 'redis'
import type { Logger } from '../../logger.ts'
import { describeCause, toTidemarkError, unavailable } from './failure.ts'

export interface ConnectionLimits {
  readonly pingIntervalMs: number
  /** The time limit of every command: a ping unanswered for so long ends the connection. */
  readonly commandMsMax: number
  readonly connectMsMax: number
  readonly backoffMsMin: number
  readonly backoffMsMax: number
}

export const connectionLimits: ConnectionLimits = {
  pingIntervalMs: 1_000,
  commandMsMax: 5_000,
  connectMsMax: 5_000,
  backoffMsMin: 20,
  backoffMsMax: 2_000,
}

function newClient(url: string, name: string, limits: ConnectionLimits) {
  return createClient({
    url,
    name,
    RESP: 3,
    disableOfflineQueue: true,
    // Its own limit makes an AbortSignal for every command, which stays for as long as it was given.
    commandOptions: { timeout: 0 },
    maintNotifications: 'disabled',
    socket: { reconnectStrategy: false, connectTimeout: limits.connectMsMax },
  })
}

export type Client = ReturnType<typeof newClient>

const buffers = { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } }

/** Where Redis is: a fixed address, or where the Sentinels say (sentinels.ts). */
export interface Whereabouts {
  /** The URL to dial now; rejects when nobody can tell. */
  find(): Promise<string>
  /** Whether that is where Redis is still, as far as is known. */
  holds(url: string): boolean
}

export const fixed = (url: string): Whereabouts => ({ find: async () => url, holds: () => true })

const movedAway = 'Redis has another master now'

export interface ConnectionOptions {
  readonly whereabouts: Whereabouts
  readonly name: string
  readonly logger: Logger
  readonly limits: ConnectionLimits
  /** Runs before the connection counts as up; what it throws ends the attempt. */
  setUp(client: Client): Promise<void>
  onUp(): void
  onDown(why: string): void
  /** An attempt did not get as far as up. */
  onFailed?(error: unknown): void
  /** With each answered ping. */
  onAlive?(): void
}

export class Connection {
  private readonly options: ConnectionOptions
  private readonly closing = new AbortController()
  private client: Client | null = null
  private running: Promise<void> | null = null
  private endCurrent: (why: string) => void = () => {}
  /** Where the current attempt dials, or the connection stands. */
  private url: string | null = null
  /** Why the connection is down; null while it is up. */
  why: string | null = 'Not connected to Redis yet'
  /** What the last failed attempt threw. */
  lastError: unknown = null

  constructor(options: ConnectionOptions) {
    this.options = options
  }

  start(): void {
    this.running ??= this.keepAlive()
  }

  async close(): Promise<void> {
    this.closing.abort()
    this.endCurrent('The log is closed')
    await this.running
  }

  /** Ends the current connection; the next attempt follows. */
  drop(why: string): void {
    this.endCurrent(why)
  }

  /** Ends the current connection, or attempt, if Redis is elsewhere by now. */
  reconsider(): void {
    if (this.url !== null && !this.options.whereabouts.holds(this.url)) this.endCurrent(movedAway)
  }

  /** The live client, or throws at once. */
  get live(): Client {
    if (this.client === null || this.why !== null) throw unavailable(this.why ?? 'Not connected to Redis')
    return this.client
  }

  /** Replies with strings. Rejects with what Redis said, or `log_unavailable` at once while down. */
  async command(args: readonly (string | Buffer)[]): Promise<unknown> {
    return this.live.sendCommand(args).catch((error: unknown) => this.refuse(error))
  }

  /** Like `command`, but byte strings in the reply are Buffers: views of larger memory. */
  async commandForBuffers(args: readonly (string | Buffer)[]): Promise<unknown> {
    return this.live.sendCommand(args, buffers).catch((error: unknown) => this.refuse(error))
  }

  /** What Redis said goes to the caller; of a lost connection, the reason. */
  private refuse(error: unknown): never {
    throw error instanceof ErrorReply ? error : unavailable(this.why ?? describeCause(error))
  }

  private async keepAlive(): Promise<void> {
    const { limits, logger, name } = this.options
    const { signal } = this.closing
    for (let attempt = 0; !signal.aborted; attempt++) {
      const startedAt = performance.now()
      const why = await this.connectOnce()
      if (signal.aborted) break
      if (performance.now() - startedAt > limits.backoffMsMax) attempt = 0
      logger.debug({ connection: name, why, attempt }, 'redis connection ended')
      const ceiling = Math.min(limits.backoffMsMax, limits.backoffMsMin * 2 ** Math.min(attempt, 16))
      // The rejection can only be the abort, which the loop's condition sees.
      await sleep(Math.random() * ceiling, undefined, { signal }).catch(() => {})
    }
  }

  /** Dials, and resolves with the reason once the connection has ended. */
  private async connectOnce(): Promise<string> {
    const { whereabouts, name, limits, logger } = this.options
    const found = await whereabouts.find().catch((error: unknown) => toTidemarkError(error))
    if (typeof found !== 'string') {
      this.lastError = found
      this.why = found.message
      this.options.onFailed?.(found)
      return found.message
    }
    if (this.closing.signal.aborted) return 'The log is closed'
    this.url = found
    const client = newClient(found, name, limits)
    const ended = new Promise<string>((resolve) => {
      this.endCurrent = resolve
      client.on('error', (error: unknown) => {
        this.lastError = error
        resolve(describeCause(error))
      })
      client.on('end', () => resolve('Redis ended the connection'))
    })
    let up = false
    // Stands for a dial or set-up that neither ends nor fails; cleared with the attempt.
    const deadline = setTimeout(
      () => this.endCurrent('Redis did not answer in time'),
      limits.connectMsMax + limits.commandMsMax,
    )
    const opening = (async () => {
      await client.connect()
      await this.options.setUp(client)
      if (!whereabouts.holds(found)) throw unavailable(movedAway)
      clearTimeout(deadline)
    })()
    const outcome = await Promise.race([
      ended,
      opening.then(
        () => null,
        (error: unknown) => {
          this.lastError = error
          return toTidemarkError(error).message
        },
      ),
    ])
    clearTimeout(deadline)
    let why = outcome
    if (why === null) {
      up = true
      this.client = client
      this.why = null
      this.lastError = null
      logger.info({ connection: name }, 'redis connected')
      this.options.onUp()
      const stopWatching = this.watch(client)
      why = await ended
      stopWatching()
    }
    this.client = null
    this.url = null
    this.why = why
    client.destroy()
    // The attempt has already been judged; what remains of it rejects because of destroy().
    opening.catch(() => {})
    if (up && !this.closing.signal.aborted) logger.warn({ connection: name, why }, 'redis connection lost')
    if (up) this.options.onDown(why)
    else this.options.onFailed?.(this.lastError)
    return why
  }

  private watch(client: Client): () => void {
    const { limits, onAlive } = this.options
    let askedAt: number | null = null
    const overdue = () => askedAt !== null && performance.now() - askedAt > limits.commandMsMax
    const answered = () => {
      askedAt = null
      onAlive?.()
    }
    const timer = setInterval(
      () => {
        // An answer may lie unread in the socket while this process was busy: look again after reading.
        if (overdue()) setImmediate(() => overdue() && this.endCurrent('Redis did not answer in time'))
        if (askedAt !== null) return
        askedAt = performance.now()
        // An error reply (LOADING, …) is an answer too; a lost connection is told by `ended`.
        client.sendCommand(['PING']).then(answered, answered)
      },
      Math.min(limits.pingIntervalMs, limits.commandMsMax / 2),
    )
    return () => clearInterval(timer)
  }
}

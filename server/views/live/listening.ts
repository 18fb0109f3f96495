/**
 * Hears from PostgreSQL which tables other nodes wrote, over a connection of its own: a pool would hand it to somebody else.
 *
 *   connecting ─▶ listening ─▶ lost ─▶ (wait) ─▶ connecting …
 *
 * Whatever is notified while there is no connection is missed. So each time that it listens, everything is told to have
 * changed. A connection that died without a word is found by asking it now and then.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { Logger } from '../../logger.ts'
import { channel, parseNotification } from './notification.ts'
import type { Touch } from './touch.ts'

export interface ListeningOptions {
  readonly url: string
  /** What this node sent itself: it knew before. */
  readonly isOwn: (node: string) => boolean
  /** Null: everything may have changed. */
  readonly onTouched: (touches: readonly Touch[] | null) => void
  readonly logger: Logger
}

const connectMs = 5_000
const askEveryMs = 15_000
const askMsMax = 10_000
const retryMs = 250
const retryMsMax = 10_000
/** That came to be heard in one turn; more are as if all had changed. */
const touchesMax = 1_000

export class Listening {
  private readonly options: ListeningOptions
  private readonly closing = new AbortController()
  private running: Promise<void> = Promise.resolve()
  private heard: Touch[] = []

  constructor(options: ListeningOptions) {
    this.options = options
  }

  start(): void {
    this.running = this.run(this.closing.signal)
  }

  async close(): Promise<void> {
    this.closing.abort()
    await this.running
  }

  /** Never rejects. */
  private async run(signal: AbortSignal): Promise<void> {
    const { logger } = this.options
    for (let failures = 0; !signal.aborted; failures++) {
      const startedMs = performance.now()
      const reason = await this.listen(signal)
      if (signal.aborted) return
      if (performance.now() - startedMs > retryMsMax) failures = 0
      if (failures === 0) logger.warn({ reason }, 'live queries do not hear of other nodes')
      const waitMs = Math.min(retryMsMax, retryMs * 2 ** failures) * (0.5 + Math.random() / 2)
      // Aborted: the end, seen by the loop.
      await sleep(waitMs, undefined, { signal }).catch(() => undefined)
    }
  }

  /** Resolves with why it ended. */
  private async listen(signal: AbortSignal): Promise<string> {
    const client = new pg.Client({
      connectionString: this.options.url,
      connectionTimeoutMillis: connectMs,
      query_timeout: askMsMax,
      keepAlive: true,
      application_name: 'tidemark live',
    })
    let end: () => void = () => undefined
    const lost = new Promise<string>((resolve) => {
      end = () => resolve('closed')
      client.on('error', (error) => resolve(error.message))
      client.on('end', () => resolve('the connection ended'))
    })
    signal.addEventListener('abort', end)
    client.on('notification', ({ payload }) => this.hear(payload ?? ''))
    try {
      await Promise.race([client.connect(), lost])
      await Promise.race([client.query(`listen ${channel}`), lost])
      if (!signal.aborted) this.options.onTouched(null)
      return await Promise.race([lost, this.ask(client, signal)])
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    } finally {
      signal.removeEventListener('abort', end)
      // It is of no use any more, whatever it says.
      await Promise.race([client.end(), sleep(connectMs, undefined, { ref: false })]).catch(() => undefined)
    }
  }

  /** Resolves at the end, rejects when there is no answer. */
  private async ask(client: pg.Client, signal: AbortSignal): Promise<string> {
    for (;;) {
      // Aborted: the end.
      await sleep(askEveryMs, undefined, { signal, ref: false }).catch(() => undefined)
      if (signal.aborted) return 'closed'
      await client.query('select')
    }
  }

  private hear(payload: string): void {
    const notification = parseNotification(payload)
    if (notification === null || this.options.isOwn(notification.node)) return
    const { schema, table } = notification
    if (this.heard.push({ schema, table }) > 1) return
    // Those of one commit come in one read.
    setImmediate(() => {
      const heard = this.heard
      this.heard = []
      if (!this.closing.signal.aborted) this.options.onTouched(heard.length > touchesMax ? null : heard)
    })
  }
}

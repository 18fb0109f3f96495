/**
 * Tells one HTTP receiver that documents have changed; docs/webhooks.md has its contract.
 *
 * - At least once: every change after the first start is announced, whatever is killed, unless the receiver refuses it
 *   for good. Only a cursor that everything before was delivered for is stored (position.ts).
 * - One node at a time (term.ts); each node has one of these, and those without the term ask for it now and then.
 * - Nothing waits for it: it reads what is durable, like any follower, and can be away for as long as it likes.
 * - Bounded: documents that wait, requests, whole documents in memory, retries of what is refused.
 *
 *   webhooks ─▶ term ─▶ tenure ─┬─▶ waiting      debounce, states of documents (pure)
 *                               ├─▶ deliveries   heads: what to say · receiver: sign, post, judge
 *                               └─▶ position     the durable cursor
 *
 * Rejected: an entry for each delivery (writes as much as is edited), content in the payload (whoever may read it is
 * asked at the HTTP door), several receivers (one that fans out is a small program; here each would need all of this).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../log/log.ts'
import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import { Heads } from './heads.ts'
import { Receiver } from './receiver.ts'
import { type WebhooksConfig, type WebhooksSettings, webhooksSettings } from './settings.ts'
import { Tenure } from './tenure.ts'
import { Term } from './term.ts'

export const webhooksLimits = {
  leaseMs: 15_000,
  marginMs: 1_000,
  /** How often a node without the term asks for it. */
  contendMs: 2_000,
  contendMsMax: 30_000,
  pollMs: 250,
  pollMsMax: 5_000,
  saveMs: 1_000,
  waitingMax: 10_000,
  pageMax: 1_000,
  retryMs: 1_000,
  retryMsMax: 300_000,
  refusalsMax: 20,
  closeMsMax: 1_000,
}
export type WebhooksLimits = typeof webhooksLimits

export interface WebhooksOptions {
  readonly log: Pick<Log, 'append' | 'load' | 'compact' | 'changes' | 'lease'>
  readonly settings: WebhooksSettings
  readonly logger: Logger
  readonly metrics: Pick<Metrics, 'announced' | 'watchWebhooks'>
  readonly limits?: Partial<WebhooksLimits>
}

/** Null when they are off. */
export function createWebhooks(
  config: WebhooksConfig,
  parts: Omit<WebhooksOptions, 'settings' | 'limits'>,
): Webhooks | null {
  const settings = webhooksSettings(config)
  return settings === null ? null : new Webhooks({ ...parts, settings })
}

export class Webhooks {
  private readonly options: WebhooksOptions
  private readonly limits: WebhooksLimits
  private readonly receiver: Receiver
  private readonly term: Term
  private readonly closing = new AbortController()
  private running: Promise<void> = Promise.resolve()
  private tenure: Tenure | null = null

  constructor(options: WebhooksOptions) {
    this.options = options
    this.limits = { ...webhooksLimits, ...options.limits }
    this.receiver = new Receiver(options.settings)
    this.term = new Term(options.log, this.limits)
    options.metrics.watchWebhooks(() => this.tenure?.lagSeconds ?? 0)
  }

  /** The log is started before, and closed after it. */
  async start(): Promise<void> {
    this.running = this.run(this.closing.signal)
  }

  /** Takes a second at most, if the log answers. */
  async close(): Promise<void> {
    this.closing.abort()
    await this.running
  }

  /** Never rejects. */
  private async run(signal: AbortSignal): Promise<void> {
    const { contendMs, contendMsMax } = this.limits
    let failures = 0
    while (!signal.aborted) {
      try {
        if (await this.term.take()) await this.hold(signal)
        failures = 0
      } catch (error) {
        if (failures++ === 0) this.options.logger.warn({ err: error }, 'webhooks wait for the log')
      }
      const pauseMs = Math.min(contendMsMax, contendMs * 2 ** failures) * (0.5 + Math.random() / 2)
      // An aborted sleep is the end, seen by the loop.
      if (!signal.aborted) await sleep(pauseMs, undefined, { signal }).catch(() => undefined)
    }
    await this.term.release().catch(() => {
      // It ends by itself.
    })
  }

  private async hold(signal: AbortSignal): Promise<void> {
    const { log, logger, metrics, settings } = this.options
    const { debounceMs, replay, concurrency } = settings
    this.tenure = new Tenure({
      log,
      term: this.term,
      heads: new Heads(log),
      receiver: this.receiver,
      logger,
      metrics,
      debounceMs,
      replay,
      limits: { ...this.limits, concurrency },
    })
    try {
      await this.tenure.run(signal)
      if (!signal.aborted) logger.info({}, 'this node no longer announces changes')
    } finally {
      this.tenure = null
    }
  }
}

/**
 * Announces what is ready: at most `concurrency` documents at a time, each of them once at a time, and only while the
 * term is held, which is looked at right before each request.
 *
 *   waiting.take ─▶ heads: what to say ─▶ receiver.post ─┬─ delivered ───────────────────▶ done
 *                                                        ├─ gone, refused too often ─────▶ done, an error line
 *                                                        └─ failed, refused ─▶ a pause ──▶ ready again
 *
 * Pauses are random up to a bound that doubles from `retryMs` to `retryMsMax` (full jitter), or as long as the
 * receiver asks for. They belong to the document, so one that is refused holds up no other; 429 alone is about the
 * sender, and pauses everything. A document that the log cannot give counts as refused, a log that is away as failed.
 */
import type { DocumentId } from '../../core/document-id.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import type { Heads } from './heads.ts'
import type { Outcome, Receiver } from './receiver.ts'
import type { Term } from './term.ts'
import type { Waiting } from './waiting.ts'

export interface DeliveriesLimits {
  readonly concurrency: number
  readonly retryMs: number
  readonly retryMsMax: number
  readonly refusalsMax: number
}

export interface DeliveriesParts {
  readonly term: Pick<Term, 'held'>
  readonly waiting: Waiting
  readonly heads: Heads
  readonly receiver: Receiver
  readonly limits: DeliveriesLimits
  readonly logger: Logger
  readonly metrics: Pick<Metrics, 'announced'>
}

/** Failures are logged once in so long, with their number. */
const logMs = 60_000

export class Deliveries {
  private readonly parts: DeliveriesParts
  private readonly running = new Set<Promise<void>>()
  private readonly stopping = new AbortController()
  private closing = false
  private pausedUntilMs = 0
  private failures = 0
  private loggedMs = -Infinity

  constructor(parts: DeliveriesParts) {
    this.parts = parts
  }

  /** Begins with what is ready, as far as there is room. */
  pump(): void {
    const { waiting, limits } = this.parts
    while (this.running.size < limits.concurrency && this.mayPost) {
      const document = waiting.take()
      if (document === null) return
      const delivery = this.deliver(document).finally(() => {
        this.running.delete(delivery)
        this.pump()
      })
      this.running.add(delivery)
    }
  }

  /** Lets requests under way end for `graceMs`. A load that takes longer is not waited for: it leads to nothing. */
  async close(graceMs: number): Promise<void> {
    this.closing = true
    let timer: NodeJS.Timeout | undefined
    const grace = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, graceMs)
    })
    await Promise.race([Promise.all(this.running), grace])
    clearTimeout(timer)
    this.stopping.abort()
  }

  private get mayPost(): boolean {
    return !this.closing && this.parts.term.held && performance.now() >= this.pausedUntilMs
  }

  /** Never rejects. */
  private async deliver(document: DocumentId): Promise<void> {
    const { waiting, heads, receiver, metrics } = this.parts
    const outcome = await this.attempt(document)
    if (outcome === null) return
    if (outcome.is === 'delivered') {
      metrics.announced('delivered')
      const announcement = waiting.announcementOf(document)
      if (announcement !== null) heads.delivered(document, announcement)
      return waiting.done(document)
    }
    // An end of ours, not a failure of theirs.
    if (this.stopping.signal.aborted) return
    const { failures, refusals } = waiting.failed(document, outcome.is === 'refused')
    if (outcome.is === 'gone' || refusals >= this.parts.limits.refusalsMax) {
      metrics.announced('dropped')
      const { logger } = this.parts
      const fields = { document, host: receiver.host, why: outcome.why, attempts: failures + 1 }
      logger.error(fields, 'a change could not be announced, and is not tried again')
      return waiting.done(document)
    }
    metrics.announced('failed')
    this.noteFailure(document, outcome.why)
    const pauseMs = this.pauseMs(failures, outcome.retryAfterMs)
    const untilMs = performance.now() + pauseMs
    if (outcome.is === 'failed' && outcome.everybody)
      this.pausedUntilMs = Math.max(this.pausedUntilMs, untilMs)
    waiting.retry(document, untilMs)
  }

  /** Null when nothing was posted; the document's place in `waiting` is then settled. */
  private async attempt(document: DocumentId): Promise<Outcome | null> {
    const { waiting, heads, receiver } = this.parts
    try {
      const announcement = waiting.announcementOf(document) ?? (await heads.announcement(document))
      if (announcement === null) {
        waiting.done(document)
        return null
      }
      waiting.announce(document, announcement)
      if (!this.mayPost) {
        waiting.retry(document, 0)
        return null
      }
      return await receiver.post(announcement, this.stopping.signal)
    } catch (error) {
      const unreadable = error instanceof TidemarkError && error.code === 'document_unreadable'
      const why = error instanceof TidemarkError ? error.code : String(error)
      if (unreadable) return { is: 'refused', why, retryAfterMs: 0 }
      return { is: 'failed', why, retryAfterMs: 0, everybody: false }
    }
  }

  private pauseMs(failures: number, retryAfterMs: number): number {
    const { retryMs, retryMsMax } = this.parts.limits
    const backoffMs = Math.random() * Math.min(retryMsMax, retryMs * 2 ** failures)
    // Not all at the very moment that was named.
    return Math.max(backoffMs, retryAfterMs === 0 ? 0 : retryAfterMs + Math.random() * retryMs)
  }

  private noteFailure(document: DocumentId, why: string): void {
    const { logger, receiver } = this.parts
    this.failures++
    if (performance.now() - this.loggedMs < logMs) return
    const fields = { document, host: receiver.host, why, failures: this.failures }
    logger.warn(fields, 'changes could not be announced; tried again')
    this.failures = 0
    this.loggedMs = performance.now()
  }
}

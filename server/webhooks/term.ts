/**
 * Which node announces: the one that holds the lease on `webhooksDocument`. A log's lease cannot be renewed, so terms
 * follow each other: given back, taken anew. In between nobody holds it; should another node come first, this one
 * learns so at once and stops.
 *
 * A holder that was paused (a stopped process, a suspended machine) must not go on as if nothing had happened. So
 * `held` looks at the clocks each time it is asked: the monotonic one, which a suspended machine may stop, and the
 * wall clock, which may be set. Whichever says that the term is over is believed; what that costs is a new
 * term. The time of a term counts from before it was asked for, and ends `marginMs` early.
 *
 * What a holder did just before it was paused can still arrive later. That is harmless: an announcement is a
 * duplicate, and a cursor covers only what was delivered (position.ts).
 */
import type { DocumentId } from '../../core/document-id.ts'
import type { Lease, Log } from '../log/log.ts'

/** Begins with a control character: no client can name it, no list and no change shows it. */
export const webhooksDocument = '\u0000webhooks' as DocumentId

export interface TermLimits {
  readonly leaseMs: number
  readonly marginMs: number
}

export class Term {
  private readonly log: Pick<Log, 'lease'>
  private readonly limits: TermLimits
  private lease: Lease | null = null
  private current: { readonly fromMs: number; readonly fromWallMs: number } | null = null

  constructor(log: Pick<Log, 'lease'>, limits: TermLimits) {
    this.log = log
    this.limits = limits
  }

  get held(): boolean {
    return this.elapsedMs < this.limits.leaseMs - this.limits.marginMs
  }

  get renewalDue(): boolean {
    return this.elapsedMs > this.limits.leaseMs / 2
  }

  /** A new term, after giving back the present one; false when another node has it. Rejects when the log is away. */
  async take(): Promise<boolean> {
    await this.release()
    const from = { fromMs: performance.now(), fromWallMs: Date.now() }
    this.lease = await this.log.lease(webhooksDocument, this.limits.leaseMs)
    if (this.lease !== null) this.current = from
    return this.lease !== null
  }

  async release(): Promise<void> {
    const { lease } = this
    this.current = null
    this.lease = null
    await lease?.release()
  }

  private get elapsedMs(): number {
    if (this.current === null) return Number.POSITIVE_INFINITY
    const { fromMs, fromWallMs } = this.current
    return Math.max(performance.now() - fromMs, Math.abs(Date.now() - fromWallMs))
  }
}

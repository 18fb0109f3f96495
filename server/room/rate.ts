/**
 * How fast one session may send: two token buckets, messages and bytes, each filled at its rate and holding
 * `burstMs` worth of it, so that what was typed offline for a day may come at once. A message larger than the
 * bucket is let through and owed. No timers: time is an argument.
 */
export interface RateLimits {
  /** Messages a second. */
  readonly sessionMessagesPerSecondMax: number
  readonly sessionBytesPerSecondMax: number
}

export const burstMs = 10_000

export class Rate {
  private readonly limits: RateLimits
  private messages: number
  private bytes: number
  private filledMs: number

  constructor(limits: RateLimits, nowMs: number) {
    this.limits = limits
    this.filledMs = nowMs
    this.messages = (limits.sessionMessagesPerSecondMax * burstMs) / 1000
    this.bytes = (limits.sessionBytesPerSecondMax * burstMs) / 1000
  }

  /** Takes one message; returns how long to wait before the next one, ms; 0 mostly. */
  take(bytes: number, nowMs: number): number {
    this.messages--
    this.bytes -= bytes
    if (this.messages >= 0 && this.bytes >= 0) return 0
    this.fill(nowMs)
    const { sessionMessagesPerSecondMax, sessionBytesPerSecondMax } = this.limits
    const owedMs = Math.max(
      (-this.messages / sessionMessagesPerSecondMax) * 1000,
      (-this.bytes / sessionBytesPerSecondMax) * 1000,
    )
    return Math.ceil(Math.max(0, owedMs))
  }

  /** Only when a bucket is empty: nothing is lost by not filling it before, up to its size. */
  private fill(nowMs: number): void {
    const elapsedMs = Math.min(burstMs, Math.max(0, nowMs - this.filledMs))
    this.filledMs = nowMs
    const { sessionMessagesPerSecondMax, sessionBytesPerSecondMax } = this.limits
    const full = burstMs / 1000
    this.messages = Math.min(
      this.messages + (elapsedMs / 1000) * sessionMessagesPerSecondMax,
      full * sessionMessagesPerSecondMax,
    )
    this.bytes = Math.min(
      this.bytes + (elapsedMs / 1000) * sessionBytesPerSecondMax,
      full * sessionBytesPerSecondMax,
    )
  }
}

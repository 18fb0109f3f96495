/**
 * How fast a connection may send. It is held back at the socket, where TCP tells its author, when more is on its way to
 * the log than `sessionUnackedBytesMax`, when it comes faster than `Rate` allows, or while somebody holds it. All
 * sessions of one socket share one.
 */
import { Rate, type RateLimits } from './rate.ts'

export interface FlowLimits extends RateLimits {
  /** Bytes of updates taken in and not yet durable, past which reading from the socket stops. */
  readonly sessionUnackedBytesMax: number
}

export class Flow {
  private readonly limits: FlowLimits
  private readonly rate: Rate
  /** Stop and resume reading from the socket. */
  private readonly pause: () => void
  private readonly resume: () => void
  private unackedBytes = 0
  /** Why reading is stopped. */
  private unackedFull = false
  private rateTimer: NodeJS.Timeout | null = null
  private holds = 0
  private ended = false

  constructor(limits: FlowLimits, pause: () => void, resume: () => void) {
    this.limits = limits
    this.rate = new Rate(limits, Date.now())
    this.pause = pause
    this.resume = resume
  }

  /** Nothing is read, so the peer's pongs are not either. */
  get paused(): boolean {
    return this.unackedFull || this.rateTimer !== null || this.holds > 0
  }

  /** A message of so many bytes has come. */
  received(bytes: number): void {
    const waitMs = this.rate.take(bytes, Date.now())
    if (waitMs === 0 || this.rateTimer !== null || this.ended) return
    if (!this.paused) this.pause()
    this.rateTimer = setTimeout(() => {
      this.rateTimer = null
      this.resumeIfFree()
    }, waitMs)
  }

  /** Bytes are on their way to the log. */
  taken(bytes: number): void {
    this.unackedBytes += bytes
    if (this.unackedFull || this.unackedBytes <= this.limits.sessionUnackedBytesMax) return
    if (!this.paused) this.pause()
    this.unackedFull = true
  }

  /** They are there, or will not be. */
  settled(bytes: number): void {
    this.unackedBytes -= bytes
    if (!this.unackedFull || this.unackedBytes > this.limits.sessionUnackedBytesMax / 2) return
    this.unackedFull = false
    this.resumeIfFree()
  }

  /** Reads nothing until `release` was called as often. */
  hold(): void {
    if (!this.paused) this.pause()
    this.holds++
  }

  release(): void {
    this.holds--
    this.resumeIfFree()
  }

  /** The socket is closing: a paused one would never learn that its peer has gone. */
  end(): void {
    if (this.ended) return
    this.ended = true
    if (this.rateTimer !== null) clearTimeout(this.rateTimer)
    this.rateTimer = null
    this.resume()
  }

  private resumeIfFree(): void {
    if (!this.paused || this.ended) this.resume()
  }
}

/**
 * Whom the gateway lets in at all, before anything is read from them. Counts only; no I/O, time is an argument.
 *
 *   connection → [handshakes in flight, connections, per address, loop lag] → handshake
 *              → identity known → [per user] → session
 *
 * Whoever is turned away is told when to come again, each at another time: a restart brings everybody back
 * at once, and a second wave as high as the first would help nobody.
 */
import { type ErrorCode, TidemarkError } from '../../core/protocol/errors.ts'

export interface AdmissionLimits {
  readonly sessionsMax: number
  readonly sessionsPerAddressMax: number
  readonly sessionsPerUserMax: number
  /** Handshakes whose token is being checked. */
  readonly handshakesMax: number
  /** The event loop is late by this much: the node takes in nobody for a moment. */
  readonly loopLagMsMax: number
}

const overloadMs = 2_000
const retryAfterSecondsMin = 1
const retryAfterSecondsMax = 5

export const retryAfterSeconds = (): number =>
  retryAfterSecondsMin + Math.floor(Math.random() * (retryAfterSecondsMax - retryAfterSecondsMin + 1))

export class Admission {
  private readonly limits: AdmissionLimits
  private readonly byAddress = new Map<string, number>()
  private readonly byUser = new Map<string, number>()
  private sessions = 0
  private handshakes = 0
  private overloadedUntilMs = 0

  constructor(limits: AdmissionLimits) {
    this.limits = limits
  }

  /** A connection asks to be let in: null, or why not. Let in, it must `leave` once. */
  enter(address: string, nowMs: number): ErrorCode | null {
    const { sessionsMax, sessionsPerAddressMax, handshakesMax } = this.limits
    if (this.sessions >= sessionsMax || this.handshakes >= handshakesMax) return 'overloaded'
    if (nowMs < this.overloadedUntilMs) return 'overloaded'
    if ((this.byAddress.get(address) ?? 0) >= sessionsPerAddressMax) return 'rate_limited'
    this.sessions++
    this.handshakes++
    add(this.byAddress, address, 1)
    return null
  }

  /** Its token has been checked. */
  handshakeEnded(): void {
    this.handshakes--
  }

  leave(address: string): void {
    this.sessions--
    add(this.byAddress, address, -1)
  }

  /** A session of this user begins; throws `rate_limited`. It must `leaveUser` once. '' (nobody in particular) is not counted. */
  enterUser(subject: string): void {
    if (subject === '') return
    const { sessionsPerUserMax } = this.limits
    if ((this.byUser.get(subject) ?? 0) >= sessionsPerUserMax)
      throw new TidemarkError('rate_limited', `More than ${sessionsPerUserMax} sessions of one user`)
    add(this.byUser, subject, 1)
  }

  leaveUser(subject: string): void {
    if (subject !== '') add(this.byUser, subject, -1)
  }

  /** The loop was late. */
  lagged(ms: number, nowMs: number): void {
    if (ms >= this.limits.loopLagMsMax) this.overloadedUntilMs = nowMs + overloadMs
  }
}

function add(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by
  if (count === 0) counts.delete(key)
  else counts.set(key, count)
}

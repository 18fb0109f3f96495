/**
 * Results that somebody has and that are not the newest any more, so that who falls behind, or comes back, can be told the
 * difference. Bounded in time and bytes; the oldest goes first, and who has it gets all rows instead.
 */
import type { LiveResult } from './result.ts'

export interface KeptLimits {
  readonly keepMs: number
  readonly keptBytesMax: number
}

interface Kept {
  readonly name: string
  readonly result: LiveResult
  readonly bytes: number
  readonly untilMs: number
}

export class KeptResults {
  private readonly limits: KeptLimits
  /** In the order in which they end. */
  private readonly order = new Set<Kept>()
  private readonly byName = new Map<string, Kept>()
  private bytes = 0

  constructor(limits: KeptLimits) {
    this.limits = limits
  }

  /** Nobody with another trace is given this result. */
  keep(trace: string, result: LiveResult, bytes: number, nowMs: number): void {
    const name = trace + result.id
    const before = this.byName.get(name)
    if (before !== undefined) this.remove(before)
    const kept = { name, result, bytes, untilMs: nowMs + this.limits.keepMs }
    this.byName.set(name, kept)
    this.order.add(kept)
    this.bytes += bytes
    this.sweep(nowMs)
  }

  find(trace: string, id: string): LiveResult | undefined {
    return this.byName.get(trace + id)?.result
  }

  sweep(nowMs: number): void {
    for (const kept of this.order) {
      if (kept.untilMs > nowMs && this.bytes <= this.limits.keptBytesMax) return
      this.remove(kept)
    }
  }

  clear(): void {
    this.order.clear()
    this.byName.clear()
    this.bytes = 0
  }

  private remove(kept: Kept): void {
    this.order.delete(kept)
    this.byName.delete(kept.name)
    this.bytes -= kept.bytes
  }
}

/** A clock that moves when it is told to, from one slot with something to do to the next. */
const slotMs = 10

export class VirtualTime {
  nowMs = 1_700_000_000_000
  private readonly slots = new Map<number, Set<() => void>>()

  /** As `Environment.after`. What is due in one slot runs in the order in which it was asked for. */
  readonly after = (delayMs: number, then: () => void): (() => void) => {
    const at = Math.ceil((this.nowMs + delayMs) / slotMs) * slotMs
    const slot = this.slots.get(at) ?? new Set()
    this.slots.set(at, slot)
    const work = (): void => then()
    slot.add(work)
    return () => slot.delete(work)
  }

  /** Goes on to the next slot that has something, and does it. False when nothing is left. */
  step(): boolean {
    if (this.slots.size === 0) return false
    const at = Math.min(...this.slots.keys())
    const slot = this.slots.get(at)!
    this.nowMs = Math.max(this.nowMs, at)
    for (const work of slot) {
      slot.delete(work)
      work()
    }
    this.slots.delete(at)
    return true
  }
}

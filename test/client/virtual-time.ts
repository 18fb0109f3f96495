/** A clock that moves when it is told to, from one slot with something to do to the next; and seeded randomness. */
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

/** At least 0, below 1; the same for the same seed. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

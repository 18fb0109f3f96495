/**
 * The memory of entries that are in the journal but not yet in LMDB. Journal records are built in
 * slabs, written to disk from them, and stay where they are until the checkpoint has passed them: an
 * entry is copied once when it comes in and once when it goes to LMDB. A document keeps one number
 * per entry, its address.
 *
 * Slabs are never used again after they were freed, since a write may still read from one that was given up.
 */
const slotScale = 2 ** 32

export class Slab {
  readonly buffer: Buffer
  readonly slot: number
  /** Groups in it that are not yet written. */
  pending = 0
  lastLsn = 0

  constructor(buffer: Buffer, slot: number) {
    this.buffer = buffer
    this.slot = slot
  }

  address(position: number): number {
    return this.slot * slotScale + position
  }
}

export class Slabs {
  private readonly slots: (Slab | undefined)[] = []
  private readonly free: number[] = []

  add(buffer: Buffer): Slab {
    const slot = this.free.pop() ?? this.slots.length
    const slab = new Slab(buffer, slot)
    this.slots[slot] = slab
    return slab
  }

  /** Frees what is wholly at or below `lsn`, except the one being filled. */
  release(lsn: number, filling: Slab | null): void {
    for (const slab of this.slots) {
      if (slab === undefined || slab === filling || slab.pending > 0 || slab.lastLsn > lsn) continue
      this.slots[slab.slot] = undefined
      this.free.push(slab.slot)
    }
  }

  buffer(address: number): Buffer {
    return this.slots[Math.floor(address / slotScale)]!.buffer
  }

  position(address: number): number {
    return address % slotScale
  }

  get count(): number {
    return this.slots.length - this.free.length
  }
}

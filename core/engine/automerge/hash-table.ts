/**
 * Hashes by number and numbers by hash, without an object for each: a document may have hundreds of thousands. Those of a
 * snapshot are used where they lie. Open addressing by the first four bytes, which are as good as random.
 */
import { hashBytes } from './chunk.ts'

export class HashTable {
  /** Of the first hashes; never written to. */
  private readonly base: Uint8Array
  private own = new Uint8Array(0)
  private slots: Int32Array
  private length: number

  constructor(base: Uint8Array = new Uint8Array(), slots?: Int32Array) {
    this.base = base
    this.length = base.length / hashBytes
    this.slots = slots ?? this.filled(this.length)
  }

  /** Of a table to which nothing was pushed. */
  copy(): HashTable {
    return new HashTable(this.base, this.slots.slice())
  }

  get count(): number {
    return this.length
  }

  /** The next number. The hash must not be there. */
  push(hash: Uint8Array): number {
    const number = this.length++
    const at = number * hashBytes - this.base.length
    if (at + hashBytes > this.own.length) {
      const grown = new Uint8Array(Math.max(4 * hashBytes, this.own.length * 2))
      grown.set(this.own)
      this.own = grown
    }
    this.own.set(hash, at)
    if (this.length * 2 > this.slots.length) this.slots = this.filled(this.length)
    else this.put(this.slots, number)
    return number
  }

  /** -1: it is not there. */
  find(hash: Uint8Array): number {
    const mask = this.slots.length - 1
    for (let slot = slotOf(hash, 0) & mask; ; slot = (slot + 1) & mask) {
      const number = this.slots[slot]! - 1
      if (number < 0 || this.equals(number, hash)) return number
    }
  }

  /** A view. */
  at(number: number): Uint8Array {
    const start = number * hashBytes
    if (start < this.base.length) return this.base.subarray(start, start + hashBytes)
    return this.own.subarray(start - this.base.length, start - this.base.length + hashBytes)
  }

  private equals(number: number, hash: Uint8Array): boolean {
    const inBase = number * hashBytes < this.base.length
    const bytes = inBase ? this.base : this.own
    const start = number * hashBytes - (inBase ? 0 : this.base.length)
    for (let i = 0; i < hashBytes; i++) if (bytes[start + i] !== hash[i]) return false
    return true
  }

  private filled(count: number): Int32Array {
    let size = 16
    while (size < count * 4) size *= 2
    const slots = new Int32Array(size)
    for (let number = 0; number < count; number++) this.put(slots, number)
    return slots
  }

  private put(slots: Int32Array, number: number): void {
    const mask = slots.length - 1
    const inBase = number * hashBytes < this.base.length
    let slot = inBase
      ? slotOf(this.base, number * hashBytes)
      : slotOf(this.own, number * hashBytes - this.base.length)
    slot &= mask
    while (slots[slot] !== 0) slot = (slot + 1) & mask
    slots[slot] = number + 1
  }
}

function slotOf(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
}

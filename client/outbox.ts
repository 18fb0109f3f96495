/**
 * One replica's edits that the server has not acknowledged, in the order in which they were made.
 *
 *   acked │ sent on this channel │ sent before, to be sent again │ never sent
 *         └ entries[0]           └ after `sentTo`                └ after `everSentTo`
 *
 * - A sequence that was ever sent keeps its bytes for good: the server takes a sequence once, so other bytes under it would
 *   be lost. Only what was never sent is merged, into fewer entries with the first ones' sequences.
 * - What came from disk counts as sent: whoever wrote it may have sent it.
 * - Counted in edits, not in entries, so that merging changes no number that anybody sees.
 */
import type { OutboxEntry } from './storage/storage.ts'

/** Entries never sent past which they are merged. */
export const mergeCountMin = 16
const mergedBytesMax = 64 * 1024
const mergedEditsMax = 1_024
/** Of a push, for an update's length. */
const lengthBytesMax = 5

/** One update that says what these say. */
export type Merge = (updates: Uint8Array[]) => Uint8Array

/** What merging changes on disk. */
export interface Merged {
  readonly from: number
  readonly to: number
  readonly put: readonly OutboxEntry[]
}

export class Outbox {
  readonly replica: string
  /** Edits taken in, and edits acknowledged, since this object was made. */
  edited: number
  acked = 0
  bytes: number
  #entries: OutboxEntry[]
  #next: number
  #sentTo = 0
  #everSentTo: number

  constructor(replica: string, stored: readonly OutboxEntry[] = []) {
    this.replica = replica
    this.#entries = [...stored]
    this.#next = (stored.at(-1)?.sequence ?? 0) + 1
    this.#everSentTo = this.#next - 1
    this.edited = stored.reduce((sum, { edits }) => sum + edits, 0)
    this.bytes = stored.reduce((sum, { update }) => sum + update.length, 0)
  }

  /** Edits not acknowledged. */
  get pending(): number {
    return this.edited - this.acked
  }

  get all(): readonly OutboxEntry[] {
    return this.#entries
  }

  add(update: Uint8Array): OutboxEntry {
    const entry = { replica: this.replica, sequence: this.#next++, edits: 1, update }
    this.#entries.push(entry)
    this.edited++
    this.bytes += update.length
    return entry
  }

  /** Entries that were never sent. */
  get unsentCount(): number {
    return Math.min(this.#entries.length, this.#next - 1 - this.#everSentTo)
  }

  /** Merges what was never sent; null when it is too little to pay. */
  merge(joined: Merge): Merged | null {
    const count = this.unsentCount
    if (count < mergeCountMin) return null
    const unsent = this.#entries.slice(-count)
    const groups = inGroups(unsent)
    if (groups.length === count) return null
    const from = unsent[0]!.sequence
    const put = groups.map((group, i) => ({
      replica: this.replica,
      sequence: from + i,
      edits: group.reduce((sum, { edits }) => sum + edits, 0),
      update: group.length === 1 ? group[0]!.update : joined(group.map(({ update }) => update)),
    }))
    this.#entries = [...this.#entries.slice(0, -count), ...put]
    this.#next = from + put.length
    this.bytes = this.#entries.reduce((sum, { update }) => sum + update.length, 0)
    return { from, to: unsent.at(-1)!.sequence, put }
  }

  /** What to send next, one after the other, with at most so many updates and bytes under way. Counts as sent. */
  take(countMax: number, bytesMax: number): readonly OutboxEntry[] {
    const first = this.#entries[0]?.sequence ?? this.#next
    let index = Math.max(0, this.#sentTo + 1 - first)
    let bytes = 0
    for (let i = 0; i < index; i++) bytes += this.#entries[i]!.update.length + lengthBytesMax
    const taken: OutboxEntry[] = []
    for (; index < this.#entries.length && index < countMax; index++) {
      const entry = this.#entries[index]!
      bytes += entry.update.length + lengthBytesMax
      if (bytes > bytesMax && index > 0) break
      taken.push(entry)
    }
    this.#sentTo = Math.max(this.#sentTo, taken.at(-1)?.sequence ?? 0)
    this.#everSentTo = Math.max(this.#everSentTo, this.#sentTo)
    return taken
  }

  /** From here on it is sent again: the channel is gone, or nothing from here on was taken. */
  rewind(sequence = 0): void {
    this.#sentTo = Math.min(this.#sentTo, Math.max(0, sequence - 1))
  }

  /** Everything up to this sequence is durable. False when that was known. */
  ack(sequence: number): boolean {
    const count = this.#entries.findIndex((entry) => entry.sequence > sequence)
    const acked = this.#entries.splice(0, count === -1 ? this.#entries.length : count)
    for (const { edits, update } of acked) {
      this.acked += edits
      this.bytes -= update.length
    }
    return acked.length > 0
  }
}

function inGroups(entries: readonly OutboxEntry[]): OutboxEntry[][] {
  const groups: OutboxEntry[][] = []
  let bytes = 0
  let edits = 0
  for (const entry of entries) {
    bytes += entry.update.length
    edits += entry.edits
    if (groups.length === 0 || bytes > mergedBytesMax || edits > mergedEditsMax) {
      groups.push([])
      bytes = entry.update.length
      edits = entry.edits
    }
    groups.at(-1)!.push(entry)
  }
  return groups
}

/**
 * Which updates of one open document are on their way to the log, by their sequences. No I/O.
 *
 *   push → enter ─▶ take each → pending ─▶ settled (durable at an offset) ─▶ delivered (acknowledged, in order)
 *                       └▶ refuse: it and everything after it are ignored until a push begins at it, or before
 *
 * - Acknowledgements are cumulative, so one is given only when everything before it is durable, and only when
 *   everything up to its offset was handed to the socket: the client takes the offset for its place.
 * - What is repeated is not taken again: either it is pending, or it is acknowledged anew.
 */
import { noOffset, type Offset } from '../../core/offset.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import { unackedUpdatesMax } from '../../core/protocol/tidemark-v1/messages.ts'

export interface Acknowledgement {
  readonly sequence: number
  readonly offset: Offset
}

const unsettled = -1

export class PushWindow {
  /** Of the first update of this window; what is below was never here. */
  private start = 0
  /** Of the first pending update. */
  private first = 0
  /** What they became durable at, from `first` on, or `unsettled`. */
  private pending: number[] = []
  private refusedFrom: number | null = null
  private acknowledgeAgain = false

  /** The sequence expected next; 0: any. */
  private get next(): number {
    return this.first + this.pending.length
  }

  get full(): boolean {
    return this.pending.length >= unackedUpdatesMax
  }

  /**
   * How many updates of a push that begins at `sequence` and has `count` are repeated and not to be taken; all of them
   * when they come after one that was refused. Throws `malformed_frame` for one that leaves a gap.
   */
  enter(sequence: number, count: number): number {
    if (this.start === 0) {
      this.start = sequence
      this.first = sequence
    }
    if (this.refusedFrom !== null && sequence > this.refusedFrom) return count
    this.refusedFrom = null
    if (sequence > this.next || sequence < this.start)
      throw new TidemarkError('malformed_frame', `A push of ${sequence}, when ${this.next} is next`)
    if (sequence < this.first) this.acknowledgeAgain = true
    return Math.min(count, this.next - sequence)
  }

  /** The next update is on its way; or durable already, when there is an offset. */
  take(): void {
    this.pending.push(unsettled)
  }

  settled(sequence: number, offset: Offset): void {
    const at = sequence - this.first
    if (at >= 0 && at < this.pending.length) this.pending[at] = offset
  }

  /** False when it, or one before it, is refused already. */
  refuse(sequence: number): boolean {
    if (this.refusedFrom !== null && sequence >= this.refusedFrom) return false
    this.refusedFrom = sequence
    this.pending.length = Math.max(0, Math.min(this.pending.length, sequence - this.first))
    return true
  }

  /** What can be acknowledged to a client that has everything up to `offset`. */
  acknowledge(offset: Offset): Acknowledgement | null {
    let count = 0
    while (count < this.pending.length) {
      const at = this.pending[count]!
      if (at === unsettled || at > offset) break
      count++
    }
    if (count === 0 && !this.acknowledgeAgain) return null
    this.acknowledgeAgain = false
    this.pending.splice(0, count)
    this.first += count
    return this.first === this.start ? null : { sequence: this.first - 1, offset }
  }

  /** Something durable is still to be acknowledged. */
  get owing(): boolean {
    return this.acknowledgeAgain || (this.pending.length > 0 && this.pending[0] !== unsettled)
  }
}

/** For an update that the log contains already. */
export const containedAlready = noOffset

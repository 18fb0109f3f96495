/** One follower and how far it is: passes on each entry once, in order, and nothing after it was closed. */
import type { Entry, Follower, Subscription } from '../log.ts'

export class Feed implements Subscription {
  position: number
  closed = false
  private readonly follower: Follower
  private readonly onClose: (feed: Feed) => void
  private readonly onDefect: (error: unknown) => void

  constructor(
    follower: Follower,
    after: number,
    onClose: (feed: Feed) => void,
    onDefect: (error: unknown) => void,
  ) {
    this.follower = follower
    this.position = after
    this.onClose = onClose
    this.onDefect = onDefect
  }

  deliver(entries: readonly Entry[]): void {
    if (this.closed) return
    const last = entries.at(-1)
    if (last === undefined || last.offset <= this.position) return
    const fresh =
      entries[0]!.offset > this.position ? entries : entries.filter(({ offset }) => offset > this.position)
    this.position = last.offset
    this.tell(() => this.follower.onEntries(fresh))
  }

  compactedPast(): void {
    if (this.closed) return
    this.close()
    this.tell(() => this.follower.onCompactedPast())
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    this.onClose(this)
  }

  /** A follower that throws is a defect of its own; it must not keep others from their entries. */
  private tell(call: () => void): void {
    try {
      call()
    } catch (error) {
      this.onDefect(error)
    }
  }
}

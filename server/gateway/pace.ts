/**
 * Work that comes in crowds (everybody joins at once, after a restart, say) and is short for each: only some milliseconds of it are
 * done in one turn of the event loop, so that whoever types meanwhile waits that long and not for the crowd.
 *
 * Whoever asks is let go in order, and does its work at once. Turns of the event loop are cheap, timers are not precise: so
 * a few are let go in each turn, as long as its time is not over, and nobody later than that.
 */
const turnMsMax = 2
const releasedMax = 16

export class Pace {
  private waiting: (() => void)[] = []
  /** Of the first that waits. */
  private start = 0
  private running = false
  private endMs = 0

  /** Resolves when it is one's turn. */
  turn(): Promise<void> {
    return new Promise((resolve) => {
      this.waiting.push(resolve)
      if (!this.running) this.run()
    })
  }

  /** What was let go does its work before the next immediate is called, which so sees the time it took. */
  private run(): void {
    this.running = true
    setImmediate(() => {
      this.endMs = performance.now() + turnMsMax
    })
    for (let i = 0; i < releasedMax; i++) setImmediate(() => this.release())
    setImmediate(() => {
      if (this.start < this.waiting.length) return this.run()
      this.waiting = []
      this.start = 0
      this.running = false
    })
  }

  private release(): void {
    if (performance.now() < this.endMs) this.waiting[this.start++]?.()
    // Those behind the end have come in the meantime.
    if (this.start > this.waiting.length) this.start = this.waiting.length
    if (this.start < 1_024 || this.start * 2 < this.waiting.length) return
    this.waiting = this.waiting.slice(this.start)
    this.start = 0
  }
}

/** At most `max` at a time, and at most `waitingMax` waiting for their turn, in order. */
export class Slots {
  private readonly max: number
  private readonly waitingMax: number
  private taken = 0
  private readonly waiting = new Set<() => void>()

  constructor(max: number, waitingMax: number) {
    this.max = max
    this.waitingMax = waitingMax
  }

  /** Resolves with what gives the place back. Rejects with the signal's reason, or when too many wait. */
  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    if (this.taken < this.max) {
      this.taken++
      return this.release
    }
    if (this.waiting.size >= this.waitingMax) throw new Error(`${this.waitingMax} are waiting`)
    return new Promise((resolve, reject) => {
      const turn = (): void => {
        signal.removeEventListener('abort', giveUp)
        resolve(this.release)
      }
      const giveUp = (): void => {
        this.waiting.delete(turn)
        reject(signal.reason)
      }
      this.waiting.add(turn)
      signal.addEventListener('abort', giveUp, { once: true })
    })
  }

  private readonly release = (): void => {
    const [next] = this.waiting
    if (next === undefined) {
      this.taken--
      return
    }
    this.waiting.delete(next)
    next()
  }
}

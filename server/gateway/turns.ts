/** Work of which only so much is done at a time; the rest waits its turn, in order. */
export class Turns {
  private readonly max: number
  private underWay = 0
  private readonly waiting: (() => void)[] = []

  constructor(max: number) {
    this.max = max
  }

  /** Settles as `work` does. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.underWay >= this.max) await new Promise<void>((resolve) => this.waiting.push(resolve))
    else this.underWay++
    try {
      return await work()
    } finally {
      // Whoever is next takes over the place.
      const next = this.waiting.shift()
      if (next === undefined) this.underWay--
      else next()
    }
  }
}

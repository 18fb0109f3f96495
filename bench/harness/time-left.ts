/**
 * About how long steps that are done in turn will take yet: by what each was thought to take, and by how much slower or faster than
 * thought those were that are done. A step that fails at once, or hangs, says little of the others, so that factor is bounded.
 */
const slowerMax = 3
const fasterMax = 2

export class TimeLeft {
  private readonly expectedSeconds: readonly number[]
  private readonly now: () => number
  private step = 0
  private begunMs: number
  private spentMs = 0

  constructor(expectedSeconds: readonly number[], now: () => number = () => performance.now()) {
    this.expectedSeconds = expectedSeconds
    this.now = now
    this.begunMs = now()
  }

  /** The step is done. */
  next(): void {
    this.spentMs += this.now() - this.begunMs
    this.begunMs = this.now()
    this.step++
  }

  get seconds(): number {
    const done = sum(this.expectedSeconds.slice(0, this.step))
    const pace = done === 0 ? 1 : Math.min(slowerMax, Math.max(1 / fasterMax, this.spentMs / 1000 / done))
    const [current = 0, ...later] = this.expectedSeconds.slice(this.step)
    const spent = (this.now() - this.begunMs) / 1000
    return Math.max(0, current * pace - spent) + sum(later) * pace
  }
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

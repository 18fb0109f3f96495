/** What happened in a history, line by line, for a person who must find out why it went wrong. */

const linesMax = 4_000

export interface Line {
  readonly atMs: number
  readonly step: number
  readonly who: string
  readonly what: string
}

export class Timeline {
  step = 0
  readonly lines: Line[] = []
  private readonly startedMs = performance.now()

  /** Told of each line at once, for whoever waits for a history that hangs. */
  static onLine: (line: Line) => void = () => undefined

  say(who: string, what: string): void {
    if (this.lines.length === linesMax) this.lines.shift()
    const line = { atMs: performance.now() - this.startedMs, step: this.step, who, what }
    this.lines.push(line)
    Timeline.onLine(line)
  }

  /** `  1.204 s  #17  ann    types 5 characters (ann.4)` */
  toString(): string {
    const width = Math.max(0, ...this.lines.map(({ who }) => who.length))
    return this.lines
      .map(({ atMs, step, who, what }) => {
        const seconds = (atMs / 1000).toFixed(3).padStart(8)
        return `${seconds} s  ${`#${step}`.padStart(4)}  ${who.padEnd(width)}  ${what}`
      })
      .join('\n')
  }
}

/** Counts by name: faults, edits, bytes. */
export class Tally {
  readonly counts = new Map<string, number>()

  add(name: string, count = 1): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + count)
  }

  merge(other: Tally): void {
    for (const [name, count] of other.counts) this.add(name, count)
  }

  toJSON(): Record<string, number> {
    return Object.fromEntries([...this.counts].sort(([a], [b]) => (a < b ? -1 : 1)))
  }
}

/** Waits for a condition; rejects with what was awaited. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  withinMs: number,
): Promise<void> {
  const deadline = performance.now() + withinMs
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/**
 * What a person sees of a long run, on stderr: in a terminal a bar with what failed above it, elsewhere plain lines, a few a
 * minute. Documents that are asked for on stdout are never mixed with it.
 */
import { SingleBar } from 'cli-progress'

export interface Output {
  readonly isTTY?: boolean
  write(text: string): unknown
}

export interface Report {
  /** `total`: null while nobody knows. */
  begin(total: number | null): void
  /** One more is done. */
  step(): void
  /** Something to be read. */
  say(line: string): void
  end(): void
}

const linesMsMin = 5_000

export function reportOn(stream: NodeJS.WriteStream, verb: string): Report {
  return stream.isTTY === true ? new Bar(stream, verb) : new Lines(stream, verb)
}

class Bar implements Report {
  private readonly stream: NodeJS.WriteStream
  private readonly verb: string
  private bar: SingleBar | null = null

  constructor(stream: NodeJS.WriteStream, verb: string) {
    this.stream = stream
    this.verb = verb
  }

  begin(total: number | null): void {
    const known =
      '{bar}  {percentage} %   {value} of {total} documents   {duration_formatted}, {eta_formatted} left'
    this.bar = new SingleBar({
      stream: this.stream,
      format: `${this.verb}  ${total === null ? '{value} documents   {duration_formatted}' : known}`,
      barCompleteChar: '█',
      barIncompleteChar: '░',
      barsize: 24,
      hideCursor: true,
      clearOnComplete: true,
      gracefulExit: false,
    })
    this.bar.start(total ?? Number.MAX_SAFE_INTEGER, 0)
  }

  step(): void {
    this.bar?.increment()
  }

  say(line: string): void {
    // Above the bar, which draws itself anew.
    this.stream.write(`\r\x1b[K${line}\n`)
  }

  end(): void {
    this.bar?.stop()
    this.bar = null
  }
}

class Lines implements Report {
  private readonly stream: Output
  private readonly verb: string
  private total: number | null = null
  private done = 0
  private saidMs = 0

  constructor(stream: Output, verb: string) {
    this.stream = stream
    this.verb = verb
  }

  begin(total: number | null): void {
    this.total = total
    this.saidMs = Date.now()
  }

  step(): void {
    this.done++
    if (Date.now() - this.saidMs < linesMsMin) return
    this.saidMs = Date.now()
    const ofTotal = this.total === null ? '' : ` of ${this.total}`
    this.say(`${this.verb}: ${this.done}${ofTotal} documents`)
  }

  say(line: string): void {
    this.stream.write(`${line}\n`)
  }

  end(): void {}
}

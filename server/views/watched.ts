/**
 * What the thread of the views is at, for the relay's thread to read while this one is busy: an adapter that never returns, or takes
 * all memory, ends its thread, and somebody else has to say whose fault it was.
 *
 *   shared memory    [0] a number that is odd while an adapter runs, and another one each time   [1] bytes of the text
 *                    then text: the adapter's name, a line feed, the document's id
 *
 * Whoever was caught is refused for a while in the next thread, each time longer: its document is a dead letter meanwhile, and the
 * others go on.
 */

const headerBytes = 8
/** Ids have at most 512 bytes, names 46. */
const textBytesMax = 1_024

export interface Culprit {
  readonly adapter: string
  readonly document: string
}

/** One that is refused until then, in milliseconds of `Date.now()`. */
export interface Refused extends Culprit {
  readonly reason: string
  readonly untilMs: number
}

export const watchedMemory = (): SharedArrayBuffer => new SharedArrayBuffer(headerBytes + textBytesMax)

/** The thread's side. */
export class Watched {
  private readonly header: Int32Array
  private readonly text: Buffer
  private readonly refused: ReadonlyMap<string, Refused>

  constructor(memory: SharedArrayBuffer = watchedMemory(), refused: readonly Refused[] = []) {
    this.header = new Int32Array(memory, 0, 2)
    this.text = Buffer.from(memory, headerBytes)
    this.refused = new Map(refused.map((one) => [keyOf(one), one]))
  }

  /** Why the adapter is not to be asked about this document now; null when it may. */
  refusal(adapter: string, document: string): string | null {
    if (this.refused.size === 0) return null
    const found = this.refused.get(keyOf({ adapter, document }))
    return found !== undefined && found.untilMs > Date.now() ? found.reason : null
  }

  begin(adapter: string, document: string): void {
    this.header[1] = this.text.write(`${adapter}\n${document}`)
    Atomics.add(this.header, 0, 1)
  }

  end(): void {
    Atomics.add(this.header, 0, 1)
  }
}

/** The tables that are being built have the same code as those that are served. */
export const keyOf = ({ adapter, document }: Culprit): string => `${adapter.split('__')[0]}\n${document}`

/** The relay's side: what runs now, with its number; null when no adapter does. */
export function runningIn(memory: SharedArrayBuffer): (Culprit & { readonly run: number }) | null {
  const header = new Int32Array(memory, 0, 2)
  const run = Atomics.load(header, 0)
  if (run % 2 === 0) return null
  const text = Buffer.from(memory, headerBytes, header[1]).toString()
  const end = text.indexOf('\n')
  return { adapter: text.slice(0, end), document: text.slice(end + 1), run }
}

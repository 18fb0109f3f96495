/**
 * Adapters that never return, or take all memory: they end the thread that they run in, and others go on.
 *
 *   thread    says in shared memory which adapter runs now, for which document
 *   relay     looks there every second, ends a thread that is at the same for too long, and notes whose fault it was
 *   thread    the next one does not ask that adapter about that document: it is a dead letter, with the reason
 *
 * Refused for a while, each time longer, since the document may change; after `documentsMax` of its documents the adapter as a
 * whole, since each costs all others seconds. Forgiven by a retry; forgotten when the relay ends.
 *
 * The memory: [0] odd while an adapter runs, another number each time; [1] bytes of the text; then the text: the adapter's name,
 * a line feed, the document's id.
 */

const headerBytes = 8
/** Ids have at most 512 bytes, names 46. */
const textBytesMax = 1_024
const refusedMsMin = 60_000
const refusedMsMax = 24 * 3_600_000
const documentsMax = 3

export interface Culprit {
  readonly adapter: string
  readonly document: string
}

/** Refused until then, in milliseconds of `Date.now()`. A document `*` is all of the adapter's. */
export interface Refused extends Culprit {
  readonly reason: string
  readonly untilMs: number
}

export const watchedMemory = (): SharedArrayBuffer => new SharedArrayBuffer(headerBytes + textBytesMax)

/** The thread's side. */
export class Watched {
  private readonly header: Int32Array
  private readonly text: Buffer
  private refused: readonly Refused[]

  constructor(memory: SharedArrayBuffer = watchedMemory(), refused: readonly Refused[] = []) {
    this.header = new Int32Array(memory, 0, 2)
    this.text = Buffer.from(memory, headerBytes)
    this.refused = refused
  }

  /** Why the adapter is not to be asked about this document now; null when it may. */
  refusal(adapter: string, document: string): string | null {
    if (this.refused.length === 0) return null
    const name = servedNameOf(adapter)
    const nowMs = Date.now()
    const found = this.refused.find(
      (one) =>
        one.adapter === name && (one.document === document || one.document === '*') && one.untilMs > nowMs,
    )
    return found?.reason ?? null
  }

  forgive(adapter: string | null, document: string | null): void {
    this.refused = this.refused.filter((one) => !isMeant(one, adapter, document))
  }

  begin(adapter: string, document: string): void {
    this.header[1] = this.text.write(`${adapter}\n${document}`)
    Atomics.add(this.header, 0, 1)
  }

  end(): void {
    Atomics.add(this.header, 0, 1)
  }
}

/** The relay's side. */
export class Culprits {
  private readonly caught = new Map<string, Refused & { readonly times: number }>()

  get refused(): readonly Refused[] {
    return [...this.caught.values()]
  }

  note({ adapter, document }: Culprit, reason: string, nowMs: number): void {
    const name = servedNameOf(adapter)
    this.add({ adapter: name, document }, reason, nowMs)
    const documents = this.refused.filter((one) => one.adapter === name && one.untilMs > nowMs)
    if (documents.length >= documentsMax)
      this.add({ adapter: name, document: '*' }, `${reason}, for ${documentsMax} documents`, nowMs)
  }

  forgive(adapter: string | null, document: string | null): void {
    for (const [key, one] of this.caught) if (isMeant(one, adapter, document)) this.caught.delete(key)
  }

  private add(culprit: Culprit, reason: string, nowMs: number): void {
    const key = `${culprit.adapter}\n${culprit.document}`
    const times = (this.caught.get(key)?.times ?? 0) + 1
    const untilMs = nowMs + Math.min(refusedMsMax, refusedMsMin * 4 ** (times - 1))
    this.caught.set(key, { ...culprit, reason, untilMs, times })
  }
}

/** What runs now, with its number; null when no adapter does. */
export function runningIn(memory: SharedArrayBuffer): (Culprit & { readonly run: number }) | null {
  const header = new Int32Array(memory, 0, 2)
  const run = Atomics.load(header, 0)
  if (run % 2 === 0) return null
  const text = Buffer.from(memory, headerBytes, header[1]).toString()
  const end = text.indexOf('\n')
  return { adapter: text.slice(0, end), document: text.slice(end + 1), run }
}

/** Tables that are being built have the same code as those that are served. */
const servedNameOf = (schema: string): string => schema.split('__')[0]!

function isMeant(one: Culprit, adapter: string | null, document: string | null): boolean {
  return (
    (adapter === null || one.adapter === adapter) &&
    (document === null || one.document === document || one.document === '*')
  )
}

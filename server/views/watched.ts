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
 * So do documents that cannot be opened (opening.ts), whatever adapter asks for them: suspected once, then refused to all of them.
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
const suspectsMax = 1_000

/** In place of an adapter's name: what is going on is no adapter's doing. */
export const anyAdapter = '*'

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
  private readonly suspects: ReadonlySet<string>

  constructor(
    memory: SharedArrayBuffer = watchedMemory(),
    refused: readonly Refused[] = [],
    suspects: readonly string[] = [],
  ) {
    this.header = new Int32Array(memory, 0, 2)
    this.text = Buffer.from(memory, headerBytes)
    this.refused = refused
    this.suspects = new Set(suspects)
  }

  /** It may have ended a thread. */
  isSuspected(document: string): boolean {
    return this.suspects.has(document)
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

  /** Before the thread ends of it, whatever was going on. */
  accuse(document: string): void {
    if (Atomics.load(this.header, 0) % 2 === 1) this.end()
    this.begin(anyAdapter, document)
  }

  end(): void {
    Atomics.add(this.header, 0, 1)
  }
}

/** The relay's side. */
export class Culprits {
  private readonly caught = new Map<string, Refused & { readonly times: number }>()
  /** Documents that a thread has ended with, which perhaps others had filled. */
  private readonly suspected = new Set<string>()

  get refused(): readonly Refused[] {
    return [...this.caught.values()]
  }

  get suspects(): readonly string[] {
    return [...this.suspected]
  }

  note({ adapter, document }: Culprit, reason: string, nowMs: number): void {
    if (adapter === anyAdapter && !this.suspected.has(document)) return this.suspect(document)
    const name = servedNameOf(adapter)
    this.add({ adapter: name, document }, reason, nowMs)
    if (adapter === anyAdapter) return
    const documents = this.refused.filter((one) => one.adapter === name && one.untilMs > nowMs)
    if (documents.length >= documentsMax)
      this.add({ adapter: name, document: '*' }, `${reason}, for ${documentsMax} documents`, nowMs)
  }

  forgive(adapter: string | null, document: string | null): void {
    for (const [key, one] of this.caught) if (isMeant(one, adapter, document)) this.caught.delete(key)
  }

  private suspect(document: string): void {
    this.suspected.add(document)
    for (const oldest of this.suspected) {
      if (this.suspected.size <= suspectsMax) return
      this.suspected.delete(oldest)
    }
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
    (adapter === null || one.adapter === adapter || one.adapter === anyAdapter) &&
    (document === null || one.document === document || one.document === '*')
  )
}

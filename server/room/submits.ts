/**
 * The only way of an update into a document's log: authorise, validate, skip what the log already contains,
 * collect until the end of the tick, append, acknowledge. WebSocket doors and HTTP meet here.
 *
 * The first updates of a document race for its engine: they are settled only when the room has heard from the log which one was
 * first, and refused when theirs was not (`wrong_engine`).
 *
 * What is collected in a tick is one append. Updates that are appended and not yet delivered stay in `inFlight`, in
 * order: when the log delivers them, their outlines are reused, and whoever sent a void one is told.
 *
 * Updates with a key have a lane of their own, with one append at a time. The log takes a key for a repetition when it
 * has seen a higher one of the same replica; so if a second append came through and the first did not, the retry of the
 * first would be acknowledged and stored nowhere. When one fails, what waits of its replica fails with it.
 */
import type { DocumentId } from '../../core/document-id.ts'
import type { EngineName, Outline } from '../../core/engine/engine.ts'
import { engineOf } from '../../core/engine/engine-of.ts'
import { noOffset, type Offset } from '../../core/offset.ts'
import { type ErrorCode, TidemarkError } from '../../core/protocol/errors.ts'
import type { Appended, Entry, IdempotencyKey, Log, NewEntry } from '../log/log.ts'
import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import { takeFairly } from './fair-batch.ts'
import { type Held, type Known, wrongEngine } from './known.ts'

/** Who sends updates: a session, or a request over HTTP. */
export interface Submitter {
  /** Unique over all nodes; becomes the origin of its entries. */
  readonly id: string
  /** The subject of its token, '' without one. */
  readonly author: string
  readonly mayWrite: boolean
  /** What its updates are of. Absent: they say it themselves. */
  readonly engine?: EngineName
  /** Of its token; for facts that say in which of them one acts. */
  readonly roles: readonly string[]
  /** It is the server itself: what it writes are decisions. */
  readonly decides?: boolean
  /** Bytes of it are on their way to the log. */
  taken(bytes: number): void
  /** They are durable, at this offset. */
  settled(bytes: number, appended: Appended, key?: IdempotencyKey): void
  /** They are not. Absent: `close` is called. */
  failed?(bytes: number, code: ErrorCode, reason: string, key?: IdempotencyKey): void
  /** They are not, or count for nothing: it is told why, and sends nothing more. */
  close(code: ErrorCode, reason: string): void
}

export interface SubmitLimits {
  readonly updateBytesMax: number
  /** Of the compacted state; with the tail, twice as many. */
  readonly documentBytesMax: number
}

export interface SubmitContext {
  readonly log: Log
  readonly limits: SubmitLimits
  readonly logger: Logger
  readonly metrics: Metrics
}

/** How large the document is. */
export interface Size {
  readonly snapshotBytes: number
  readonly tailBytes: number
}

export interface SubmitEvents {
  /** Something waits for `flush`. */
  readonly onWaiting: () => void
  /** Something that was taken in is not in the log. */
  readonly onFailed: () => void
  /** Resolves when the room has heard of everything up to there, or is closed. */
  readonly heard: (offset: Offset) => Promise<void>
}

interface Submit extends NewEntry {
  readonly from: Submitter
  readonly outline: Outline
  readonly engine: EngineName
  /** What is to tell the document's engine; null: it was known. */
  readonly undecided: Known | null
}

/**
 * So many bytes do not wait for the end of the tick: while they are on their way to the disk and to the sessions, the
 * rest of what came is read.
 */
const batchBytesMax = 8 * 1024
/**
 * Of one append, about, and of a document's appends that are under way: what is more waits here, where one sender after the
 * other has its turn, and not in the log, where everything is in one row.
 */
const appendBytesMax = 1024 * 1024

export class Submits {
  private waiting: Submit[] = []
  private waitingBytes = 0
  private underWayBytes = 0
  private keyed: Submit[] = []
  private keyedInFlight = false
  private readonly inFlight: Submit[] = []
  private readonly document: DocumentId
  private readonly context: SubmitContext
  private readonly events: SubmitEvents

  constructor(document: DocumentId, context: SubmitContext, events: SubmitEvents) {
    this.document = document
    this.context = context
    this.events = events
  }

  /** Updates taken in that are not yet durable. */
  get busy(): boolean {
    return this.waiting.length > 0 || this.keyed.length > 0 || this.inFlight.length > 0
  }

  /**
   * Takes an update in; false when the log contains it already. Throws `read_only`, `document_removed`,
   * `stale_replica`, `wrong_engine`, `document_too_large`, what `Engine.validate` throws and what `FactGuard.admit` does; a
   * failed append closes the submitter.
   * `whole` says that the update is all a replica has to say (an answer to our version), which repeats much of
   * what is known: the known part is left out of the log, as it always is of Automerge's changes.
   */
  submit(
    from: Submitter,
    update: Uint8Array,
    whole: boolean,
    known: Known,
    size: Size,
    key?: IdempotencyKey,
  ): boolean {
    const { limits } = this.context
    const { lineage } = known
    const held = known.of(from.engine ?? engineOf(update))
    const { engine, coverage, facts } = held
    let outline = engine.validate(update, limits)
    if (coverage.covers(outline)) return false
    if (!from.mayWrite) throw new TidemarkError('read_only', 'This token allows reading only')
    this.admit(outline, known, held, size)
    let bytes = update
    // Automerge's changes stand each for itself, and a replica cannot always tell which the log has.
    if (whole || engine.name === 'automerge') {
      bytes = engine.trim(update, outline, coverage)
      if (bytes !== update) outline = engine.validate(bytes, limits)
    }
    const { author: subject, roles } = from
    facts?.admit(bytes, from.decides === true ? null : { subject, roles })
    from.taken(bytes.length)
    const submit: Submit = {
      timeMs: Date.now(),
      author: from.author,
      origin: from.id,
      update: bytes,
      from,
      outline,
      engine: engine.name,
      undecided: known.engine === null ? known : null,
    }
    const inLineage = lineage.epoch === noOffset ? submit : { ...submit, epoch: lineage.epoch }
    if (key !== undefined) {
      this.keyed.push({ ...inLineage, key })
      this.events.onWaiting()
      return true
    }
    this.waiting.push(inLineage)
    this.waitingBytes += bytes.length
    if (this.waitingBytes < batchBytesMax) this.events.onWaiting()
    else this.flush()
    return true
  }

  private admit(
    outline: Outline,
    { lineage }: Known,
    { ended }: Held,
    { snapshotBytes, tailBytes }: Size,
  ): void {
    if (lineage.removed) throw new TidemarkError('document_removed', 'The document was deleted')
    if (ended?.holds(outline))
      throw new TidemarkError('stale_replica', 'The update belongs to a lineage that was deleted')
    const { documentBytesMax } = this.context.limits
    if (snapshotBytes > documentBytesMax || snapshotBytes + tailBytes > 2 * documentBytesMax)
      throw new TidemarkError('document_too_large', `The document exceeds ${documentBytesMax} bytes`)
  }

  /** Appends what waits. */
  flush(): void {
    if (this.keyed.length > 0 && !this.keyedInFlight) void this.appendKeyed()
    if (this.waiting.length === 0 || this.underWayBytes >= appendBytesMax) return
    // Nearly always.
    if (this.waitingBytes <= appendBytesMax) return this.appendWaiting(this.waiting, [])
    const { batch, rest } = takeFairly(this.waiting, appendBytesMax)
    this.appendWaiting(batch, rest)
  }

  private appendWaiting(batch: readonly Submit[], rest: Submit[]): void {
    let restBytes = 0
    for (const { update } of rest) restBytes += update.length
    const bytes = this.waitingBytes - restBytes
    this.waiting = rest
    this.waitingBytes = restBytes
    this.underWayBytes += bytes
    void this.append(batch).then(() => {
      this.underWayBytes -= bytes
      // What comes in the meantime waits for the end of the tick, as ever.
      if (this.waiting.length > 0) this.events.onWaiting()
    })
  }

  /** One append after the other, until nothing waits. */
  private async appendKeyed(): Promise<void> {
    this.keyedInFlight = true
    while (this.keyed.length > 0) {
      const { batch, rest } = takeFairly(this.keyed, appendBytesMax)
      this.keyed = rest
      await this.append(batch)
    }
    this.keyedInFlight = false
  }

  /** What waits of these replicas cannot be stored before what failed. */
  private takeWaitingOf(batch: readonly Submit[]): readonly Submit[] {
    const replicas = new Set(batch.map(({ key }) => key?.replica))
    const isOf = ({ key }: Submit): boolean => replicas.has(key?.replica)
    const waiting = this.keyed.filter(isOf)
    this.keyed = this.keyed.filter((submit) => !isOf(submit))
    return waiting
  }

  private async append(batch: readonly Submit[]): Promise<void> {
    for (const submit of batch) this.inFlight.push(submit)
    const { log, metrics, logger } = this.context
    const startedMs = performance.now()
    try {
      const appended = await log.append(this.document, batch)
      metrics.appended(batch.length, performance.now() - startedMs)
      const last = batch.findLastIndex(({ undecided }) => undecided !== null)
      if (last >= 0) await this.events.heard(appended[last]!.offset)
      let duplicates = false
      for (let i = 0; i < batch.length; i++) {
        const { from, update, key } = batch[i]!
        const refusal = refusalOf(batch[i]!)
        if (refusal === null) from.settled(update.length, appended[i]!, key)
        else tell(from, update, refusal.code, refusal.message, key)
        duplicates ||= appended[i]!.duplicate
      }
      // The log delivers no duplicate, so nobody would take it out of the row.
      if (duplicates) this.forget(batch)
    } catch (error) {
      this.forget(batch)
      const told = error instanceof TidemarkError
      metrics.appendFailed(batch.length)
      if (told) logger.warn({ document: this.document, code: error.code }, 'append refused')
      else logger.error({ document: this.document, err: error }, 'append failed')
      this.events.onFailed()
      const reason = told ? error.message : 'The update could not be stored'
      const code = told ? error.code : 'internal'
      for (const { from, update, key } of [...batch, ...this.takeWaitingOf(batch)])
        tell(from, update, code, reason, key)
    }
  }

  /** The outline of an entry that this room has sent, when the log delivers it; null for anybody else's. */
  delivered(entry: Entry): { readonly outline: Outline; readonly from: Submitter } | null {
    const own = this.inFlight[0]
    if (own === undefined || own.update !== entry.update) return null
    this.inFlight.shift()
    return own
  }

  private forget(batch: readonly Submit[]): void {
    const failed = new Set(batch)
    const kept = this.inFlight.filter((submit) => !failed.has(submit))
    this.inFlight.length = 0
    this.inFlight.push(...kept)
  }
}

function tell(
  from: Submitter,
  { length }: Uint8Array,
  code: ErrorCode,
  reason: string,
  key?: IdempotencyKey,
): void {
  if (from.failed === undefined) from.close(code, reason)
  else from.failed(length, code, reason, key)
}

/** Null when what was appended counts. */
function refusalOf({ engine, undecided }: Submit): TidemarkError | null {
  if (undecided === null || undecided.engine === engine) return null
  if (undecided.engine !== null) return wrongEngine(undecided.engine, engine)
  return new TidemarkError('overloaded', 'The document is being reopened')
}

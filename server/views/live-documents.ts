/**
 * Documents as the projector needs them: opened from the log, brought forward when they change, and telling what that
 * touched. A bounded number is kept; the others are opened anew, from the log.
 *
 *   bring(document, progress) ─┬─ kept: the entries since, applied                            → touched
 *                              ├─ its progress lies in the tail: opened there, the rest applied → touched
 *                              └─ else: opened as it is                                         → whole
 *
 * `touched` is what differs from `progress`, which is what the caller has rows for. Whoever could not use what it was given
 * says so by `drop`: the document was brought further than the rows.
 *
 * `ahead` asks the log for several at once, since an answer takes longer to come than to be given.
 *
 * An entry that no engine can take is skipped here as everywhere (it is set aside by the next compaction); statements
 * that change which entries count make the document one to be read anew.
 */
import type { DocumentId } from '../../core/document-id.ts'
import type { EngineName } from '../../core/engine/engine.ts'
import { engines } from '../../core/engine/engines.ts'
import type { LiveDocument, State, Touched } from '../../core/engine/live-document.ts'
import { noOffset, type Offset } from '../../core/offset.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import { counts, fold, unlimited } from '../log/lineage.ts'
import type { Entry, Loaded, Log } from '../log/log.ts'
import type { Lineage } from '../log/metadata.ts'
import { Opening } from './opening.ts'

/** What there are rows for. */
export interface Progress {
  readonly epoch: Offset
  readonly offset: Offset
  /** It is not there (any more). */
  readonly gone?: true
}

export type Brought =
  /** It was deleted, or nothing is known of it: it has no rows. */
  | { readonly kind: 'gone'; readonly progress: Progress }
  | {
      readonly kind: 'whole'
      readonly state: State
      readonly progress: Progress
      readonly engine: EngineName
    }
  | {
      readonly kind: 'touched'
      readonly state: State
      readonly touched: Touched
      readonly progress: Progress
      readonly engine: EngineName
    }

export interface LiveDocumentsLimits {
  readonly documentsMax: number
  /**
   * Of the updates that the kept ones were opened from; what they take in memory is several times as much. Half of the memory for
   * WebAssembly counts as so many, where it is bounded and a document took of it.
   */
  readonly bytesMax: number
}

export const liveDocumentsLimits: LiveDocumentsLimits = { documentsMax: 1_000, bytesMax: 64 * 1024 * 1024 }

interface Kept {
  readonly live: LiveDocument
  readonly lineage: Lineage
  /** Null: nobody has written. */
  readonly engine: EngineName | null
  offset: Offset
  bytes: number
}

/** What is to be brought: what there are rows for, or null. */
export interface Wanted {
  readonly document: DocumentId
  readonly progress: Progress | null
}

/** Documents that are asked for at once; of those that are not kept, which may be large, fewer. */
const aheadMax = 32
const aheadUnkeptMax = 4

const nothing: Touched = new Map()

export class LiveDocuments {
  private readonly log: Pick<Log, 'load'>
  private readonly limits: LiveDocumentsLimits
  private readonly opening: Opening
  /** Least recently used first. */
  private readonly kept = new Map<DocumentId, Kept>()
  private bytes = 0
  /** Asked for, and not brought yet. */
  private readonly asked = new Map<
    DocumentId,
    { readonly after: Offset | undefined; readonly loaded: Promise<Loaded> }
  >()

  constructor(
    log: Pick<Log, 'load'>,
    limits: Partial<LiveDocumentsLimits> = {},
    opening: Opening = new Opening(),
  ) {
    this.log = log
    this.limits = { ...liveDocumentsLimits, ...limits }
    this.opening = opening
  }

  get size(): number {
    return this.kept.size
  }

  /** These are brought next, in this order: asks for the first of them, and says for how many. Forgets what it asked before. */
  ahead(next: readonly Wanted[]): number {
    this.asked.clear()
    let unkept = 0
    for (const { document, progress } of next) {
      const after = this.keptAt(document, progress)?.offset
      if (after === undefined && ++unkept > aheadUnkeptMax) break
      const loaded = this.log.load(document, after)
      // Told to whoever brings it.
      loaded.catch(() => undefined)
      this.asked.set(document, { after, loaded })
      if (this.asked.size >= aheadMax) break
    }
    return this.asked.size
  }

  /** Null progress: there are no rows. Rejects as `Log.load`, and with `document_unreadable`. */
  async bring(document: DocumentId, progress: Progress | null): Promise<Brought> {
    const refusal = this.refusal(document)
    if (refusal !== null) throw new TidemarkError('document_unreadable', refusal)
    const kept = this.keptAt(document, progress)
    if (this.opening.isSuspected(document)) this.dropOthers(document)
    if (kept !== undefined) {
      const loaded = await this.load(document, kept.offset)
      const brought = this.forward(document, kept, loaded)
      if (brought !== null) return brought
    }
    this.drop(document)
    return this.open(document, await this.load(document), progress)
  }

  /** Why the document is not opened now; null when it may be. */
  refusal(document: DocumentId): string | null {
    return this.opening.refusal(document)
  }

  /** It was being read when this was thrown. */
  failed(document: DocumentId, error: unknown): void {
    this.opening.failed(document, error)
  }

  private keptAt(document: DocumentId, progress: Progress | null): Kept | undefined {
    const kept = this.kept.get(document)
    return kept !== undefined && progress !== null && isAt(kept, progress) ? kept : undefined
  }

  private load(document: DocumentId, after?: Offset): Promise<Loaded> {
    const asked = this.asked.get(document)
    this.asked.delete(document)
    return asked !== undefined && asked.after === after ? asked.loaded : this.log.load(document, after)
  }

  drop(document: DocumentId): void {
    const kept = this.kept.get(document)
    if (kept === undefined) return
    this.kept.delete(document)
    this.bytes -= kept.bytes
    kept.live.close()
  }

  private dropOthers(document: DocumentId): void {
    for (const other of [...this.kept.keys()]) if (other !== document) this.drop(other)
  }

  close(): void {
    this.asked.clear()
    for (const document of [...this.kept.keys()]) this.drop(document)
  }

  /** Null when it has to be read anew. */
  private forward(document: DocumentId, kept: Kept, loaded: Loaded): Brought | null {
    if (loaded.snapshot !== null || loaded.offset < kept.offset) return null
    const { lineage } = kept
    if (loaded.tail.some((entry) => isStatement(entry))) return null
    // What comes says which engine to open it with.
    if (kept.engine === null && loaded.tail.length > 0) return null
    const engine = kept.engine ?? 'yjs'
    const updates = readable(
      loaded.tail.filter((entry) => counts(entry, lineage, engine)),
      engine,
    )
    const [touched, share] = this.opening.run(document, () => this.applied(document, kept.live, updates))
    kept.offset = loaded.offset
    const bytes = this.costOf(updates, share)
    kept.bytes += bytes
    this.bytes += bytes
    this.keep(document, kept)
    return { kind: 'touched', state: kept.live.state, touched, progress: progressOf(kept), engine }
  }

  private async open(document: DocumentId, loaded: Loaded, progress: Progress | null): Promise<Brought> {
    const { lineage, engine: has, snapshot, entries, offset } = fold(loaded)
    const reached = { epoch: lineage.epoch, offset }
    if (lineage.removed || offset === noOffset) return { kind: 'gone', progress: { ...reached, gone: true } }
    // Nothing is the same in all of them.
    const engine = has ?? 'yjs'
    const from = startOf(loaded, lineage, progress)
    const first = snapshot === null ? [] : [snapshot.bytes]
    const before = readable(
      entries.filter((entry) => from === null || entry.offset <= from),
      engine,
    )
    const after = readable(
      entries.filter((entry) => from !== null && entry.offset > from),
      engine,
    )
    await engines[engine].load()
    const [{ live, touched }, share] = this.opening.run(document, () => {
      const live = engines[engine].open([...first, ...before])
      return { live, touched: this.applied(document, live, after) }
    })
    const bytes = this.costOf([...first, ...before, ...after], share)
    const kept: Kept = { live, lineage, engine: has, offset, bytes }
    this.bytes += bytes
    this.keep(document, kept)
    if (from === null) return { kind: 'whole', state: live.state, progress: reached, engine }
    return { kind: 'touched', state: live.state, touched, progress: reached, engine }
  }

  private costOf(updates: readonly Uint8Array[], share: number): number {
    return Math.max(bytesOf(updates), share * 2 * this.limits.bytesMax)
  }

  private applied(document: DocumentId, live: LiveDocument, updates: readonly Uint8Array[]): Touched {
    if (updates.length === 0) return nothing
    try {
      return live.apply(updates)
    } catch (error) {
      this.drop(document)
      throw error
    }
  }

  private keep(document: DocumentId, kept: Kept): void {
    this.kept.delete(document)
    this.kept.set(document, kept)
    const { documentsMax, bytesMax } = this.limits
    for (const oldest of this.kept.keys()) {
      if (this.kept.size <= documentsMax && this.bytes <= bytesMax) return
      // The one at hand is being read; it goes when the next one comes.
      if (oldest !== document) this.drop(oldest)
    }
  }
}

function readable(entries: readonly Entry[], engine: EngineName): Uint8Array[] {
  const updates: Uint8Array[] = []
  for (const { update } of entries) {
    try {
      engines[engine].validate(update, unlimited)
      updates.push(update)
    } catch {
      // Taken in by a node that validates less: skipped by all, fatal to none.
    }
  }
  return updates
}

function isAt({ lineage, offset }: Kept, progress: Progress): boolean {
  return lineage.epoch === progress.epoch && offset === progress.offset
}

function isStatement({ kind }: Entry): boolean {
  return (kind ?? 'update') !== 'update'
}

/** The offset at which the document can be opened so that what came after is known; null when there is none. */
function startOf(loaded: Loaded, lineage: Lineage, progress: Progress | null): Offset | null {
  if (progress === null || progress.epoch !== lineage.epoch) return null
  const { offset } = progress
  if (offset < (loaded.snapshot?.offset ?? noOffset) || offset > loaded.offset) return null
  return loaded.tail.some((entry) => entry.offset > offset && isStatement(entry)) ? null : offset
}

function progressOf({ lineage, offset }: Kept): Progress {
  return { epoch: lineage.epoch, offset }
}

function bytesOf(updates: readonly Uint8Array[]): number {
  return updates.reduce((sum, update) => sum + update.length, 0)
}

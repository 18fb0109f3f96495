/**
 * From documents to what is to be written of them: brought forward, given to their adapters, as many as make one batch.
 *
 * - An adapter that throws for a document makes it a dead letter, for that adapter only.
 * - An adapter whose progress of a document is already where the log is gets no rows to write: so a rebuild, which visits
 *   all documents, costs what is served little.
 * - Progress that was written is remembered (at most `progressMax`), so that a document that is edited again is not asked for.
 */
import type { DocumentId } from '../../core/document-id.ts'
import type { Adapter } from '../../core/domain/adapter.ts'
import { AdapterError } from '../../core/domain/adapter-error.ts'
import type { DocumentFold } from '../../core/domain/fold/document-fold.ts'
import { project, projectEntries, type Replacement } from '../../core/domain/project.ts'
import type { EngineName } from '../../core/engine/engine.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import type { Brought, LiveDocuments, Progress } from './live-documents.ts'
import type { DeadLetter, Projected, RowStore } from './row-store.ts'
import type { Watched } from './watched.ts'

export interface Batch {
  readonly documents: DocumentId[]
  readonly projected: Projected[]
  readonly dead: DeadLetter[]
  /** Could not be read from the log now. */
  readonly unread: DocumentId[]
}

export interface BatchesParts {
  readonly adapters: readonly Adapter[]
  readonly store: Pick<RowStore, 'progressOf'>
  readonly watched: Watched
  /** Rows after which a batch is full, about. */
  readonly rowsMax: number
  /** What a document with fields comes to, as of what is written; null when it is gone. */
  readonly onFolded?: (document: DocumentId, adapter: Adapter, folded: Folded | null) => void
  /** The same of time: a slow adapter must not keep everybody waiting for a whole batch. */
  readonly msMax: number
}

export interface Folded {
  readonly fold: DocumentFold
  /** Of the document: its epoch. */
  readonly lineage: number
  readonly engine: EngineName
}

type Stored = ReadonlyMap<string, Progress> | undefined

const progressMax = 50_000
const nothing: readonly Replacement[] = []

export class Batches {
  private readonly parts: BatchesParts
  /** What there are rows for, where it is the same for all adapters. Latest last. */
  private readonly progress = new Map<DocumentId, Progress>()

  constructor(parts: BatchesParts) {
    this.parts = parts
  }

  /** Of as many as make one batch. Rejects as `RowStore.progressOf`. */
  async of(documents: readonly DocumentId[], live: LiveDocuments): Promise<Batch> {
    const { adapters, store, rowsMax, msMax } = this.parts
    const batch: Batch = { documents: [], projected: [], dead: [], unread: [] }
    const taken = documents.map((document) => ({
      document,
      own: adapters.filter((adapter) => adapter.contextOf(document) !== null),
    }))
    const mine = taken.filter(({ own }) => own.length > 0)
    const unknown = mine.map(({ document }) => document).filter((document) => !this.progress.has(document))
    const stored = unknown.length === 0 ? new Map<string, Stored>() : await store.progressOf(unknown)
    const wanted = mine.map(({ document, own }) => ({
      document,
      progress: this.progress.get(document) ?? shared(own, stored.get(document)),
    }))
    const endMs = performance.now() + msMax
    let rows = 0
    let next = 0
    let asked = 0
    for (const { document, own } of taken) {
      if (own.length > 0) {
        if (next >= asked) asked = next + live.ahead(wanted.slice(next))
        const { progress } = wanted[next++]!
        rows += await this.add(document, own, progress, stored.get(document), live, batch)
      } else batch.documents.push(document)
      if (rows >= rowsMax || performance.now() >= endMs) break
    }
    live.ahead([])
    return batch
  }

  /** What was made of it did not come to be, or is not known to be. */
  forget(document: DocumentId): void {
    this.progress.delete(document)
  }

  private async add(
    document: DocumentId,
    own: readonly Adapter[],
    base: Progress | null,
    stored: Stored,
    live: LiveDocuments,
    batch: Batch,
  ): Promise<number> {
    let brought: Brought
    try {
      brought = await live.bring(document, base)
    } catch (error) {
      this.forget(document)
      live.drop(document)
      if (!(error instanceof TidemarkError) || error.code !== 'document_unreadable') {
        batch.unread.push(document)
        return 0
      }
      const reason = live.refusal(document) ?? 'The document cannot be read'
      for (const adapter of own) batch.dead.push({ adapter, document, progress: null, reason })
      batch.documents.push(document)
      return 0
    }
    batch.documents.push(document)
    this.remember(document, brought.progress)
    let rows = 0
    for (const adapter of own) {
      const before = base ?? stored?.get(adapter.name) ?? null
      const refusal = this.parts.watched.refusal(adapter.name, document)
      try {
        if (refusal !== null) throw new AdapterError(adapter.name, refusal)
        const replacements = isSame(before, brought.progress)
          ? nothing
          : this.rowsOf(adapter, document, brought)
        if (adapter.facts !== null && replacements !== nothing)
          this.parts.onFolded?.(document, adapter, foldOf(adapter, brought))
        const { progress } = brought
        batch.projected.push({
          adapter,
          document,
          progress,
          replacements,
          isNew: before === null,
          ...endedClaims(adapter, before, brought),
        })
        for (const replacement of replacements) rows += replacement.rows.length
      } catch (error) {
        if (!(error instanceof AdapterError)) throw error
        live.failed(document, error)
        batch.dead.push({ adapter, document, progress: brought.progress, reason: error.message })
        // Its rows stay where they are: next time it is projected whole.
        this.progress.delete(document)
      }
    }
    return rows
  }

  private rowsOf(adapter: Adapter, document: DocumentId, brought: Brought): readonly Replacement[] {
    if (brought.kind === 'gone') return adapter.tables.map((table) => ({ table, entries: null, rows: [] }))
    const context = adapter.contextOf(document)!
    this.parts.watched.begin(adapter.name, document)
    try {
      if (brought.kind === 'whole') return project(adapter, brought.state, context)
      return projectEntries(adapter, brought.state, brought.touched, context)
    } finally {
      this.parts.watched.end()
    }
  }

  private remember(document: DocumentId, progress: Progress): void {
    this.progress.delete(document)
    this.progress.set(document, progress)
    if (this.progress.size <= progressMax) return
    for (const oldest of this.progress.keys()) {
      this.progress.delete(oldest)
      return
    }
  }
}

function foldOf(adapter: Adapter, brought: Brought): Folded | null {
  if (brought.kind === 'gone') return null
  const fold = adapter.facts?.projection.fold(brought.state, adapter.name) ?? null
  return fold === null ? null : { fold, lineage: brought.progress.epoch, engine: brought.engine }
}

function endedClaims(adapter: Adapter, before: Progress | null, { kind, progress }: Brought) {
  if (adapter.facts?.claims == null || before === null) return {}
  if (kind === 'gone') return { keepsClaimsOf: null }
  return before.epoch === progress.epoch ? {} : { keepsClaimsOf: progress.epoch }
}

function isSame(one: Progress | null, other: Progress): boolean {
  return one !== null && one.epoch === other.epoch && one.offset === other.offset
}

/** Null when they differ, or one has none: then all is projected whole. */
function shared(adapters: readonly Adapter[], stored: Stored): Progress | null {
  const first = stored?.get(adapters[0]!.name) ?? null
  return first !== null && adapters.every(({ name }) => isSame(stored?.get(name) ?? null, first))
    ? first
    : null
}

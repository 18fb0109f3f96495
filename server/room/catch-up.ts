/**
 * What a replica that has everything up to an offset lacks, read from the log: its cost is that of what was missed,
 * whatever the document's size.
 *
 * Only when that is nothing but updates of the lineage. After anything else (a statement, an update that counts for
 * nothing), and after a compaction, what the replica lacks is told from its version instead.
 */
import type { DocumentId } from '../../core/document-id.ts'
import type { EngineName } from '../../core/engine/engine.ts'
import { engines } from '../../core/engine/engines.ts'
import { noOffset, type Offset } from '../../core/offset.ts'
import { counts, fold } from '../log/lineage.ts'
import type { Entry, Loaded, Log } from '../log/log.ts'
import type { Lineage } from '../log/metadata.ts'
import type { Image } from './image.ts'
import type { Known } from './known.ts'

/** What a replica says it has. */
export interface Have {
  readonly version: Uint8Array
  /** Everything up to here, in the room's lineage; 0: it does not know. */
  readonly offset: Offset
  /** It takes updates as they were written, and no snapshot. */
  readonly asWritten?: boolean
}

/** What it is answered: either way it has everything up to `offset` then. */
export type Joined =
  | { readonly kind: 'entries'; readonly entries: readonly Entry[]; readonly offset: Offset }
  | { readonly kind: 'update'; readonly chunks: readonly Uint8Array[]; readonly offset: Offset }

/** More are answered by one update, which repeats nothing that later ones replaced. */
const entriesMax = 10_000

/** `engine`: the replica's. Throws `wrong_engine` when the document turns out to be of another one. */
export async function lackedBy(
  have: Have,
  engine: EngineName,
  document: DocumentId,
  head: Offset,
  known: Known,
  log: Log,
  image: Image,
): Promise<Joined> {
  const isTold = known.engine !== null && have.offset > noOffset && have.offset <= head
  const entries = isTold ? await entriesAfter(log, document, known.lineage, engine, have.offset) : null
  if (entries !== null) return entries
  return { kind: 'update', ...(await image.join(have.version, engine, Date.now(), have.asWritten)) }
}

/** Null when it cannot be told from the offset. */
async function entriesAfter(
  log: Log,
  document: DocumentId,
  lineage: Lineage,
  engine: EngineName,
  after: Offset,
): Promise<Joined | null> {
  const { snapshot, tail, offset } = await log.load(document, after)
  if (snapshot !== null) return null
  const entries = tail.filter((entry) => entry.offset > after && counts(entry, lineage, engine))
  if (entries.length > entriesMax || entries.length !== offset - after) return null
  return { kind: 'entries', entries, offset }
}

/**
 * What a session that fell behind after an offset has missed up to the room's head, from what was just loaded after
 * that offset. Null: the log is ahead of the room, which is about to hear that its lineage has ended, or that the document is of
 * another engine.
 */
export function missedBy(
  after: Offset,
  loaded: Loaded,
  head: Offset,
  lineage: Lineage,
  engine: EngineName,
): Joined | null {
  if (loaded.snapshot !== null) {
    const { snapshot, entries, lineage: now, engine: has, offset } = fold(loaded)
    if (now.epoch !== lineage.epoch || now.removed || (has ?? engine) !== engine) return null
    const updates = entries.map((entry) => entry.update)
    const chunks = engines[engine].join(snapshot, updates, engines[engine].emptyVersion)
    return { kind: 'update', chunks, offset }
  }
  // What the room has not heard yet, it may yet hear to be void.
  const offset = loaded.offset < head ? loaded.offset : head
  const entries = loaded.tail.filter(
    (entry) => entry.offset > after && entry.offset <= offset && counts(entry, lineage, engine),
  )
  return { kind: 'entries', entries, offset }
}

/** Who waits for the room to have heard of everything up to an offset. */
export class Milestones {
  private waiting: { readonly offset: Offset; readonly resolve: () => void }[] = []

  /** Resolves also when the room closes. */
  reached(offset: Offset): Promise<void> {
    return new Promise((resolve) => this.waiting.push({ offset, resolve }))
  }

  passed(head: number): void {
    if (this.waiting.length === 0) return
    const reached = this.waiting.filter(({ offset }) => offset <= head)
    this.waiting = this.waiting.filter(({ offset }) => offset > head)
    for (const { resolve } of reached) resolve()
  }

  close(): void {
    this.passed(Number.POSITIVE_INFINITY)
  }
}

/**
 * `tidemark import`: every document of a source into a relay.
 *
 *   read → name → check → (journal: there already?) → push → read back, compare → journal
 *
 * - A document counts as imported when the relay has given it back and it is what the source has; `verify: false` trusts
 *   the relay's acknowledgement, which comes when the update is durable.
 * - What fails is said with its reason and counted; the others go on. Only what would fail for all of them ends the run:
 *   a relay that is gone for longer than the retries, a token that is not taken.
 * - A push repeats nothing in the log, however often it is made: the relay knows what it has (P2). So an import that was
 *   ended anywhere is made again; the journal saves the sending.
 * - Documents are sent as one update, and in the source's own pieces where that is larger than the relay takes.
 */
import { createHash } from 'node:crypto'
import { TidemarkError } from '../core/protocol/error-codes.ts'
import { type Content, contentOf, differenceOf } from './content.ts'
import type { Journal } from './journal.ts'
import type { Names } from './names.ts'
import { type Relay, RelayError } from './relay.ts'
import type { Report } from './report.ts'
import { sideBySide } from './side-by-side.ts'
import { type Source, type SourceDocument, SourceError } from './sources/source.ts'

export interface ImportParts {
  readonly source: Source
  readonly names: Names
  /** Null: nothing is sent, only checked. */
  readonly relay: Relay | null
  /** Null: every document is sent. */
  readonly journal: Journal | null
  readonly verify: boolean
  readonly atOnceMax: number
  readonly report: Report
  readonly signal: AbortSignal
  /** Told of each document of a dry run. */
  readonly planned: (name: string, id: string, bytes: number) => void
}

export interface ImportCounts {
  imported: number
  /** Done before, says the journal, and still there. */
  skipped: number
  /** Names without content. */
  empty: number
  failed: number
  bytes: number
  /** Why it ended before all documents were looked at; null when it did not. */
  ended: string | null
}

/** Never rejects for what is wrong with a document, the source or the relay: that is counted and said. */
export async function importAll(parts: ImportParts): Promise<ImportCounts> {
  const { source, report, signal } = parts
  const counts: ImportCounts = { imported: 0, skipped: 0, empty: 0, failed: 0, bytes: 0, ended: null }
  try {
    report.begin(await source.count())
    await sideBySide(untilAborted(source.documents(), signal), parts.atOnceMax, async (document) => {
      try {
        await importOne(parts, counts, document)
      } catch (error) {
        if (signal.aborted || (error instanceof RelayError && error.isFatal)) throw error
        counts.failed++
        report.say(`failed  ${document.name}: ${reasonOf(error)}`)
      }
      report.step()
    })
  } catch (error) {
    counts.ended = signal.aborted ? 'interrupted' : reasonOf(error)
  }
  return counts
}

async function importOne(parts: ImportParts, counts: ImportCounts, document: SourceDocument): Promise<void> {
  const { names, relay, journal, verify } = parts
  const updates = (await document.read()).filter((update) => update.length > 0)
  if (updates.length === 0) {
    counts.empty++
    return
  }
  const id = names.take(document.name)
  const content = await contentOf(updates)
  const { length } = content.whole
  if (relay === null) {
    if (verify) content.engine.compact([content.whole])
    parts.planned(document.name, id, length)
    counts.imported++
    counts.bytes += length
    return
  }
  const sha256 = createHash('sha256').update(content.whole).digest('hex')
  const done = journal?.find(id, sha256) ?? null
  if (done !== null && (await relay.since(id, done)) !== 'other') {
    counts.skipped++
    return
  }
  let { offset, epoch } = await push(relay, id, content)
  if (verify) {
    const held = await relay.read(id)
    const difference = differenceOf(content, held.bytes)
    if (difference !== null) throw new SourceError(`Not the same as ${id} after the import: ${difference}`)
    offset = held.offset
    epoch = held.epoch
  }
  await journal?.add({ id, sha256, offset, epoch })
  counts.imported++
  counts.bytes += length
}

async function push(
  relay: Relay,
  id: string,
  { whole, updates }: Content,
): Promise<{ offset: number; epoch: number }> {
  try {
    return { offset: (await relay.append(id, whole)).offset, epoch: 0 }
  } catch (error) {
    if (!(error instanceof RelayError && error.code === 'update_too_large' && updates.length > 1)) throw error
  }
  let offset = 0
  for (const update of updates) offset = (await relay.append(id, update)).offset
  return { offset, epoch: 0 }
}

async function* untilAborted<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  for await (const item of items) {
    signal.throwIfAborted()
    yield item
  }
}

/** Codes are what documentation and logs speak of. */
function reasonOf(error: unknown): string {
  const { message } = error as Error
  if (error instanceof TidemarkError) return `${message} (${error.code})`
  if (error instanceof RelayError && error.code !== null) return `${message} (${error.code})`
  return message
}

/**
 * Intents that nobody is at: of parts that this node has come to hold. Their documents say nothing new, so the projector does not
 * come across them; their rows say that they are pending.
 *
 *   every `lookMs`   parts that are new here ─▶ documents with pending rows ─┬─▶ read, folded ─▶ the arbiter
 *                              documents to be read again (`again`) ────────┘
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { DocumentId } from '../../core/document-id.ts'
import type { Adapter } from '../../core/domain/adapter.ts'
import type { Logger } from '../logger.ts'
import type { LiveDocuments } from '../views/live-documents.ts'
import { partCount, partOf } from '../views/parts.ts'
import { quoted, type Sql } from '../views/sql/sql.ts'
import type { Arbiter } from './arbiter.ts'

export interface UndecidedParts {
  readonly sql: Sql
  readonly adapters: readonly Adapter[]
  readonly documents: LiveDocuments
  readonly arbiter: Pick<Arbiter, 'consider'>
  readonly fenceOf: (part: number) => number | undefined
  /** Documents whose latest word the arbiter may not have; taken from here. */
  readonly again: Set<DocumentId>
  readonly logger: Logger
  readonly lookMs?: number
}

const pageMax = 1_000

/** Until the signal. Never rejects. */
export async function seekUndecided(parts: UndecidedParts, signal: AbortSignal): Promise<void> {
  const { again, fenceOf, logger, lookMs = 1_000 } = parts
  const known = new Map<number, number>()
  while (!signal.aborted) {
    const fresh = new Map<number, number>()
    for (let part = 0; part < partCount; part++) {
      const fence = fenceOf(part)
      if (fence === undefined) known.delete(part)
      else if (known.get(part) !== fence) fresh.set(part, fence)
    }
    const stale = [...again]
    again.clear()
    try {
      if (fresh.size + stale.length > 0)
        for (const adapter of parts.adapters) await seek(parts, adapter, fresh, stale, signal)
      for (const [part, fence] of fresh) known.set(part, fence)
    } catch (error) {
      for (const document of stale) again.add(document)
      logger.debug({ err: error }, 'undecided intents are looked for again')
    }
    // Aborted: the end, seen by the loop.
    await sleep(lookMs, undefined, { signal }).catch(() => undefined)
  }
}

async function seek(
  { sql, documents, arbiter }: UndecidedParts,
  adapter: Adapter,
  fresh: ReadonlyMap<number, number>,
  stale: readonly DocumentId[],
  signal: AbortSignal,
): Promise<void> {
  const { facts } = adapter
  if (facts === null) return
  const table = `${quoted(adapter.name)}.${quoted(facts.projection.tables.facts)}`
  for (let after = ''; !signal.aborted; ) {
    const [result] = await sql.batch([
      {
        text: `select distinct document from ${table}
          where (status = 'pending' and reason is null or document in (select json_array_elements_text($2::json)))
            and document > $1
          order by document limit ${pageMax}`,
        parameters: [after, JSON.stringify(stale)],
      },
    ])
    const found = (result?.rows ?? []).map(([document]) => document as DocumentId)
    for (const document of found) {
      if (signal.aborted || !(fresh.has(partOf(document)) || stale.includes(document))) continue
      const brought = await documents.bring(document, null)
      if (brought.kind === 'whole')
        arbiter.consider(document, {
          fold: facts.projection.foldOf(brought.state),
          lineage: brought.progress.epoch,
          engine: brought.engine,
          claimsOf: facts.claims,
        })
    }
    if (found.length < pageMax) return
    after = found.at(-1)!
  }
}

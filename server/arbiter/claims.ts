/**
 * Who has what, over all documents, stands in SQL, since only there one of two can be told that it is taken. But the log is the only
 * truth: accepted decisions say what they take and free, so a database that does not know yet learns it from the documents.
 *
 *   an adapter with claims, of which the database has not read all ─▶ every document of it ─▶ what its decisions hold ─▶ claims
 *
 * - Until that is done nobody decides intents of such documents, on any node: what looks free may be taken. So what is read stays
 *   true meanwhile, but for documents that are deleted: these are looked at again after they were written.
 * - Documents do not come in an order that matters: of what one has, no other says that it has it.
 * - One that cannot be read holds nothing, which is logged: else one hostile document would keep everybody's intents waiting.
 * - Once done it is done for this database; from there on claims change with each decision, in its transaction.
 *
 * Rejected: to let the projector write claims with the rows. What it writes was read a while before, and may have been freed since.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { DocumentId } from '../../core/document-id.ts'
import type { Adapter } from '../../core/domain/adapter.ts'
import { claimsIn } from '../../core/domain/fold/claims.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import type { Logger } from '../logger.ts'
import type { LiveDocuments } from '../views/live-documents.ts'
import type { ReadLog } from '../views/log-port.ts'
import { rowsUnexpected, type Sql, SqlError, type Statement } from '../views/sql/sql.ts'
import { fenceOf } from '../views/store/fence.ts'

export interface ClaimsParts {
  readonly sql: Sql
  readonly log: Pick<ReadLog, 'changes'>
  readonly adapters: readonly Adapter[]
  readonly documents: Pick<LiveDocuments, 'bring'>
  readonly fenceOf: (part: number) => number | undefined
  readonly logger: Logger
  readonly lookMs?: number
}

const pageMax = 1_000
const retryMsMax = 10_000

/** Resolves when the database knows all claims, and when aborted. Never rejects. */
export async function claimsKnown(parts: ClaimsParts, signal: AbortSignal): Promise<void> {
  const { sql, logger, lookMs = 500 } = parts
  const claiming = parts.adapters.filter(({ facts }) => facts !== null && facts.claims !== null)
  let failures = 0
  while (claiming.length > 0 && !signal.aborted) {
    let waitMs = lookMs
    try {
      const names = new Set(await claimants(sql))
      const unread = claiming.filter(({ name }) => !names.has(name))
      if (unread.length === 0) return
      // One node does it, the others wait.
      const fence = parts.fenceOf(0)
      if (fence !== undefined && (await read(parts, unread, fence, signal))) return
      failures = 0
    } catch (error) {
      if (failures++ === 0) logger.warn({ err: error }, 'claims are read again')
      waitMs = Math.min(retryMsMax, lookMs * 2 ** failures)
    }
    // Aborted: the end, seen by the loop.
    await sleep(waitMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined)
  }
}

/** Adapters whose claims the database knows. */
export async function claimants(sql: Sql): Promise<readonly string[]> {
  const [known] = await sql.batch([{ text: 'select adapter from tidemark.claimants' }])
  return (known?.rows ?? []).map(([name]) => String(name))
}

/** False when another node does it by now, or when aborted. */
async function read(
  parts: ClaimsParts,
  adapters: readonly Adapter[],
  fence: number,
  signal: AbortSignal,
): Promise<boolean> {
  const write = async (statement: Statement): Promise<void> => {
    await parts.sql.batch([fenceOf(new Map([[0, fence]])), statement])
  }
  try {
    for (let from = 0; ; ) {
      const page = await parts.log.changes(from, pageMax)
      for (const { document } of page)
        for (const adapter of adapters) {
          if (signal.aborted) return false
          if (adapter.contextOf(document) !== null) await takeReadable(parts, document, adapter, write)
        }
      from = page.at(-1)?.sequence ?? from
      if (page.length === 0) break
    }
    await write({
      text: `insert into tidemark.claimants (adapter) select json_array_elements_text($1::json) on conflict do nothing`,
      parameters: [JSON.stringify(adapters.map(({ name }) => name))],
    })
    return true
  } catch (error) {
    if (error instanceof SqlError && error.code === rowsUnexpected) return false
    throw error
  }
}

async function takeReadable(
  parts: ClaimsParts,
  document: DocumentId,
  adapter: Adapter,
  write: (statement: Statement) => Promise<void>,
): Promise<void> {
  try {
    await take(parts, document, adapter, write)
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.code !== 'document_unreadable') throw error
    parts.logger.error({ document, adapter: adapter.name, err: error }, 'its claims are left out')
  }
}

async function take(
  { documents }: ClaimsParts,
  document: DocumentId,
  adapter: Adapter,
  write: (statement: Statement) => Promise<void>,
): Promise<void> {
  for (;;) {
    const brought = await documents.bring(document, null)
    if (brought.kind === 'gone') return
    const claims = claimsIn(adapter.facts!.projection.foldOf(brought.state))
    if (claims.length === 0) return
    const lineage = brought.progress.epoch
    await write({
      text: `insert into tidemark.claims (resource, document, entity, intent, lineage)
        select resource, $1, entity, intent, $2 from json_to_recordset($3::json) as c(resource text, entity text, intent text)
        on conflict (resource) do nothing`,
      parameters: [document, lineage, JSON.stringify(claims)],
    })
    // Whoever removes the rows of a deleted document may have been faster.
    const now = await documents.bring(document, brought.progress)
    if (now.kind !== 'gone' && now.progress.epoch === lineage) return
    await write({
      text: 'delete from tidemark.claims where document = $1 and lineage = $2',
      parameters: [document, lineage],
    })
  }
}

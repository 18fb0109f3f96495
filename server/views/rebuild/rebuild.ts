/**
 * Tables that are built beside those that are served, from their beginning to the swap:
 *
 *   count what the log has ─▶ the projector fills them ─▶ they have everything ─▶ verify ─▶ swap
 *
 * The projector does the work, on all nodes; this looks on and says how far it is. The node that has the first part verifies and
 * swaps. All tables that are being built together are swapped together.
 *
 * When rows differ (verify.ts), those that were made from the log are right, so the swap happens all the same; how many
 * documents differed is kept and said loudly.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../../logger.ts'
import type { LiveDocuments } from '../live-documents.ts'
import type { ReadLog } from '../log-port.ts'
import { partCount } from '../parts.ts'
import { type Sql, SqlError } from '../sql/sql.ts'
import { cursorNameOf, isAt, isNext, lockTimeout, type Outcome, type Placed, swap } from '../versions.ts'
import { compare, sample } from './verify.ts'

export interface RebuildParts {
  readonly sql: Sql
  readonly log: Pick<ReadLog, 'changes'>
  readonly placed: readonly Placed[]
  readonly documents: LiveDocuments
  readonly logger: Logger
  /** Rows that this node has filled tables with so far. */
  readonly rows: () => number
  /** True on one node at most. */
  readonly isFirst: () => boolean
}

export interface RebuildFigures {
  readonly adapter: string
  readonly version: number
  /** `version`: what is served was made by older code, and stands still. */
  readonly why: 'version' | 'command'
  readonly state: 'counting' | 'filling' | 'verifying'
  /** That the log had when it began; 0 until they are counted. */
  readonly documents: number
  readonly documentsDone: number
  /** From 0 to 1. */
  readonly ratio: number
  /** By this node. */
  readonly rowsPerSecond: number
  /** Null while nobody can know. */
  readonly secondsLeft: number | null
}

const pageMax = 1_000
const lookMsMin = 500
const lookMsMax = 10_000
const idsShownMax = 20

export class Rebuild {
  private readonly parts: RebuildParts
  private readonly next: readonly Placed[]
  private readonly documents = new Map<string, number>()
  private readonly done = new Map<string, number>()
  private state: RebuildFigures['state'] = 'counting'
  private began = { ms: 0, done: 0, rows: 0 }

  constructor(parts: RebuildParts) {
    this.parts = parts
    this.next = parts.placed.filter(isNext)
  }

  get figures(): readonly RebuildFigures[] {
    const seconds = (performance.now() - this.began.ms) / 1_000
    const perSecond = (this.sum(this.done) - this.began.done) / seconds
    const left = this.sum(this.documents) - this.sum(this.done)
    const secondsLeft = this.state !== 'filling' || perSecond <= 0 ? null : Math.max(0, left / perSecond)
    const rowsPerSecond = this.state === 'filling' ? (this.parts.rows() - this.began.rows) / seconds : 0
    return this.next.map(({ adapter: { name, version } }) => {
      const documents = this.documents.get(name) ?? 0
      const documentsDone = Math.min(this.done.get(name) ?? 0, documents)
      return {
        adapter: name,
        version,
        why: this.liveOf(name) === undefined ? 'version' : 'command',
        state: this.state,
        documents,
        documentsDone,
        ratio: this.state === 'verifying' ? 1 : documents === 0 ? 0 : documentsDone / documents,
        rowsPerSecond: Math.round(rowsPerSecond),
        secondsLeft: secondsLeft === null ? null : Math.ceil(secondsLeft),
      }
    })
  }

  /** Resolves after the swap, or when aborted. Rejects with `SqlError`, and when the log cannot be read. */
  async run(signal: AbortSignal): Promise<void> {
    const { logger } = this.parts
    const adapters = this.next.map(({ adapter }) => `${adapter.name} ${adapter.version}`)
    logger.info({ adapters }, 'views are being built anew; the old ones are served meanwhile')
    const end = await this.count(signal)
    await this.look()
    this.began = { ms: performance.now(), done: this.sum(this.done), rows: this.parts.rows() }
    this.state = 'filling'
    let outcomes: ReadonlyMap<string, Outcome> | null = null
    while (!signal.aborted) {
      const tookMs = await this.look()
      if (this.parts.isFirst() && (await this.hasAll(end))) {
        this.state = 'verifying'
        outcomes ??= await this.verify(signal)
        if (signal.aborted) return
        if (await this.swapped(outcomes)) return logger.info({ adapters }, 'views built anew are served')
      }
      // Aborted: the end, or another node was faster.
      await sleep(pacedMs(tookMs), undefined, { signal }).catch(() => undefined)
    }
  }

  /** There is no shorter way, and it is gone once for each rebuild. Resolves with the end of the log. */
  private async count(signal: AbortSignal): Promise<number> {
    for (let end = 0; ; ) {
      const page = await this.parts.log.changes(end, pageMax)
      for (const { adapter } of this.next) {
        const taken = page.filter(({ document }) => adapter.contextOf(document) !== null).length
        this.documents.set(adapter.name, (this.documents.get(adapter.name) ?? 0) + taken)
      }
      end = page.at(-1)?.sequence ?? end
      if (page.length === 0 || signal.aborted) return end
    }
  }

  /** How far it is. Resolves with what the look cost. */
  private async look(): Promise<number> {
    const fromMs = performance.now()
    const results = await this.parts.sql.batch(
      this.next.map(({ schema }) => ({
        text: `select (select count(*) from tidemark.progress where adapter = $1)
          + (select count(*) from tidemark.dead_letters d where adapter = $1 and not exists (
              select from tidemark.progress p where p.adapter = $1 and p.document = d.document))`,
        parameters: [schema],
      })),
    )
    for (const [i, { adapter }] of this.next.entries())
      this.done.set(adapter.name, Number(results[i]?.rows[0]?.[0]))
    return performance.now() - fromMs
  }

  /** False when somebody reads the old tables for long: it is tried again. */
  private async swapped(outcomes: ReadonlyMap<string, Outcome>): Promise<boolean> {
    try {
      await swap(this.parts.sql, this.parts.placed, outcomes)
      return true
    } catch (error) {
      if (!(error instanceof SqlError) || error.code !== lockTimeout) throw error
      return false
    }
  }

  private async hasAll(end: number): Promise<boolean> {
    for (const placed of this.next)
      if (!(await isAt(this.parts.sql, cursorNameOf(placed), partCount, end))) return false
    return true
  }

  private async verify(signal: AbortSignal): Promise<Map<string, Outcome>> {
    const { sql, documents, logger } = this.parts
    const outcomes = new Map<string, Outcome>()
    for (const next of this.next) {
      const { name } = next.adapter
      const live = this.liveOf(name)
      const differing = await sample(sql, next, documents)
      if (live !== undefined)
        for (const document of await this.compared(live, next, signal)) differing.add(document)
      const ids = [...differing].slice(0, idsShownMax)
      if (differing.size > 0)
        logger.error(
          { adapter: name, documents: differing.size, sample: ids },
          'rows of these documents were not what the log says; they are now',
        )
      outcomes.set(name, {
        documents: this.done.get(name) ?? 0,
        differing: differing.size,
        sample: ids,
      })
    }
    return outcomes
  }

  private async compared(live: Placed, next: Placed, signal: AbortSignal): Promise<ReadonlySet<string>> {
    try {
      return await compare(this.parts.sql, live, next, signal)
    } catch (error) {
      if (!(error instanceof SqlError) || error.retryable) throw error
      this.parts.logger.error(
        { adapter: live.adapter.name, reason: error.message },
        'the tables that were served are not those that the adapter makes; they are replaced',
      )
      return new Set()
    }
  }

  private liveOf(name: string): Placed | undefined {
    return this.parts.placed.find((placed) => placed.adapter.name === name && !isNext(placed))
  }

  private sum(counts: ReadonlyMap<string, number>): number {
    return [...counts.values()].reduce((sum, count) => sum + count, 0)
  }
}

/** A look counts rows of a table: it must not become the work itself. */
const pacedMs = (tookMs: number): number => Math.min(lookMsMax, Math.max(lookMsMin, 10 * tookMs))

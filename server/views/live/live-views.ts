/**
 * Live queries in the thread of the views: the hub, over this thread's queries, told of what its own projector and other nodes
 * write.
 *
 *   relay ─ open, ready, leave ─▶ hub ─ run ─▶ query
 *   relay ◀─ send, current, end ─ hub ◀─ touched ─ writer, or PostgreSQL (listening.ts)
 */
import { createHash } from 'node:crypto'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import type { Logger } from '../../logger.ts'
import { type Sql, SqlError } from '../sql/sql.ts'
import { nextOf } from '../versions.ts'
import { dependenciesOf, type Named } from './dependencies.ts'
import { LiveHub, type LiveHubLimits } from './hub.ts'
import { Listening } from './listening.ts'
import type { LiveFromRelay, LiveFromViews, LiveQuery } from './messages.ts'
import type { Answer } from './result.ts'
import type { Touch } from './touch.ts'

export interface LiveViewsParts<Rights> {
  /** A `cursor` says that there are more rows. Throws `TidemarkError`, or the signal's reason. */
  readonly run: (query: LiveQuery<Rights>, signal: AbortSignal) => Promise<PagedAnswer>
  readonly subjectOf: (rights: Rights) => string
  /** What the text names. Throws `TidemarkError`. */
  readonly named: (sql: string) => Promise<Named>
  /** The owner's, for the catalog. */
  readonly sql: Sql
  /** Null: no other node writes. */
  readonly databaseUrl: string | null
  /** This node's, as it notifies. */
  readonly node: string
  readonly tell: (message: LiveFromViews, transfer: ArrayBuffer[]) => void
  readonly logger: Logger
  /** Of this thread's heap. */
  readonly heapMb: number
  readonly limits?: Partial<LiveHubLimits>
}

const mib = 1024 * 1024
/** Adapters and queries need the rest of it. A character takes two bytes at most. */
const limitsOf = (heapMb: number): Pick<LiveHubLimits, 'resultBytesMax' | 'keptBytesMax'> => ({
  resultBytesMax: (heapMb * mib) / 8,
  keptBytesMax: (heapMb * mib) / 16,
})

export interface PagedAnswer extends Answer {
  readonly cursor: string | null
}

const runsToldMs = 1_000
/** After a commit of which nobody knows, it may come yet: for so long, what this node notifies is news to it. */
const doubtMs = 120_000

export class LiveViews<Rights> {
  private readonly parts: LiveViewsParts<Rights>
  private readonly hub: LiveHub<LiveQuery<Rights>>
  private readonly telling: NodeJS.Timeout
  private listening: Listening | null = null
  private doubtedMs = Number.NEGATIVE_INFINITY
  private runsTold = 0

  constructor(parts: LiveViewsParts<Rights>) {
    const { tell, limits, heapMb } = parts
    this.parts = parts
    this.hub = new LiveHub<LiveQuery<Rights>>({
      nameOf: ({ sql, params, key, rights }) => hashOf([sql, params, key, rights]),
      // With another token, a user has what was sent to the one before.
      traceOf: ({ sql, params, key, rights }) => hashOf([sql, params, key, parts.subjectOf(rights)]),
      keyOf: ({ key }) => key,
      run: (query, signal) => this.run(query, signal),
      dependenciesOf: ({ sql }) => this.told(async () => dependenciesOf(parts.sql, await parts.named(sql))),
      outlet: {
        send: (listeners, id, event) => {
          const bytes = new TextEncoder().encode(event)
          tell({ kind: 'live-send', listeners, id, event: bytes }, [bytes.buffer])
        },
        current: (listener) => tell({ kind: 'live-current', listener }, []),
        end: (listeners, code, message) => tell({ kind: 'live-end', listeners, code, message }, []),
      },
      limits: { ...limitsOf(heapMb), ...limits },
    })
    this.telling = setInterval(() => this.tellRuns(), runsToldMs)
    this.telling.unref()
  }

  heard(message: LiveFromRelay<Rights>): void {
    switch (message.kind) {
      case 'live-open':
        this.listen()
        return this.hub.open(message.listener, message.query, message.has, message.begun)
      case 'live-ready':
        return this.hub.ready(message.listeners)
      case 'live-leave':
        return this.hub.leave(message.listener)
    }
  }

  /** Written by this node. `uncertain`: it may have been, or may yet be. */
  touched(touches: readonly Touch[], uncertain: boolean): void {
    if (uncertain) this.doubtedMs = performance.now()
    this.tell(touches)
  }

  /** Null: everything may have changed. */
  private tell(touches: readonly Touch[] | null): void {
    // Tables that are being built are read by nobody.
    const served = touches?.filter(({ schema }) => !schema.endsWith(nextOf('')))
    if (served === undefined) this.hub.touched(null)
    else if (served.length > 0) this.hub.touched(served)
  }

  /** There may be other tables than before. */
  replaced(): void {
    this.hub.touched(null)
  }

  async close(): Promise<void> {
    clearInterval(this.telling)
    this.hub.close()
    await this.listening?.close()
  }

  /** Not before somebody asks: most relays have no live queries, and need no further connection. */
  private listen(): void {
    const { databaseUrl, node, logger } = this.parts
    if (databaseUrl === null || this.listening !== null) return
    this.listening = new Listening({
      url: databaseUrl,
      isOwn: (from) => from === node && performance.now() - this.doubtedMs > doubtMs,
      onTouched: (touches) => this.tell(touches),
      logger,
    })
    this.listening.start()
  }

  private async run(query: LiveQuery<Rights>, signal: AbortSignal): Promise<Answer> {
    const answer = await this.told(() => this.parts.run(query, signal))
    if (answer.cursor === null) return answer
    const fitting = answer.rows.length
    const reason = `A live query is one answer, and only ${fitting} of its rows fit into it: give it a limit`
    throw new TidemarkError('query_refused', reason)
  }

  private async told<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (error instanceof SqlError && error.retryable)
        throw new TidemarkError('views_unavailable', 'The database of the views is away', { cause: error })
      if (!(error instanceof TidemarkError)) this.parts.logger.error({ err: error }, 'live query failed')
      throw error
    }
  }

  private tellRuns(): void {
    const count = this.hub.runs - this.runsTold
    if (count === 0) return
    this.runsTold += count
    this.parts.tell({ kind: 'live-runs', count }, [])
  }
}

const hashOf = (parts: readonly unknown[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('base64')

/**
 * What a node does from the moment it holds the term until it no longer does:
 *
 *   stored position ─▶ changes after it ─▶ waiting ─▶ deliveries
 *        ▲                                    │
 *        └── cursor, at most once a second ◀──┘
 *
 * Everything is begun anew with each tenure, so nothing of an earlier one can be out of date; what was waiting then is
 * read again, since the cursor never passes it. While `waitingMax` documents wait, no changes are read: the log keeps
 * them. A log that is away is asked again, ever less often, until the term has run out.
 *
 * The first start ever begins at the end of the log, and stores that before anything else: whatever changes after
 * is announced. A replay begins at 0.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../log/log.ts'
import type { Logger } from '../logger.ts'
import { Deliveries, type DeliveriesParts } from './deliveries.ts'
import { type Position, StoredPosition } from './position.ts'
import type { Term } from './term.ts'
import { Waiting } from './waiting.ts'

export interface TenureLimits {
  readonly pollMs: number
  readonly pollMsMax: number
  readonly saveMs: number
  readonly waitingMax: number
  readonly pageMax: number
  /** How long a closing node lets requests end. */
  readonly closeMsMax: number
}

export interface TenureParts extends Omit<DeliveriesParts, 'waiting' | 'limits' | 'term'> {
  readonly log: Pick<Log, 'append' | 'load' | 'compact' | 'changes'>
  readonly term: Term
  readonly logger: Logger
  readonly debounceMs: number
  readonly replay: number
  readonly limits: TenureLimits & DeliveriesParts['limits']
}

export class Tenure {
  private readonly parts: TenureParts
  private readonly waiting: Waiting
  private readonly deliveries: Deliveries
  private readonly position: StoredPosition
  private replay = 0
  private readTo = 0
  private failures = 0
  private savedCursor = 0
  private savedMs = 0

  constructor(parts: TenureParts) {
    this.parts = parts
    this.waiting = new Waiting(parts.debounceMs)
    this.deliveries = new Deliveries({ ...parts, waiting: this.waiting })
    this.position = new StoredPosition(parts.log)
  }

  get lagSeconds(): number {
    const oldestMs = this.waiting.oldestMs()
    return oldestMs === null ? 0 : (performance.now() - oldestMs) / 1000
  }

  /** Resolves when the term is lost, or the signal says so. Rejects when the log is away. */
  async run(signal: AbortSignal): Promise<void> {
    const { term, limits } = this.parts
    let sole = await this.begin(signal)
    try {
      while (sole && (await this.keepsTerm(signal))) {
        const outcome = await this.step()
        sole = outcome.sole
        const pauseMs = outcome.failed ? this.backoffMs() : limits.pollMs
        // An aborted sleep is the end, seen by the loop.
        if (sole && !outcome.more) await sleep(pauseMs, undefined, { signal }).catch(() => undefined)
      }
    } finally {
      await this.deliveries.close(sole && term.held ? limits.closeMsMax : 0)
      if (sole && term.held) await this.save(0)
    }
  }

  /** False: another node writes. */
  private async begin(signal: AbortSignal): Promise<boolean> {
    const { replay, receiver, logger } = this.parts
    const stored = await this.position.load()
    const anew = replay > (stored?.replay ?? 0)
    const cursor = anew ? 0 : (stored?.cursor ?? (await this.endOfLog(signal)))
    if (!this.parts.term.held || signal.aborted) return false
    this.replay = Math.max(replay, stored?.replay ?? 0)
    this.readTo = cursor
    this.savedCursor = cursor
    if ((anew || stored === null) && !(await this.write(cursor))) return false
    const how = anew ? 'replay' : stored === null ? 'first start' : 'continued'
    logger.info({ host: receiver.host, how, cursor }, 'this node announces changes')
    return true
  }

  /** Where everything has been read. There is no shorter way, and it is gone once. */
  private async endOfLog(signal: AbortSignal): Promise<number> {
    const { log, limits, term } = this.parts
    for (let end = 0; ; ) {
      const page = await log.changes(end, limits.pageMax)
      end = page.at(-1)?.sequence ?? end
      if (page.length < limits.pageMax || signal.aborted) return end
      if (term.renewalDue && !(await term.take())) return end
    }
  }

  private async keepsTerm(signal: AbortSignal): Promise<boolean> {
    const { term } = this.parts
    if (signal.aborted || !term.held) return false
    return !term.renewalDue || (await term.take())
  }

  /** `more`: there are further changes to read at once. `sole`: false when another node writes. */
  private async step(): Promise<{ more: boolean; sole: boolean; failed: boolean }> {
    try {
      const more = await this.read()
      this.waiting.settle(performance.now())
      this.deliveries.pump()
      const sole = await this.save(this.parts.limits.saveMs)
      this.failures = 0
      return { more, sole, failed: false }
    } catch (error) {
      if (this.failures++ === 0) this.parts.logger.warn({ err: error }, 'changes could not be read')
      return { more: false, sole: true, failed: true }
    }
  }

  private async read(): Promise<boolean> {
    const { log, limits } = this.parts
    const room = limits.waitingMax - this.waiting.size
    if (room <= 0) return false
    const countMax = Math.min(room, limits.pageMax)
    const page = await log.changes(this.readTo, countMax)
    const nowMs = performance.now()
    for (const { document, sequence } of page) this.waiting.changed(document, sequence, nowMs)
    this.readTo = page.at(-1)?.sequence ?? this.readTo
    return page.length >= countMax
  }

  /** Not more often than every `saveMs`; false when another node writes. */
  private async save(saveMs: number): Promise<boolean> {
    if (performance.now() - this.savedMs < saveMs) return true
    const cursor = this.waiting.cursor(this.readTo)
    return cursor === this.savedCursor || (await this.write(cursor))
  }

  private async write(cursor: number): Promise<boolean> {
    // Right before the write: the term may have run out in a pause of the whole process.
    if (!this.parts.term.held) return false
    const position: Position = { cursor, replay: this.replay }
    this.savedMs = performance.now()
    const sole = await this.position.save(position)
    this.savedCursor = cursor
    return sole
  }

  private backoffMs(): number {
    const { pollMs, pollMsMax } = this.parts.limits
    return Math.min(pollMsMax, pollMs * 2 ** this.failures) * (0.5 + Math.random() / 2)
  }
}

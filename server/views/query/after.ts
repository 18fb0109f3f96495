/**
 * Read your own writes: waits until the rows of all adapters that take a document include an offset, that of an ack.
 *
 * One look at `tidemark.progress` serves all who wait. It is taken when somebody comes, when this node's projector wrote, and,
 * since another node may have, again and again, less and less often up to `lookMsMax`. A document that no adapter takes is
 * there at once. One that could not be projected will not come by waiting, and is told so.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import { type Sql, SqlError } from '../sql/sql.ts'

/** Offsets by document. */
export type After = Readonly<Record<string, number>>

export interface Takes {
  readonly name: string
  contextOf(document: string): unknown
}

interface Waiter {
  readonly wanted: readonly Wanted[]
  readonly done: () => void
  readonly refuse: (error: unknown) => void
}

interface Wanted {
  readonly document: string
  readonly adapter: string
  readonly offset: number
}

const lookMsMin = 5
const lookMsMax = 100
const waitersMax = 1_000

export class AfterWaits {
  private readonly sql: Sql
  private readonly adapters: readonly Takes[]
  private readonly timeoutMs: number
  private readonly waiters = new Set<Waiter>()
  private looking = false
  private lookMs = lookMsMin
  private wakeUp = new AbortController()

  constructor(sql: Sql, adapters: readonly Takes[], timeoutMs: number) {
    this.sql = sql
    this.adapters = adapters
    this.timeoutMs = timeoutMs
  }

  /** Rejects with `views_behind`, `views_unavailable`, `overloaded`, or the signal's reason. */
  async reached(after: After, signal: AbortSignal): Promise<void> {
    const wanted = Object.entries(after).flatMap(([document, offset]) =>
      this.adapters
        .filter((adapter) => adapter.contextOf(document) !== null)
        .map(({ name }) => ({ document, offset, adapter: name })),
    )
    if (wanted.length === 0) return
    if (this.waiters.size >= waitersMax) throw new TidemarkError('overloaded', 'Too many wait for the views')
    const late = AbortSignal.timeout(this.timeoutMs)
    const end = AbortSignal.any([late, signal])
    let waiter: Waiter | undefined
    try {
      await new Promise<void>((resolve, reject) => {
        waiter = { wanted, done: resolve, refuse: reject }
        this.waiters.add(waiter)
        end.addEventListener('abort', () => reject(end.reason), { once: true })
        this.wake()
      })
    } catch (error) {
      signal.throwIfAborted()
      if (!late.aborted) throw error
      throw await this.behind(wanted)
    } finally {
      if (waiter !== undefined) this.waiters.delete(waiter)
    }
  }

  /** This node wrote rows. */
  wake(): void {
    this.lookMs = lookMsMin
    this.wakeUp.abort()
    if (this.looking || this.waiters.size === 0) return
    this.looking = true
    void this.look()
  }

  /** Never rejects. */
  private async look(): Promise<void> {
    while (this.waiters.size > 0) {
      this.wakeUp = new AbortController()
      const waiters = [...this.waiters]
      try {
        const views = await this.read(waiters.flatMap(({ wanted }) => wanted))
        for (const waiter of waiters) settle(waiter, views)
      } catch (error) {
        for (const { refuse } of waiters) refuse(unavailable(error))
      }
      this.lookMs = Math.min(lookMsMax, this.lookMs * 1.5)
      // Aborted: woken.
      const wait = sleep(this.lookMs * (0.75 + Math.random() / 2), undefined, { signal: this.wakeUp.signal })
      if (this.waiters.size > 0) await wait.catch(() => undefined)
      else wait.catch(() => undefined)
    }
    this.looking = false
  }

  private async read(wanted: readonly Wanted[]): Promise<Views> {
    const documents = [...new Set(wanted.map(({ document }) => document))]
    const of = 'where document in (select json_array_elements_text($1::json))'
    const parameters = [JSON.stringify(documents)]
    const [progress, dead] = await this.sql.batch([
      { text: `select document, adapter, "offset" from tidemark.progress ${of}`, parameters },
      { text: `select document, adapter, "offset" from tidemark.dead_letters ${of}`, parameters },
    ])
    const offsets = new Map((progress?.rows ?? []).map((row) => [keyOf(row[0]!, row[1]!), Number(row[2])]))
    // One without an offset could not be read at all.
    const deadAt = (offset: string | null | undefined): number =>
      offset == null ? Number.POSITIVE_INFINITY : Number(offset)
    return {
      offsets,
      dead: new Map((dead?.rows ?? []).map((row) => [keyOf(row[0]!, row[1]!), deadAt(row[2])])),
    }
  }

  /** How far it is, once more. */
  private async behind(wanted: readonly Wanted[]): Promise<TidemarkError> {
    let views: Views
    try {
      views = await this.read(wanted)
    } catch (error) {
      return unavailable(error)
    }
    const late = wanted.find((each) => offsetIn(views, each) < each.offset) ?? wanted[0]!
    return new TidemarkError(
      'views_behind',
      `The views of "${late.adapter}" have "${late.document}" at offset ${offsetIn(views, late)}, not yet at ${late.offset}`,
    )
  }
}

interface Views {
  readonly offsets: ReadonlyMap<string, number>
  readonly dead: ReadonlyMap<string, number>
}

function settle({ wanted, done, refuse }: Waiter, views: Views): void {
  const left = wanted.filter((each) => offsetIn(views, each) < each.offset)
  if (left.length === 0) return done()
  const dead = left.find((each) => (views.dead.get(keyOf(each.document, each.adapter)) ?? -1) >= each.offset)
  if (dead !== undefined)
    refuse(
      new TidemarkError(
        'views_behind',
        `The views of "${dead.adapter}" could not be made of "${dead.document}" as it is now: it is among the dead letters`,
      ),
    )
}

const offsetIn = ({ offsets }: Views, { document, adapter }: Wanted): number =>
  offsets.get(keyOf(document, adapter)) ?? 0

/** No adapter has a slash in its name. */
const keyOf = (document: string, adapter: string): string => `${adapter}/${document}`

const unavailable = (error: unknown): TidemarkError =>
  error instanceof SqlError
    ? new TidemarkError('views_unavailable', 'The database of the views is away', { cause: error })
    : new TidemarkError('internal', 'The views failed', { cause: error as Error })

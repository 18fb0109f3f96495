/**
 * How many statuses a Hocuspocus client is to be sent. No I/O.
 *
 * The provider counts: 1 when it sends its step 1, one more with each update it makes; one less with each status that
 * says `applied`. At 0 it takes everything for saved. So each frame of it that carries edits has a weight, the number of
 * statuses it is worth once it is durable:
 *
 *   1             nearly always
 *   0             it was made before the step 1, with which the provider began to count anew; its step 2 has it all
 *   n             a step 2 for which we asked after n frames had been refused, all of whose edits it has
 *
 * An update's weight is that of the moment at which it came, whenever it is taken.
 *
 * What was refused is told at once and never counted down: the provider shows that there is something unsaved.
 *
 * A provider that made edits without a connection sends them, and the step 1s of that time, only once it has heard something,
 * so after its step 1 and before its step 2. Between the two, updates are looked at: those of which the step 1 has all structs
 * are of weight 0, and so is what only deletes, which a step 1 does not tell. That errs for what is deleted in this very
 * moment, towards "unsaved".
 */
import type { Engine } from '../../core/engine/engine.ts'

/** What has settled leaves the row so many at a time, or when all has: one by one would move the rest each time. */
const movedMin = 1024

export class SyncStatuses {
  private readonly engine: Pick<Engine, 'predates'>
  /** Weights of what is on its way to the log, which tells of it in this order. */
  private readonly onTheWay: number[] = []
  /** Of the first that is still on its way. */
  private start = 0
  private due = 0
  private refused = 0
  private askedAnew = false
  /** Of the first step 1, until the first step 2. */
  private first: Uint8Array | null = null
  private begun = false

  constructor(engine: Pick<Engine, 'predates'>) {
    this.engine = engine
  }

  /** A step 1 came: whether the provider counts anew with it. */
  restarted(version: Uint8Array): boolean {
    if (this.first !== null) return false
    if (!this.begun) this.first = version
    this.begun = true
    this.onTheWay.fill(0)
    this.due = 0
    this.refused = 0
    this.askedAnew = false
    return true
  }

  /** A step 2 was taken; `durable`: the log has all of it already. */
  wholeTaken(durable: boolean): void {
    this.first = null
    const weight = this.askedAnew ? this.refused : 1
    if (this.askedAnew) this.refused = 0
    this.askedAnew = false
    this.add(weight, durable)
  }

  /** Of an update that has just come and was validated. Throws `malformed_frame` when the step 1 was malformed. */
  weightOf(update: Uint8Array): number {
    return this.first === null || !this.engine.predates(update, this.first) ? 1 : 0
  }

  updateTaken(weight: number, durable: boolean): void {
    this.add(weight, durable)
  }

  updateRefused(weight: number): void {
    this.refused += weight
  }

  wholeRefused(): void {
    this.first = null
    if (!this.askedAnew) this.refused++
    this.askedAnew = false
  }

  private add(weight: number, durable: boolean): void {
    if (durable) this.due += weight
    else this.onTheWay.push(weight)
  }

  /** What was taken first, of what is on its way, is durable. */
  settled(): void {
    const { onTheWay } = this
    if (this.start === onTheWay.length) return
    this.due += onTheWay[this.start++]!
    const rest = onTheWay.length - this.start
    if (rest > 0 && this.start < Math.max(rest, movedMin)) return
    if (rest === 0) onTheWay.length = 0
    else onTheWay.splice(0, this.start)
    this.start = 0
  }

  /** It may write now: whether it has to be asked for what was refused before. */
  askAnew(): boolean {
    this.askedAnew = this.refused > 0
    return this.askedAnew
  }

  get owing(): boolean {
    return this.due > 0
  }

  /** How many are to be sent now. */
  take(): number {
    const { due } = this
    this.due = 0
    return due
  }
}

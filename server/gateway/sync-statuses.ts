/**
 * How many statuses a Hocuspocus client is to be sent. No I/O.
 *
 * The provider counts: 1 when it sends its step 1, one more with each update it sends; one less with each status that
 * says `applied`. At 0 it takes everything for saved. So each frame of it that carries edits has a weight, the number of
 * statuses it is worth once it is durable:
 *
 *   1             nearly always
 *   0             it came before a step 1, with which the provider began to count anew; the step 2 that follows has it all
 *   n             a step 2 for which we asked after n frames had been refused, all of whose edits it has
 *
 * What was refused is told at once and never counted down: the provider shows that there is something unsaved.
 */
export class SyncStatuses {
  /** Weights of what is on its way to the log, which tells of it in this order. */
  private readonly onTheWay: number[] = []
  private due = 0
  private refused = 0
  private askedAnew = false

  /** The provider has begun to count anew. */
  restarted(): void {
    this.onTheWay.fill(0)
    this.due = 0
    this.refused = 0
    this.askedAnew = false
  }

  /** A frame with edits was taken; `durable`: the log has them already. */
  taken(whole: boolean, durable: boolean): void {
    let weight = 1
    if (whole && this.askedAnew) {
      weight = this.refused
      this.refused = 0
      this.askedAnew = false
    }
    if (durable) this.due += weight
    else this.onTheWay.push(weight)
  }

  refuse(): void {
    this.refused++
  }

  /** What was taken first, of what is on its way, is durable. */
  settled(): void {
    this.due += this.onTheWay.shift() ?? 0
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

/**
 * Updates of one document that came before what they build on, kept until that has come.
 *
 *   update ─▶ taken
 *      └▶ TooEarly ─▶ kept ─step 2─▶ taken, or refused
 *
 * A provider that edits without a connection sends each of these edits as soon as it has one, and its step 2 only when it is
 * asked. What the server lacks of what came before them (a page's first edits, which `disconnect()` throws away unsent; those
 * that the last connection lost) is in the step 2 alone. Most documents take updates in any order; one with facts refuses what
 * leaves a gap, and a refusal ends the document for good at the provider. So such an update is tried again after the step 2,
 * which has all that its client knows. What is too early then is refused.
 *
 * Too much of it ends the connection, since with the next one nothing waits to be sent and the step 2 has everything.
 */
export interface EarlyUpdate {
  readonly update: Uint8Array
  /** Statuses it is worth (sync-statuses.ts), as of the moment at which it came. */
  readonly weight: number
}

/** What one costs beside its bytes. */
const updateOverheadBytes = 128

export class EarlyUpdates {
  /** So many bytes more, or less, are kept. Throws when that is too many. */
  private readonly count: (bytes: number) => void
  /** Null when none is kept any more: the step 2 has come, or nothing will. */
  private kept: EarlyUpdate[] | null = []

  constructor(count: (bytes: number) => void) {
    this.count = count
  }

  /** What it builds on may still come. */
  get keeps(): boolean {
    return this.kept !== null
  }

  /** Another step 2 is asked for. */
  begin(): void {
    this.kept ??= []
  }

  /** Throws as `count`. */
  keep(early: EarlyUpdate): void {
    this.count(early.update.length + updateOverheadBytes)
    this.kept?.push(early)
  }

  /** Until `begin` nothing is kept. Gives what was, in the order in which it came. */
  end(): readonly EarlyUpdate[] {
    const kept = this.kept ?? []
    this.kept = null
    for (const { update } of kept) this.count(-(update.length + updateOverheadBytes))
    return kept
  }
}

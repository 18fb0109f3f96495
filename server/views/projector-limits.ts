/** How much the projector takes at once, and how long it waits (P7). */
export interface ProjectorLimits {
  /** Documents of one batch. */
  readonly batchDocumentsMax: number
  /** Rows after which a batch is written, about. */
  readonly batchRowsMax: number
  /** The same of time. */
  readonly batchMsMax: number
  /** Documents that wait; while there are more, no changes are read. */
  readonly pendingMax: number
  readonly pageMax: number
  /** Between two looks for changes when nothing woke it. */
  readonly pollMs: number
  /** Between the beginnings of two batches, unless more waits than one takes: each costs as much as many rows. */
  readonly paceMs: number
  readonly claimMs: number
  readonly backoffMsMax: number
}

export const projectorLimits: ProjectorLimits = {
  batchDocumentsMax: 200,
  batchRowsMax: 5_000,
  batchMsMax: 100,
  pendingMax: 100_000,
  pageMax: 1_000,
  pollMs: 100,
  paceMs: 8,
  claimMs: 2_000,
  backoffMsMax: 10_000,
}

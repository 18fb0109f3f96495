/** Lets go of decisions that have long been in the log: hourly, by the node that holds the first part. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../logger.ts'
import type { DecisionStore } from './decision-store.ts'

export interface SweepParts {
  readonly store: Pick<DecisionStore, 'sweep'>
  /** True on one node at most. Two that sweep at once do no harm. */
  readonly isFirst: () => boolean
  readonly logger: Logger
  readonly everyMs?: number
  /** Between two looks whether this node is the first by now. */
  readonly lookMs?: number
}

/** Until the signal. Never rejects. */
export async function sweepDecisions(
  { store, isFirst, logger, everyMs = 3_600_000, lookMs = 60_000 }: SweepParts,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    let waitMs = lookMs
    if (isFirst())
      try {
        await store.sweep()
        waitMs = everyMs
      } catch (error) {
        logger.debug({ err: error }, 'old decisions are swept later')
      }
    // Aborted: the end, seen by the loop.
    await sleep(waitMs * (0.5 + Math.random()), undefined, { signal }).catch(() => undefined)
  }
}

/** What a room knows of its document without building it: made from what the log has, kept up to date with what follows. */
import type { Coverage, Ended, Engine } from '../../core/engine/engine.ts'
import type { TailStats } from '../compaction/policy.ts'
import { type Content, coverageOf, unlimited } from '../log/lineage.ts'
import type { Entry, Loaded } from '../log/log.ts'
import type { Lineage } from '../log/metadata.ts'
import { FactGuard } from './fact-guard.ts'

export interface Known {
  readonly coverage: Coverage
  readonly lineage: Lineage
  /** Null as long as no lineage has ended. */
  readonly ended: Ended | null
  /** Null for a document that holds no facts. */
  readonly facts: FactGuard | null
}

/** `onUnreadable`: an entry that validation on some node let through; it is skipped. */
export function knownOf(
  content: Content,
  engine: Engine,
  holdsFacts: boolean,
  onUnreadable: (entry: Entry, error: unknown) => void,
): Known {
  const { snapshot, entries, lineage, aside } = content
  const coverage = coverageOf(snapshot, entries, engine, onUnreadable)
  // What was set aside and comes again is not to be taken in again.
  for (const { entry } of aside) coverage.add(engine.validate(entry.update, unlimited))
  const ended = lineage.ended.length > 0 ? engine.ended(lineage.ended) : null
  if (!holdsFacts) return { coverage, lineage, ended, facts: null }
  const stored = [...(snapshot === null ? [] : [snapshot.bytes]), ...entries.map(({ update }) => update)]
  return { coverage, lineage, ended, facts: new FactGuard(engine, stored) }
}

/** An update of somebody else came from the log. Throws what `Engine.validate` throws. */
export function learn({ coverage, facts }: Known, update: Uint8Array, engine: Engine): void {
  coverage.add(engine.validate(update, unlimited))
  facts?.add(update)
}

export function tailOf({ snapshot, tail }: Loaded): Omit<TailStats, 'compactedMs'> {
  return {
    snapshotBytes: snapshot?.bytes.length ?? 0,
    tailCount: tail.length,
    tailBytes: tail.reduce((sum, { update }) => sum + update.length, 0),
    oldestMs: tail[0]?.timeMs ?? 0,
  }
}

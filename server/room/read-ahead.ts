/**
 * Reads what a room is made of, in turns with whatever else there is to do: what took minutes to write may take tens of milliseconds
 * to read. Only of engines that remember what they have read.
 */
import { setImmediate } from 'node:timers/promises'
import type { Coverage, EngineName } from '../../core/engine/engine.ts'
import { engines } from '../../core/engine/engines.ts'
import { type Content, unlimited } from '../log/lineage.ts'
import type { Entry, Snapshot } from '../log/log.ts'

const turnMsMax = 2

/** For joins; `tail` must be the array that they are given. Rejects with `document_unreadable`. */
export async function readAhead(
  engine: EngineName | null,
  snapshot: Snapshot | null,
  tail: readonly Uint8Array[],
): Promise<void> {
  if (engine === null) return
  let startedMs = performance.now()
  for (const _ of engines[engine].readAhead?.(snapshot, tail) ?? []) {
    if (performance.now() - startedMs < turnMsMax) continue
    await setImmediate()
    startedMs = performance.now()
  }
}

/** As `coverageOf`, a part at a time. Null: nobody has written. */
export async function coverageAhead(
  { engine, snapshot, entries }: Content,
  onUnreadable: (entry: Entry, error: unknown) => void,
): Promise<Coverage | null> {
  if (engine === null) return null
  const coverage = engines[engine].coverageOf(snapshot)
  let startedMs = performance.now()
  for (const entry of entries) {
    try {
      coverage.add(engines[engine].validate(entry.update, unlimited))
    } catch (error) {
      // Taken in by a node that validates less: skipped by all, fatal to none.
      onUnreadable(entry, error)
    }
    if (performance.now() - startedMs < turnMsMax) continue
    await setImmediate()
    startedMs = performance.now()
  }
  return coverage
}

/** A log over a store of snapshots in a temporary folder, with steps at which freezing can be stopped. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createFileStore } from '../../../../server/log/cold/file-store.ts'
import type { FreezeStep } from '../../../../server/log/cold/freeze.ts'
import type { SnapshotStore } from '../../../../server/log/cold/snapshot-store.ts'
import { TieredLog, type TieredLogLimits } from '../../../../server/log/cold/tiered-log.ts'
import type { Log } from '../../../../server/log/log.ts'
import { silentLogger } from '../../../support/silent-logger.ts'

/** Everything moves, nothing moves by itself, and what fails is soon tried again. */
export const eagerLimits: Partial<TieredLogLimits> = {
  snapshotBytesMin: 0,
  tailBytesMax: 0,
  afterMs: 0,
  everyMs: 3_600_000,
  pauseMs: 1,
  pauseMsMax: 20,
}

export const freezeSteps = ['freeze.put', 'freeze.verify', 'freeze.point', 'freeze.pointed']

export function temporaryFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'tidemark-cold-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

export interface TieredOptions {
  readonly limits?: Partial<TieredLogLimits>
  readonly onStep?: FreezeStep
  readonly store?: SnapshotStore | null
}

/** Not started. */
export function tieredOver(log: Log, folder: string, options: TieredOptions = {}): TieredLog {
  const { limits, onStep, store } = options
  return new TieredLog({
    log,
    store: store === undefined ? createFileStore(folder) : store,
    lastTimeMs: () => 0,
    logger: silentLogger,
    limits: { ...eagerLimits, ...limits },
    ...(onStep !== undefined && { onStep }),
  })
}

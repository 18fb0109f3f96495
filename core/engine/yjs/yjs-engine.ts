/**
 * The Yjs engine, updates v1. Light methods work on bytes: one scan of an update (scan.ts), ranges of
 * what a log holds (coverage.ts), joins spliced from byte ranges (splice.ts) with the help of an
 * index (state-index.ts). Only compaction, JSON and live documents use Yjs itself (compact.ts, to-json.ts,
 * live-document.ts).
 */
import { TidemarkError } from '../../protocol/errors.ts'
import type { Engine } from '../engine.ts'
import { engineOf } from '../engine-of.ts'
import type { LiveDocument } from '../live-document.ts'
import { compact, digest } from './compact.ts'
import { condensed } from './condensed-tail.ts'
import { coverageOf, YjsCoverage } from './coverage.ts'
import { endedOf } from './ended.ts'
import { YjsLiveDocument } from './live-document.ts'
import { outlineOf, scanStored, scanUpdate, type YjsOutline } from './scan.ts'
import { join, merge, trim } from './splice.ts'
import { indexOf } from './state-index.ts'
import { toJson } from './to-json.ts'
import { readVersion } from './version.ts'
import { YjsWriteOnce } from './write-once.ts'
import { entryUpdate } from './written-entries.ts'

export const yjsEngine = {
  name: 'yjs',
  emptyVersion: Uint8Array.of(0),
  load: async () => undefined,
  validate(update, { updateBytesMax }): YjsOutline {
    if (update.length > updateBytesMax)
      throw new TidemarkError(
        'update_too_large',
        `Update of ${update.length} bytes exceeds ${updateBytesMax}`,
      )
    if (engineOf(update) !== 'yjs') throw new TidemarkError('malformed_update', "The update is Automerge's")
    return outlineOf(scanUpdate(update))
  },
  validateVersion(bytes) {
    readVersion(bytes)
  },
  coverageOf,
  join: (state, tail, version) => join(state, condensed(tail), readVersion(version)),
  index: indexOf,
  ended: endedOf,
  isSubsumed: (update, coverage) => coverage.covers(outlineOf(scanUpdate(update))),
  predates(update, version) {
    const { structs } = outlineOf(scanUpdate(update))
    const have = readVersion(version)
    for (let i = 0; i < structs.length; i += 3)
      if (structs[i + 2]! > (have.get(structs[i]!) ?? 0)) return false
    return true
  },
  trim,
  entry: entryUpdate,
  writeOnce: (root, updates) => new YjsWriteOnce(root, updates),
  merge: (updates) => merge(updates),
  diff: (update, version) => merge([update], readVersion(version)),
  version(update) {
    const coverage = new YjsCoverage()
    coverage.add(outlineOf(scanStored(update)))
    return coverage.version()
  },
  compact,
  digest,
  toJson,
  open: (updates): LiveDocument => new YjsLiveDocument(updates),
} satisfies Engine

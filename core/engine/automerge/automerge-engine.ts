/**
 * The Automerge engine. Updates are chunks of changes, one after the other; a state is a document as Automerge saves it, with the
 * hashes of its changes as its index. Light methods read chunks (chunk.ts), know what builds on what (change-graph.ts), and answer
 * joins with the chunks that were sent (join.ts). What builds a document uses Automerge's WebAssembly: `load` first.
 */
import { TidemarkError } from '../../protocol/errors.ts'
import type { Engine } from '../engine.ts'
import type { LiveDocument } from '../live-document.ts'
import { compact, digest, indexOf } from './compact.ts'
import { AutomergeCoverage, endedOf, isBehind } from './coverage.ts'
import { join, merge, readAhead } from './join.ts'
import { AutomergeLiveDocument } from './live-document.ts'
import { type AutomergeOutline, outlineOf, updateOf } from './outline.ts'
import { toJson } from './to-json.ts'
import { readVersion } from './version.ts'
import { load } from './wasm.ts'
import { AutomergeWriteOnce } from './write-once.ts'
import { entryUpdate } from './written-entries.ts'

export const automergeEngine = {
  name: 'automerge',
  emptyVersion: Uint8Array.of(0),
  sendsTail: true,
  load,
  validate(update, { updateBytesMax }): AutomergeOutline {
    if (update.length > updateBytesMax)
      throw new TidemarkError(
        'update_too_large',
        `Update of ${update.length} bytes exceeds ${updateBytesMax}`,
      )
    return outlineOf(update)
  },
  readAhead,
  validateVersion(version) {
    readVersion(version)
  },
  coverageOf: (state) => new AutomergeCoverage(state),
  join,
  index: indexOf,
  ended: endedOf,
  isSubsumed: (update, coverage) => coverage.covers(outlineOf(update)),
  predates: (update, version) => isBehind(outlineOf(update), version),
  trim(update, outline: AutomergeOutline, coverage) {
    const missing = coverage.missing(outline) as AutomergeOutline
    const isSame =
      missing.changes.length === outline.changes.length &&
      missing.documents.length === outline.documents.length
    return isSame ? update : updateOf(missing)
  },
  entry: entryUpdate,
  writeOnce: (root, updates) => new AutomergeWriteOnce(root, updates),
  merge: (updates) => merge(updates),
  diff: (update, version) => merge([update], version),
  version(update) {
    const coverage = new AutomergeCoverage(null)
    coverage.add(outlineOf(update))
    return coverage.version()
  },
  compact,
  digest,
  toJson,
  open: (updates): LiveDocument => new AutomergeLiveDocument(updates),
} satisfies Engine

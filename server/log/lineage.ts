/**
 * What a log says of its document: the fold over the statements in it. A pure function of what `load` gives, so
 * every node comes to the same answer, whatever raced with what (P2, P4).
 *
 *   update      counts, unless the document is removed at that point, or the update was meant for another lineage, or is of
 *               another engine than the lineage's first update that counted: that one decides, and its bytes say which it is
 *   removal     ends the lineage: everything before it is gone; its version is remembered
 *   creation    of a removed document begins a new lineage, whose epoch is this entry's offset
 *   quarantine  sets the entries it names aside: they count for nothing, and are kept; what a snapshot holds
 *               already was digested and stays
 *   release     lets entries that were set aside count again; discard forgets them
 *
 * An update that a node appended before it learned of a removal, or of a first update of another engine, is void: it is
 * in the log, and nobody's state has it. A creation of a document that is there, and a second removal, mean nothing.
 *
 * A snapshot of nothing (`nothing`: no bytes) leaves the engine open; any other says it, also when all updates were set aside.
 *
 * A replica that has part of an ended lineage is stale (`Ended`): it may not join the new one, or its old
 * content would come back. At most `endedMax` ended lineages are remembered.
 */
import { ByteReader, ByteWriter } from '../../core/bytes.ts'
import type { Coverage, Ended, Engine, EngineName, IndexedState } from '../../core/engine/engine.ts'
import { automergeMagic, engineOf } from '../../core/engine/engine-of.ts'
import { engines } from '../../core/engine/engines.ts'
import { noOffset, type Offset } from '../../core/offset.ts'
import { TidemarkError } from '../../core/protocol/errors.ts'
import { extendHistory, type Run } from './history.ts'
import type { Entry, Loaded, NewEntry, Snapshot } from './log.ts'
import { decodeMetadata, encodeMetadata, type Lineage, type SetAside } from './metadata.ts'

export const endedMax = 16
/** More entries than this are not set aside in one document: something else is wrong with it. */
export const asideMax = 1_000

/** For what is in the log already, or comes from another node. */
export const unlimited = { updateBytesMax: Number.MAX_SAFE_INTEGER }

/** The state of a document that has no engine yet, as a snapshot holds it. */
export const nothing: IndexedState = { bytes: new Uint8Array(), index: new Uint8Array() }

/** A document as its log has it at `offset`. */
export interface Content {
  readonly offset: Offset
  readonly lineage: Lineage
  /** That of the first update that counts in the lineage; null as long as there is none. */
  readonly engine: EngineName | null
  /** The state that `entries` build on; null when there is none, or when it belongs to an ended lineage. */
  readonly snapshot: Snapshot | null
  /** The updates that count and are not in the snapshot. */
  readonly entries: readonly Entry[]
  readonly aside: readonly SetAside[]
  /** Up to the snapshot. */
  readonly history: readonly Run[]
}

/** True for an update that counts in this lineage, of a document of this engine; null: it has none yet, and takes any. */
export function counts(entry: Entry, lineage: Lineage, engine: EngineName | null): boolean {
  return isOfLineage(entry, lineage) && (engine === null || engineOf(entry.update) === engine)
}

/** An update that counts, if its engine is the document's. */
export function isOfLineage({ kind = 'update', epoch = noOffset }: Entry, lineage: Lineage): boolean {
  return kind === 'update' && !lineage.removed && epoch === lineage.epoch
}

/** Throws `document_unreadable`. `loaded` must have been loaded whole, not from an offset on. */
export function fold(loaded: Loaded): Content {
  const { offset, tail } = loaded
  const { lineage: before, aside: asideBefore, history } = readMetadata(loaded.snapshot)
  let lineage = before
  let snapshot = lineage.removed || loaded.snapshot?.bytes.length === 0 ? null : loaded.snapshot
  let engine = snapshot === null ? null : engineOf(snapshot.bytes)
  if (asideBefore.length === 0) {
    const first = engine ?? (tail.length === 0 ? null : engineOf(tail[0]!.update))
    // Nearly every document: no statements, so nothing to look at twice.
    if (tail.every((entry) => counts(entry, before, first))) {
      if (tail.length > 0) engine = first
      return { offset, lineage, engine, snapshot, entries: tail, aside: asideBefore, history }
    }
  }
  let live = new Map<number, Entry>()
  let aside = new Map<number, SetAside>()
  for (const one of asideBefore) aside.set(one.entry.offset, one)
  for (const entry of tail) {
    if (counts(entry, lineage, engine)) {
      engine ??= engineOf(entry.update)
      live.set(entry.offset, entry)
    } else if (entry.kind === 'removal' && !lineage.removed) {
      const version = endedVersionOf(snapshot, live.values(), engine ?? 'yjs')
      lineage = { ...lineage, removed: true, ended: [...lineage.ended, version].slice(-endedMax) }
      engine = null
      snapshot = null
      live = new Map()
      aside = new Map()
    } else if (entry.kind === 'creation' && lineage.removed) {
      lineage = { ...lineage, removed: false, epoch: entry.offset }
    } else if (entry.kind !== undefined && entry.kind !== 'update') {
      const { offsets, reason } = decodeStatement(entry)
      for (const at of offsets) move(entry.kind, at, reason)
    }
  }
  return {
    offset,
    lineage,
    engine,
    snapshot,
    entries: [...live.values()],
    aside: [...aside.values()],
    history,
  }

  function move(kind: Entry['kind'], at: number, reason: string): void {
    if (kind === 'quarantine') {
      const entry = live.get(at)
      if (entry === undefined || aside.size >= asideMax) return
      live.delete(at)
      aside.set(at, { entry, reason })
    } else {
      const found = aside.get(at)
      if (found === undefined) return
      aside.delete(at)
      if (kind === 'release') live.set(at, found.entry)
    }
  }
}

/** What a log contains, and the version that a replica of it has. */
export function coverageOf(
  snapshot: IndexedState | null,
  entries: Iterable<Entry>,
  engine: Engine,
  onUnreadable?: (entry: Entry, error: unknown) => void,
): Coverage {
  const coverage = engine.coverageOf(snapshot)
  for (const entry of entries)
    try {
      coverage.add(engine.validate(entry.update, unlimited))
    } catch (error) {
      // Taken in by a node that validates less: skipped by all, fatal to none.
      onUnreadable?.(entry, error)
    }
  return coverage
}

/** An ended lineage's version; one of Automerge's with its magic in front, which is no state vector's beginning. */
function endedVersionOf(snapshot: Snapshot | null, entries: Iterable<Entry>, name: EngineName): Uint8Array {
  const version = coverageOf(snapshot, entries, engines[name]).ending()
  return name === 'yjs' ? version : Uint8Array.from([...automergeMagic, ...version])
}

/** Lineages that have ended, as replicas of this engine may hold part of them; null when there are none. */
export function endedOf({ ended }: Lineage, name: EngineName): Ended | null {
  if (ended.length === 0) return null
  const versions = ended.filter((version) => engineOf(version) === name)
  if (versions.length === 0) return null
  const start = name === 'yjs' ? 0 : automergeMagic.length
  return engines[name].ended(versions.map((version) => version.subarray(start)))
}

/** The metadata of a snapshot that holds `content`, made from `loaded`. */
export function metadataOf(content: Content, loaded: Loaded): Uint8Array {
  const history = extendHistory(content.history, loaded.tail)
  return encodeMetadata({ lineage: content.lineage, aside: content.aside, history })
}

export type Statement = 'removal' | 'creation' | 'quarantine' | 'release' | 'discard'

/** An entry that says something about the document. `offsets`: of the entries it is about. */
export function statement(
  kind: Statement,
  from: { readonly timeMs: number; readonly author: string; readonly origin: string },
  offsets: readonly number[] = [],
  reason = '',
): NewEntry {
  const writer = new ByteWriter(16 + offsets.length * 5 + reason.length).varUint(offsets.length)
  for (const offset of offsets) writer.varUint(offset)
  return { ...from, kind, update: writer.varString(reason).finish() }
}

function decodeStatement({ update, offset }: Entry): { offsets: number[]; reason: string } {
  try {
    const reader = new ByteReader(update)
    const offsets: number[] = []
    for (let left = reader.varUint(); left > 0; left--) offsets.push(reader.varUint())
    return { offsets, reason: reader.varString() }
  } catch (error) {
    throw new TidemarkError('document_unreadable', `The statement at ${offset} is damaged`, { cause: error })
  }
}

function readMetadata(snapshot: Snapshot | null) {
  try {
    return decodeMetadata(snapshot?.metadata ?? new Uint8Array())
  } catch (error) {
    throw new TidemarkError('document_unreadable', "The snapshot's metadata is damaged", { cause: error })
  }
}

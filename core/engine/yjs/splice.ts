/**
 * The update that a replica lacks, spliced from byte ranges of the snapshot and of the tail. Costs the
 * bytes sent plus the tail; never decodes the snapshot's structs, save those around a cut.
 *
 * Per client, in descending order as Yjs writes them:
 * - The pieces are the runs of the snapshot and of each tail update, by first clock; of equals, the
 *   snapshot's first, whose deleted content is already gone.
 * - From the replica's clock on, each piece gives what those before it did not reach: all its bytes, or
 *   from a cut on. A cut inside a struct writes its rest as Yjs would (split-struct.ts). What no piece
 *   has, with something behind it, becomes a Skip.
 * - A client that only the snapshot knows and the replica does not is one byte range, its header
 *   included; neighbours of that kind become one chunk.
 * The delete set is always all of it, as in Yjs's own diff. Parts of clients from which the tail deletes
 * nothing are copied, the others merged.
 *
 * Scans of large tail updates and decoded indexes are remembered by their byte arrays, which must
 * therefore not be changed; joiners of one document pay for them once.
 */
import type { Coverage, IndexedState } from '../engine.ts'
import { ChunkWriter } from './chunk-writer.ts'
import { addTriples, decodeDeletes, union } from './coverage.ts'
import {
  deletePartWidth,
  rememberedScanBytesMin,
  runWidth,
  type Scan,
  scanStored,
  scanUpdate,
  sectionWidth,
  type YjsOutline,
} from './scan.ts'
import { type Piece, Section } from './section.ts'
import type { Source } from './split-struct.ts'
import { layoutOf } from './state-index.ts'
import type { Version } from './version.ts'

/** Below this there is nothing to gain from trimming. */
const trimBytesMin = 128

const rememberedScans = new WeakMap<Uint8Array, Scan>()

export function join(
  state: IndexedState | null,
  tail: readonly Uint8Array[],
  version: Version,
): Uint8Array[] {
  if (state !== null && tail.length === 0 && version.size === 0) return [state.bytes]
  const snapshot = state === null ? null : { bytes: state.bytes, layout: layoutOf(state) }
  const pieces = new Map<number, Piece[]>()
  const deletes = new Map<number, number[]>()
  for (const update of tail) addTail(update, pieces, deletes)

  const writer = new ChunkWriter()
  writeSections(writer, snapshot, pieces, version)
  writeDeleteSet(writer, snapshot, deletes)
  return writer.finish()
}

/**
 * The same splice without a snapshot. Y.mergeUpdates is quadratic in the number of updates, and loses
 * structs when an update has its clients in ascending order, which Yjs itself applies well.
 */
export function merge(updates: readonly Uint8Array[], version: Version = new Map()): Uint8Array {
  return joined(join(null, updates, version))
}

/** See `Engine.trim`: drops covered runs, the covered structs before the first new one of a run, and covered deletes. */
export function trim(update: Uint8Array, outline: YjsOutline, coverage: Coverage): Uint8Array {
  if (update.length < trimBytesMin) return update
  const missing = coverage.missing(outline) as YjsOutline
  if (equal(missing.structs, outline.structs) && equal(missing.deletes, outline.deletes)) return update
  const layout = scanUpdate(update)
  const source = { bytes: update, layout }
  const { runs } = layout
  const sections = new Map<number, Section>()
  let at = 0
  for (let i = 0; i < missing.structs.length; i += 3) {
    const [client, first] = [missing.structs[i]!, missing.structs[i + 1]!]
    let section = sections.get(client)
    if (section === undefined) {
      section = new Section(client, 0)
      sections.set(client, section)
    }
    if (section.reached > first) continue
    // What is missing comes in the order of the runs.
    while (at < runs.length && (runs[at] !== client || runs[at + 2]! <= first)) at += runWidth
    if (at === runs.length) throw new Error('the outline is not of this update')
    const piece = { source, run: at / runWidth, first: runs[at + 1]!, end: runs[at + 2]! }
    section.addFromStructAt(piece, first)
  }
  const deletes = new Map<number, number[]>()
  addTriples(missing.deletes, (client) => deletes.get(client), deletes)

  const writer = new ChunkWriter().varUint(sections.size)
  for (const section of sections.values()) section.write(writer)
  writeDeleteSet(writer, null, deletes)
  const trimmed = joined(writer.finish())
  return trimmed.length < update.length ? trimmed : update
}

function addTail(update: Uint8Array, pieces: Map<number, Piece[]>, deletes: Map<number, number[]>): void {
  let layout = rememberedScans.get(update)
  if (layout === undefined) {
    const isRemembered = update.length >= rememberedScanBytesMin
    layout = scanStored(update, isRemembered)
    if (isRemembered) rememberedScans.set(update, layout)
  }
  const source = { bytes: update, layout }
  const { runs } = layout
  for (let at = 0; at < runs.length; at += runWidth) {
    const piece = { source, run: at / runWidth, first: runs[at + 1]!, end: runs[at + 2]! }
    const known = pieces.get(runs[at]!)
    if (known === undefined) pieces.set(runs[at]!, [piece])
    else known.push(piece)
  }
  addTriples(layout.deletes, (client) => deletes.get(client), deletes)
}

function writeSections(
  writer: ChunkWriter,
  snapshot: Source | null,
  tail: Map<number, Piece[]>,
  version: Version,
): void {
  // A section to copy as it is, by its index in the snapshot, or one to assemble.
  const parts: { client: number; stored: number; section: Section | null }[] = []
  const sections = snapshot === null ? [] : snapshot.layout.sections
  for (let s = 0; s < sections.length; s += sectionWidth) {
    const client = sections[s]!
    const clock = version.get(client) ?? 0
    const added = tail.get(client)
    if (clock === 0 && added === undefined) {
      if (sections[s + 5]! > 0) parts.push({ client, stored: s, section: null })
      continue
    }
    const pieces = storedPieces(snapshot!, s).concat(added ?? [])
    const section = assemble(client, clock, pieces)
    if (section !== null) parts.push({ client, stored: -1, section })
    tail.delete(client)
  }
  for (const [client, pieces] of tail) {
    const section = assemble(client, version.get(client) ?? 0, pieces)
    if (section !== null) parts.push({ client, stored: -1, section })
  }
  parts.sort((a, b) => b.client - a.client)

  writer.varUint(parts.length)
  for (const { stored, section } of parts) {
    if (section === null) writer.copy(snapshot!.bytes, sections[stored + 1]!, sections[stored + 3]!)
    else section.write(writer)
  }
}

function storedPieces(source: Source, section: number): Piece[] {
  const { sections, runs } = source.layout
  const pieces: Piece[] = []
  const firstRun = sections[section + 4]!
  for (let run = firstRun; run < firstRun + sections[section + 5]!; run++) {
    const at = run * runWidth
    pieces.push({ source, run, first: runs[at + 1]!, end: runs[at + 2]! })
  }
  return pieces
}

function assemble(client: number, clock: number, pieces: Piece[]): Section | null {
  const section = new Section(client, clock)
  for (const piece of pieces.sort((a, b) => a.first - b.first)) section.add(piece)
  return section.isEmpty ? null : section
}

function writeDeleteSet(writer: ChunkWriter, snapshot: Source | null, added: Map<number, number[]>): void {
  const stored = snapshot === null ? [] : snapshot.layout.deleteParts
  if (snapshot !== null && added.size === 0) {
    writer.copy(snapshot.bytes, snapshot.layout.deleteSetStart, snapshot.bytes.length)
    return
  }
  const parts: { client: number; stored: number; ranges: number[] | null }[] = []
  for (let p = 0; p < stored.length; p += deletePartWidth) {
    const client = stored[p]!
    const ranges = added.get(client)
    if (ranges === undefined) {
      parts.push({ client, stored: p, ranges: null })
      continue
    }
    added.delete(client)
    const part = { start: stored[p + 2]!, end: stored[p + 3]!, ranges: stored[p + 4]! }
    const decoded = decodeDeletes({ bytes: snapshot!.bytes, ...part })
    parts.push({ client, stored: -1, ranges: union(decoded, ranges) })
  }
  for (const [client, ranges] of added) parts.push({ client, stored: -1, ranges })
  parts.sort((a, b) => b.client - a.client)

  writer.varUint(parts.length)
  for (const { client, stored: p, ranges } of parts) {
    if (ranges === null) {
      writer.copy(snapshot!.bytes, stored[p + 1]!, stored[p + 3]!)
      continue
    }
    writer.varUint(client).varUint(ranges.length / 2)
    for (let i = 0; i < ranges.length; i += 2) writer.varUint(ranges[i]!).varUint(ranges[i + 1]! - ranges[i]!)
  }
}

function equal(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i])
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0))
  let position = 0
  for (const chunk of chunks) {
    bytes.set(chunk, position)
    position += chunk.length
  }
  return bytes
}

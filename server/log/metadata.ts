/**
 * What a snapshot says beside the state, as of its offset. Empty bytes stand for a first lineage without
 * history.
 *
 *   metadata = format:u8  flags:u8 (bit 0: removed)  epoch:varUint
 *              ended:varUint (version:varBytes)*
 *              aside:varUint (offset:varUint timeMs:varUint author:varString reason:varString update:varBytes)*
 *              history                                  -- history.ts
 *
 * Change these bytes only together with `metadataFormat`, and keep reading the formats before it.
 */
import { ByteReader, ByteWriter, MalformedBytes } from '../../core/bytes.ts'
import { noOffset, type Offset, toOffset } from '../../core/offset.ts'
import { type Run, readHistory, writeHistory } from './history.ts'
import type { Entry } from './log.ts'

export const metadataFormat = 1
const removedFlag = 1

/** Which of the document's lives this is. Its epoch is the offset of its creation, 0 for the first one. */
export interface Lineage {
  readonly epoch: Offset
  /** It has ended and no other has begun. */
  readonly removed: boolean
  /** Versions of the lineages before, as they ended: replicas that hold part of one are stale. */
  readonly ended: readonly Uint8Array[]
}

export const firstLineage: Lineage = { epoch: noOffset, removed: false, ended: [] }

/** An entry that a follower could not digest and that counts for nothing until it is released. */
export interface SetAside {
  readonly entry: Entry
  readonly reason: string
}

export interface Metadata {
  readonly lineage: Lineage
  readonly aside: readonly SetAside[]
  readonly history: readonly Run[]
}

export const noMetadata: Metadata = { lineage: firstLineage, aside: [], history: [] }

export function encodeMetadata({ lineage, aside, history }: Metadata): Uint8Array {
  const writer = new ByteWriter(64 + history.length * 48)
  writer
    .uint8(metadataFormat)
    .uint8(lineage.removed ? removedFlag : 0)
    .varUint(lineage.epoch)
  writer.varUint(lineage.ended.length)
  for (const version of lineage.ended) writer.varBytes(version)
  writer.varUint(aside.length)
  for (const { entry, reason } of aside) {
    writer.varUint(entry.offset).varUint(entry.timeMs).varString(entry.author).varString(reason)
    writer.varBytes(entry.update)
  }
  writeHistory(writer, history)
  return writer.finish()
}

/** Throws `MalformedBytes`. */
export function decodeMetadata(bytes: Uint8Array): Metadata {
  if (bytes.length === 0) return noMetadata
  const reader = new ByteReader(bytes)
  const format = reader.uint8()
  if (format !== metadataFormat) throw new MalformedBytes(`unknown format of metadata ${format}`)
  const removed = (reader.uint8() & removedFlag) !== 0
  const epoch = toOffset(reader.varUint())
  const ended: Uint8Array[] = []
  for (let left = reader.varUint(); left > 0; left--) ended.push(reader.varBytes().slice())
  const aside: SetAside[] = []
  for (let left = reader.varUint(); left > 0; left--) {
    const offset = toOffset(reader.varUint())
    const timeMs = reader.varUint()
    const author = reader.varString()
    const reason = reader.varString()
    const update = reader.varBytes().slice()
    aside.push({ entry: { offset, timeMs, author, origin: '', update }, reason })
  }
  return { lineage: { epoch, removed, ended }, aside, history: readHistory(reader) }
}

/** Server time of the last entry before the snapshot, ms; 0 when the metadata does not say. */
export function lastTimeMs(metadata: Uint8Array): number {
  return decodeMetadata(metadata).history.at(-1)?.toMs ?? 0
}

/**
 * The bytes of the values in LMDB. Little endian; every crc32 covers what follows it.
 *
 *   chunk     format:u8  0 0 0  crc32:u32  first offset:u64  entries:u32  (length:u32  entry bytes)*
 *   snapshot  format:u8  0 0 0  crc32:u32  offset:u64  index length:u32  metadata length:u32
 *             index  metadata  bytes
 *   document  format:u8  0 0 0  crc32:u32  head:varUint  snapshot offset:varUint  sequence:varUint
 *             replicas:varUint  (replica:varString  last sequence:varUint  offset:varUint)*
 *   mark      format:u8  0 0 0  crc32:u32  lsn:u64    -- the journal up to here is in LMDB
 *
 * A checksum costs 0.5 to 1 ms per megabyte, also when a snapshot is loaded: cheap beside serving
 * a document that is not what was stored. Change these bytes only together with `valueFormat`, and keep
 * reading the formats before it.
 *
 *   1  no metadata, no sequence: they read as empty and 0
 *   2  metadata length and metadata; sequence; entries of entry format 2 in chunks
 */
import { crc32 } from 'node:zlib'
import { ByteReader, ByteWriter } from '../../../core/bytes.ts'
import { toOffset } from '../../../core/offset.ts'
import type { Snapshot } from '../log.ts'

export const valueFormat = 2
const valueFormatMin = 1
const prefixBytes = 8
export const chunkHeaderBytes = 20
const snapshotHeaderBytes = 24
const metadataLengthBytes = 4
const word = 2 ** 32

/** A stored value that is not what was written; callers say which document or directory that harms. */
export class CorruptValue extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'CorruptValue'
  }
}

function seal(value: Buffer): Buffer {
  value.writeUInt32LE(valueFormat, 0)
  value.writeUInt32LE(crc32(value.subarray(prefixBytes)), 4)
  return value
}

function unseal(bytes: Uint8Array, name: string, bytesMin: number): Buffer {
  const value = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (value.length < bytesMin) throw new CorruptValue(`${name} is truncated`)
  const format = formatOf(value)
  if (format < valueFormatMin || format > valueFormat) throw new CorruptValue(`${name} has an unknown format`)
  if (crc32(value.subarray(prefixBytes)) !== value.readUInt32LE(4))
    throw new CorruptValue(`${name} does not match its checksum`)
  return value
}

function formatOf(value: Buffer): number {
  return value.readUInt32LE(0)
}

function writeUint64(value: Buffer, number: number, position: number): void {
  value.writeUInt32LE(number % word, position)
  value.writeUInt32LE(Math.floor(number / word), position + 4)
}

function readUint64(value: Buffer, position: number): number {
  return value.readUInt32LE(position) + value.readUInt32LE(position + 4) * word
}

/** Completes a chunk whose entries already lie behind `chunkHeaderBytes`. */
export function sealChunk(chunk: Buffer, firstOffset: number, entries: number): Buffer {
  writeUint64(chunk, firstOffset, 8)
  chunk.writeUInt32LE(entries, 16)
  return seal(chunk)
}

/** Calls back with the entries of a chunk as views of it. Throws `CorruptValue`. */
export function readChunk(bytes: Uint8Array, onEntry: (offset: number, entry: Uint8Array) => void): void {
  const chunk = unseal(bytes, 'a chunk', chunkHeaderBytes)
  const first = readUint64(chunk, 8)
  const entries = chunk.readUInt32LE(16)
  let position = chunkHeaderBytes
  for (let i = 0; i < entries; i++) {
    const start = position + 4
    position = start + (start <= chunk.length ? chunk.readUInt32LE(start - 4) : Number.POSITIVE_INFINITY)
    if (position > chunk.length) throw new CorruptValue('an entry runs past its chunk')
    onEntry(first + i, chunk.subarray(start, position))
  }
  if (position !== chunk.length) throw new CorruptValue('a chunk has trailing bytes')
}

export function encodeSnapshot(snapshot: Snapshot): Buffer {
  const { index, metadata, bytes, offset } = snapshot
  const metadataStart = snapshotHeaderBytes + index.length
  const bytesStart = metadataStart + metadata.length
  const value = Buffer.allocUnsafeSlow(bytesStart + bytes.length)
  writeUint64(value, offset, 8)
  value.writeUInt32LE(index.length, 16)
  value.writeUInt32LE(metadata.length, 20)
  value.set(index, snapshotHeaderBytes)
  value.set(metadata, metadataStart)
  value.set(bytes, bytesStart)
  return seal(value)
}

/** Index, metadata and bytes are views of `stored`. Throws `CorruptValue`. */
export function decodeSnapshot(stored: Uint8Array): Snapshot {
  const value = unseal(stored, 'the snapshot', snapshotHeaderBytes - metadataLengthBytes)
  const withMetadata = formatOf(value) > 1
  const indexStart = withMetadata ? snapshotHeaderBytes : snapshotHeaderBytes - metadataLengthBytes
  if (indexStart > value.length) throw new CorruptValue('the snapshot is truncated')
  const metadataStart = indexStart + value.readUInt32LE(16)
  const bytesStart = metadataStart + (withMetadata ? value.readUInt32LE(20) : 0)
  if (bytesStart > value.length) throw new CorruptValue('index and metadata run past their snapshot')
  return {
    offset: toOffset(readUint64(value, 8)),
    index: value.subarray(indexStart, metadataStart),
    metadata: value.subarray(metadataStart, bytesStart),
    bytes: value.subarray(bytesStart),
  }
}

export interface StoredReplica {
  readonly replica: string
  readonly sequence: number
  readonly offset: number
}

export interface StoredDocument {
  /** Everything up to here is in LMDB, as snapshot or chunks. */
  readonly head: number
  readonly snapshotOffset: number
  /** LSN of its last entry that was durable when this was written; 0 when that is not known. */
  readonly sequence: number
  readonly replicas: readonly StoredReplica[]
}

export function encodeDocument(document: StoredDocument): Buffer {
  const writer = new ByteWriter(64 + document.replicas.length * 32)
  writer.raw(new Uint8Array(prefixBytes)).varUint(document.head).varUint(document.snapshotOffset)
  writer.varUint(document.sequence).varUint(document.replicas.length)
  for (const { replica, sequence, offset } of document.replicas)
    writer.varString(replica).varUint(sequence).varUint(offset)
  return seal(Buffer.from(writer.finish()))
}

/** Throws `CorruptValue`. */
export function decodeDocument(bytes: Uint8Array): StoredDocument {
  const value = unseal(bytes, 'the document record', prefixBytes)
  const reader = new ByteReader(value, prefixBytes)
  const head = reader.varUint()
  const snapshotOffset = reader.varUint()
  const sequence = formatOf(value) > 1 ? reader.varUint() : 0
  const replicas: StoredReplica[] = []
  for (let left = reader.varUint(); left > 0; left--)
    replicas.push({ replica: reader.varString(), sequence: reader.varUint(), offset: reader.varUint() })
  return { head, snapshotOffset, sequence, replicas }
}

export function encodeMark(lsn: number): Buffer {
  const value = Buffer.alloc(prefixBytes + 8)
  writeUint64(value, lsn, prefixBytes)
  return seal(value)
}

/** Throws `CorruptValue`. */
export function decodeMark(bytes: Uint8Array): number {
  return readUint64(unseal(bytes, 'the checkpoint mark', prefixBytes + 8), prefixBytes)
}

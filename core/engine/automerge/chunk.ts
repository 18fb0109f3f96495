/**
 * Automerge's chunks, read without Automerge: what they are, whether they are whole, and what a change says before its
 * operations. An update is one or more of them, nothing between or behind.
 *
 *   chunk     magic:4 checksum:4 type:1 length:leb contents     -- checksum: the first bytes of the hash
 *   hash      SHA-256 of type, length and contents; a change's name. One that is deflated has the hash it has inflated
 *   type      0 document, 1 change, 2 change with deflated contents
 *   change    deps:hashes actor:bytes seq:leb startOp:leb time:sleb message:bytes actors:list columns operations extra
 *   document  actors:list heads:hashes columns:of changes columns:of operations … indexes of heads
 *   columns   n:leb n×(specification:leb length:leb)             -- ascending; the columns themselves come later, in this order
 *
 * Integers are LEB128, and the shortest form of it, or one change would have several spellings. What the columns say is not
 * read here: a change that is whole and that Automerge does not take is for the compaction to find and set aside.
 */
import * as sha256 from 'lib0/hash/sha256'
import { ByteReader, MalformedBytes } from '../../bytes.ts'
import { automergeMagic } from '../engine-of.ts'
import { integers } from './columns.ts'
import { inflate } from './inflate.ts'
import { leb } from './leb.ts'

export const hashBytes = 32

/** A change as far as it can be told without reading operations. */
export interface Change {
  readonly hash: Uint8Array
  /** Hashes one after the other. */
  readonly deps: Uint8Array
  /** In hexadecimal. */
  readonly actor: string
  /** The actor's how manieth, from 1. */
  readonly seq: number
  /** Its operations are numbered from here; no number of what it builds on is as high. */
  readonly startOp: number
  readonly operationCount: number
  /** Its chunk in the update. */
  readonly bytes: Uint8Array
}

/** A document saved whole. Which changes are in it cannot be told without building it, save the latest, as it says. */
export interface SavedDocument {
  readonly hash: Uint8Array
  /** Hashes one after the other, as it says. Nobody has checked them. */
  readonly heads: Uint8Array
  readonly actors: readonly string[]
  readonly bytes: Uint8Array
}

export interface Chunks {
  readonly changes: readonly Change[]
  readonly documents: readonly SavedDocument[]
}

export const chunkType = { document: 0, change: 1, deflated: 2 } as const
export const chunkHeaderBytes = 8

const actorBytesMax = 255
const listMax = 100_000
/** Of a change: a few bytes can be billions, and Automerge makes something of each. */
const operationsMax = 5_000_000
/** What the deflated changes of one update may be together: a share of what was sent, and no more than this. */
const inflatedBytesMax = 64 * 1024 * 1024
const inflatedBytesMin = 1024 * 1024
const inflatedTimesMax = 64

/** Throws `MalformedBytes`. */
export function readChunks(update: Uint8Array): Chunks {
  const changes: Change[] = []
  const documents: SavedDocument[] = []
  const reader = new ByteReader(update)
  let inflatable = Math.min(inflatedBytesMax, Math.max(inflatedBytesMin, update.length * inflatedTimesMax))
  if (update.length === 0) throw new MalformedBytes('no chunk')
  while (reader.remaining > 0) {
    const start = reader.position
    for (const byte of automergeMagic) if (reader.uint8() !== byte) throw new MalformedBytes('no chunk')
    const checksum = reader.take(4)
    const hashed = reader.position
    const type = reader.uint8()
    const contents = reader.take(leb(reader))
    const bytes = update.subarray(start, reader.position)
    if (type === chunkType.deflated) {
      const inflated = inflate(contents, inflatable)
      inflatable -= inflated.length
      const hash = sha256.digest(withHeader(chunkType.change, inflated))
      check(hash, checksum)
      changes.push(readChange(inflated, hash, bytes))
    } else {
      const hash = sha256.digest(update.subarray(hashed, reader.position))
      check(hash, checksum)
      if (type === chunkType.change) changes.push(readChange(contents, hash, bytes))
      else if (type === chunkType.document) documents.push(readDocument(contents, hash, bytes))
      else throw new MalformedBytes(`chunk of type ${type}`)
    }
  }
  return { changes, documents }
}

/** The contents of a change, inflated; the chunk was read before. */
export function contentsOf(chunk: Uint8Array): Uint8Array {
  const reader = new ByteReader(chunk, chunkHeaderBytes)
  const type = reader.uint8()
  const contents = reader.take(leb(reader))
  return type === chunkType.deflated ? inflate(contents, inflatedBytesMax) : contents
}

/** As far as the columns. */
export function readChangeHeader(reader: ByteReader) {
  const deps = hashes(reader)
  const actor = actorId(reader)
  const seq = leb(reader)
  const startOp = leb(reader)
  if (seq === 0 || startOp === 0) throw new MalformedBytes('counted from 0')
  skipSigned(reader)
  text(reader)
  return { deps, actor, seq, startOp, actors: [actor, ...actorIds(reader)] }
}

function readChange(contents: Uint8Array, hash: Uint8Array, bytes: Uint8Array): Change {
  const reader = new ByteReader(contents)
  const { deps, actor, seq, startOp } = readChangeHeader(reader)
  const columns = readColumns(reader)
  let operationCount = 0
  for (const { specification } of columns)
    if ((specification & deflatedColumn) !== 0) throw new MalformedBytes('deflated column in a change')
  for (const { specification, length } of columns) {
    const column = reader.take(length)
    if (specification === actionColumn) operationCount = integers(column).count()
  }
  if (operationCount > operationsMax || !Number.isSafeInteger(startOp + operationCount))
    throw new MalformedBytes('operations out of range')
  return { hash, deps: deps.slice(), actor, seq, startOp, operationCount, bytes }
}

/** As far as the columns. */
export function readDocumentHeader(reader: ByteReader) {
  return { actors: actorIds(reader), heads: hashes(reader) }
}

function readDocument(contents: Uint8Array, hash: Uint8Array, bytes: Uint8Array): SavedDocument {
  const reader = new ByteReader(contents)
  const { actors, heads } = readDocumentHeader(reader)
  const columns = [...readColumns(reader), ...readColumns(reader)]
  skipColumns(reader, columns)
  return { hash, heads: heads.slice(), actors, bytes }
}

export const deflatedColumn = 0b1000
/** What the operations of a change do: all of them do something, so its values are as many as they are. */
export const actionColumn = 0x42

/** Their specifications ascend, whether deflated or not. */
export function readColumns(reader: ByteReader): { specification: number; length: number }[] {
  const columns: { specification: number; length: number }[] = []
  let last = -1
  for (let left = count(reader); left > 0; left--) {
    const specification = leb(reader)
    if (specification > 0xffff_ffff) throw new MalformedBytes('column out of range')
    const order = (specification & ~deflatedColumn) >>> 0
    if (order <= last) throw new MalformedBytes('columns not in order')
    last = order
    columns.push({ specification, length: leb(reader) })
  }
  return columns
}

export function skipColumns(reader: ByteReader, columns: readonly { readonly length: number }[]): void {
  for (const { length } of columns) reader.skip(length)
}

function skipSigned(reader: ByteReader): void {
  for (let i = 0; i < 10; i++) if (reader.uint8() < 0x80) return
  throw new MalformedBytes('integer out of range')
}

function count(reader: ByteReader): number {
  const n = leb(reader)
  if (n > listMax) throw new MalformedBytes('list out of range')
  return n
}

function hashes(reader: ByteReader): Uint8Array {
  return reader.take(count(reader) * hashBytes)
}

function actorIds(reader: ByteReader): string[] {
  const ids: string[] = []
  for (let left = count(reader); left > 0; left--) ids.push(actorId(reader))
  return ids
}

function actorId(reader: ByteReader): string {
  const bytes = reader.take(leb(reader))
  if (bytes.length > actorBytesMax) throw new MalformedBytes('actor out of range')
  return hex(bytes)
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function text(reader: ByteReader): string {
  const bytes = reader.take(leb(reader))
  if (bytes.length === 0) return ''
  try {
    return utf8.decode(bytes)
  } catch {
    throw new MalformedBytes('string is not UTF-8')
  }
}

function check(hash: Uint8Array, checksum: Uint8Array): void {
  for (let i = 0; i < checksum.length; i++)
    if (hash[i] !== checksum[i]) throw new MalformedBytes('checksum does not match')
}

/** Type, length, contents: what a hash is of. */
export function withHeader(type: number, contents: Uint8Array): Uint8Array {
  const length: number[] = []
  let rest = contents.length
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) length.push(0x80 | (rest % 128))
  length.push(rest)
  const bytes = new Uint8Array(1 + length.length + contents.length)
  bytes[0] = type
  bytes.set(length, 1)
  bytes.set(contents, 1 + length.length)
  return bytes
}

const hexDigits = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

export function hex(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += hexDigits[byte]!
  return text
}

export function unhex(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length >> 1)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(i * 2, i * 2 + 2), 16)
  return bytes
}

/**
 * Automerge's sync messages, between two who have parts of one document.
 *
 *   message = 42 heads:hashes need:hashes have:list changes:list [capabilities:list]    -- a change chunk each
 *           | 43 the same                                                    -- chunks, perhaps a document among them
 *   have    = lastSync:hashes bloom:bytes            -- "I have these with all before them, and what the filter contains"
 *   hashes  = n:leb n×32 bytes                       -- ascending
 *   bloom   = empty | entries:leb bitsPerEntry:leb probes:leb bits
 *
 * Whoever sends capabilities reads 43, where what stands for a change may be several chunks. Whoever is sent none answers with 42: with changes, which can be told apart and stored
 * as they are, and never with a document. Filters are of 10 bits an entry and 7 probes, so one hash in a hundred seems
 * to be there and is not; who lacks it then names it under `need`.
 * Sources: @automerge/automerge 3.5.0, arXiv:2012.00472.
 */
import { ByteReader, ByteWriter, MalformedBytes } from '../../bytes.ts'
import { TidemarkError } from '../../protocol/error-codes.ts'
import { hashBytes } from './chunk.ts'

export interface Have {
  readonly lastSync: readonly Uint8Array[]
  readonly filter: Filter
}

export interface SyncMessage {
  readonly heads: readonly Uint8Array[]
  readonly need: readonly Uint8Array[]
  readonly have: readonly Have[]
  /** Each one chunk, or several one after the other. */
  readonly changes: readonly Uint8Array[]
  /** Its sender takes whole documents among the changes. */
  readonly takesDocuments: boolean
}

const typeChanges = 0x42
const typeDocuments = 0x43
const havesMax = 16
/** A change is of about 100 bytes, so these fill any frame. */
const changesMax = 300_000
const chunkBytesMin = 10

/** Hashes, filters and changes are views of `bytes`. Throws `malformed_frame`. */
export function decodeSyncMessage(bytes: Uint8Array): SyncMessage {
  try {
    const reader = new ByteReader(bytes)
    const type = reader.uint8()
    if (type !== typeChanges && type !== typeDocuments) throw new MalformedBytes(`unknown type ${type}`)
    const heads = readHashes(reader)
    const need = readHashes(reader)
    const have = readHaves(reader)
    const changes = readChanges(reader)
    return { heads, need, have, changes, takesDocuments: reader.remaining > 0 }
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error
    throw new TidemarkError('malformed_frame', `Malformed Automerge sync message: ${error.message}`)
  }
}

/** In parts, of which changes are those that were given. `documents`: whoever reads it takes them, or several chunks in one. */
export function encodeSyncMessage(
  { heads, need, have, changes }: Omit<SyncMessage, 'takesDocuments'>,
  documents: boolean,
): Uint8Array[] {
  const writer = new ByteWriter(64 + (heads.length + need.length) * hashBytes)
  writer.uint8(documents ? typeDocuments : typeChanges)
  writeHashes(writer, heads)
  writeHashes(writer, need)
  writer.varUint(have.length)
  for (const { lastSync, filter } of have) {
    writeHashes(writer, lastSync)
    writer.varBytes(filter.encode())
  }
  writer.varUint(changes.length)
  return [writer.finish(), ...changes.flatMap((change) => [lengthBefore(change), change])]
}

const lengthBefore = ({ length }: Uint8Array): Uint8Array => new ByteWriter(5).varUint(length).finish()

function readHashes(reader: ByteReader): Uint8Array[] {
  const count = reader.varUint()
  if (count * hashBytes > reader.remaining) throw new MalformedBytes('unexpected end in hashes')
  const hashes: Uint8Array[] = []
  for (let left = count; left > 0; left--) hashes.push(reader.take(hashBytes))
  return hashes
}

function readHaves(reader: ByteReader): Have[] {
  const count = reader.varUint()
  if (count > havesMax) throw new MalformedBytes(`more than ${havesMax} filters`)
  const have: Have[] = []
  for (let left = count; left > 0; left--)
    have.push({ lastSync: readHashes(reader), filter: Filter.read(reader.varBytes()) })
  return have
}

function readChanges(reader: ByteReader): Uint8Array[] {
  const count = reader.varUint()
  if (count > changesMax) throw new MalformedBytes(`more than ${changesMax} changes`)
  const changes: Uint8Array[] = []
  for (let left = count; left > 0; left--) {
    const change = reader.varBytes()
    if (change.length < chunkBytesMin) throw new MalformedBytes('a change is no chunk')
    changes.push(change)
  }
  return changes
}

function writeHashes(writer: ByteWriter, hashes: readonly Uint8Array[]): void {
  writer.varUint(hashes.length)
  for (const hash of hashes) writer.raw(hash)
}

const bitsPerEntry = 10
const probeCount = 7
/** Somebody else's filter may be finer than ours, but each probe costs. */
const probesMax = 32

/** A Bloom filter of hashes. */
export class Filter {
  static readonly empty = new Filter(0, bitsPerEntry, probeCount, new Uint8Array())
  private readonly entries: number
  private readonly bitsPerEntry: number
  private readonly probes: number
  private readonly bits: Uint8Array

  private constructor(entries: number, bitsOfEntry: number, probes: number, bits: Uint8Array) {
    this.entries = entries
    this.bitsPerEntry = bitsOfEntry
    this.probes = probes
    this.bits = bits
  }

  static of(hashes: Iterable<Uint8Array>, count: number): Filter {
    if (count === 0) return Filter.empty
    const filter = new Filter(
      count,
      bitsPerEntry,
      probeCount,
      new Uint8Array(Math.ceil((count * bitsPerEntry) / 8)),
    )
    for (const hash of hashes)
      for (const bit of filter.probesOf(hash)) filter.bits[bit >>> 3]! |= 1 << (bit & 7)
    return filter
  }

  /** Throws `MalformedBytes`. */
  static read(bytes: Uint8Array): Filter {
    if (bytes.length === 0) return Filter.empty
    const reader = new ByteReader(bytes)
    const entries = reader.varUint()
    const bitsOfEntry = reader.varUint()
    const probes = reader.varUint()
    if (probes > probesMax) throw new MalformedBytes(`a filter of ${probes} probes`)
    if (Math.ceil((entries * bitsOfEntry) / 8) !== reader.remaining)
      throw new MalformedBytes('a filter of another length than it says')
    return entries === 0
      ? Filter.empty
      : new Filter(entries, bitsOfEntry, probes, reader.take(reader.remaining))
  }

  get isEmpty(): boolean {
    return this.entries === 0
  }

  /** It may say so of what is not there, never the other way round. */
  contains(hash: Uint8Array): boolean {
    if (this.bits.length === 0) return false
    for (const bit of this.probesOf(hash)) if ((this.bits[bit >>> 3]! & (1 << (bit & 7))) === 0) return false
    return true
  }

  encode(): Uint8Array {
    if (this.entries === 0) return new Uint8Array()
    return new ByteWriter(this.bits.length + 16)
      .varUint(this.entries)
      .varUint(this.bitsPerEntry)
      .varUint(this.probes)
      .raw(this.bits)
      .finish()
  }

  /** Three words of the hash begin a walk over the bits. */
  private *probesOf(hash: Uint8Array): Generator<number> {
    const bitCount = this.bits.length * 8
    let x = word(hash, 0) % bitCount
    let y = word(hash, 4) % bitCount
    const z = word(hash, 8) % bitCount
    for (let probe = 0; probe < this.probes; probe++) {
      yield x
      x = (x + y) % bitCount
      y = (y + z) % bitCount
    }
  }
}

const word = (hash: Uint8Array, at: number): number =>
  (hash[at]! | (hash[at + 1]! << 8) | (hash[at + 2]! << 16) | (hash[at + 3]! << 24)) >>> 0

/**
 * What the embedded log keeps in memory of one document. The offsets, in order:
 *
 *   snapshotOffset ≤ checkpointedHead ≤ durableHead ≤ head
 *
 * Entries up to `checkpointedHead` are in LMDB; from there to `durableHead` in the journal and, by
 * address, in slabs; from there to `head` they are promised to appends that wait for the disk.
 * Replicas keep a durable and a promised last push for the same reason: a failed write takes the
 * promised ones back, and a checkpoint stores only durable ones.
 */
import type { DocumentId } from '../../../core/document-id.ts'
import { type Offset, toOffset } from '../../../core/offset.ts'
import { decodeEntry } from '../entry-codec.ts'
import type { Entry } from '../log.ts'
import type { Feed } from './feed.ts'
import { entryLengthBytes } from './record.ts'
import type { Slabs } from './slabs.ts'
import { chunkHeaderBytes, type StoredDocument, type StoredReplica, sealChunk } from './values.ts'

const nothing = -1

export interface Replica {
  readonly name: string
  sequence: number
  offset: number
  durableSequence: number
  durableOffset: number
}

export interface Chunk {
  readonly firstOffset: number
  readonly lastOffset: number
  readonly value: Buffer
}

export class DocumentState {
  readonly id: DocumentId
  head: number
  durableHead: number
  checkpointedHead: number
  snapshotOffset: number
  /** LSN of the last durable entry: the document's place among all changes. */
  sequence: number
  /** Of the entries after `checkpointedHead`. */
  addresses: number[] = []
  readonly replicas = new Map<string, Replica>()
  readonly feeds: Feed[] = []
  /** Has entries that a checkpoint must write. */
  dirty = false
  /** Work in progress that will change this very object. */
  pins = 0
  /** Which group named this document last, and as its how manieth. */
  groupSerial = nothing
  groupReference = 0
  /** Entries of the group being made known, for the feeds. */
  deliveries: Entry[] | null = null

  constructor(id: DocumentId, stored: StoredDocument | null) {
    this.id = id
    this.snapshotOffset = stored?.snapshotOffset ?? 0
    this.sequence = stored?.sequence ?? 0
    this.checkpointedHead = this.durableHead = this.head = stored?.head ?? 0
    for (const { replica, sequence, offset } of stored?.replicas ?? [])
      this.replicas.set(replica, {
        name: replica,
        sequence,
        offset,
        durableSequence: sequence,
        durableOffset: offset,
      })
  }

  get evictable(): boolean {
    return this.head === this.checkpointedHead && this.feeds.length === 0 && !this.dirty && this.pins === 0
  }

  /** The replica's record, made if it has none; the oldest quarter goes when there are too many. */
  replica(name: string, replicasMax: number): Replica {
    const known = this.replicas.get(name)
    if (known !== undefined) return known
    if (this.replicas.size >= replicasMax) {
      const oldest = [...this.replicas.values()].sort((a, b) => a.offset - b.offset)
      for (const { name: old } of oldest.slice(0, Math.ceil(replicasMax / 4))) this.replicas.delete(old)
    }
    const replica = { name, sequence: nothing, offset: 0, durableSequence: nothing, durableOffset: 0 }
    this.replicas.set(name, replica)
    return replica
  }

  /** Takes back what was promised and did not become durable. */
  rollBack(): void {
    this.head = this.durableHead
  }

  rollBackReplica(replica: Replica): void {
    if (replica.durableSequence === nothing) this.replicas.delete(replica.name)
    replica.sequence = replica.durableSequence
    replica.offset = replica.durableOffset
  }

  /** The document's record in LMDB once it has everything up to `head` and this snapshot. */
  stored(head: number, snapshotOffset: number): StoredDocument {
    return { head, snapshotOffset, sequence: this.sequence, replicas: this.durableReplicas() }
  }

  private durableReplicas(): StoredReplica[] {
    const stored: StoredReplica[] = []
    for (const { name, durableSequence, durableOffset } of this.replicas.values())
      if (durableSequence !== nothing)
        stored.push({ replica: name, sequence: durableSequence, offset: durableOffset })
    return stored
  }

  /** Forgets the entries up to `offset`, which LMDB has by now. */
  checkpointed(offset: number): void {
    if (offset <= this.checkpointedHead) return
    this.addresses = this.addresses.slice(offset - this.checkpointedHead)
    this.checkpointedHead = offset
  }

  /** The entries after `after` that are in memory, copied: chunks of about `chunkBytes`. */
  *chunks(after: number, slabs: Slabs, chunkBytes: number): Generator<Chunk> {
    const { addresses, checkpointedHead, durableHead } = this
    let next = Math.max(after, checkpointedHead) + 1
    while (next <= durableHead) {
      const first = next
      let bytes = chunkHeaderBytes
      for (; next <= durableHead; next++) {
        const length = entryBytesAt(slabs, addresses[next - checkpointedHead - 1]!)
        if (next > first && bytes + length > chunkBytes) break
        bytes += length
      }
      const value = Buffer.allocUnsafeSlow(bytes)
      let position = chunkHeaderBytes
      for (let offset = first; offset < next; offset++) {
        const address = addresses[offset - checkpointedHead - 1]!
        const start = slabs.position(address)
        position += slabs.buffer(address).copy(value, position, start, start + entryBytesAt(slabs, address))
      }
      yield { firstOffset: first, lastOffset: next - 1, value: sealChunk(value, first, next - first) }
    }
  }

  /** The entry bytes at an address, as stored in the journal. */
  static entryAt(buffer: Buffer, at: number, offset: Offset): Entry {
    const start = at + entryLengthBytes
    return decodeEntry(buffer.subarray(start, start + buffer.readUInt32LE(at)), offset)
  }

  /** Takes in an entry found in the journal at start, in the record `lsn`. */
  recover(buffer: Buffer, at: number, address: number, lsn: number, replicasMax: number): void {
    this.addresses.push(address)
    this.sequence = lsn
    const offset = toOffset(++this.durableHead)
    this.head = offset
    const key = DocumentState.entryAt(buffer, at, offset).key
    if (key === undefined) return
    const replica = this.replica(key.replica, replicasMax)
    replica.sequence = replica.durableSequence = key.sequence
    replica.offset = replica.durableOffset = offset
  }
}

function entryBytesAt(slabs: Slabs, address: number): number {
  return entryLengthBytes + slabs.buffer(address).readUInt32LE(slabs.position(address))
}

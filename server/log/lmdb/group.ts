/**
 * The appends that become durable with one write: a journal record in the making, and who waits
 * for it. Parallel arrays, one element per entry, because an object per entry costs as much as the
 * rest of an append.
 */
import type { Appended, NewEntry } from '../log.ts'
import type { DocumentState, Replica } from './document-state.ts'
import { writeEntry, writeVarString, writeVarUint } from './entry-bytes.ts'
import { entryLengthBytes, recordHeaderBytes } from './record.ts'
import type { Slab } from './slabs.ts'

export interface Waiter {
  readonly appended: readonly Appended[]
  resolve(appended: readonly Appended[]): void
  reject(error: unknown): void
}

export class Group {
  readonly slab: Slab
  readonly start: number
  readonly serial: number
  end: number
  /** Of its record, once that is durable. */
  lsn = 0
  documents = 0
  readonly states: DocumentState[] = []
  readonly entries: NewEntry[] = []
  readonly addresses: number[] = []
  readonly replicas: (Replica | null)[] = []
  readonly waiters: Waiter[] = []

  constructor(slab: Slab, start: number, serial: number) {
    this.slab = slab
    this.start = start
    this.end = start + recordHeaderBytes
    this.serial = serial
    slab.pending++
  }

  get count(): number {
    return this.states.length
  }

  get bytes(): number {
    return this.end - this.start
  }

  get payloadBytes(): number {
    return this.bytes - recordHeaderBytes
  }

  /** The caller has made sure of the room. */
  add(state: DocumentState, offset: number, entry: NewEntry, replica: Replica | null): void {
    const buffer = this.slab.buffer
    let position = this.end
    if (state.groupSerial === this.serial) position = writeVarUint(buffer, position, state.groupReference)
    else {
      state.groupSerial = this.serial
      state.groupReference = ++this.documents
      buffer[position] = 0
      position = writeVarUint(buffer, writeVarString(buffer, position + 1, state.id), offset)
    }
    const end = writeEntry(buffer, position + entryLengthBytes, entry)
    const length = end - position - entryLengthBytes
    buffer[position] = length
    buffer[position + 1] = length >>> 8
    buffer[position + 2] = length >>> 16
    buffer[position + 3] = length >>> 24
    this.states.push(state)
    this.entries.push(entry)
    this.addresses.push(this.slab.address(position))
    this.replicas.push(replica)
    this.end = end
  }
}

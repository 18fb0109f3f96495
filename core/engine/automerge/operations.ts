/**
 * The operations of a change or of a saved document, for who must know what is written where and builds no document: the
 * guard of facts. A change has an author, who made them in a row; a document says of each who made it.
 */
import { toBase64 } from 'lib0/buffer'
import { ByteReader, MalformedBytes } from '../../bytes.ts'
import type { Value } from '../live-document.ts'
import {
  actionColumn,
  chunkHeaderBytes,
  contentsOf,
  deflatedColumn,
  readChangeHeader,
  readColumns,
  readDocumentHeader,
} from './chunk.ts'
import { BooleanReader, DeltaReader, integers, type RunReader, strings } from './columns.ts'
import { inflate } from './inflate.ts'
import { leb } from './leb.ts'

/** `counter@actor`, as Automerge writes ids of objects. */
export type OperationId = string
export const rootId = '_root'

export type Action =
  | 'makeMap'
  | 'set'
  | 'makeList'
  | 'delete'
  | 'makeText'
  | 'increment'
  | 'makeTable'
  | 'mark'

export interface Operation {
  readonly id: OperationId
  /** What it is in. */
  readonly object: OperationId
  /** Null: in a list or a text. */
  readonly key: string | null
  /** Of a list: the element that it changes, or that it comes behind; null: none is before it. */
  readonly element: OperationId | null
  readonly inserts: boolean
  readonly action: Action
  readonly value: Value
  /** In a change: what it replaces. In a document: what replaced it; what deletes is nowhere else. */
  readonly others: readonly OperationId[]
}

const actions: readonly Action[] = [
  'makeMap',
  'set',
  'makeList',
  'delete',
  'makeText',
  'increment',
  'makeTable',
  'mark',
]

/** What is stored was looked at before. */
const storedOperationsMax = 50_000_000
const columnBytesMax = 256 * 1024 * 1024

/** One by one. Throws `MalformedBytes`, also when there are more. `chunk`: of a change, read before. */
export function operationsOf(chunk: Uint8Array, operationsMax = storedOperationsMax): Iterable<Operation> {
  const reader = new ByteReader(contentsOf(chunk))
  const { actor, startOp, actors } = readChangeHeader(reader)
  const columns = columnsOf(reader, readColumns(reader))
  return read(columns, actors, operationsMax, (i) => `${startOp + i}@${actor}`)
}

/**
 * Throws `MalformedBytes` for a saved document that would take much more memory than its size says. Automerge inflates
 * whatever it is given.
 */
export function checkDocument(chunk: Uint8Array): void {
  const { columns } = readDocument(chunk)
  if (integers(columns.get(column.action) ?? none).count() > storedOperationsMax)
    throw new MalformedBytes('too many operations')
}

function readDocument(chunk: Uint8Array): { actors: readonly string[]; columns: Columns } {
  const reader = new ByteReader(chunk, chunkHeaderBytes + 1)
  leb(reader)
  const { actors } = readDocumentHeader(reader)
  const ofChanges = readColumns(reader)
  const ofOperations = readColumns(reader)
  columnsOf(reader, ofChanges)
  return { actors, columns: columnsOf(reader, ofOperations) }
}

/** One by one, of each object in the order in which it was made. Throws `MalformedBytes`. */
export function operationsOfDocument(chunk: Uint8Array): Iterable<Operation> {
  const { actors, columns } = readDocument(chunk)
  const idActor = integers(columns.get(column.idActor) ?? none)
  const idCounter = new DeltaReader(columns.get(column.idCounter) ?? none)
  return read(
    columns,
    actors,
    storedOperationsMax,
    () => idOf(idCounter.next(), idActor.next(), actors) ?? rootId,
  )
}

const column = {
  objectActor: 0x01,
  objectCounter: 0x02,
  keyActor: 0x11,
  keyCounter: 0x13,
  key: 0x15,
  idActor: 0x21,
  idCounter: 0x23,
  insert: 0x34,
  action: actionColumn,
  valueMetadata: 0x56,
  value: 0x57,
  predecessors: 0x70,
  predecessorActor: 0x71,
  predecessorCounter: 0x73,
  successors: 0x80,
  successorActor: 0x81,
  successorCounter: 0x83,
}
const none = new Uint8Array()

type Columns = ReadonlyMap<number, Uint8Array>

function columnsOf(reader: ByteReader, columns: ReturnType<typeof readColumns>): Columns {
  const all = new Map<number, Uint8Array>()
  let inflatable = columnBytesMax
  for (const { specification, length } of columns) {
    let bytes = reader.take(length)
    if ((specification & deflatedColumn) !== 0) {
      bytes = inflate(bytes, inflatable)
      inflatable -= bytes.length
    }
    all.set(specification & ~deflatedColumn, bytes)
  }
  return all
}

function* read(
  columns: Columns,
  actors: readonly string[],
  operationsMax: number,
  idAt: (i: number) => OperationId,
): Generator<Operation> {
  const of = (specification: number): Uint8Array => columns.get(specification) ?? none
  const objectActor = integers(of(column.objectActor))
  const objectCounter = integers(of(column.objectCounter))
  const keyActor = integers(of(column.keyActor))
  const keyCounter = new DeltaReader(of(column.keyCounter))
  const keys = strings(of(column.key))
  const inserts = new BooleanReader(of(column.insert))
  const action = integers(of(column.action))
  const values = new ValueReader(of(column.valueMetadata), of(column.value))
  const inDocument = columns.has(column.idCounter)
  const others = integers(of(inDocument ? column.successors : column.predecessors))
  const otherActor = integers(of(inDocument ? column.successorActor : column.predecessorActor))
  const otherCounter = new DeltaReader(of(inDocument ? column.successorCounter : column.predecessorCounter))

  let otherCount = 0
  for (let i = 0; !action.done; i++) {
    if (i === operationsMax) throw new MalformedBytes('too many operations')
    const name = actions[action.next() ?? 0]
    if (name === undefined) throw new MalformedBytes('unknown action')
    const id = idAt(i)
    const object = idOf(objectCounter.next(), objectActor.next(), actors) ?? rootId
    const element = idOf(keyCounter.next(), keyActor.next(), actors)
    const key = keys.next()
    const ids: OperationId[] = []
    for (let left = others.next() ?? 0; left > 0; left--) {
      if (++otherCount > operationsMax) throw new MalformedBytes('too many operations')
      ids.push(idOf(otherCounter.next(), otherActor.next(), actors) ?? rootId)
    }
    yield {
      id,
      object,
      key,
      element,
      inserts: inserts.next(),
      action: name,
      value: values.next(),
      others: ids,
    }
  }
}

/** Null for what has none: the root, the head of a list. */
function idOf(counter: number | null, actor: number | null, actors: readonly string[]): OperationId | null {
  if (counter === null || actor === null) return null
  const name = actors[actor]
  if (name === undefined) throw new MalformedBytes('unknown actor')
  return `${counter}@${name}`
}

/** Types of values, in the lowest four bits of their metadata; above them is their length. */
const valueTypes = {
  nothing: 0,
  no: 1,
  yes: 2,
  unsigned: 3,
  signed: 4,
  float: 5,
  text: 6,
  bytes: 7,
  counter: 8,
  time: 9,
}

class ValueReader {
  private readonly metadata: RunReader<number>
  private readonly raw: ByteReader

  constructor(metadata: Uint8Array, raw: Uint8Array) {
    this.metadata = integers(metadata)
    this.raw = new ByteReader(raw)
  }

  next(): Value {
    const metadata = this.metadata.next() ?? valueTypes.nothing
    const reader = new ByteReader(this.raw.take(Math.floor(metadata / 16)))
    switch (metadata % 16) {
      case valueTypes.no:
        return false
      case valueTypes.yes:
        return true
      case valueTypes.unsigned:
      case valueTypes.signed:
      case valueTypes.counter:
      case valueTypes.time:
        return integerOf(reader, metadata % 16 !== valueTypes.unsigned)
      case valueTypes.float:
        return floatOf(reader.take(8))
      case valueTypes.text:
        return new TextDecoder().decode(reader.take(reader.remaining)).toWellFormed()
      case valueTypes.bytes:
        return toBase64(reader.take(reader.remaining))
      default:
        return null
    }
  }
}

/** Beyond 2^53 its decimal digits. */
function integerOf(reader: ByteReader, isSigned: boolean): Value {
  let value = 0n
  let bits = 0n
  let byte = 0x80
  while (byte >= 0x80 && bits < 70n) {
    byte = reader.uint8()
    value |= BigInt(byte & 0x7f) << bits
    bits += 7n
  }
  if (isSigned) value = BigInt.asIntN(Number(bits), value)
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value.toString()
}

function floatOf(bytes: Uint8Array): Value {
  const value = new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0, true)
  return Number.isFinite(value) ? value : null
}

/**
 * Writes a change's chunk without Automerge, byte for byte as Automerge would: it keeps a change's operations only, and writes
 * the change anew when somebody asks for it, so that other bytes would be another hash. Hence runs are as long as they can be,
 * and columns that say nothing are left out. For changes of maps, lists and scalars; what is new replaces nothing.
 */
import * as sha256 from 'lib0/hash/sha256'
import { ByteWriter } from '../../bytes.ts'
import { automergeMagic } from '../engine-of.ts'
import type { Value } from '../live-document.ts'
import { chunkType, unhex, withHeader } from './chunk.ts'

/** An operation by the change's author, or one of `actors`: 0 is the author. */
export interface Written {
  /** Null: the root. */
  readonly object: readonly [counter: number, actor: number] | null
  /** A key; or the element of a list that it comes behind, null at its head. */
  readonly at: string | readonly [counter: number, actor: number] | null
  readonly action: 'makeMap' | 'makeList' | 'set'
  /** Of `set`. */
  readonly scalar: null | boolean | number | string
}

export interface NewChange {
  readonly deps: readonly Uint8Array[]
  readonly actor: string
  readonly seq: number
  readonly startOp: number
  /** Other actors than the author, in ascending order. */
  readonly actors: readonly string[]
  readonly operations: readonly Written[]
}

const actionNumbers = { makeMap: 0, set: 1, makeList: 2 } as const

export function writeChange(change: NewChange): { chunk: Uint8Array; hash: Uint8Array } {
  const { deps, actor, seq, startOp, actors, operations } = change
  const writer = new ByteWriter().varUint(deps.length)
  for (const dep of deps) writer.raw(dep)
  writer.varBytes(unhex(actor)).varUint(seq).varUint(startOp).varUint(0).varUint(0).varUint(actors.length)
  for (const other of actors) writer.varBytes(unhex(other))
  const columns = columnsOf(operations).filter(([, bytes]) => bytes.length > 0)
  writer.varUint(columns.length)
  for (const [specification, bytes] of columns) writer.varUint(specification).varUint(bytes.length)
  for (const [, bytes] of columns) writer.raw(bytes)
  const contents = withHeader(chunkType.change, writer.finish())
  const hash = sha256.digest(contents)
  const chunk = new Uint8Array(automergeMagic.length + 4 + contents.length)
  chunk.set(automergeMagic)
  chunk.set(hash.subarray(0, 4), automergeMagic.length)
  chunk.set(contents, automergeMagic.length + 4)
  return { chunk, hash }
}

/** The operations that make a value at a place; the first has the number `counter`. */
export function operationsFor(
  value: Value,
  counter: number,
  object: Written['object'],
  at: Written['at'],
): Written[] {
  if (value === null || typeof value !== 'object') return [{ object, at, action: 'set', scalar: value }]
  const isList = Array.isArray(value)
  const made: Written[] = [{ object, at, action: isList ? 'makeList' : 'makeMap', scalar: null }]
  let behind: Written['at'] = null
  for (const [key, each] of Object.entries(value)) {
    const next = counter + made.length
    made.push(...operationsFor(each as Value, next, [counter, 0], isList ? behind : key))
    behind = [next, 0]
  }
  return made
}

function columnsOf(operations: readonly Written[]): [specification: number, bytes: Uint8Array][] {
  const isElement = ({ at }: Written): boolean => typeof at !== 'string'
  const elementOf = ({ at }: Written) => (typeof at === 'string' ? null : at)
  const scalars = operations.map(({ action, scalar }) => scalarBytes(action === 'set' ? scalar : null))
  return [
    [
      0x01,
      runs(
        operations.map(({ object }) => object?.[1] ?? null),
        unsigned,
      ),
    ],
    [
      0x02,
      runs(
        operations.map(({ object }) => object?.[0] ?? null),
        unsigned,
      ),
    ],
    [
      0x11,
      runs(
        operations.map((each) => elementOf(each)?.[1] ?? null),
        unsigned,
      ),
    ],
    [0x13, deltas(operations.map((each) => (isElement(each) ? (elementOf(each)?.[0] ?? 0) : null)))],
    [
      0x15,
      runs(
        operations.map(({ at }) => (typeof at === 'string' ? at : null)),
        text,
      ),
    ],
    [0x34, booleans(operations.map(isElement))],
    [
      0x42,
      runs(
        operations.map(({ action }) => actionNumbers[action]),
        unsigned,
      ),
    ],
    [
      0x56,
      runs(
        scalars.map(({ type, bytes }) => bytes.length * 16 + type),
        unsigned,
      ),
    ],
    [0x57, joined(scalars.map(({ bytes }) => bytes))],
    [
      0x70,
      runs(
        operations.map(() => 0),
        unsigned,
      ),
    ],
  ]
}

type Write<T> = (writer: ByteWriter, value: T) => void
const unsigned: Write<number> = (writer, value) => writer.varUint(value)
const text: Write<string> = (writer, value) => writer.varString(value)

/** As columns.ts reads them; nothing at all when all are nothing. */
function runs<T>(values: readonly (T | null)[], write: Write<T>): Uint8Array {
  const writer = new ByteWriter()
  if (values.every((value) => value === null)) return writer.finish()
  for (let at = 0; at < values.length; ) {
    const value = values[at]!
    let end = at + 1
    while (end < values.length && values[end] === value) end++
    if (value === null) signed(writer, 0).varUint(end - at)
    else if (end - at > 1) write(signed(writer, end - at), value)
    else {
      while (end < values.length && values[end] !== null && values[end] !== values[end + 1]) end++
      signed(writer, at - end)
      for (const each of values.slice(at, end)) write(writer, each!)
    }
    at = end
  }
  return writer.finish()
}

function deltas(values: readonly (number | null)[]): Uint8Array {
  let last = 0
  const differences = values.map((value) => {
    if (value === null) return null
    const difference = value - last
    last = value
    return difference
  })
  return runs(differences, (writer, value) => signed(writer, value))
}

function booleans(values: readonly boolean[]): Uint8Array {
  const writer = new ByteWriter()
  let run = 0
  let current = false
  for (const value of values) {
    if (value !== current) {
      writer.varUint(run)
      run = 0
      current = value
    }
    run++
  }
  return run > 0 ? writer.varUint(run).finish() : writer.finish()
}

function scalarBytes(scalar: Written['scalar']): { type: number; bytes: Uint8Array } {
  const nothing = new Uint8Array()
  if (scalar === null) return { type: 0, bytes: nothing }
  if (typeof scalar === 'boolean') return { type: scalar ? 2 : 1, bytes: nothing }
  if (typeof scalar === 'string') return { type: 6, bytes: new TextEncoder().encode(scalar) }
  if (Number.isSafeInteger(scalar) && !Object.is(scalar, -0))
    return { type: 4, bytes: signed(new ByteWriter(), scalar).finish() }
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setFloat64(0, scalar, true)
  return { type: 5, bytes }
}

function signed(writer: ByteWriter, value: number): ByteWriter {
  let rest = value
  for (;;) {
    const low = ((rest % 128) + 128) % 128
    rest = Math.floor(rest / 128)
    if ((rest === 0 && low < 64) || (rest === -1 && low >= 64)) return writer.uint8(low)
    writer.uint8(low | 0x80)
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const writer = new ByteWriter()
  for (const part of parts) writer.raw(part)
  return writer.finish()
}

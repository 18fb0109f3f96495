/**
 * Automerge's columns: the values of one field of all operations, run by run.
 *
 *   integers, strings   runs: n:sleb > 0, then one value, n times; n < 0, then -n values; n = 0, then m:leb nothings
 *   delta               so are the differences of neighbours
 *   booleans            lengths of runs, false first
 *
 * A few bytes can be billions of values: nothing is expanded before it is asked for, and who asks has a limit.
 */
import { ByteReader, MalformedBytes } from '../../bytes.ts'
import { leb, signedLeb } from './leb.ts'

export class RunReader<T> {
  private readonly reader: ByteReader
  private readonly read: (reader: ByteReader) => T
  private left = 0
  /** Undefined: each of the run is read by itself. */
  private value: T | null | undefined = null

  constructor(bytes: Uint8Array, read: (reader: ByteReader) => T) {
    this.reader = new ByteReader(bytes)
    this.read = read
  }

  get done(): boolean {
    return this.left === 0 && this.reader.remaining === 0
  }

  /** Null also behind the end: what ends in nothings may leave them out. */
  next(): T | null {
    if (this.left === 0) {
      if (this.reader.remaining === 0) return null
      this.begin()
    }
    this.left--
    return this.value === undefined ? this.read(this.reader) : this.value
  }

  private begin(): void {
    const count = signedLeb(this.reader)
    this.left = count === 0 ? leb(this.reader) : Math.abs(count)
    if (this.left === 0) throw new MalformedBytes('empty run')
    this.value = count === 0 ? null : count > 0 ? this.read(this.reader) : undefined
  }

  /** How many there are, without expanding a run. Reads all of them. */
  count(): number {
    let total = 0
    while (this.reader.remaining > 0) {
      this.begin()
      if (this.value === undefined) for (let i = 0; i < this.left; i++) this.read(this.reader)
      total += this.left
      this.left = 0
    }
    return total
  }
}

export function integers(bytes: Uint8Array): RunReader<number> {
  return new RunReader(bytes, leb)
}

export function strings(bytes: Uint8Array): RunReader<string> {
  return new RunReader(bytes, (reader) => reader.varString())
}

export class DeltaReader {
  private readonly runs: RunReader<number>
  private value = 0

  constructor(bytes: Uint8Array) {
    this.runs = new RunReader(bytes, signedLeb)
  }

  next(): number | null {
    const difference = this.runs.next()
    if (difference === null) return null
    this.value += difference
    if (!Number.isSafeInteger(this.value)) throw new MalformedBytes('integer out of range')
    return this.value
  }
}

export class BooleanReader {
  private readonly reader: ByteReader
  private left = 0
  private value = true

  constructor(bytes: Uint8Array) {
    this.reader = new ByteReader(bytes)
  }

  next(): boolean {
    while (this.left === 0) {
      if (this.reader.remaining === 0) return false
      this.left = leb(this.reader)
      this.value = !this.value
    }
    this.left--
    return this.value
  }
}

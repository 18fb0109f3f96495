/**
 * What is kept beside a saved document, so that joins, coverage and sync need no document: the hashes of its changes, which
 * Automerge does not store (it computes them while loading), and what each builds on.
 *
 *   index   = format:uint8 documentBytes:varUint actors:list n:varUint n×change hashes:32×n recent:list
 *   change  = actor:varUint rise:varUint deps:varUint deps×(distance:varUint)
 *
 * - Changes are numbered from what is built on to what builds, those of an actor in the order of their `seq`, from 1 on.
 * - `rise`: by how much the number of its last operation is above all numbers of what it builds on.
 * - `distance` goes back from the change's own number. 0 for `deps` means the change before; a change that builds on
 *   nothing has 1 for `deps` and 0 for `distance`.
 * - `recent`: chunks of the last so many changes, for those who lack no others.
 * - Behind the first `documentBytes` of the state are chunks of changes that wait for others.
 */
import { ByteReader, ByteWriter, MalformedBytes } from '../../bytes.ts'
import { TidemarkError } from '../../protocol/errors.ts'
import { hashBytes } from './chunk.ts'

export const indexFormat = 1

export interface SnapshotIndex {
  readonly documentBytes: number
  readonly actors: readonly string[]
  /** Of each change, a number into `actors`. */
  readonly actorOf: Int32Array
  /** `deps` of change i: from `depStart[i]` up to `depStart[i + 1]`. */
  readonly depStart: Int32Array
  readonly deps: Int32Array
  /** Of each change, the number of its last operation. */
  readonly lastOps: Float64Array
  readonly hashes: Uint8Array
  /** Chunks of the last so many changes. */
  readonly recent: readonly Uint8Array[]
}

export function writeIndex(index: SnapshotIndex): Uint8Array {
  const { documentBytes, actors, actorOf, depStart, deps, lastOps, hashes, recent } = index
  const writer = new ByteWriter(64 + hashes.length + actorOf.length * 4)
  writer.uint8(indexFormat).varUint(documentBytes).varUint(actors.length)
  for (const actor of actors) writer.varString(actor)
  writer.varUint(actorOf.length)
  for (let i = 0; i < actorOf.length; i++) {
    const own = deps.subarray(depStart[i]!, depStart[i + 1]!)
    let before = 0
    for (const dep of own) before = Math.max(before, lastOps[dep]!)
    writer.varUint(actorOf[i]!).varUint(lastOps[i]! - before)
    if (own.length === 1 && own[0] === i - 1) writer.varUint(0)
    else if (own.length === 0) writer.varUint(1).varUint(0)
    else {
      writer.varUint(own.length)
      for (const dep of own) writer.varUint(i - dep)
    }
  }
  writer.raw(hashes).varUint(recent.length)
  for (const chunk of recent) writer.varBytes(chunk)
  return writer.finish()
}

/** Throws `document_unreadable`: indexes come from our own log. */
export function readIndex(bytes: Uint8Array): SnapshotIndex {
  try {
    return read(new ByteReader(bytes))
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error
    throw new TidemarkError('document_unreadable', `Stored index: ${error.message}`, { cause: error })
  }
}

function read(reader: ByteReader): SnapshotIndex {
  const format = reader.uint8()
  if (format !== indexFormat) throw new MalformedBytes(`index of format ${format}`)
  const documentBytes = reader.varUint()
  const actors: string[] = []
  for (let left = reader.varUint(); left > 0; left--) actors.push(reader.varString())
  const n = reader.varUint()
  if (n * (hashBytes + 2) > reader.remaining) throw new MalformedBytes('unexpected end')
  const actorOf = new Int32Array(n)
  const depStart = new Int32Array(n + 1)
  const lastOps = new Float64Array(n)
  const deps: number[] = []
  for (let i = 0; i < n; i++) {
    const actor = reader.varUint()
    if (actor >= actors.length) throw new MalformedBytes('actor out of range')
    actorOf[i] = actor
    const rise = reader.varUint()
    const count = reader.varUint()
    if (count === 0 && i > 0) deps.push(i - 1)
    else
      for (let left = count; left > 0; left--) {
        const distance = reader.varUint()
        if (distance > i) throw new MalformedBytes('distance out of range')
        if (distance > 0) deps.push(i - distance)
      }
    depStart[i + 1] = deps.length
    for (let at = depStart[i]!; at < deps.length; at++)
      lastOps[i] = Math.max(lastOps[i]!, lastOps[deps[at]!]!)
    lastOps[i]! += rise
  }
  const hashes = reader.take(n * hashBytes)
  const recentCount = reader.varUint()
  if (recentCount > n) throw new MalformedBytes('list out of range')
  const recent = Array.from({ length: recentCount }, () => reader.varBytes())
  if (reader.remaining > 0) throw new MalformedBytes('bytes after the end')
  return { documentBytes, actors, actorOf, depStart, deps: Int32Array.from(deps), lastOps, hashes, recent }
}

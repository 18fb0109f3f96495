/**
 * A document built from its updates, saved, and loaded again: what Automerge writes without an error it does not always read
 * (a change whose first operation is numbered too low is taken, and the document that has it cannot be loaded), and a
 * snapshot that cannot be read would be the end of the document. Loading it gives the index as well.
 *
 * Nothing is lost: Automerge keeps the whole history, and writes changes that wait for others behind the document.
 */
import { TidemarkError } from '../../protocol/errors.ts'
import type { IndexedState } from '../engine.ts'
import { hashBytes, hex, type SavedDocument, unhex } from './chunk.ts'
import { checkDocument } from './operations.ts'
import { outlineOf } from './outline.ts'
import { type SnapshotIndex, writeIndex } from './snapshot-index.ts'
import { type Handle, newHandle, release } from './wasm.ts'

/** Kept beside a snapshot, for those who lack little of it: half of a small document, or an eighth of a large one. */
const recentBytesOf = (documentBytes: number): number =>
  Math.min(documentBytes / 2, Math.max(256 * 1024, documentBytes / 8))

export function compact(updates: readonly Uint8Array[]): IndexedState {
  const bytes = withHandle(updates, (handle) => handle.save())
  return { bytes, index: indexOf(bytes) }
}

/** See `Engine.digest`. */
export function digest(updates: readonly Uint8Array[], applying: (index: number) => void): void {
  withHandle([], (handle) => {
    for (const [index, update] of updates.entries()) {
      applying(index)
      applyTo(handle, [update])
    }
  })
}

/** Builds the document, as `compact` does. */
export function indexOf(bytes: Uint8Array): Uint8Array {
  const { documents } = outlineOf(bytes)
  const documentBytes = documents[0]?.bytes.length ?? 0
  return withHandle([bytes.subarray(0, documentBytes)], (handle) => writeIndex(read(handle, documentBytes)))
}

function read(handle: Handle, documentBytes: number): SnapshotIndex {
  const metas = handle.getChangesMeta([])
  const numbers = new Map<string, number>()
  const actors = new Map<string, { readonly number: number; seq: number }>()
  const hashes = new Uint8Array(metas.length * hashBytes)
  const actorOf = new Int32Array(metas.length)
  const depStart = new Int32Array(metas.length + 1)
  const lastOps = new Float64Array(metas.length)
  const deps: number[] = []
  for (const [i, meta] of metas.entries()) {
    let actor = actors.get(meta.actor)
    if (actor === undefined) {
      actor = { number: actors.size, seq: 0 }
      actors.set(meta.actor, actor)
    }
    if (meta.seq !== ++actor.seq) throw unreadable(`Change ${meta.seq} of an actor follows ${actor.seq - 1}`)
    for (const dep of meta.deps) {
      const number = numbers.get(dep)
      if (number === undefined) throw unreadable('A change comes before what it builds on')
      deps.push(number)
    }
    numbers.set(meta.hash, i)
    hashes.set(unhex(meta.hash), i * hashBytes)
    actorOf[i] = actor.number
    lastOps[i] = meta.maxOp
    depStart[i + 1] = deps.length
  }
  const recent = recentOf(
    handle,
    metas.map(({ hash }) => hash),
    documentBytes,
  )
  const index = { documentBytes, actors: [...actors.keys()], actorOf, depStart }
  return { ...index, deps: Int32Array.from(deps), lastOps, hashes, recent }
}

/** As many of the last changes as are less to send than the document. */
function recentOf(handle: Handle, hashes: readonly string[], documentBytes: number): Uint8Array[] {
  const recent: Uint8Array[] = []
  let left = recentBytesOf(documentBytes)
  for (let i = hashes.length - 1; i >= 0; i--) {
    const chunk = handle.getChangeByHash(hashes[i]!)
    if (chunk === null) throw unreadable('Automerge does not know a change that it has')
    left -= chunk.length
    if (left < 0) break
    recent.push(chunk)
  }
  return recent.reverse()
}

/** Throws `document_unreadable`. The handle is of no use afterwards. */
export function withHandle<T>(updates: readonly Uint8Array[], use: (handle: Handle) => T): T {
  const handle = handleOf(updates)
  try {
    return use(handle)
  } catch (error) {
    throw readable(error)
  } finally {
    release(handle)
  }
}

/** To be freed. Throws `document_unreadable`. */
export function handleOf(updates: readonly Uint8Array[]): Handle {
  const handle = newHandle()
  try {
    applyTo(handle, updates)
    return handle
  } catch (error) {
    release(handle)
    throw error
  }
}

/** Throws `document_unreadable`. */
export function applyTo(handle: Handle, updates: readonly Uint8Array[]): void {
  try {
    const outlines = updates.map(outlineOf)
    for (const { documents } of outlines) for (const document of documents) applyDocument(handle, document)
    const changes = outlines.flatMap((outline) => outline.changes.map(({ bytes }) => bytes))
    if (changes.length > 0) handle.applyChanges(changes)
  } catch (error) {
    throw readable(error)
  }
}

/** Automerge leaves out in silence what it cannot load; then heads are missing. */
function applyDocument(handle: Handle, { bytes, heads }: SavedDocument): void {
  checkDocument(bytes)
  handle.loadIncremental(bytes)
  for (let at = 0; at < heads.length; at += hashBytes)
    if (handle.getChangeMetaByHash(hex(heads.subarray(at, at + hashBytes))) === null)
      throw unreadable('Automerge cannot load a stored document')
}

function unreadable(message: string): TidemarkError {
  return new TidemarkError('document_unreadable', message)
}

function readable(error: unknown): unknown {
  if (error instanceof TidemarkError && error.code === 'document_unreadable') return error
  const message = error instanceof Error ? error.message : String(error)
  return new TidemarkError('document_unreadable', `Automerge cannot read the stored updates: ${message}`, {
    cause: error,
  })
}

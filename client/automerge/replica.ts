/**
 * A replica whose document is Automerge's: immutable, and replaced by each change. An edit is one change, which is one update
 * of the outbox; several are joined by putting their bytes one after the other. The `Y.Doc` that every replica has holds
 * nothing but the awareness.
 *
 * Automerge tells changes apart by their hashes, so what nobody sends is told exactly: what the document has and neither the server's
 * heads cover, nor an outbox, nor another tab. Where a replica of Yjs keeps clocks of clients, this one keeps hashes.
 */
import * as Automerge from '@automerge/automerge'
import { hex, unhex } from '../../core/engine/automerge/chunk.ts'
import { concat, outlineOf } from '../../core/engine/automerge/outline.ts'
import { readVersion, writeVersion } from '../../core/engine/automerge/version.ts'
import { rootChange } from '../../core/engine/automerge/written-entries.ts'
import { TidemarkError } from '../../core/protocol/error-codes.ts'
import { automergeMark } from '../document.ts'
import type { ReplicaOwner } from '../document-context.ts'
import type { Environment } from '../environment.ts'
import { Replica } from '../replica.ts'
import type { Storage } from '../storage/storage.ts'
import type { Loaded } from '../types.ts'
import { AutomergeEntries } from './entries.ts'

export type Doc<T = unknown> = Automerge.Doc<T>

export interface Changed {
  readonly doc: Doc
  readonly before: Doc
  readonly patches: readonly Automerge.Patch[]
  readonly local: boolean
}

/** By hash; the values say nothing. */
type Hashes = Map<unknown, unknown>

export class AutomergeReplica extends Replica {
  value: Doc = Automerge.init()
  protected override readonly joined = concat
  readonly #onChange: (changed: Changed) => void
  #entries: AutomergeEntries | null = null

  constructor(environment: Environment, owner: ReplicaOwner, onChange: (changed: Changed) => void) {
    super(environment, owner)
    this.#onChange = onChange
  }

  override load(storage: Storage, scope: string, document: string): Promise<Loaded> {
    return super.load(storage, scope, document + automergeMark)
  }

  override ask() {
    return { ...super.ask(), engine: 'automerge' }
  }

  /** From the first use on it looks at all that changes. */
  get entries(): AutomergeEntries {
    this.#entries ??= new AutomergeEntries(this.value, (root, edit) => this.#changeMap(root, edit))
    return this.#entries
  }

  change<T>(edit: (doc: T) => void, options: Automerge.ChangeOptions<T>): Doc<T> {
    return this.#change(edit, options, [])
  }

  /** Throws `malformed_update` and `update_incomplete`, and takes nothing then. */
  merge(update: Uint8Array): Doc {
    outlineOf(update)
    const before = this.value
    this.#try(update)
    let patches: readonly Automerge.Patch[] = []
    const doc = Automerge.loadIncremental(before, update, {
      patchCallback: (all) => {
        patches = all
      },
    })
    this.value = doc
    const added = Automerge.getChangesSince(doc, Automerge.getHeads(before))
    if (added.length === 0) return doc
    this.edited(concat(added))
    this.#onChange({ doc, before, patches, local: true })
    this.#entries?.changed()
    return doc
  }

  /** On a copy: what a document keeps until its causes come, it does not give back. */
  #try(update: Uint8Array): void {
    const copy = Automerge.clone(this.value)
    try {
      const lacking = Automerge.getMissingDeps(copy, []).length
      const merged = Automerge.loadIncremental(copy, update)
      if (Automerge.getMissingDeps(merged, []).length > lacking)
        throw new TidemarkError('update_incomplete', 'It builds on changes that are not here')
    } finally {
      Automerge.free(copy)
    }
  }

  #changeMap(root: string, edit: (map: Record<string, unknown>) => void): void {
    const made: Uint8Array[] = []
    if (!Object.hasOwn(this.value as object, root)) {
      const { chunk, hash } = rootChange(root)
      if (!Automerge.hasHeads(this.value, [hex(hash)])) {
        this.value = Automerge.loadIncremental(this.value, chunk)
        made.push(chunk)
      }
    }
    const change = (doc: Record<string, Record<string, unknown>>): void => {
      if (doc[root] === undefined) doc[root] = {}
      edit(doc[root])
    }
    this.#change(change, {}, made)
  }

  /** `made`: changes that belong to the edit, to go before its own. */
  #change<T>(
    edit: (doc: T) => void,
    options: Automerge.ChangeOptions<T>,
    made: readonly Uint8Array[],
  ): Doc<T> {
    const before = this.value as Doc<T>
    let patches: readonly Automerge.Patch[] = []
    const patchCallback: Automerge.PatchCallback<T> = (all, info) => {
      patches = all
      options.patchCallback?.(all, info)
    }
    const doc = Automerge.change(before, { ...options, patchCallback }, edit)
    const change = doc === before ? undefined : Automerge.getLastLocalChange(doc)
    this.value = doc
    if (change === undefined) return doc
    this.edited(made.length === 0 ? change : concat([...made, change]))
    this.#onChange({ doc, before, patches, local: true })
    this.#entries?.changed()
    return doc
  }

  protected override apply(updates: readonly Uint8Array[]): void {
    if (updates.length === 0) return
    const before = this.value
    let patches: readonly Automerge.Patch[] = []
    const doc = Automerge.loadIncremental(before, concat(updates), {
      patchCallback: (all) => {
        patches = all
      },
    })
    this.value = doc
    if (patches.length > 0) this.#onChange({ doc, before, patches, local: false })
    this.#entries?.changed()
  }

  protected override encoded(): Uint8Array {
    return Automerge.save(this.value)
  }

  protected override version(): Uint8Array {
    return writeVersion(Automerge.getHeads(this.value).map(unhex))
  }

  protected override raise(hashes: Hashes, update: Uint8Array): void {
    for (const hash of hashesIn(update)) hashes.set(hash, true)
  }

  protected override missing(version: Uint8Array, elsewhere: readonly Hashes[]): Uint8Array | null {
    const known: Hashes = new Map()
    for (const { update } of this.pushing.all) this.raise(known, update)
    const has = readVersion(version).map(hex)
    // Of a head that is on its way to us nobody can say yet what it builds on: the next opening asks again.
    if (!has.every((hash) => Automerge.hasHeads(this.value, [hash]))) return null
    const missing = Automerge.getChangesSince(this.value, has).filter((change) => {
      const { hash } = Automerge.decodeChange(change)
      return ![known, ...elsewhere].some((hashes) => hashes.has(hash))
    })
    return missing.length === 0 ? null : concat(missing)
  }
}

/** Of all changes in it. */
function* hashesIn(update: Uint8Array): Generator<string> {
  const { changes, documents } = outlineOf(update)
  for (const { hash } of changes) yield hex(hash)
  for (const { bytes } of documents) {
    const doc = Automerge.load(bytes)
    for (const change of Automerge.getAllChanges(doc)) yield Automerge.decodeChange(change).hash
    Automerge.free(doc)
  }
}

/**
 * Which changes a log has and what each builds on, from the index of its snapshot and the chunks of its tail; no document is
 * built. A change counts once all that it builds on is there: then it gets the next number, so that numbers ascend from
 * causes to effects, and whatever is asked (heads, what somebody lacks) is one sweep over them. Before, it waits.
 *
 * Per change of a snapshot this holds 32 bytes in the index and about 20 here; the tail's chunks are held by who asks for that
 * (`keeping`). Of a document that was pushed whole and is not compacted yet, only that it is there is known: what it says
 * of its changes nobody has checked.
 */
import type { IndexedState } from '../engine.ts'
import { type Change, type Chunks, hashBytes, hex, readChunks, type SavedDocument, unhex } from './chunk.ts'
import { HashTable } from './hash-table.ts'
import { baseOf } from './snapshot-base.ts'
import type { SnapshotIndex } from './snapshot-index.ts'

interface Waiting {
  readonly change: Change
  /** Dependencies that do not count yet. */
  left: number
}

export interface Since {
  /** Some of what is lacking is so deep in the snapshot that it comes whole: its bytes come first. */
  readonly snapshot: boolean
  /** Chunks, causes before effects. What `snapshot` brings is not among them. */
  readonly changes: readonly Uint8Array[]
}

export class ChangeGraph {
  readonly snapshot: IndexedState | null
  /** So many of the first changes are in the snapshot. */
  readonly snapshotCount: number
  private readonly keeping: boolean
  private readonly table: HashTable
  private readonly depStart: number[] = []
  private readonly deps: number[] = []
  private readonly base: SnapshotIndex | null
  private readonly chunks: Uint8Array[] = []
  private readonly headSet = new Set<number>()
  private readonly lastOps: number[] = []
  /** Of each actor, the last change that counts. */
  private readonly lasts = new Map<string, { readonly seq: number; readonly number: number }>()
  /** By hash, and by the hash that they wait for. */
  private readonly waiting = new Map<string, Waiting>()
  private readonly waitedFor = new Map<string, Waiting[]>()
  /** In the snapshot's bytes, behind the document. */
  private readonly waitingInSnapshot = new Set<string>()
  /** All that they build on is there, and they do not fit to it: Automerge will not have them. */
  private readonly void = new Set<string>()
  private readonly documents = new Map<string, SavedDocument>()

  /** `keeping`: chunks of the tail, to be handed out by `since`. Throws `document_unreadable`. */
  constructor(snapshot: IndexedState | null, keeping: boolean) {
    this.snapshot = snapshot
    this.keeping = keeping
    if (snapshot === null) {
      this.table = new HashTable()
      this.base = null
      this.snapshotCount = 0
      return
    }
    const { index, table, heads, lasts } = baseOf(snapshot)
    this.table = table.copy()
    this.base = index
    this.snapshotCount = index.actorOf.length
    for (const head of heads) this.headSet.add(head)
    for (const [actor, last] of lasts) this.lasts.set(actor, last)
    if (index.documentBytes === snapshot.bytes.length) return
    const { changes } = readChunks(snapshot.bytes.subarray(index.documentBytes))
    for (const change of changes) {
      this.waitingInSnapshot.add(hex(change.hash))
      this.addChange(change)
    }
  }

  /** How many changes count. */
  get count(): number {
    return this.table.count
  }

  /** Also one that waits for others. */
  has(hash: Uint8Array): boolean {
    if (this.counts(hash)) return true
    if (this.waiting.size === 0 && this.void.size === 0) return false
    const name = hex(hash)
    return this.waiting.has(name) || this.void.has(name)
  }

  /** It is there, and all that it builds on. */
  counts(hash: Uint8Array): boolean {
    return this.table.find(hash) >= 0
  }

  hasDocument(document: SavedDocument): boolean {
    return this.documents.has(hex(document.hash)) || everyHash(document.heads, (head) => this.counts(head))
  }

  /**
   * Why a change that is not there can never count; null when it can, or when that cannot be told yet. An actor's changes are
   * numbered without a gap, each knows the one before, and its operations are numbered above those it knows.
   */
  contradiction({ actor, seq, startOp, deps }: Change): string | null {
    const last = this.lasts.get(actor)
    const expected = (last?.seq ?? 0) + 1
    if (seq < expected) return `Actor ${actor} has made another change ${seq}`
    const numbers: number[] = []
    everyHash(deps, (dep) => numbers.push(this.table.find(dep)) > 0)
    if (numbers.includes(-1)) return null
    if (seq !== expected) return `Change ${seq} of actor ${actor} does not follow change ${expected - 1}`
    if (last !== undefined && !this.isBehind(last.number, numbers))
      return `Change ${seq} of actor ${actor} does not know the one before`
    if (numbers.some((dep) => this.lastOpOf(dep) >= startOp))
      return `Change ${seq} of actor ${actor} uses numbers of operations that are taken`
    return null
  }

  /** What is not in it. */
  lacking({ changes, documents }: Chunks): Chunks {
    return {
      changes: changes.filter(({ hash }) => !this.has(hash)),
      documents: documents.filter((document) => !this.hasDocument(document)),
    }
  }

  add({ changes, documents }: Chunks): void {
    for (const change of changes) this.addChange(change)
    for (const document of documents) {
      if (this.hasDocument(document)) continue
      const { hash, heads, actors } = document
      const bytes = this.keeping ? document.bytes : new Uint8Array()
      this.documents.set(hex(hash), { hash, heads, actors, bytes })
    }
  }

  /** Changes that count and on which none builds that counts. In ascending order; views. */
  heads(): Uint8Array[] {
    return [...this.headSet].map((number) => this.table.at(number)).sort(compare)
  }

  /** What changes wait for and is not there. */
  missing(): Uint8Array[] {
    const awaited = [...this.waitedFor.keys()].map(unhex)
    return awaited.filter((hash) => !this.has(hash)).sort(compare)
  }

  actors(): string[] {
    const actors = new Set(this.lasts.keys())
    for (const document of this.documents.values()) for (const actor of document.actors) actors.add(actor)
    return [...actors]
  }

  /** Hashes of the changes that count, causes before effects, from a number on; views. */
  *hashes(from = 0): Generator<Uint8Array> {
    for (let number = from; number < this.count; number++) yield this.table.at(number)
  }

  /** Hashes of what a change builds on; none for one that does not count. Views. */
  depsOf(hash: Uint8Array): Uint8Array[] {
    const number = this.table.find(hash)
    return number < 0 ? [] : Array.from(this.depNumbers(number), (dep) => this.table.at(dep))
  }

  /** By number, 1 for what one who has these changes has. Those that are not there say nothing. */
  ancestors(heads: readonly Uint8Array[]): Uint8Array {
    const marks = new Uint8Array(this.count)
    let last = -1
    for (const head of heads) {
      const number = this.table.find(head)
      if (number >= 0) marks[number] = 1
      last = Math.max(last, number)
    }
    for (let number = last; number >= 0; number--)
      if (marks[number] === 1) for (const dep of this.depNumbers(number)) marks[dep] = 1
    return marks
  }

  /**
   * What somebody who has these changes and all that they build on lacks. With what waits for others, and documents that were
   * pushed whole, which he may have.
   */
  since(heads: readonly Uint8Array[]): Since {
    const marks = this.ancestors(heads)
    const recent = this.base?.recent ?? []
    const recentFrom = this.snapshotCount - recent.length
    const first = marks.indexOf(0)
    const snapshot = first >= 0 && first < recentFrom
    const changes: Uint8Array[] = []
    for (const { bytes, heads: own } of this.documents.values())
      if (own.length > 0 && !everyHash(own, (one) => heads.some((head) => compare(head, one) === 0)))
        changes.push(bytes)
    if (!snapshot)
      for (const [i, chunk] of recent.entries()) if (marks[recentFrom + i] === 0) changes.push(chunk)
    for (let number = this.snapshotCount; number < marks.length; number++)
      if (marks[number] === 0) changes.push(this.chunks[number - this.snapshotCount]!)
    for (const [name, { change }] of this.waiting)
      if (!snapshot || !this.waitingInSnapshot.has(name)) changes.push(change.bytes)
    return { snapshot, changes }
  }

  private addChange(change: Change): void {
    if (this.has(change.hash)) return
    const waiting: Waiting = { change: this.held(change), left: 0 }
    everyHash(change.deps, (dep) => {
      if (this.counts(dep)) return true
      const name = hex(dep)
      const others = this.waitedFor.get(name)
      if (others === undefined) this.waitedFor.set(name, [waiting])
      else others.push(waiting)
      waiting.left++
      return true
    })
    if (waiting.left > 0) this.waiting.set(hex(change.hash), waiting)
    else this.nowCounts(waiting.change)
  }

  private nowCounts(first: Change): void {
    const ready = [first]
    for (let change = ready.pop(); change !== undefined; change = ready.pop()) {
      const { hash, deps, actor, seq, startOp, operationCount } = change
      if (this.waiting.size > 0) this.waiting.delete(hex(hash))
      if (this.contradiction(change) !== null) {
        this.void.add(hex(hash))
        continue
      }
      this.lasts.set(actor, { seq, number: this.count })
      this.lastOps.push(startOp + operationCount - 1)
      this.depStart.push(this.deps.length)
      everyHash(deps, (dep) => {
        const number = this.table.find(dep)
        this.headSet.delete(number)
        this.deps.push(number)
        return true
      })
      this.headSet.add(this.table.push(hash))
      if (this.keeping) this.chunks.push(change.bytes)
      if (this.waitedFor.size === 0) continue
      const name = hex(hash)
      const waiting = this.waitedFor.get(name) ?? []
      this.waitedFor.delete(name)
      for (const other of waiting) if (--other.left === 0) ready.push(other.change)
    }
  }

  private held(change: Change): Change {
    return this.keeping ? change : { ...change, bytes: new Uint8Array() }
  }

  private depNumbers(number: number): number[] | Int32Array {
    if (number >= this.snapshotCount) {
      const at = number - this.snapshotCount
      return this.deps.slice(this.depStart[at], this.depStart[at + 1])
    }
    const { depStart, deps } = this.base!
    return deps.subarray(depStart[number], depStart[number + 1])
  }

  private lastOpOf(number: number): number {
    return number >= this.snapshotCount
      ? this.lastOps[number - this.snapshotCount]!
      : this.base!.lastOps[number]!
  }

  /** Whether somebody who has these changes has that one. Nearly always it is one of them. */
  private isBehind(number: number, those: readonly number[]): boolean {
    if (those.includes(number)) return true
    const seen = new Set<number>()
    const next = those.filter((each) => each > number)
    for (let each = next.pop(); each !== undefined; each = next.pop()) {
      for (const dep of this.depNumbers(each)) {
        if (dep === number) return true
        if (dep < number || seen.has(dep)) continue
        seen.add(dep)
        next.push(dep)
      }
    }
    return false
  }
}

/** Whether it holds for each of hashes that lie one after the other. */
export function everyHash(hashes: Uint8Array, holds: (hash: Uint8Array) => boolean): boolean {
  for (let at = 0; at < hashes.length; at += hashBytes)
    if (!holds(hashes.subarray(at, at + hashBytes))) return false
  return true
}

export function compare(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!
  return 0
}

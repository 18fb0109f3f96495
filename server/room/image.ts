/**
 * What a room answers joins from: the snapshot and the tail as of an offset, kept while people join
 * and read again from the log when they come later. The tail grows with every entry the room
 * delivers, so a kept image is always at the room's offset.
 *
 * Joiners with the same version at the same offset share one computation and its buffers (a restart
 * brings everyone back with the same version; first visitors all have the empty one).
 *
 * Of an engine that sends a tail as it was written, somebody who has nothing is answered after a compaction, where that
 * makes much less of it: all that come meanwhile wait for the same one. Of what takes long to compact they get what there
 * is, and those who come later get less.
 *
 * All images of a node share `imageBytesMax`; the ones used longest ago are dropped first, and any is
 * dropped after `imageIdleMs`. Dropping costs the next joiner a read, never correctness.
 */
import type { DocumentId } from '../../core/document-id.ts'
import type { EngineName } from '../../core/engine/engine.ts'
import { engineOf } from '../../core/engine/engine-of.ts'
import { engines } from '../../core/engine/engines.ts'
import type { Offset } from '../../core/offset.ts'
import { dueForNewcomer, isWaitedFor } from '../compaction/policy.ts'
import { type Content, fold } from '../log/lineage.ts'
import type { Entry, Log, Snapshot } from '../log/log.ts'
import { wrongEngine } from './known.ts'
import { readAhead } from './read-ahead.ts'

const answersMax = 8
/** What is spliced from less is spliced again sooner than it is found. */
const answeredBytesMin = 4 * 1024
/** A tail this long is due for compaction; reading the shorter one then is cheaper than keeping it. */
const imageTailMax = 20_000
/** A compaction for somebody who has nothing is asked for at most so often: it may be in vain, such as when another node has the lease. */
const newcomerEveryMs = 2_000

/** The node's budget for images, in order of use. */
export class ImageBudget {
  private readonly used = new Map<Image, number>()
  private bytes = 0
  readonly bytesMax: number
  /** Somebody is about to be given a long tail: resolves when it was compacted, or will not be. Never rejects. */
  readonly compact: (document: DocumentId) => Promise<void>

  constructor(bytesMax: number, compact: (document: DocumentId) => Promise<void> = async () => undefined) {
    this.bytesMax = bytesMax
    this.compact = compact
  }

  get bytesUsed(): number {
    return this.bytes
  }

  touch(image: Image, bytes: number): void {
    this.release(image)
    this.used.set(image, bytes)
    this.bytes += bytes
    for (const [oldest] of this.used) {
      if (this.bytes <= this.bytesMax || oldest === image) return
      oldest.drop()
    }
  }

  release(image: Image): void {
    this.bytes -= this.used.get(image) ?? 0
    this.used.delete(image)
  }

  /** Drops what nobody joined from for a while. */
  sweep(nowMs: number, imageIdleMs: number): void {
    for (const [image] of this.used) if (nowMs - image.usedMs > imageIdleMs) image.drop()
  }
}

interface Held {
  engine: EngineName | null
  snapshot: Snapshot | null
  tail: Uint8Array[]
  offset: Offset
  bytes: number
}

interface Answer {
  readonly version: Uint8Array
  readonly chunks: readonly Uint8Array[]
}

export class Image {
  usedMs = 0
  private held: Held | null = null
  private loading: Promise<Held> | null = null
  /** Entries delivered while a load is under way; the load may or may not contain them. */
  private meanwhile: Entry[] = []
  private answers: Answer[] = []
  private readonly document: DocumentId
  private readonly log: Log
  private readonly budget: ImageBudget
  private newcomer: { readonly sinceMs: number; readonly done: Promise<void> } | null = null

  constructor(document: DocumentId, log: Log, budget: ImageBudget) {
    this.document = document
    this.log = log
    this.budget = budget
  }

  /** Takes what the room has just read anyway. Rejects with `document_unreadable`. */
  async seed(content: Content, nowMs: number): Promise<void> {
    const held = heldOf(content)
    await readAhead(held.engine, held.snapshot, held.tail)
    this.hold(held, nowMs)
  }

  /** An update the room delivers: keeps the image at the room's offset. */
  append(entry: Entry): void {
    if (this.loading !== null) this.meanwhile.push(entry)
    if (this.held === null) return
    extend(this.held, entry)
    this.answers = []
    if (this.held.bytes > this.budget.bytesMax || this.held.tail.length > imageTailMax) this.drop()
  }

  drop(): void {
    this.held = null
    this.answers = []
    this.budget.release(this)
  }

  /**
   * The update that brings `version` to the offset returned, which is at least the room's. Throws `wrong_engine` when the document
   * is of another one. `asWritten`: see `Have`.
   */
  async join(
    version: Uint8Array,
    engine: EngineName,
    nowMs: number,
    asWritten = false,
  ): Promise<{ chunks: readonly Uint8Array[]; offset: Offset }> {
    let held = this.held ?? (await this.load(nowMs))
    if (held.engine !== null && held.engine !== engine) throw wrongEngine(held.engine, engine)
    if (!asWritten && isForNewcomers(held) && equal(version, engines[engine].emptyVersion)) {
      const compacted = this.whenCompacted(nowMs)
      if (isWaitedFor(bytesOf(held))) {
        await compacted
        held = this.held ?? (await this.load(nowMs))
      }
    }
    this.usedMs = nowMs
    const known = this.answers.find((answer) => equal(answer.version, version))
    const answer = known ?? { version, chunks: engines[engine].join(held.snapshot, held.tail, version) }
    if (known === undefined && held === this.held && held.bytes >= answeredBytesMin)
      this.answers = [answer, ...this.answers.slice(0, answersMax - 1)]
    return { chunks: answer.chunks, offset: held.offset }
  }

  /** Or when that was tried just now. */
  private whenCompacted(nowMs: number): Promise<void> {
    if (this.newcomer === null || nowMs - this.newcomer.sinceMs >= newcomerEveryMs)
      this.newcomer = { sinceMs: nowMs, done: this.budget.compact(this.document) }
    return this.newcomer.done
  }

  private async load(nowMs: number): Promise<Held> {
    if (this.loading === null) {
      this.meanwhile = []
      this.loading = this.read()
    }
    const loading = this.loading
    try {
      const held = await loading
      if (this.loading === loading) {
        this.loading = null
        for (const entry of this.meanwhile) extend(held, entry)
        this.meanwhile = []
        this.hold(held, nowMs)
      }
      return held
    } finally {
      if (this.loading === loading) this.loading = null
    }
  }

  private async read(): Promise<Held> {
    const held = heldOf(fold(await this.log.load(this.document)))
    await readAhead(held.engine, held.snapshot, held.tail)
    return held
  }

  private hold(held: Held, nowMs: number): void {
    this.held = held
    this.answers = []
    this.usedMs = nowMs
    this.budget.touch(this, held.bytes)
  }
}

function heldOf({ engine, snapshot, entries, offset }: Content): Held {
  const tail = entries.map((entry) => entry.update)
  const bytes = tail.reduce((sum, update) => sum + update.length, snapshot?.bytes.length ?? 0)
  return { engine, snapshot, tail, offset, bytes }
}

/** Somebody who has nothing is given less of it after a compaction. */
const isForNewcomers = (held: Held): boolean =>
  held.engine !== null && engines[held.engine].sendsTail === true && dueForNewcomer(bytesOf(held))

function bytesOf({ snapshot, bytes }: Held): { readonly snapshotBytes: number; readonly tailBytes: number } {
  const snapshotBytes = snapshot?.bytes.length ?? 0
  return { snapshotBytes, tailBytes: bytes - snapshotBytes }
}

function extend(held: Held, entry: Entry): void {
  if (entry.offset <= held.offset) return
  held.engine ??= engineOf(entry.update)
  held.tail.push(entry.update)
  held.offset = entry.offset
  held.bytes += entry.update.length
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

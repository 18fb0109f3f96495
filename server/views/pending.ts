/**
 * Which documents wait to be projected, and up to where of the log's changes everything is. No I/O; time is an argument.
 *
 *   read ──▶ waiting ──take──▶ under way ──done──▶ (gone; or waiting again when it changed meanwhile)
 *               ▲                  └──failed──▶ waiting, not before a while
 *               └──────────────────────┘
 *
 * - A part is a share of all documents. Its cursor never passes a change that is not projected, so whoever goes on from it
 *   misses none: what was projected since then is projected once more, which writes nothing.
 * - A document that fails holds back the cursor of its part and nothing else.
 */
import type { DocumentId } from '../../core/document-id.ts'
import type { Change } from '../log/log.ts'
import { partOf } from './parts.ts'

interface Waiting {
  readonly part: number
  /** Of the first change that is not projected. */
  readonly firstSequence: number
  /** Milliseconds of whatever clock `take` is given. */
  readonly notBeforeMs: number
  readonly failures: number
}

const backoffMsMin = 250
const backoffMsMax = 60_000

export class Pending {
  /** Held parts: everything up to here was read. */
  private readonly readTo = new Map<number, number>()
  /** In the order in which they are due. */
  private readonly waiting = new Map<DocumentId, Waiting>()
  private readonly underWay = new Map<DocumentId, Waiting>()

  /** Documents that wait or are under way. */
  get size(): number {
    return this.waiting.size + this.underWay.size
  }

  get parts(): readonly number[] {
    return [...this.readTo.keys()]
  }

  /** A part is ours now; its cursor as it was stored. */
  hold(part: number, cursor: number): void {
    this.readTo.set(part, cursor)
  }

  /** It is no longer. What is under way of it may still be told as done or failed. */
  release(part: number): void {
    this.readTo.delete(part)
    for (const [document, waiting] of this.waiting) if (waiting.part === part) this.waiting.delete(document)
  }

  /** Where to read on from; null without a part. */
  get from(): number | null {
    let from: number | null = null
    for (const readTo of this.readTo.values()) from = from === null ? readTo : Math.min(from, readTo)
    return from
  }

  /**
   * What `Log.changes` gave after `from`; the parts that had been read further know it already. `to`: there is nothing more
   * up to there.
   */
  read(from: number, changes: readonly Change[], to = changes.at(-1)?.sequence ?? from): void {
    for (const { document, sequence } of changes) {
      const part = partOf(document)
      const readTo = this.readTo.get(part)
      if (readTo !== undefined && sequence > readTo) this.changed(document, part, sequence)
    }
    for (const [part, readTo] of this.readTo) if (readTo < to) this.readTo.set(part, to)
  }

  private changed(document: DocumentId, part: number, sequence: number): void {
    const there = this.waiting.get(document)
    if (there !== undefined && there.firstSequence <= sequence) return
    this.waiting.set(document, { notBeforeMs: 0, failures: 0, ...there, part, firstSequence: sequence })
  }

  /** Is to be projected although it did not change. It holds back no cursor. */
  again(document: DocumentId): void {
    const part = partOf(document)
    if (!this.readTo.has(part) || this.waiting.has(document) || this.underWay.has(document)) return
    this.waiting.set(document, { part, firstSequence: Number.POSITIVE_INFINITY, notBeforeMs: 0, failures: 0 })
  }

  isUnderWay(document: DocumentId): boolean {
    return this.underWay.has(document)
  }

  /** Takes what is due, at most `countMax` documents, none that is under way, here or elsewhere. */
  take(
    countMax: number,
    nowMs: number,
    isElsewhere = (_document: DocumentId): boolean => false,
  ): DocumentId[] {
    const taken: DocumentId[] = []
    for (const [document, waiting] of this.waiting) {
      if (taken.length >= countMax) break
      if (waiting.notBeforeMs > nowMs || this.underWay.has(document) || isElsewhere(document)) continue
      this.waiting.delete(document)
      this.underWay.set(document, waiting)
      taken.push(document)
    }
    return taken
  }

  /** When the next document is due, of those that are not; null when nothing waits. */
  dueMs(): number | null {
    let dueMs: number | null = null
    for (const [document, { notBeforeMs }] of this.waiting)
      if (!this.underWay.has(document)) dueMs = Math.min(dueMs ?? notBeforeMs, notBeforeMs)
    return dueMs
  }

  /** Its rows are in the database, or its failure is. */
  done(document: DocumentId): void {
    this.underWay.delete(document)
  }

  /** It is tried again later, each time after a longer while. */
  failed(document: DocumentId, nowMs: number): void {
    const { underWay, waiting } = this
    const attempt = underWay.get(document)
    underWay.delete(document)
    if (attempt === undefined || !this.readTo.has(attempt.part)) return
    const failures = attempt.failures + 1
    const notBeforeMs = nowMs + Math.min(backoffMsMax, backoffMsMin * 2 ** (failures - 1))
    waiting.set(document, { ...attempt, failures, notBeforeMs })
  }

  /** Of each part that is held: every change of its documents up to here is projected. */
  cursors(): Map<number, number> {
    const cursors = new Map(this.readTo)
    for (const held of [this.waiting, this.underWay])
      for (const { part, firstSequence } of held.values()) {
        const cursor = cursors.get(part)
        if (cursor !== undefined && firstSequence - 1 < cursor) cursors.set(part, firstSequence - 1)
      }
    return cursors
  }
}

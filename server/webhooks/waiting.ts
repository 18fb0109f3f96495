/**
 * The documents with changes that are to be announced: a state machine for each, without I/O; the clock is an argument.
 *
 *   changed ──▶ settling ──quiet──▶ ready ──take──▶ posting ──delivered, dropped──▶ gone
 *                  ▲                  ▲                │ │
 *                  │                  └──── failing ◀──┘ └─ changed meanwhile ─┐
 *                  └───────────────────────────────────────────────────────────┘
 *
 * - Settling ends when the document has not changed for `debounceMs`, or five times that after the first change.
 * - A change of a document that is ready or failing replaces its announcement: a new one is made when it is taken
 *   next. How long a failing one pauses goes on, for it is the receiver that fails; its refusals begin anew.
 * - `cursor` is what may be stored: every change up to there is gone from here. A document's place is its latest
 *   known one: `Log.changes` would name it there again.
 *
 * How many wait is bounded by who reads the changes. Everything is one look-up, except `settle`, `cursor` and
 * `oldestMs`: a walk over all, a few times a second.
 */
import type { DocumentId } from '../../core/document-id.ts'
import type { Announcement } from './announcement.ts'

/** An announcement is made at the latest so many times the debounce after the change. */
const debouncesMax = 5

/** Of changes that are waited out together. */
interface Burst {
  readonly firstMs: number
  readonly lastMs: number
}

type Phase =
  | { readonly is: 'settling'; readonly burst: Burst }
  | { readonly is: 'ready' }
  | { readonly is: 'posting'; readonly later: Burst | null }
  | { readonly is: 'failing'; readonly untilMs: number }

interface Item {
  sequence: number
  /** When the first of its changes that are not delivered was read. */
  oldestMs: number
  phase: Phase
  /** In a row. */
  failures: number
  /** Of this announcement. */
  refusals: number
  /** Null when one has to be made. */
  announcement: Announcement | null
}

export class Waiting {
  private readonly debounceMs: number
  private readonly items = new Map<DocumentId, Item>()
  private readonly ready = new Set<DocumentId>()

  constructor(debounceMs: number) {
    this.debounceMs = debounceMs
  }

  get size(): number {
    return this.items.size
  }

  changed(document: DocumentId, sequence: number, nowMs: number): void {
    const item = this.items.get(document)
    if (item === undefined) {
      const phase: Phase = { is: 'settling', burst: { firstMs: nowMs, lastMs: nowMs } }
      const fresh = { failures: 0, refusals: 0, announcement: null }
      this.items.set(document, { sequence, oldestMs: nowMs, phase, ...fresh })
      return
    }
    item.sequence = sequence
    const { phase } = item
    switch (phase.is) {
      case 'settling':
        item.phase = { is: 'settling', burst: { ...phase.burst, lastMs: nowMs } }
        return
      case 'posting':
        item.phase = {
          is: 'posting',
          later: { firstMs: phase.later?.firstMs ?? nowMs, lastMs: nowMs },
        }
        return
      case 'ready':
      case 'failing':
        replace(item)
        return
    }
  }

  /** Those whose time has come are ready from now on. */
  settle(nowMs: number): void {
    for (const [document, item] of this.items) {
      const { phase } = item
      const due =
        phase.is === 'settling'
          ? Math.min(
              phase.burst.lastMs + this.debounceMs,
              phase.burst.firstMs + debouncesMax * this.debounceMs,
            )
          : phase.is === 'failing'
            ? phase.untilMs
            : Number.POSITIVE_INFINITY
      if (nowMs < due) continue
      item.phase = { is: 'ready' }
      this.ready.add(document)
    }
  }

  /** The next one that is ready: the caller posts it, and says what came of it. */
  take(): DocumentId | null {
    for (const document of this.ready) {
      this.ready.delete(document)
      this.item(document).phase = { is: 'posting', later: null }
      return document
    }
    return null
  }

  announcementOf(document: DocumentId): Announcement | null {
    return this.item(document).announcement
  }

  /** What is posted now, and again if that fails. */
  announce(document: DocumentId, announcement: Announcement): void {
    this.item(document).announcement = announcement
  }

  /** Delivered, dropped, or nothing to say after all. */
  done(document: DocumentId): void {
    const item = this.item(document)
    const later = item.phase.is === 'posting' ? item.phase.later : null
    if (later === null) {
      this.items.delete(document)
      return
    }
    item.phase = { is: 'settling', burst: later }
    item.oldestMs = later.firstMs
    item.failures = 0
    replace(item)
  }

  /** Counts a failure; how many there were in a row before, and how many refusals with this one. */
  failed(document: DocumentId, refused: boolean): { readonly failures: number; readonly refusals: number } {
    const item = this.item(document)
    return { failures: item.failures++, refusals: refused ? ++item.refusals : item.refusals }
  }

  retry(document: DocumentId, untilMs: number): void {
    const item = this.item(document)
    if (item.phase.is === 'posting' && item.phase.later !== null) replace(item)
    item.phase = { is: 'failing', untilMs }
  }

  /** Up to `readTo`, where the reader of changes is. */
  cursor(readTo: number): number {
    let cursor = readTo
    for (const { sequence } of this.items.values()) cursor = Math.min(cursor, sequence - 1)
    return cursor
  }

  /** Null when nothing waits. */
  oldestMs(): number | null {
    let oldestMs: number | null = null
    for (const item of this.items.values()) oldestMs = Math.min(oldestMs ?? item.oldestMs, item.oldestMs)
    return oldestMs
  }

  private item(document: DocumentId): Item {
    const item = this.items.get(document)
    if (item === undefined) throw new Error('This document does not wait')
    return item
  }
}

/** The announcement is out of date. */
function replace(item: Item): void {
  item.announcement = null
  item.refusals = 0
}

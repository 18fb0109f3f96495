/**
 * What one document still has to send: the outboxes of this tab's replica and of those it has adopted, and whether the
 * server takes edits at present.
 *
 * One replica at a time has the channel (a document is open once on a socket): adopted ones first, until they are empty, then
 * our own. `Pushing` decides; the handle opens the document anew when `active` is another one.
 */
import type { TidemarkError } from '../core/protocol/error-codes.ts'
import { unackedUpdatesMax } from '../core/protocol/tidemark-v1/messages.ts'
import { type Merge, type Merged, Outbox } from './outbox.ts'
import type { OutboxEntry } from './storage/storage.ts'

/** Entries never sent past which they are merged though nothing can be sent. */
const offlineMergeCount = 512
/** Of a push with one update, for what is not the update. */
export const overheadBytes = 64

/** Why nothing is pushed. */
export interface Hold {
  readonly error: TidemarkError
  /** Null: until something changes. */
  readonly retryMs: number | null
}

interface Waiter {
  readonly targets: readonly { readonly outbox: Outbox; readonly edits: number }[]
  readonly resolve: () => void
  readonly reject: (error: TidemarkError) => void
}

export class Pushing {
  readonly own: Outbox
  hold: Hold | null = null
  #adopted: { readonly outbox: Outbox; readonly release: () => void }[] = []
  #waiters: Waiter[] = []

  constructor(replica: string) {
    this.own = new Outbox(replica)
  }

  get pending(): number {
    return this.#adopted.reduce((sum, { outbox }) => sum + outbox.pending, this.own.pending)
  }

  get pendingBytes(): number {
    return this.#adopted.reduce((sum, { outbox }) => sum + outbox.bytes, this.own.bytes)
  }

  /** Whose turn it is. */
  get active(): Outbox {
    return this.#adopted[0]?.outbox ?? this.own
  }

  get all(): readonly OutboxEntry[] {
    return [...this.#adopted.flatMap(({ outbox }) => outbox.all), ...this.own.all]
  }

  /** For good, until the app or the server does something. */
  get refusal(): TidemarkError | null {
    return this.hold !== null && this.hold.retryMs === null ? this.hold.error : null
  }

  adopt(replica: string, entries: readonly OutboxEntry[], release: () => void): void {
    if (this.#adopted.some(({ outbox }) => outbox.replica === replica)) return
    this.#adopted.push({ outbox: new Outbox(replica, entries), release })
  }

  /** The next push of the active replica, or null. */
  next(messageBytesMax: number): { readonly sequence: number; readonly updates: Uint8Array[] } | null {
    const taken = this.active.take(unackedUpdatesMax, messageBytesMax - overheadBytes)
    if (taken.length === 0) return null
    return { sequence: taken[0]!.sequence, updates: taken.map(({ update }) => update) }
  }

  /** Before a push, or when much has been typed without one. */
  merge(offline: boolean, joined: Merge): Merged | null {
    return offline && this.own.unsentCount < offlineMergeCount ? null : this.own.merge(joined)
  }

  /** True when that was news. */
  ack(outbox: Outbox, sequence: number): boolean {
    if (!outbox.ack(sequence)) return false
    const done = this.#waiters.filter(isDone)
    this.#waiters = this.#waiters.filter((waiter) => !isDone(waiter))
    for (const { resolve } of done) resolve()
    return true
  }

  /** Another channel: what was not acknowledged goes again. */
  rewind(): void {
    this.own.rewind()
    for (const { outbox } of this.#adopted) outbox.rewind()
  }

  saved(): Promise<void> {
    if (this.pending === 0) return Promise.resolve()
    const { refusal } = this
    if (refusal !== null) return Promise.reject(refusal)
    const outboxes = [this.own, ...this.#adopted.map(({ outbox }) => outbox)]
    const targets = outboxes.map((outbox) => ({ outbox, edits: outbox.edited }))
    return new Promise((resolve, reject) => this.#waiters.push({ targets, resolve, reject }))
  }

  /** Whoever waits for edits to be saved waits in vain. */
  fail(error: TidemarkError): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const { reject } of waiters) reject(error)
  }

  close(): void {
    for (const { release } of this.#adopted) release()
    this.#adopted = []
  }

  /** Of adopted replicas that have nothing left. Not before storage was told of it: somebody else would adopt them again. */
  letGo(): void {
    for (const { outbox, release } of this.#adopted) if (outbox.pending === 0) release()
    this.#adopted = this.#adopted.filter(({ outbox }) => outbox.pending > 0)
  }
}

function isDone({ targets }: Waiter): boolean {
  return targets.every(({ outbox, edits }) => outbox.acked >= edits)
}

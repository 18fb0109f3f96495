/**
 * Writes one document to its storage: what is collected in a tick is one batch, one batch is written at a time, and
 * what comes meanwhile is the next. Edits are written at once; what others did, and our place in the log, within
 * `lazyMs`, since the server has it.
 *
 *   opening ──▶ disk ──a write failed──▶ failed ──after `retryMs`, or `retry()`: all of it is written anew──▶ disk
 *      └─────────┴──the database is gone, or not ours any more──▶ gone
 *
 * - The position goes into a batch with everything that it speaks of, or with nothing: the storage never knows of
 *   an offset whose updates it does not have.
 * - While it is failed nothing is collected: the document and the outboxes in memory are all there is to write.
 * - What was deleted under us (the user cleared the site's data) is not written again: it may have been meant.
 */
import type { Environment } from './environment.ts'
import type { Batch, DocumentStorage, OutboxEntry, Position } from './storage/storage.ts'

const lazyMs = 250
const retryMs = 30_000
/** Updates on disk past which they are replaced by one. */
const compactCountMin = 500

export interface KeeperOwner {
  /** Of everything applied so far. */
  position(): Position
  state(): Uint8Array
  /** Applies what other tabs stored; gives the state that has it. */
  merge(added: readonly Uint8Array[]): Uint8Array
  outbox(): readonly OutboxEntry[]
  /** These edits are on disk now, or never will be. */
  onKept(entries: readonly OutboxEntry[]): void
  onFailed(error: Error): void
  onRecovered(): void
}

type State = 'opening' | 'disk' | 'failed' | 'gone'

export class Keeper {
  state: State = 'opening'
  #storage: DocumentStorage | null = null
  readonly #environment: Environment
  readonly #owner: KeeperOwner
  #updates: Uint8Array[] = []
  #put: OutboxEntry[] = []
  #remove: Batch['remove'][number][] = []
  #moved = false
  #storedCount = 0
  #writing: Promise<void> | null = null
  #cancelTimer: (() => void) | null = null
  #urgent = false

  constructor(environment: Environment, owner: KeeperOwner) {
    this.#environment = environment
    this.#owner = owner
  }

  /** Everything that is collected by now is not in the storage yet. */
  opened(storage: DocumentStorage, storedCount: number): void {
    this.#storage = storage
    this.#storedCount = storedCount
    this.state = 'disk'
    if (this.#dirty) this.#schedule(true)
  }

  /** There is no storage, or it is gone. */
  lost(error: Error): void {
    if (this.state === 'gone') return
    this.state = 'gone'
    this.#give(this.#collect().put)
    this.#owner.onFailed(error)
  }

  /** A local edit, to the document and to the outbox. */
  edit(entry: OutboxEntry): void {
    if (!this.#collecting) return this.#give([entry])
    this.#updates.push(entry.update)
    this.#put.push(entry)
    this.#schedule(true)
  }

  /** Entries that replace others of the same replica. */
  replace(replica: string, from: number, to: number, put: readonly OutboxEntry[]): void {
    if (!this.#collecting) return
    // What is not written yet never will be as it was.
    this.#put = this.#put.filter(
      (entry) => entry.replica !== replica || entry.sequence < from || entry.sequence > to,
    )
    this.#remove.push({ replica, from, to })
    this.#put.push(...put)
    this.#schedule(put.length > 0)
  }

  /** Of somebody else; or the place in the log moved. */
  received(updates: readonly Uint8Array[]): void {
    if (!this.#collecting) return
    for (const update of updates) this.#updates.push(update)
    this.#moved = true
    this.#schedule(false)
  }

  /** Nothing that comes from here on is this storage's. */
  stop(): void {
    this.#cancelTimer?.()
    this.#collect()
    this.state = 'gone'
  }

  retry(): void {
    if (this.state === 'failed') void this.#rewrite()
  }

  /** Resolves when everything collected so far is written, or cannot be. */
  async flush(): Promise<void> {
    while (this.state === 'disk' && (this.#writing !== null || this.#dirty))
      await (this.#writing ?? this.#write())
  }

  async close(): Promise<void> {
    await this.flush()
    this.#cancelTimer?.()
    this.state = 'gone'
    await this.#storage?.close()
  }

  get #collecting(): boolean {
    return this.state === 'opening' || this.state === 'disk'
  }

  get #dirty(): boolean {
    return this.#moved || this.#updates.length > 0 || this.#put.length > 0 || this.#remove.length > 0
  }

  #schedule(urgent: boolean): void {
    if (
      this.state !== 'disk' ||
      this.#writing !== null ||
      (this.#cancelTimer !== null && this.#urgent >= urgent)
    )
      return
    this.#cancelTimer?.()
    this.#urgent = urgent
    this.#cancelTimer = this.#environment.after(urgent ? 0 : lazyMs, () => void this.flush())
  }

  #write(batch = this.#collect()): Promise<void> {
    this.#writing = this.#store(batch).finally(() => {
      this.#writing = null
      if (this.#dirty) this.#schedule(this.#put.length > 0)
    })
    return this.#writing
  }

  #collect(): Batch {
    this.#cancelTimer?.()
    this.#cancelTimer = null
    const updates = this.#updates
    const put = this.#put
    const remove = this.#remove
    const moved = this.#moved
    this.#updates = []
    this.#put = []
    this.#remove = []
    this.#moved = false
    return { updates, put, remove, position: moved ? this.#owner.position() : null }
  }

  async #store(batch: Batch): Promise<void> {
    try {
      await this.#storage?.write(batch)
      this.#storedCount += batch.updates.length
      this.#give(batch.put)
      if (this.#storedCount >= compactCountMin) {
        await this.#storage?.compact((added) => this.#owner.merge(added))
        this.#storedCount = 1
      }
    } catch (error) {
      this.#give(batch.put)
      this.#fail(error)
    }
  }

  #fail(error: unknown): void {
    if (this.state === 'gone') return
    this.state = 'failed'
    this.#give(this.#collect().put)
    this.#cancelTimer = this.#environment.after(retryMs, () => void this.#rewrite())
    this.#owner.onFailed(error instanceof Error ? error : new Error(String(error)))
  }

  async #rewrite(): Promise<void> {
    this.#cancelTimer?.()
    this.#cancelTimer = null
    if (this.state !== 'failed' || this.#writing !== null) return
    this.state = 'disk'
    const put = this.#owner.outbox()
    const firsts = new Map<string, number>()
    for (const { replica, sequence } of put) if (!firsts.has(replica)) firsts.set(replica, sequence)
    const remove = [...firsts].map(([replica, first]) => ({ replica, from: 0, to: first - 1 }))
    this.#storedCount = compactCountMin
    await this.#write({ updates: [this.#owner.state()], put, remove, position: this.#owner.position() })
    if ((this.state as State) === 'disk') this.#owner.onRecovered()
  }

  #give(entries: readonly OutboxEntry[]): void {
    if (entries.length > 0) this.#owner.onKept(entries)
  }
}

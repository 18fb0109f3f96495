/**
 * Tabs of one user with the same document: what one has stored it tells the others, who apply it and send it nowhere;
 * and who is left takes over the outbox of one that has gone.
 *
 * - Each replica holds a lock (Web Locks) for as long as its tab lives. The others wait for that lock; the browser
 *   gives it to exactly one of them when the tab is gone, however it went. That one sends the rest under the same name
 *   with the same sequences, so that even two who did would do no harm.
 * - An adopted replica is only ever emptied. Nobody numbers new edits under a name that somebody else may use.
 * - Where there are no locks (pages without TLS, Node), what is found in storage when the document is opened is adopted.
 */
import type { Channel, Environment } from './environment.ts'

/** Replicas of other tabs that are waited for; more tabs than this are served by those that found them. */
const watchedMax = 64

/** What a tab has on disk now, of the document as it is there since it was set aside for the `lineage`th time. */
export interface Told {
  readonly kind: 'updates'
  readonly replica: string
  readonly lineage: number
  readonly updates: readonly Uint8Array[]
}
type Message = Told | { readonly kind: 'hello'; readonly replica: string; readonly answer: boolean }

export interface TabsListener {
  onUpdates(told: Told): void
  /** Its tab is gone, and its lock is ours until `release`. */
  onOrphan(replica: string, release: () => void): void
}

export class Tabs {
  readonly #name: string
  readonly #replica: string
  readonly #environment: Environment
  readonly #listener: TabsListener
  #channel: Channel | null = null
  readonly #watched = new Set<string>()
  readonly #held = new Set<() => void>()
  readonly #closing = new AbortController()

  constructor(name: string, replica: string, environment: Environment, listener: TabsListener) {
    this.#name = name
    this.#replica = replica
    this.#environment = environment
    this.#listener = listener
  }

  /** Resolves when the lock of our own replica is held: nothing of it may be stored before. */
  async start(): Promise<void> {
    await this.#hold(this.#replica, {})
    if (this.#closing.signal.aborted) return
    this.#channel = this.#environment.channel(this.#name)
    if (this.#channel === null) return
    this.#channel.onmessage = ({ data }) => this.#hear(data as Message)
    this.#post({ kind: 'hello', replica: this.#replica, answer: true })
  }

  tell(updates: readonly Uint8Array[], lineage: number): void {
    this.#post({ kind: 'updates', replica: this.#replica, updates, lineage })
  }

  /** Gives a function that lets go of it again, or null when its tab lives; then it is waited for. */
  async adopt(replica: string): Promise<(() => void) | null> {
    if (this.#environment.locks === null) return () => undefined
    const release = await this.#hold(replica, { ifAvailable: true })
    if (release === null) this.#watch(replica)
    return release
  }

  close(): void {
    this.#closing.abort()
    for (const release of this.#held) release()
    this.#channel?.close()
    this.#channel = null
  }

  #hear(message: Message): void {
    if (message.kind === 'updates') return this.#listener.onUpdates(message)
    if (message.answer) this.#post({ kind: 'hello', replica: this.#replica, answer: false })
    this.#watch(message.replica)
  }

  #post(message: Message): void {
    this.#channel?.postMessage(message)
  }

  #watch(replica: string): void {
    if (this.#watched.has(replica) || this.#watched.size >= watchedMax) return
    this.#watched.add(replica)
    this.#hold(replica, { signal: this.#closing.signal })
      .then((release) => {
        this.#watched.delete(replica)
        if (release === null) return
        if (this.#closing.signal.aborted) release()
        else this.#listener.onOrphan(replica, release)
      })
      // Aborted: this tab closes.
      .catch(() => undefined)
  }

  /** Holds a replica's lock until the function that it gives is called, or this tab closes. */
  #hold(replica: string, options: LockOptions): Promise<(() => void) | null> {
    const { locks } = this.#environment
    if (locks === null) return Promise.resolve(() => undefined)
    return new Promise((resolve, reject) => {
      locks
        .request(`${this.#name}/${replica}`, options, (lock) => {
          if (lock === null) return resolve(null)
          if (this.#closing.signal.aborted) return resolve(() => undefined)
          return new Promise<void>((done) => {
            const release = (): void => {
              this.#held.delete(release)
              done()
            }
            this.#held.add(release)
            resolve(release)
          })
        })
        .catch(reject)
    })
  }
}

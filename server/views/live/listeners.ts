/**
 * The relay's end of live queries: who listens, by number, and what each of them has. Queries are run, compared and written
 * down in the thread of the views; here bytes are handed on.
 *
 *   open ─▶ (thread) ─▶ event ─▶ taken ─▶ ready ─▶ (thread) ─▶ next event …
 *
 * When the thread dies, everybody is opened again in the next one, with the name of what they have: so nobody who listens
 * hears of it, and nobody misses a change.
 */
import { type ErrorCode, TidemarkError } from '../../../core/protocol/errors.ts'
import type { LiveFromRelay, LiveFromViews, LiveQuery } from './messages.ts'

export interface LiveSink {
  /** False: that is all it takes for now; it says `ready` later. */
  event(bytes: Uint8Array): boolean
  /** What it has is what there is. */
  current(): void
  /** The last it hears. */
  end(code: ErrorCode, message: string): void
}

export interface LiveListener<Rights> {
  ready(): void
  /** Its rights may have changed; it goes on with what they show now. */
  become(rights: Rights): void
  leave(): void
}

export interface LivePort<Rights> {
  postMessage(message: LiveFromRelay<Rights>): void
}

interface Entry<Rights> {
  query: LiveQuery<Rights>
  has: string | null
  begun: boolean
  readonly sink: LiveSink
}

export class LiveListeners<Rights> {
  private readonly entries = new Map<number, Entry<Rights>>()
  private readonly onRuns: (count: number) => void
  private port: LivePort<Rights> | null = null
  private count = 0

  /** `onRuns`: queries were run so many times since it was told last. */
  constructor(onRuns: (count: number) => void = () => undefined) {
    this.onRuns = onRuns
  }

  get size(): number {
    return this.entries.size
  }

  /** A thread that runs queries; null: there is none now. */
  attach(port: LivePort<Rights> | null): void {
    this.port = port
    if (port === null) return
    for (const [listener, { query, has, begun }] of this.entries)
      port.postMessage({ kind: 'live-open', listener, query, has, begun })
  }

  /** `has`: the name of the last event that it has. Throws `views_unavailable`. */
  open(query: LiveQuery<Rights>, has: string | null, sink: LiveSink): LiveListener<Rights> {
    if (this.port === null) throw new TidemarkError('views_unavailable', 'There are no views here now')
    const listener = this.count++
    const entry: Entry<Rights> = { query, has, sink, begun: false }
    this.entries.set(listener, entry)
    this.port.postMessage({ kind: 'live-open', listener, query, has, begun: false })
    return {
      ready: () => this.port?.postMessage({ kind: 'live-ready', listeners: [listener] }),
      become: (rights) => {
        if (!this.entries.has(listener)) return
        entry.query = { ...entry.query, rights }
        const { query, has, begun } = entry
        this.port?.postMessage({ kind: 'live-open', listener, query, has, begun })
      },
      leave: () => {
        if (this.entries.delete(listener)) this.port?.postMessage({ kind: 'live-leave', listener })
      },
    }
  }

  heard(message: LiveFromViews): void {
    switch (message.kind) {
      case 'live-send':
        return this.send(message.listeners, message.id, message.event)
      case 'live-current':
        return this.current(message.listener)
      case 'live-end':
        return this.end(message.listeners, message.code, message.message)
      case 'live-runs':
        return this.onRuns(message.count)
    }
  }

  /** Nobody hears anything any more but this. */
  close(code: ErrorCode, message: string): void {
    this.port = null
    this.end([...this.entries.keys()], code, message)
  }

  private current(listener: number): void {
    const entry = this.entries.get(listener)
    if (entry === undefined) return
    entry.begun = true
    entry.sink.current()
  }

  private send(listeners: readonly number[], id: string, event: Uint8Array): void {
    const ready: number[] = []
    for (const listener of listeners) {
      const entry = this.entries.get(listener)
      if (entry === undefined) continue
      entry.has = id
      entry.begun = true
      if (entry.sink.event(event)) ready.push(listener)
    }
    if (ready.length > 0) this.port?.postMessage({ kind: 'live-ready', listeners: ready })
  }

  private end(listeners: readonly number[], code: ErrorCode, message: string): void {
    for (const listener of listeners) {
      const entry = this.entries.get(listener)
      this.entries.delete(listener)
      entry?.sink.end(code, message)
    }
  }
}

/// <reference lib="dom" />
/**
 * What the client takes from where it runs: clock, randomness, timers, network, and what tabs share. Tests give
 * their own; browsers and Node differ only here.
 */
import { hexOf } from './scope.ts'
import type { WebSocketLike } from './types.ts'

export type WebSocketClass = new (url: string, protocols: string[]) => WebSocketLike
export type PageEvent = 'online' | 'offline' | 'hidden'

export interface Channel {
  onmessage: ((event: MessageEvent) => void) | null
  postMessage(message: unknown): void
  close(): void
}

export interface Environment {
  /** Milliseconds since 1970. Schedules retries and dates events; decides nothing about content. */
  now(): number
  /** At least 0, below 1. */
  random(): number
  /** Nobody can guess it: knowing a replica's name is enough to push in its place. */
  newName(): string
  /** Gives a function that cancels. */
  after(delayMs: number, then: () => void): () => void
  webSocket(): Promise<WebSocketClass>
  readonly indexedDB: IDBFactory | null
  readonly locks: Pick<LockManager, 'request'> | null
  /** Null where tabs cannot talk to each other. */
  channel(name: string): Channel | null
  /** False: the browser is sure that there is no network. */
  online(): boolean
  /** Gives a function that stops listening. */
  listen(listener: (event: PageEvent) => void): () => void
}

/** Calls at one time, or never; told another, not at the one before. */
export class Alarm {
  readonly #environment: Environment
  readonly #then: () => void
  #atMs: number | null = null
  #cancel: (() => void) | null = null

  constructor(environment: Environment, then: () => void) {
    this.#environment = environment
    this.#then = then
  }

  at(atMs: number | null): void {
    if (atMs === this.#atMs) return
    this.#atMs = atMs
    this.#cancel?.()
    const { after, now } = this.#environment
    this.#cancel =
      atMs === null
        ? null
        : after(atMs - now(), () => {
            this.#atMs = null
            this.#then()
          })
  }
}

export function browserOrNode(webSocket: WebSocketClass | undefined): Environment {
  return {
    now: () => Date.now(),
    random: () => Math.random(),
    // Later ones sort behind: what pages that are gone had left is sent in the order of their names.
    newName: () => Date.now().toString(36) + hexOf(crypto.getRandomValues(new Uint8Array(16))),
    after: (delayMs, then) => {
      const timer = setTimeout(then, delayMs)
      return () => clearTimeout(timer)
    },
    webSocket: async () =>
      webSocket ?? globalThis.WebSocket ?? (await (await import('./node-socket.ts')).nodeSocket()),
    indexedDB: globalThis.indexedDB ?? null,
    locks: globalThis.navigator?.locks ?? null,
    channel: (name) => (globalThis.BroadcastChannel === undefined ? null : new BroadcastChannel(name)),
    online: () => globalThis.navigator?.onLine !== false,
    listen,
  }
}

function listen(listener: (event: PageEvent) => void): () => void {
  if (typeof globalThis.addEventListener !== 'function') return () => undefined
  const listening = new AbortController()
  const { signal } = listening
  for (const event of ['online', 'offline'] as const)
    addEventListener(event, () => listener(event), { signal })
  // Whatever is not on disk by then may never be.
  addEventListener('pagehide', () => listener('hidden'), { signal })
  globalThis.document?.addEventListener('visibilitychange', () => listener('hidden'), { signal })
  return () => listening.abort()
}

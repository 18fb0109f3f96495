/**
 * A browser as the client sees it: IndexedDB, locks and channels that its tabs share, and a network that can be cut. Node
 * has no Web Locks before 24; these are as the specification has them, as far as the client uses them.
 */
import { setMaxListeners } from 'node:events'
import { IDBFactory, IDBKeyRange } from 'fake-indexeddb'
import { WebSocket } from 'ws'
import { createClientIn } from '../../client/create-client.ts'
import { browserOrNode, type Channel, type Environment, type PageEvent } from '../../client/environment.ts'
import { createIndexedDbStorage } from '../../client/storage/indexeddb.ts'
import type { Client, ClientOptions, WebSocketLike } from '../../client/types.ts'

// A global, as browsers have it; everything else is given to the client.
globalThis.IDBKeyRange = IDBKeyRange

export class Browser {
  indexedDB = new IDBFactory()
  readonly locks = new Locks()
  private readonly channels = new Set<TabChannel>()
  private readonly tabs: Tab[] = []

  /** A page. Its client keeps documents in this browser's IndexedDB unless told otherwise. */
  open(options: Partial<ClientOptions> & Pick<ClientOptions, 'url'>): Tab {
    const tab = new Tab(this, options)
    this.tabs.push(tab)
    return tab
  }

  async close(): Promise<void> {
    await Promise.all(this.tabs.map((tab) => tab.client.close()))
  }

  channel(name: string): TabChannel {
    const channel = new TabChannel(name, this.channels)
    this.channels.add(channel)
    return channel
  }
}

export class Tab {
  readonly client: Client
  private readonly listeners = new Set<(event: PageEvent) => void>()
  private readonly sockets = new Set<WebSocketLike & { terminate(): void }>()
  private readonly channels: TabChannel[] = []
  private readonly held = new Set<() => void>()
  private readonly timers = new Set<() => void>()

  constructor(browser: Browser, options: Partial<ClientOptions> & Pick<ClientOptions, 'url'>) {
    const { sockets, listeners, channels, held, timers } = this
    const environment: Environment = {
      ...browserOrNode(undefined),
      indexedDB: browser.indexedDB,
      after: (delayMs, then) => {
        const timer = setTimeout(() => {
          timers.delete(cancel)
          then()
        }, delayMs)
        const cancel = (): void => {
          clearTimeout(timer)
          timers.delete(cancel)
        }
        timers.add(cancel)
        return cancel
      },
      webSocket: async () =>
        options.webSocket ??
        class extends WebSocket {
          constructor(url: string, protocols: string[]) {
            super(url, protocols)
            sockets.add(this)
          }
        },
      locks: browser.locks.of(held),
      channel: (name) => {
        const channel = browser.channel(name)
        channels.push(channel)
        return channel
      },
      listen: (listener) => {
        listeners.add(listener)
        return () => listeners.delete(listener)
      },
    }
    const storage = options.storage ?? createIndexedDbStorage(browser.indexedDB)
    this.client = createClientIn(environment, { user: '', ...options, storage })
  }

  /** Of the page: `online`, `offline`, `hidden`. */
  say(event: PageEvent): void {
    for (const listener of this.listeners) listener(event)
  }

  cut(): void {
    for (const socket of this.sockets) socket.terminate()
  }

  /** The page is gone at once, as when its process is killed: nothing more is written, said or sent. */
  kill(): void {
    for (const cancel of [...this.timers]) cancel()
    for (const socket of this.sockets) {
      socket.onopen = socket.onmessage = socket.onclose = null
      socket.terminate()
    }
    for (const channel of this.channels) channel.kill()
    for (const release of [...this.held]) release()
  }
}

/** Delivers in a later task, copied, to everybody else. */
class TabChannel implements Channel {
  onmessage: ((event: MessageEvent) => void) | null = null
  private readonly name: string
  private readonly all: Set<TabChannel>

  constructor(name: string, all: Set<TabChannel>) {
    this.name = name
    this.all = all
  }

  postMessage(message: unknown): void {
    if (!this.all.has(this)) throw new Error('the channel is closed')
    const others = [...this.all].filter((other) => other !== this && other.name === this.name)
    const data: unknown = structuredClone(message)
    for (const other of others)
      setImmediate(() => {
        if (this.all.has(other)) other.onmessage?.({ data } as MessageEvent)
      })
  }

  close(): void {
    this.all.delete(this)
  }

  /** Its page is gone, and says nothing any more. */
  kill(): void {
    this.close()
    this.postMessage = () => undefined
  }
}

type Work = (lock: Lock | null) => unknown

class Locks {
  private readonly queues = new Map<string, (() => void)[]>()

  /** As one page has them: `held` gets what lets go of its locks when the page is gone. */
  of(held: Set<() => void>): Pick<LockManager, 'request'> {
    const request = (name: string, options: LockOptions, work: Work) =>
      this.request(name, options, work, held)
    return { request } as Pick<LockManager, 'request'>
  }

  private request(name: string, options: LockOptions, work: Work, held: Set<() => void>): Promise<unknown> {
    const queue = this.queues.get(name) ?? []
    this.queues.set(name, queue)
    if (options.ifAvailable === true && queue.length > 0) return Promise.resolve(work(null))
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        const first = queue[0] === grant
        held.delete(leave)
        options.signal?.removeEventListener('abort', abort)
        if (!queue.includes(grant)) return
        queue.splice(queue.indexOf(grant), 1)
        if (first) queue[0]?.()
      }
      const grant = (): void => {
        Promise.resolve(work({ name, mode: 'exclusive' }))
          .then(resolve, reject)
          .finally(leave)
      }
      held.add(leave)
      queue.push(grant)
      const abort = (): void => {
        if (queue[0] === grant) return
        leave()
        reject(new DOMException('aborted', 'AbortError'))
      }
      if (options.signal !== undefined) setMaxListeners(0, options.signal)
      options.signal?.addEventListener('abort', abort)
      if (queue[0] === grant) queueMicrotask(grant)
    })
  }
}

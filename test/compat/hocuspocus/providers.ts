/**
 * The published providers of three major versions, unchanged, behind the little that tests need of all of them. Sockets are
 * always made apart, since 2.x takes a WebSocket for Node only there.
 */
import * as V4 from '@hocuspocus/provider'
import * as V2 from 'hocuspocus-provider-2'
import * as V3 from 'hocuspocus-provider-3'
import WebSocket from 'ws'
import type { Awareness } from 'y-protocols/awareness'
import * as Y from 'yjs'

export const versions = ['2.15', '3.4', '4.8'] as const
export type Version = (typeof versions)[number]

/** What the three have in common, of what is used here. */
interface Provider {
  readonly synced: boolean
  readonly unsyncedChanges: number
  readonly hasUnsyncedChanges: boolean
  readonly isAuthenticated: boolean
  readonly authorizedScope: string | undefined
  readonly awareness: Awareness
  on(event: string, listener: (data: never) => void): void
  attach?(): void
  sendStateless(payload: string): void
  forceSync(): void
  destroy(): void
}
interface ProviderSocket {
  readonly status: string
  readonly webSocket: WebSocket | null
  on(event: string, listener: (data: never) => void): void
  connect(): Promise<unknown>
  disconnect(): void
  destroy(): void
}

interface Kind {
  readonly HocuspocusProvider: new (options: Record<string, unknown>) => Provider
  readonly HocuspocusProviderWebsocket: new (options: Record<string, unknown>) => ProviderSocket
}

const kinds: Record<Version, Kind> = {
  '2.15': V2 as unknown as Kind,
  '3.4': V3 as unknown as Kind,
  '4.8': V4 as unknown as Kind,
}

export type Token = string | (() => string) | (() => Promise<string>) | null

export interface OpenOptions {
  readonly doc?: Y.Doc
  readonly token?: Token
  /** Of 4.x: the session has a name of its own. */
  readonly sessionAwareness?: boolean
  /** Of 4.x: edits are collected for so long and sent as one. */
  readonly flushDelayMs?: number
}

/** Providers that try anew listen to their last socket no more, and it may still have an error to tell. */
class QuietSocket extends WebSocket {
  constructor(...given: ConstructorParameters<typeof WebSocket>) {
    super(...given)
    this.on('error', () => undefined)
  }
}

/** One connection, on which documents are opened. */
export class HocuspocusSocket {
  readonly provider: ProviderSocket
  readonly version: Version
  readonly closes: string[] = []
  private readonly documents: HocuspocusClient[] = []

  constructor(version: Version, relay: string, query = '') {
    this.version = version
    this.provider = new kinds[version].HocuspocusProviderWebsocket({
      url: `${relay}/hocuspocus${query}`,
      WebSocketPolyfill: QuietSocket,
      delay: 50,
      minDelay: 50,
      maxDelay: 200,
    })
    this.provider.on('close', ({ event }: { event: { code: number; reason: string } }) =>
      this.closes.push(`${event.code} ${event.reason}`),
    )
  }

  open(name: string, options: OpenOptions = {}): HocuspocusClient {
    const client = new HocuspocusClient(kinds[this.version], this, name, options)
    this.documents.push(client)
    return client
  }

  get connected(): boolean {
    return this.provider.status === 'connected'
  }

  /** Documents first, as apps do. */
  close(): void {
    for (const document of this.documents.splice(0)) document.destroy()
    this.provider.destroy()
  }
}

export class HocuspocusClient {
  readonly doc: Y.Doc
  readonly text: Y.Text
  readonly provider: Provider
  readonly socket: HocuspocusSocket
  readonly name: string
  /** Reasons. */
  readonly denials: string[] = []
  readonly closes: string[] = []
  readonly stateless: string[] = []
  private destroyed = false

  constructor(kind: Kind, socket: HocuspocusSocket, name: string, options: OpenOptions) {
    this.doc = options.doc ?? new Y.Doc()
    this.text = this.doc.getText('t')
    this.socket = socket
    this.name = name
    this.provider = new kind.HocuspocusProvider({
      name,
      document: this.doc,
      websocketProvider: socket.provider,
      token: options.token ?? null,
      sessionAwareness: options.sessionAwareness ?? false,
      flushDelay: options.flushDelayMs ?? false,
      quiet: true,
      broadcast: false,
      onAuthenticationFailed: ({ reason }: { reason: string }) => this.denials.push(reason),
      onClose: ({ event }: { event: { reason: string } }) => this.closes.push(event.reason),
      onStateless: ({ payload }: { payload: string }) => this.stateless.push(payload),
    })
    // From 3.x on, whoever brings a socket attaches to it.
    this.provider.attach?.()
  }

  get content(): string {
    return this.text.toString()
  }

  /** Everything is durable: it was told of each edit, and 2.x would count on below 0. */
  get saved(): boolean {
    return this.provider.synced && this.provider.unsyncedChanges === 0
  }

  write(text: string): void {
    this.text.insert(this.text.length, text)
  }

  destroy(): void {
    if (!this.destroyed) this.provider.destroy()
    this.destroyed = true
  }
}

/**
 * `WebsocketProvider` of y-websocket. It is told of nothing, so what it made counts as promised when somebody else has seen it.
 *
 * Its protocol bears disorder: updates may come twice and in any order. So its socket shuffles them now and then.
 */
import * as encoding from 'lib0/encoding'
import WebSocket from 'ws'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'
import type { Operation } from '../operation.ts'
import type { Random } from '../random.ts'
import { actorOf } from './field-work.ts'
import { QuietSocket } from './quiet-socket.ts'
import type { ClientKind, Edit, Replica, Setting } from './replica.ts'
import { YjsDocument } from './yjs-document.ts'

const tokenMs = 1_000
const holdMs = 30
const messageSync = 0
const messageUpdate = 2

export const yWebsocket: ClientKind = {
  name: 'y-websocket',
  async open(setting) {
    const replica = new YWebsocketReplica(setting)
    await replica.start()
    return replica
  },
}

class YWebsocketReplica implements Replica {
  readonly edits: Edit[] = []
  private readonly setting: Setting
  private provider!: WebsocketProvider
  document!: YjsDocument
  private life = 0
  private paused = false
  private refreshing: NodeJS.Timeout | null = null

  constructor(setting: Setting) {
    this.setting = setting
  }

  async start(): Promise<void> {
    const { name, line, document, random, clockSkewMs, token, shuffle } = this.setting
    const doc = new Y.Doc()
    doc.clientID = 1 + random.below(2 ** 31)
    const handle = { doc, loaded: true, on: () => () => undefined }
    const actor = actorOf(name, ++this.life)
    this.document = new YjsDocument(handle, { name, edits: this.edits, actor, clockSkewMs })
    const first = await token()
    this.provider = new WebsocketProvider(line.url, document, doc, {
      WebSocketPolyfill: (shuffle
        ? shuffling(random)
        : QuietSocket) as unknown as typeof globalThis.WebSocket,
      disableBc: true,
      maxBackoffTime: 200,
      params: first === '' ? {} : { token: first },
    })
    if (first !== '') this.refresh()
    this.document.introduce()
  }

  private refresh(): void {
    this.refreshing = setInterval(() => {
      void this.setting.token().then((next) => {
        if (this.refreshing === null) return
        this.provider.params = { token: next }
        // It gives up after a refusal, and apps connect it anew.
        if (!this.paused && !this.provider.shouldConnect) this.provider.connect()
      })
    }, tokenMs)
  }

  edit(operation: Operation): Edit | null {
    return this.document.edit(operation)
  }
  get settled(): boolean {
    return this.connected
  }
  get connected(): boolean {
    return this.provider.synced && this.provider.ws?.readyState === WebSocket.OPEN
  }

  repeat(choice: number): boolean {
    const edit = this.edits[choice % this.edits.length]
    if (!this.connected || edit === undefined) return false
    const encoder = encoding.createEncoder()
    encoding.writeVarUint(encoder, messageSync)
    encoding.writeVarUint(encoder, messageUpdate)
    encoding.writeVarUint8Array(encoder, edit.update)
    this.provider.ws!.send(encoding.toUint8Array(encoder))
    return true
  }

  offline(): void {
    this.paused = true
    this.provider.disconnect()
  }
  online(): void {
    this.paused = false
    if (!this.provider.shouldConnect) this.provider.connect()
  }

  /** Nothing was stored. */
  async reload(): Promise<void> {
    this.stop()
    await this.start()
  }

  async close(): Promise<void> {
    this.stop()
  }

  private stop(): void {
    if (this.refreshing !== null) clearInterval(this.refreshing)
    this.refreshing = null
    this.document.close()
    this.provider.destroy()
    this.document.doc.destroy()
  }
}

/** A socket that sends an update twice, or after the next one. */
function shuffling(random: Random): typeof QuietSocket {
  return class extends QuietSocket {
    private held: Uint8Array | null = null

    override send(data: Parameters<WebSocket['send']>[0]): void {
      const isUpdate = data instanceof Uint8Array && data[0] === messageSync && data[1] === messageUpdate
      if (isUpdate && this.held === null && random.chance(0.1)) {
        this.held = data
        setTimeout(() => this.letGo(), holdMs)
        return
      }
      super.send(data)
      if (isUpdate && random.chance(0.1)) super.send(data)
      this.letGo()
    }

    private letGo(): void {
      const { held } = this
      this.held = null
      if (held !== null && this.readyState === WebSocket.OPEN) super.send(held)
    }
  }
}

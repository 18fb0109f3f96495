/** `HocuspocusProvider` of @hocuspocus/provider. It counts what is unsaved, and is told of each edit that is durable. */
import { HocuspocusProvider, HocuspocusProviderWebsocket } from '@hocuspocus/provider'

import * as Y from 'yjs'
import type { Operation } from '../operation.ts'
import { actorOf } from './field-work.ts'
import { QuietSocket } from './quiet-socket.ts'
import type { ClientKind, Edit, Replica, Setting } from './replica.ts'
import { YjsDocument } from './yjs-document.ts'

const anewMs = 200
/**
 * A denial that a history brings about: a token ends while it is on its way. Whoever is denied for anything else was refused what
 * it had a right to, and coming back would hide that. (Clocks are within what the door of facts believes.)
 */
const expected = /^token_expired:/

export const hocuspocus: ClientKind = {
  name: 'hocuspocus',
  async open(setting) {
    const replica = new HocuspocusReplica(setting)
    replica.start()
    return replica
  },
}

class HocuspocusReplica implements Replica {
  readonly edits: Edit[] = []
  private readonly setting: Setting
  private socket!: HocuspocusProviderWebsocket
  private provider!: HocuspocusProvider
  document!: YjsDocument
  private life = 0
  private told = 0
  private paused = false

  constructor(setting: Setting) {
    this.setting = setting
  }

  start(): void {
    const { name, line, document, random, clockSkewMs, token } = this.setting
    const life = ++this.life
    const doc = new Y.Doc()
    doc.clientID = 1 + random.below(2 ** 31)
    const handle = { doc, loaded: true, on: () => () => undefined }
    this.document = new YjsDocument(handle, {
      name,
      edits: this.edits,
      actor: actorOf(name, life),
      clockSkewMs,
    })
    // What an earlier page did not hear of, nobody is told.
    this.told = this.edits.length
    this.socket = new HocuspocusProviderWebsocket({
      url: `${line.url}/hocuspocus`,
      WebSocketPolyfill: QuietSocket,
      delay: 50,
      minDelay: 50,
      maxDelay: 200,
    })
    this.socket.on('disconnect', () => this.life === life && !this.paused && this.online())
    this.provider = new HocuspocusProvider({
      name: document,
      document: doc,
      websocketProvider: this.socket,
      token,
      onUnsyncedChanges: () => this.life === life && this.tellSaved(),
      onAuthenticationFailed: ({ reason }) => {
        this.setting.say(`is denied: ${reason}`)
        if (!expected.test(reason)) this.setting.onWrong(`is denied: ${reason}`)
        // It stays away for good then; an app connects anew, which says everything from the beginning.
        setTimeout(() => this.life === life && !this.paused && this.socket.disconnect(), anewMs)
      },
    })
    this.provider.attach()
    this.document.introduce()
  }

  private tellSaved(): void {
    if (!this.settled) return
    for (const { name } of this.edits.slice(this.told)) this.setting.onSaved(name)
    this.told = this.edits.length
  }

  edit(operation: Operation): Edit | null {
    return this.document.edit(operation)
  }
  get settled(): boolean {
    return this.connected && this.provider.unsyncedChanges === 0
  }
  get connected(): boolean {
    return this.provider.synced && this.socket.status === 'connected'
  }
  repeat(): boolean {
    return false
  }

  offline(): void {
    this.paused = true
    this.socket.disconnect()
  }
  /** While its last connection is still closing, `connect` does nothing, and nobody connects afterwards. */
  online(): void {
    this.paused = false
    if (this.socket.shouldConnect || this.socket.status !== 'disconnected') return
    // Rejects when it is taken offline again before it is connected; until then it tries by itself.
    this.socket.connect().catch(() => undefined)
  }

  /** Nothing was stored. */
  async reload(): Promise<void> {
    this.stop()
    this.start()
  }

  async close(): Promise<void> {
    this.stop()
  }

  private stop(): void {
    this.life++
    this.document.close()
    this.provider.destroy()
    this.socket.destroy()
    this.document.doc.destroy()
  }
}

/** The client of this project, with storage that survives its page. */
import { createClientIn } from '../../../client/create-client.ts'
import { browserOrNode, type Environment, type WebSocketClass } from '../../../client/environment.ts'
import { createMemoryStorage } from '../../../client/storage/memory.ts'
import type { Client, Handle } from '../../../client/types.ts'
import type { Operation } from '../operation.ts'
import { QuietSocket } from './quiet-socket.ts'
import type { ClientKind, Edit, Replica, Setting } from './replica.ts'
import { actorOf, YjsDocument } from './yjs-document.ts'

export const tidemark: ClientKind = {
  name: 'tidemark',
  async open(setting) {
    const replica = new TidemarkReplica(setting)
    await replica.start()
    return replica
  },
}

class TidemarkReplica implements Replica {
  readonly engine = 'yjs'
  readonly edits: Edit[] = []
  private readonly setting: Setting
  private readonly storage = createMemoryStorage()
  private client!: Client
  private handle!: Handle
  document!: YjsDocument
  private life = 0
  private readonly saved = new Set<string>()

  constructor(setting: Setting) {
    this.setting = setting
  }

  async start(): Promise<void> {
    const life = ++this.life
    const { name, document, line, clockSkewMs, random, token } = this.setting
    const isAlive = (): boolean => this.life === life
    const real = browserOrNode(QuietSocket as unknown as WebSocketClass)
    const environment: Environment = {
      ...real,
      now: () => Date.now() + clockSkewMs,
      random: () => random.next(),
      after: (delayMs, then) => real.after(delayMs, () => void (isAlive() && then())),
      // A page that is gone connects no more.
      webSocket: () => (isAlive() ? real.webSocket() : new Promise(() => undefined)),
    }
    this.client = createClientIn(environment, { url: line.url, token, user: name, storage: this.storage })
    this.handle = this.client.open(document)
    this.handle.doc.clientID = 1 + random.below(2 ** 31)
    this.handle.on('error', (error) => this.setting.say(`is told ${error.code}: ${error.message}`))
    await this.handle.whenLoaded
    const actor = actorOf(name, life)
    this.document = new YjsDocument(this.handle, { name, edits: this.edits, actor, clockSkewMs })
    this.sent(this.document.introduce())
  }

  edit(operation: Operation): Edit | null {
    const edit = this.document.edit(operation)
    if (edit !== null) this.sent(edit)
    return edit
  }

  /** Of what was saved, everything before it was too, unless it died with a page. */
  private sent({ name }: Edit): void {
    const { life } = this
    this.handle.saved().then(
      () => {
        if (this.saved.has(name) || this.life !== life) return
        this.saved.add(name)
        this.setting.onSaved(name)
      },
      (error: unknown) => {
        if (this.life === life) this.setting.say(`${name} is refused: ${String(error)}`)
      },
    )
  }

  get settled(): boolean {
    return this.handle.status === 'live' && this.handle.pending === 0
  }
  get connected(): boolean {
    return this.handle.status === 'live'
  }
  repeat(): boolean {
    return false
  }
  offline(): void {
    this.client.pause()
  }
  online(): void {
    if (this.client.paused) this.client.resume()
    else if (!this.connected) this.client.retry()
  }

  async reload(): Promise<void> {
    this.life++
    this.document.close()
    this.setting.line.cut('cut')
    await this.start()
  }

  async close(): Promise<void> {
    this.life++
    this.document.close()
    await this.client.close()
  }
}

/** The client of this project, with storage that survives its page. */
import { createClientIn } from '../../../client/create-client.ts'
import { browserOrNode, type Environment, type WebSocketClass } from '../../../client/environment.ts'
import { createMemoryStorage } from '../../../client/storage/memory.ts'
import type { Client, Handle } from '../../../client/types.ts'
import type { Operation } from '../operation.ts'
import { AutomergeDocument, beginning, type Page } from './automerge-document.ts'
import type { EngineName } from './engine.ts'
import { actorOf } from './field-work.ts'
import { QuietSocket } from './quiet-socket.ts'
import type { ClientKind, Edit, Replica, Setting } from './replica.ts'
import { YjsDocument } from './yjs-document.ts'

export const tidemarkYjs = kindOf('yjs')
export const tidemarkAutomerge = kindOf('automerge')

function kindOf(engine: EngineName): ClientKind {
  return {
    name: 'tidemark',
    async open(setting) {
      const replica = new TidemarkReplica(engine, setting)
      await replica.start()
      return replica
    },
  }
}

/** The part of a handle that documents of all engines have. */
type AnyHandle = Pick<Handle, 'status' | 'pending' | 'saved'>

class TidemarkReplica implements Replica {
  readonly edits: Edit[] = []
  private readonly engine: EngineName
  private readonly setting: Setting
  private readonly storage = createMemoryStorage()
  private client!: Client
  private handle!: AnyHandle
  document!: YjsDocument | AutomergeDocument
  private life = 0
  private readonly saved = new Set<string>()

  constructor(engine: EngineName, setting: Setting) {
    this.engine = engine
    this.setting = setting
  }

  async start(): Promise<void> {
    const life = ++this.life
    const { name, line, clockSkewMs, random, token } = this.setting
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
    if (this.engine === 'yjs') await this.openYjs(actorOf(name, life))
    else await this.openAutomerge(actorOf(name, life))
  }

  private async openYjs(actor: string): Promise<void> {
    const { name, document, random, clockSkewMs, say } = this.setting
    const handle = this.client.open(document)
    this.handle = handle
    handle.doc.clientID = 1 + random.below(2 ** 31)
    handle.on('error', (error) => say(`is told ${error.code}: ${error.message}`))
    await handle.whenLoaded
    const mine = new YjsDocument(handle, { name, edits: this.edits, actor, clockSkewMs })
    this.document = mine
    this.sent(mine.introduce())
  }

  private async openAutomerge(actor: string): Promise<void> {
    const { name, document, clockSkewMs, begins, say } = this.setting
    const handle = await this.client.open<Page>(document, { engine: 'automerge' })
    this.handle = handle
    handle.on('error', (error) => say(`is told ${error.code}: ${error.message}`))
    await handle.whenLoaded
    if (begins) handle.merge(beginning)
    const holder = {
      doc: () => handle.doc,
      change: (edit: (page: Page) => void, options: { time: number }) => void handle.change(edit, options),
      handle,
    }
    this.document = new AutomergeDocument(holder, { name, edits: this.edits, actor, clockSkewMs })
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

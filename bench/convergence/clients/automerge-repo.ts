/**
 * `Repo` of @automerge/automerge-repo, with storage that survives its page. Its protocol has no acknowledgement: peers tell each
 * other their heads. This server tells only heads that are durable, so what of a replica's own changes its heads cover is
 * promised; what they do not is promised to nobody until somebody else has seen it.
 *
 * The socket differs from the published one in what Node does otherwise than browsers: errors that nobody has asked for do not end
 * the process, and what is sent into a socket that has just closed is lost instead of thrown at whoever edits. And it mends
 * two things in which the published one (2.5.6) goes wrong when it is taken offline and online: after `disconnect` during a handshake
 * it takes itself for retrying, and never does; and the timer of an earlier retry connects a second time beside a connection that stands,
 * of which the Repo is not told, so that it goes on with what it had told the other one (which only the same node can notice).
 */
import * as Automerge from '@automerge/automerge'
import {
  type AutomergeUrl,
  cbor,
  type DocHandle,
  type DocumentId,
  decodeHeads,
  Repo,
  type StorageAdapterInterface,
  type StorageKey,
  stringifyAutomergeUrl,
  type UrlHeads,
} from '@automerge/automerge-repo'
import { WebSocketClientAdapter } from '@automerge/automerge-repo-network-websocket'
import { AutomergeEntries } from '../../../client/automerge/entries.ts'
import { hex, readChunks } from '../../../core/engine/automerge/chunk.ts'
import type { Operation } from '../operation.ts'
import { AutomergeDocument, beginning, type Page } from './automerge-document.ts'
import { actorOf } from './field-work.ts'
import type { ClientKind, Edit, Replica, Setting } from './replica.ts'

const tokenMs = 1_000
/** It begins anew while a handshake takes longer than this. */
const retryMs = 300

export const automergeRepo: ClientKind = {
  name: 'automerge-repo',
  async open(setting) {
    const replica = new RepoReplica(setting)
    await replica.start()
    return replica
  },
}

class RepoReplica implements Replica {
  readonly edits: Edit[] = []
  private readonly setting: Setting
  private readonly stored = new Map<string, { key: StorageKey; data: Uint8Array }>()
  private socket!: Socket
  private handle!: DocHandle<Page>
  document!: AutomergeDocument
  private life = 0
  /** Edits of this page that the server has not told to be durable, by hash. */
  private readonly untold = new Map<string, string>()
  private refreshing: NodeJS.Timeout | null = null

  constructor(setting: Setting) {
    this.setting = setting
  }

  async start(): Promise<void> {
    const { name, document, line, clockSkewMs, token } = this.setting
    const life = ++this.life
    this.untold.clear()
    const first = await token()
    this.socket = new Socket(urlOf(line.url, first), retryMs + 6 * line.quality.delayMs)
    if (first !== '') this.refresh()
    const storage = storageIn(this.stored, () => this.life === life)
    const repo = new Repo({ network: [this.socket], storage })
    const documentId = document.slice(document.lastIndexOf('/') + 1) as DocumentId
    if (this.stored.size === 0) {
      this.handle = repo.import<Page>(beginning, { docId: documentId })
      await repo.flush()
    } else this.handle = await repo.find<Page>(stringifyAutomergeUrl({ documentId }) as AutomergeUrl)
    const { handle } = this
    handle.on('remote-heads', ({ heads }) => this.life === life && this.tellSaved(heads))
    const change = (edit: (page: Page) => void, options?: { time: number }): void =>
      handle.change(edit, options)
    const entries = new AutomergeEntries(handle.doc(), (root, edit) =>
      change((page) => edit(page[root as 'facts'])),
    )
    handle.on('change', () => entries.changed())
    const holder = {
      doc: () => handle.doc(),
      change,
      handle: { entries, loaded: true, on: () => () => undefined },
    }
    const actor = actorOf(name, life)
    this.document = new AutomergeDocument(holder, { name, edits: this.edits, actor, clockSkewMs })
  }

  private refresh(): void {
    this.refreshing = setInterval(() => {
      void this.setting.token().then((next) => {
        if (this.refreshing === null) return
        this.socket.leadTo(urlOf(this.setting.line.url, next))
      })
    }, tokenMs)
  }

  /** Of heads that are not here nothing can be told. */
  private tellSaved(told: UrlHeads): void {
    const doc = this.handle.doc()
    const heads = decodeHeads(told).filter((head) => Automerge.hasHeads(doc, [head]))
    if (heads.length === 0) return
    const lacking = new Set(Automerge.getChangesMetaSince(doc, heads).map(({ hash }) => hash))
    for (const [hash, name] of this.untold) {
      if (lacking.has(hash)) continue
      this.untold.delete(hash)
      this.setting.onSaved(name)
    }
  }

  edit(operation: Operation): Edit | null {
    const edit = this.document.edit(operation)
    if (edit !== null) this.untold.set(hashOf(edit), edit.name)
    return edit
  }

  get settled(): boolean {
    return this.connected && this.untold.size === 0
  }
  get connected(): boolean {
    return this.socket.connected
  }

  /** An old change, with the heads of now. */
  repeat(choice: number): boolean {
    const edit = this.edits[choice % this.edits.length]
    if (!this.connected || edit === undefined) return false
    const doc = this.handle.doc()
    if (!Automerge.hasHeads(doc, [hashOf(edit)])) return false
    const data = Automerge.encodeSyncMessage({
      heads: Automerge.getHeads(doc),
      need: [],
      have: [],
      changes: readChunks(edit.update).changes.map(({ bytes }) => bytes),
    })
    this.socket.repeat(this.handle.documentId, data)
    return true
  }

  offline(): void {
    this.socket.pause()
  }
  online(): void {
    this.socket.resume()
  }

  async reload(): Promise<void> {
    this.stop()
    await this.start()
  }

  async close(): Promise<void> {
    this.life++
    this.stop()
  }

  private stop(): void {
    if (this.refreshing !== null) clearInterval(this.refreshing)
    this.refreshing = null
    this.socket.pause()
  }
}

const urlOf = (url: string, token: string): string =>
  `${url}/automerge${token === '' ? '' : `?token=${token}`}`

/** Of its last change, which builds on the others. */
const hashOf = ({ update }: Edit): string => hex(readChunks(update).changes.at(-1)!.hash)

class Socket extends WebSocketClientAdapter {
  connected = false
  private paused = false
  private readonly retry: number

  constructor(url: string, retry: number) {
    super(url, retry)
    this.retry = retry
    this.on('peer-candidate', () => {
      this.connected = true
    })
    this.on('peer-disconnected', () => {
      this.connected = false
    })
  }

  /** From its next connection on. */
  leadTo(url: string): void {
    ;(this as { url: string }).url = url
  }

  override connect(...given: Parameters<WebSocketClientAdapter['connect']>): void {
    this.peerId = given[0]
    this.peerMetadata = given[1] ?? {}
    const before = this.socket
    if (this.paused || (before !== undefined && before.readyState === before.OPEN)) return
    super.connect(...given)
    // Of one that is given up, nobody hears any more.
    this.socket?.addEventListener('error', () => undefined)
    const { socket } = this
    const forgotten = (): boolean => !this.paused && this.socket === socket
    // By then it has made another one, mostly.
    socket?.addEventListener('close', () =>
      setTimeout(() => forgotten() && this.connect(...given), 2 * this.retry),
    )
    if (before !== undefined && before.readyState !== before.CLOSED) before.close()
  }

  override onError = (): void => undefined

  override send(message: Parameters<WebSocketClientAdapter['send']>[0]): void {
    if (this.socket?.readyState === this.socket?.OPEN) super.send(message)
  }

  repeat(documentId: DocumentId, data: Uint8Array): void {
    const [senderId, targetId] = [this.peerId!, this.remotePeerId!]
    this.socket?.send(cbor.encode({ type: 'sync', senderId, targetId, documentId, data }))
  }

  pause(): void {
    if (this.paused) return
    this.paused = true
    if (this.socket !== undefined) this.disconnect()
  }

  resume(): void {
    if (!this.paused) return
    this.paused = false
    this.connect(this.peerId!, this.peerMetadata)
  }
}

/** Of a page that is gone, nothing is written any more. */
function storageIn(
  stored: Map<string, { key: StorageKey; data: Uint8Array }>,
  isAlive: () => boolean,
): StorageAdapterInterface {
  const startingWith = (prefix: StorageKey) =>
    [...stored.values()].filter(({ key }) => prefix.every((part, i) => key[i] === part))
  return {
    load: async (key) => stored.get(key.join('/'))?.data,
    save: async (key, data) => {
      if (isAlive()) stored.set(key.join('/'), { key, data })
    },
    remove: async (key) => {
      if (isAlive()) stored.delete(key.join('/'))
    },
    loadRange: async (prefix) => startingWith(prefix),
    removeRange: async (prefix) => {
      if (isAlive()) for (const { key } of startingWith(prefix)) stored.delete(key.join('/'))
    },
  }
}

/**
 * One replica of a document on this device: the `Y.Doc`, its awareness, what is not acknowledged, and what of the server's
 * log is in it. It lives until the handle ends or joins another lineage. `protected` is what depends on the engine.
 *   app ──edit──▶ doc ──▶ outbox ──▶ keeper (disk) ──▶ other tabs
 *                           └──────▶ push ──▶ server ──ack──▶ out of the outbox, and off the disk
 *   server, other tabs, disk ──▶ doc, under an origin of ours, which no one sends again
 * - What the server sent is stored as it came, not as Yjs's event tells it: what still waits for its dependencies is in no
 *   event, and our place in the log is past it.
 * - `position` moves only with what was applied, and never back within a lineage.
 * - Other tabs are told of an edit once it is in storage, so that whatever they show will be sent by somebody.
 * - After each opening, the document's version is compared with the server's: structs that neither the server nor any outbox
 *   has (made inside somebody else's transaction, say) become an edit. The other way round nothing can be missing.
 */
import { Awareness } from 'y-protocols/awareness'
import * as Y from 'yjs'
import type { Offset } from '../core/offset.ts'
import { TidemarkError } from '../core/protocol/error-codes.ts'
import type { Opened } from '../core/protocol/tidemark-v1/messages.ts'
import { backoffMs } from './connection-state.ts'
import type { Question, ReplicaOwner } from './document-context.ts'
import { Alarm, type Environment } from './environment.ts'
import { Keeper } from './keeper.ts'
import type { Merge, Outbox } from './outbox.ts'
import { Presence } from './presence.ts'
import { overheadBytes, Pushing } from './pushing.ts'
import { beyond, type Clocks, raiseTo } from './reach.ts'
import type { AsideRecord, DocumentStorage, OutboxEntry, Position, Storage } from './storage/storage.ts'
import { Tabs, type Told } from './tabs.ts'
import type { Loaded, StorageState } from './types.ts'

/** Of transactions that bring what others did, or what was stored. */
const notLocal = { tidemark: 'remote' }

export class Replica {
  readonly name: string
  readonly doc = new Y.Doc()
  readonly awareness: Awareness
  readonly pushing: Pushing
  position: Position = { epoch: 0, offset: 0 }
  /** The newest record of what was set aside before. */
  aside: AsideRecord | null = null
  readonly #environment: Environment
  readonly #owner: ReplicaOwner
  readonly #presence: Presence
  readonly #keeper: Keeper
  #storage: DocumentStorage | null = null
  #tabs: Tabs | null = null
  /** Of the storage; -1 before it is loaded. */
  #lineage = -1
  /** From other tabs while it is being loaded. */
  readonly #early: Told[] = []
  #wire: { readonly channel: number; readonly access: 'read' | 'write' } | null = null
  /** Whose pushes the channel takes. */
  #opened: Outbox
  /** What other tabs have, and will send: by replica, '' where that is not known. */
  readonly #elsewhere = new Map<string, Clocks>()
  /** Of those, whose tab is gone: from the next question on, whatever it showed us and nobody has sent is ours to send. */
  readonly #gone: string[] = []
  #pumping = false
  #nacks = 0
  readonly #holdEnds: Alarm
  #settingAside: Promise<AsideRecord> | null = null
  #closed = false

  constructor(environment: Environment, owner: ReplicaOwner) {
    this.name = environment.newName()
    this.#environment = environment
    this.#owner = owner
    this.pushing = new Pushing(this.name)
    this.#opened = this.pushing.own
    this.#holdEnds = new Alarm(environment, () => {
      this.pushing.hold = null
      this.#pump()
    })
    this.awareness = new Awareness(this.doc)
    this.#presence = new Presence(this.awareness, environment, {
      send: (awareness) => {
        if (this.#wire !== null) owner.send({ kind: 'awareness', channel: this.#wire.channel, awareness })
      },
      bufferedBytes: () => owner.bufferedBytes(),
    })
    this.#keeper = new Keeper(environment, {
      position: () => this.position,
      state: () => this.encoded(),
      merge: (added) => this.#merge(added),
      outbox: () => this.pushing.all,
      onKept: (entries) =>
        this.#tabs?.tell(
          entries.map(({ update }) => update),
          this.#lineage,
        ),
      onFailed: (error) => owner.onStorage('memory', error),
      onRecovered: () => owner.onStorage('disk', null),
    })
    this.doc.on('update', (update: Uint8Array, origin: unknown) => {
      if (origin !== notLocal) this.edited(update)
    })
  }

  get storageState(): StorageState {
    return this.#keeper.state === 'disk' && this.#tabs !== null ? 'disk' : 'memory'
  }

  /** Nothing is in it that could be lost or brought back. */
  get empty(): boolean {
    // A version begins with a number, of what there is.
    return this.version()[0] === 0 && this.pushing.pending === 0
  }

  // --- disk and other tabs ------------------------------------------------------------------------

  async load(storage: Storage, scope: string, document: string): Promise<Loaded> {
    try {
      this.#storage = await storage.open(scope, document, (why) => this.#keeper.lost(why))
      if (storage.durable) {
        this.#tabs = new Tabs(`tidemark/${scope}/${document}`, this.name, this.#environment, {
          onUpdates: (told) => this.#heardFromTab(told),
          onOrphan: (replica, release) => void this.#orphaned(replica, release),
        })
        await this.#tabs.start()
      }
      const stored = await this.#storage.load()
      this.#lineage = stored.lineage
      this.apply([...stored.updates, ...stored.outbox.map(({ update }) => update)])
      for (const { replica, update } of stored.outbox) this.#isElsewhere(replica, [update])
      for (const told of this.#early.splice(0)) this.#heardFromTab(told)
      this.position = stored.position
      this.aside = stored.aside
      for (const replica of new Set(stored.outbox.map((entry) => entry.replica))) await this.#adopt(replica)
      this.#keeper.opened(this.#storage, stored.updates.length)
      if (this.#closed) await this.#keeper.close()
      return stored.updates.length + stored.outbox.length > 0 ? 'stored' : 'empty'
    } catch (error) {
      // It has failed already.
      this.#storage?.close().catch(() => undefined)
      this.#keeper.lost(error instanceof Error ? error : new Error(String(error)))
      return 'unavailable'
    } finally {
      this.#owner.onPending()
    }
  }

  async #adopt(replica: string): Promise<void> {
    if (replica === this.name) return
    const release = this.#tabs === null ? () => undefined : await this.#tabs.adopt(replica)
    if (release !== null) await this.#take(replica, release)
  }

  async #orphaned(replica: string, release: () => void): Promise<void> {
    try {
      await this.#take(replica, release)
      this.#gone.push(replica)
    } catch (error) {
      release()
      this.#owner.log('not adopted', String(error))
    }
  }

  async #take(replica: string, release: () => void): Promise<void> {
    const entries = (await this.#storage?.outboxOf(replica)) ?? []
    if (entries.length === 0 || this.#closed) return release()
    this.apply(entries.map(({ update }) => update))
    this.pushing.adopt(replica, entries, () => void this.#keeper.flush().then(release))
    this.#owner.log('outbox adopted', `${entries.length} of ${replica}`)
    this.#owner.onPending()
    this.#pump()
  }

  #heardFromTab(told: Told): void {
    if (this.#lineage < 0) this.#early.push(told)
    if (told.lineage !== this.#lineage) return
    this.#isElsewhere(told.replica, told.updates)
    this.apply(told.updates)
  }

  #isElsewhere(replica: string, updates: readonly Uint8Array[]): void {
    const clocks = this.#elsewhere.get(replica) ?? new Map()
    this.#elsewhere.set(replica, clocks)
    for (const update of updates) this.raise(clocks, update)
  }

  #merge(added: readonly Uint8Array[]): Uint8Array {
    this.#isElsewhere('', added)
    this.apply(added)
    return this.encoded()
  }

  flush(): Promise<void> {
    return this.#keeper.flush()
  }

  retryStorage(): void {
    this.#keeper.retry()
  }

  /** Takes all of it, other tabs' edits included, out of the document's storage, and keeps it beside. Once. */
  setAside(code: string, why: string): Promise<AsideRecord> {
    this.#settingAside ??= this.#setAside(code, why)
    return this.#settingAside
  }

  async #setAside(code: string, why: string): Promise<AsideRecord> {
    const make = (added: readonly Uint8Array[], outbox: readonly OutboxEntry[]): AsideRecord => {
      this.#merge([...added, ...outbox.map(({ update }) => update)])
      const mine = new Set(this.pushing.all.map(({ replica }) => replica))
      const others = outbox.filter(({ replica }) => !mine.has(replica) && replica !== this.name)
      return {
        update: this.encoded(),
        unsaved: others.reduce((sum, { edits }) => sum + edits, this.pushing.pending),
        code,
        why,
        epoch: this.position.epoch,
        atMs: this.#environment.now(),
      }
    }
    await this.#keeper.flush()
    const stored = this.#keeper.state === 'disk' ? this.#storage?.setAside(make) : undefined
    const failed = (error: unknown): void => this.#owner.log('not set aside', String(error))
    this.aside = (await stored?.catch(failed)) ?? make([], [])
    this.#keeper.stop()
    // What is edited from here on is of no lineage that other tabs have.
    this.#tabs?.close()
    return this.aside
  }

  async discardAside(): Promise<void> {
    this.aside = (await this.#storage?.discardAside()) ?? null
  }

  // --- the server ---------------------------------------------------------------------------------

  /** For `open`: which replica asks, and what it has. */
  ask(): Pick<Question, 'replica' | 'have'> {
    this.#opened = this.pushing.active
    for (const replica of this.#gone.splice(0)) this.#elsewhere.delete(replica)
    // As the server said it; whether it is one, the server judges again.
    const position = this.position as { readonly epoch: Offset; readonly offset: Offset }
    return { replica: this.#opened.replica, have: { ...position, version: this.version() } }
  }

  /** The server has opened the document. */
  join({ channel, access, epoch, offset, acked, version, catchUp }: Opened): void {
    this.#wire = { channel, access }
    this.#nacks = 0
    const updates =
      catchUp.kind === 'nothing' ? [] : catchUp.kind === 'entries' ? catchUp.updates : [catchUp.update]
    this.apply(updates)
    this.position = { epoch, offset }
    this.#keeper.received(updates)
    this.pushing.rewind()
    if (acked > 0) this.#forgetUpTo(acked)
    const { refusal } = this.pushing
    if (refusal === null || (refusal.code === 'read_only' && access === 'write')) this.pushing.hold = null
    if (access === 'write') this.#addWhatNobodySends(version)
  }

  /** After `join`, and after the app was told. */
  live(): void {
    this.#pump()
    this.#presence.live()
  }

  /** The channel is gone. */
  down(): void {
    this.#wire = null
    this.#holdEnds.at(null)
    if (this.pushing.refusal === null) this.pushing.hold = null
    this.pushing.rewind()
  }

  received(updates: readonly Uint8Array[], offset: number): void {
    this.apply(updates)
    this.#advance(offset)
    this.#keeper.received(updates)
  }

  heard(awareness: Uint8Array): void {
    this.#presence.hear(awareness)
  }

  acknowledged(sequence: number, offset: number): void {
    this.#nacks = 0
    this.#advance(offset)
    this.#keeper.received([])
    this.#forgetUpTo(sequence)
    this.#pump()
  }

  refused(sequence: number, error: TidemarkError, retryMs: number | null): void {
    this.#opened.rewind(sequence)
    this.#hold(error, retryMs)
  }

  #hold(error: TidemarkError, retryMs: number | null): void {
    this.pushing.hold = { error, retryMs }
    if (retryMs === null) this.pushing.fail(error)
    else {
      const { now, random } = this.#environment
      this.#holdEnds.at(now() + retryMs + backoffMs(this.#nacks++, random()))
    }
    this.#owner.onHeld(error)
  }

  #advance(offset: number): void {
    if (offset > this.position.offset) this.position = { ...this.position, offset }
  }

  #forgetUpTo(sequence: number): void {
    if (!this.pushing.ack(this.#opened, sequence)) return
    this.#keeper.replace(this.#opened.replica, 0, sequence, [])
    this.pushing.letGo()
    this.#owner.onPending()
  }

  #addWhatNobodySends(version: Uint8Array): void {
    const missing = this.missing(version, [...this.#elsewhere.values()])
    if (missing === null) return
    this.#owner.log('edit found', `${missing.length} bytes`)
    this.edited(missing)
  }

  protected edited(update: Uint8Array): void {
    this.#keeper.edit(this.pushing.own.add(update))
    this.#owner.onPending()
    if (this.#pumping) return
    this.#pumping = true
    queueMicrotask(() => {
      this.#pumping = false
      this.#pump()
    })
  }

  /** Sends what may be sent. */
  #pump(): void {
    const { pushing } = this
    const wire = this.#wire
    const opened = this.#opened
    const owner = this.#owner
    if (this.#closed) return
    const sends = wire?.access === 'write' && pushing.hold === null
    // Without locks another tab may have read what is not sent yet, and send it as it was.
    const alone = this.#tabs === null || this.#environment.locks !== null
    const merged = alone ? pushing.merge(!(sends && opened === pushing.own), this.joined) : null
    if (merged !== null) this.#keeper.replace(pushing.own.replica, merged.from, merged.to, merged.put)
    if (wire === null) return
    if (opened !== pushing.active) return owner.reopen()
    if (pushing.hold !== null || pushing.pending === 0) return
    if (wire.access === 'read') return this.#hold(new TidemarkError('read_only', 'Reading only'), null)
    const bytesMax = owner.messageBytesMax()
    for (let push = pushing.next(bytesMax); push !== null; push = pushing.next(bytesMax)) {
      const bytes = push.updates[0]!.length
      if (bytes > bytesMax - overheadBytes)
        return this.#hold(new TidemarkError('update_too_large', `${bytes} bytes exceed the limit`), null)
      owner.send({ kind: 'push', channel: wire.channel, sequence: push.sequence, updates: push.updates })
    }
  }

  // --- what depends on the engine -----------------------------------------------------------------

  protected joined: Merge = Y.mergeUpdates

  protected apply(updates: readonly Uint8Array[]): void {
    const apply = (): void => {
      for (const update of updates) Y.applyUpdate(this.doc, update)
    }
    Y.transact(this.doc, apply, notLocal, false)
  }

  /** The whole document as one update. */
  protected encoded(): Uint8Array {
    return Y.encodeStateAsUpdate(this.doc)
  }

  protected version(): Uint8Array {
    return Y.encodeStateVector(this.doc)
  }

  /** Who has these clocks has the update too. */
  protected raise(clocks: Clocks, update: Uint8Array): void {
    raiseTo(clocks, update)
  }

  /** What a server of this version has not, nor any outbox, nor somebody who has these clocks; null for nothing. */
  protected missing(version: Uint8Array, elsewhere: readonly Clocks[]): Uint8Array | null {
    const updates = this.pushing.all.map(({ update }) => update)
    return beyond(version, elsewhere, updates, this.doc)
  }

  /** Resolves when what was edited is on disk. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#presence.close()
    this.down()
    this.#closed = true
    await this.#keeper.close()
    this.#tabs?.close()
    this.pushing.close()
    this.doc.destroy()
  }
}

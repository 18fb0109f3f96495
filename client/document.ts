/**
 * A handle: the face of one document to the app. It holds the present replica, runs the document's state machine
 * (document-state.ts) against the connection, and turns what happens into events.
 *
 * When the lineage has ended, the replica is set aside (once, with all that other tabs stored) and stays what the app sees, refused,
 * until the app calls `reset`. Nothing of it is merged anywhere.
 */
import type { Awareness } from 'y-protocols/awareness'
import * as Y from 'yjs'
import { TidemarkError } from '../core/protocol/error-codes.ts'
import type { Problem, ServerMessage } from '../core/protocol/tidemark-v1/messages.ts'
import { retryAtOf } from './connection-state.ts'
import type { DocumentContext, ReplicaOwner } from './document-context.ts'
import {
  type DocumentEvent,
  type DocumentState,
  errorOf,
  statusOf,
  stepDocument,
  unopened,
} from './document-state.ts'
import { Emitter } from './emitter.ts'
import { Alarm, type Environment } from './environment.ts'
import { Replica } from './replica.ts'
import type {
  Aside,
  DocumentInspection,
  Handle,
  HandleEvents,
  Loaded,
  Status,
  StorageState,
} from './types.ts'

/** Behind the id, in the name of an Automerge document's storage: no id has it. */
export const automergeMark = '\n'

export class DocumentHandle extends Emitter<HandleEvents> implements Handle {
  readonly id: string
  uses = 0
  loaded = false
  synced = false
  access: 'read' | 'write' | null = null
  readonly whenLoaded: Promise<Loaded>
  whenSynced: Promise<void>
  #replica: Replica
  #machine: DocumentState = unopened
  readonly #context: DocumentContext
  #said: Status = 'offline'
  #saidPending = 0
  #head = 0
  #sentBytes = 0
  #receivedBytes = 0
  readonly #retry: Alarm
  #settleSynced: { resolve(): void; reject(error: TidemarkError): void } | null = null
  #asideOf: Replica | null = null
  #resetting: Promise<void> | null = null
  #ended = false

  constructor(id: string, context: DocumentContext) {
    super()
    this.id = id
    this.#context = context
    this.#retry = new Alarm(context.environment, () => this.#tell({ kind: 'due' }))
    this.whenSynced = this.#newWhenSynced()
    this.#replica = this.#newReplica()
    this.whenLoaded = this.#load()
  }

  get doc(): Y.Doc {
    return this.#replica.doc
  }
  get awareness(): Awareness {
    return this.#replica.awareness
  }
  get pending(): number {
    return this.#replica.pushing.pending
  }
  get storage(): StorageState {
    return this.#replica.storageState
  }
  get aside(): Aside | null {
    return this.#replica.aside
  }
  get error(): TidemarkError | null {
    return this.#replica.pushing.refusal ?? this.#machine.error ?? this.#context.connection.state.error
  }
  get status(): Status {
    const status = statusOf(this.#context.connection.state.kind, this.#machine.kind)
    const { refusal } = this.#replica.pushing
    return status === 'live' && refusal !== null && refusal.code !== 'read_only' ? 'refused' : status
  }

  /** Nothing would be lost, or be saved sooner, if it ended now. */
  get settled(): boolean {
    return (
      this.pending === 0 || (this.storage === 'disk' && this.status !== 'live' && this.status !== 'syncing')
    )
  }

  saved(): Promise<void> {
    const saved = this.#whenSaved()
    saved.catch(() => undefined) // The app may not care.
    return saved
  }

  async #whenSaved(): Promise<void> {
    await this.whenLoaded
    const { error, pending } = this
    if (pending > 0 && this.#ended) throw new TidemarkError('shutting_down', 'Closed before')
    if (pending > 0 && this.status === 'refused' && error !== null) throw error
    return this.#replica.pushing.saved()
  }

  async recover(): Promise<Y.Doc | null> {
    await this.whenLoaded
    const { aside } = this
    if (aside === null) return null
    const doc = new Y.Doc()
    Y.applyUpdate(doc, aside.update)
    return doc
  }

  async discard(): Promise<void> {
    await this.whenLoaded
    await this.#replica.discardAside()
  }

  reset(): Promise<void> {
    this.#resetting ??= this.#reset().finally(() => {
      this.#resetting = null
    })
    return this.#resetting
  }

  async #reset(): Promise<void> {
    await this.whenLoaded
    const old = this.#replica
    this.#context.leave(this)
    this.#tell({ kind: 'disconnected' })
    const why = new TidemarkError('stale_replica', 'The replica was given up')
    old.pushing.fail(why)
    if (!old.empty) await old.setAside('reset', why.message)
    await old.close()
    this.#replica = this.#newReplica()
    this.#machine = unopened
    this.#head = 0
    this.synced = false
    this.#settleSynced?.reject(why)
    this.whenSynced = this.#newWhenSynced()
    await this.#replica.load(this.#context.storage, this.#context.scope, this.id)
    if (this.#replica.aside === null) this.#replica.aside = old.aside
    this.emit('reset')
    this.connectionChanged()
  }

  close(): Promise<void> {
    if (this.uses > 0 && --this.uses === 0) this.#context.onUnused()
    return this.flush()
  }

  // --- for the client -----------------------------------------------------------------------------

  /** The connection came, went, or is in another state. */
  connectionChanged(): void {
    const { kind, error } = this.#context.connection.state
    if (kind === 'live' && this.loaded && !this.#machine.connected) this.#tell({ kind: 'connected' })
    if (kind !== 'live' && this.#machine.connected) this.#tell({ kind: 'disconnected' })
    if (kind === 'refused' && error !== null) this.#replica.pushing.fail(error)
    this.#say()
  }

  hear(message: ServerMessage, bytes: number): void {
    const replica = this.#replica
    this.#receivedBytes += bytes
    switch (message.kind) {
      case 'opened':
        this.#context.connection.tell({ kind: 'proven' })
        this.#head = message.offset
        replica.join(message)
        this.#tell({ kind: 'opened' })
        this.#onOpened(message.access)
        return replica.live()
      case 'updates': {
        const offset = message.offset + message.updates.length - 1
        this.#head = Math.max(this.#head, offset)
        return replica.received(message.updates, offset)
      }
      case 'caught-up':
        this.#head = Math.max(this.#head, message.offset)
        return replica.received([message.update], message.offset)
      case 'ack':
        this.#head = Math.max(this.#head, message.offset)
        return replica.acknowledged(message.sequence, message.offset)
      case 'nack':
        return replica.refused(message.sequence, errorOf(message.problem), message.problem.retryMs)
      case 'awareness':
        return replica.heard(message.awareness)
      case 'refused':
      case 'closed':
        return this.#onEnded(message.problem)
    }
  }

  /** A person asks for it. */
  retry(): void {
    this.#replica.retryStorage()
    const held = this.#replica.pushing.refusal !== null
    this.#replica.pushing.hold = null
    if (held && this.#machine.kind === 'live') this.#tell({ kind: 'reopen' })
    else this.#tell({ kind: 'retry' })
  }

  async flush(): Promise<void> {
    await this.whenLoaded
    await this.#replica.flush()
  }

  async end(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    this.#retry.at(null)
    await this.whenLoaded
    const why = new TidemarkError('shutting_down', 'Closed before')
    this.#replica.pushing.fail(why)
    this.#settleSynced?.reject(why)
    // Says goodbye while the channel is still there.
    const closed = this.#replica.close()
    this.#context.leave(this)
    this.#machine = { ...this.#machine, kind: 'offline', retryAtMs: null, connected: false }
    await closed
  }

  inspect(): DocumentInspection {
    const replica = this.#replica
    const { epoch, offset } = replica.position
    return {
      id: this.id,
      status: this.status,
      handles: this.uses,
      access: this.access,
      epoch,
      offset,
      head: Math.max(this.#head, offset),
      pending: this.pending,
      pendingBytes: replica.pushing.pendingBytes,
      sentBytes: this.#sentBytes,
      receivedBytes: this.#receivedBytes,
      storage: this.storage,
      replica: replica.name,
      lastError: this.error,
      retryAtMs: retryAtOf(this.#machine),
    }
  }

  // --- inside -------------------------------------------------------------------------------------

  async #load(): Promise<Loaded> {
    const { storage, scope } = this.#context
    await this.#context.ended(this.id)
    const loaded = await this.#replica.load(storage, scope, this.id)
    this.#log('loaded', loaded)
    this.loaded = true
    this.emit('loaded', loaded)
    if (!this.#ended) this.connectionChanged()
    return loaded
  }

  #newReplica(): Replica {
    const { environment, connection } = this.#context
    return this.replicaOf(environment, {
      send: (message) => {
        this.#sentBytes += connection.send(message)
      },
      bufferedBytes: () => connection.bufferedBytes,
      messageBytesMax: () => connection.messageBytesMax,
      reopen: () => this.#tell({ kind: 'reopen' }),
      onPending: () => this.#say(),
      onHeld: (error) => this.#failed('edits refused', error),
      onStorage: (state, error) => {
        this.#log(`storage: ${state}`, error?.message ?? '')
        this.emit('storage', state, error)
      },
      log: (event, detail) => this.#log(event, detail),
    })
  }

  /** Of another engine: another one. Called before the fields of a class that extends this one are there. */
  protected replicaOf(environment: Environment, owner: ReplicaOwner): Replica {
    return new Replica(environment, owner)
  }

  #newWhenSynced(): Promise<void> {
    const promise = new Promise<void>((resolve, reject) => {
      this.#settleSynced = { resolve, reject }
    })
    promise.catch(() => undefined) // The app may not care.
    return promise
  }

  #tell(event: DocumentEvent): void {
    const { environment, connection } = this.#context
    const before = this.#machine
    const state = stepDocument(before, event, {
      nowMs: environment.now(),
      random: environment.random(),
      tokenRenewable: connection.tokenRenewable,
    })
    this.#machine = state
    if (before.kind === 'live' && state.kind !== 'live') this.#replica.down()
    if (before.kind === 'live' && state.kind === 'syncing') this.#context.leave(this)
    if (before.kind !== 'syncing' && state.kind === 'syncing') this.#ask()
    if (before.kind !== 'renewing' && state.kind === 'renewing') this.#renew()
    this.#retry.at(retryAtOf(state))
    if (before.kind !== state.kind) this.#log(state.kind, state.error?.message ?? '')
    this.#say()
  }

  #ask(): void {
    const asked = this.#replica.ask()
    const question = { kind: 'open', document: this.id, engine: 'yjs', token: '', ...asked } as const
    this.#sentBytes += this.#context.ask(this, question)
  }

  #renew(): void {
    void this.#context.connection
      .renewToken()
      .then((renewed) => this.#tell({ kind: renewed ? 'token' : 'no-token' }))
  }

  #onOpened(access: 'read' | 'write'): void {
    if (access !== this.access) {
      this.access = access
      this.emit('access', access)
    }
    if (!this.synced) {
      this.synced = true
      this.#settleSynced?.resolve()
      this.emit('synced')
    }
    this.#say()
  }

  #onEnded(problem: Problem): void {
    const error = errorOf(problem)
    this.#tell({ kind: 'ended', error, retryMs: problem.retryMs })
    this.#failed('refused', error)
    if (this.#machine.kind !== 'refused') return
    this.#replica.pushing.fail(error)
    this.#settleSynced?.reject(error)
    if (error.code === 'stale_replica' || error.code === 'document_removed') void this.#lineageEnded(error)
  }

  async #lineageEnded(error: TidemarkError): Promise<void> {
    const replica = this.#replica
    if (this.#asideOf === replica || replica.empty) return
    this.#asideOf = replica
    const aside = await replica.setAside(error.code, error.message)
    this.#log('set aside', `${aside.unsaved} unsaved`)
    this.emit('lineage', aside)
  }

  #failed(event: string, error: TidemarkError): void {
    this.#log(event, `${error.code}: ${error.message}`)
    this.emit('error', error)
    this.#say()
  }

  #say(): void {
    const { status, pending } = this
    if (pending !== this.#saidPending) {
      this.#saidPending = pending
      this.emit('pending', pending)
    }
    if (status !== this.#said) {
      this.#said = status
      this.emit('status', status)
    }
    this.#context.onSettled()
  }

  #log(event: string, detail: string): void {
    this.#context.log(this.id, event, detail)
  }
}

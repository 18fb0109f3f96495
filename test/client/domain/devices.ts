/** Documents of either engine as an app's device has them, without a network: they meet when a test says so. */
import * as Automerge from '@automerge/automerge'
import * as Y from 'yjs'
import { AutomergeReplica } from '../../../client/automerge/replica.ts'
import type { ReplicaOwner } from '../../../client/document-context.ts'
import type { DomainHandle, EntriesHandle } from '../../../client/domain/domain.ts'
import { yjsEntries } from '../../../client/domain/yjs-entries.ts'
import type { DocumentEntries } from '../../../client/entries.ts'
import { browserOrNode } from '../../../client/environment.ts'
import { concat } from '../../../core/engine/automerge/outline.ts'

export interface Device {
  readonly handle: DomainHandle | EntriesHandle
  readonly entries: DocumentEntries
  /** Nobody has written. */
  readonly isEmpty: boolean
  /** Both have what either had. */
  meet(other: Device): void
  reset(): void
  type(root: string, text: string): void
}

class Resets {
  private readonly listeners = new Set<() => void>()

  readonly on = (_name: 'reset', listener: () => void): (() => void) => {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  tell(): void {
    for (const listener of this.listeners) listener()
  }
}

class YjsDevice implements Device {
  doc = new Y.Doc()
  private readonly resets = new Resets()
  readonly handle: DomainHandle

  constructor(loaded: boolean) {
    const device = this
    this.handle = {
      get doc() {
        return device.doc
      },
      loaded,
      on: this.resets.on,
    }
  }

  get entries(): DocumentEntries {
    return yjsEntries(this.doc)
  }

  get isEmpty(): boolean {
    return this.doc.store.clients.size === 0
  }

  meet(other: YjsDevice): void {
    Y.applyUpdate(this.doc, Y.encodeStateAsUpdate(other.doc))
    Y.applyUpdate(other.doc, Y.encodeStateAsUpdate(this.doc))
  }

  reset(): void {
    this.doc = new Y.Doc()
    this.resets.tell()
  }

  type(root: string, text: string): void {
    this.doc.getText(root).insert(0, text)
  }
}

const owner: ReplicaOwner = {
  send: () => undefined,
  bufferedBytes: () => 0,
  messageBytesMax: () => 1_000_000,
  reopen: () => undefined,
  onPending: () => undefined,
  onHeld: () => undefined,
  onStorage: () => undefined,
  log: () => undefined,
}
const environment = { ...browserOrNode(undefined), after: () => () => undefined }

export class AutomergeDevice implements Device {
  replica = newReplica()
  private readonly resets = new Resets()
  readonly handle: EntriesHandle

  constructor(loaded = true) {
    const device = this
    this.handle = {
      get entries() {
        return device.replica.entries
      },
      loaded,
      on: this.resets.on,
    }
  }

  get entries(): DocumentEntries {
    return this.replica.entries
  }

  get isEmpty(): boolean {
    return Automerge.getHeads(this.replica.value).length === 0
  }

  change<T>(edit: (doc: T) => void): void {
    this.replica.change(edit, {})
  }

  meet(other: AutomergeDevice): void {
    give(other.replica, this.replica)
    give(this.replica, other.replica)
  }

  reset(): void {
    this.replica = newReplica()
    this.resets.tell()
  }

  type(root: string, text: string): void {
    this.change<Record<string, string>>((doc) => {
      doc[root] = text
    })
  }
}

function newReplica(): AutomergeReplica {
  return new AutomergeReplica(environment, owner, () => undefined)
}

function give(from: AutomergeReplica, to: AutomergeReplica): void {
  const has = new Set(Automerge.getAllChanges(to.value).map((change) => Automerge.decodeChange(change).hash))
  const missing = Automerge.getAllChanges(from.value).filter(
    (change) => !has.has(Automerge.decodeChange(change).hash),
  )
  if (missing.length > 0) to.received([concat(missing)], 0)
}

export const devices = {
  yjs: (loaded = true): Device => new YjsDevice(loaded),
  automerge: (loaded = true): Device => new AutomergeDevice(loaded),
}

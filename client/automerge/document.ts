/** The handle of an Automerge document; loaded, with Automerge, when the first one is opened. */
import * as Automerge from '@automerge/automerge'
import { automergeMark, DocumentHandle } from '../document.ts'
import type { DocumentContext, ReplicaOwner } from '../document-context.ts'
import type { Emitter } from '../emitter.ts'
import type { DocumentEntries } from '../entries.ts'
import type { Environment } from '../environment.ts'
import type { Replica } from '../replica.ts'
import type { AutomergeEvents } from '../types.ts'
import { AutomergeReplica, type Doc } from './replica.ts'

export class AutomergeDocument extends DocumentHandle {
  /** The present one. Declared only, since the class that this one extends makes the first. */
  declare private automerge: AutomergeReplica

  constructor(key: string, context: DocumentContext) {
    super(key.slice(0, -automergeMark.length), context)
  }

  override get doc(): never {
    return this.automerge.value as never
  }

  get entries(): DocumentEntries {
    return this.automerge.entries
  }

  change<T>(edit: (doc: T) => void, options: Automerge.ChangeOptions<T> = {}): Doc<T> {
    return this.automerge.change(edit, options)
  }

  merge<T>(update: Uint8Array): Doc<T> {
    return this.automerge.merge(update) as Doc<T>
  }

  override async recover(): Promise<never> {
    await this.whenLoaded
    return (this.aside === null ? null : Automerge.load(this.aside.update)) as never
  }

  protected override replicaOf(environment: Environment, owner: ReplicaOwner): Replica {
    // It has these events beside those of every handle.
    const events = this as unknown as Emitter<AutomergeEvents<unknown>>
    this.automerge = new AutomergeReplica(environment, owner, (changed) => events.emit('change', changed))
    return this.automerge
  }
}

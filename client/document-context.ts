/** What a handle is given by its client, and a replica by its handle. */
import type { TidemarkError } from '../core/protocol/error-codes.ts'
import type { ClientMessage } from '../core/protocol/tidemark-v1/messages.ts'
import type { Connection } from './connection.ts'
import type { DocumentHandle } from './document.ts'
import type { Environment } from './environment.ts'
import type { Storage } from './storage/storage.ts'
import type { StorageState } from './types.ts'

export type Question = Omit<Extract<ClientMessage, { kind: 'open' }>, 'request'>

export interface DocumentContext {
  readonly environment: Environment
  readonly connection: Connection
  readonly storage: Storage
  readonly scope: string
  /** Sends the question, and the answer to the handle. Gives the bytes sent. */
  ask(handle: DocumentHandle, message: Question): number
  /** Closes its channel; nothing that still comes for it, and no answer under way, is this handle's. */
  leave(handle: DocumentHandle): void
  /** Resolves when an earlier handle of this document has let go of its storage. */
  ended(document: string): Promise<void> | undefined
  /** Nobody uses it any more. */
  onUnused(): void
  /** Whether it may end can have changed. */
  onSettled(): void
  log(document: string | null, event: string, detail: string): void
}

export interface ReplicaOwner {
  send(message: ClientMessage): void
  bufferedBytes(): number
  messageBytesMax(): number
  /** Another replica is to have the channel. */
  reopen(): void
  onPending(): void
  /** Edits were refused, for good or for a while. */
  onHeld(error: TidemarkError): void
  onStorage(state: StorageState, error: Error | null): void
  log(event: string, detail: string): void
}

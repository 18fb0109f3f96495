/** Live queries as their routes need them, and how many there may be. */
import type { QueryValue } from '../../../core/protocol/query.ts'
import type { Identity } from '../../access/access.ts'
import type { LiveSink } from '../../views/live/listeners.ts'
import type { KeyColumns } from '../../views/live/result.ts'

export interface LiveAsked {
  readonly sql: string
  readonly params: readonly QueryValue[]
  readonly key: KeyColumns
}

/** What the routes need of the views. */
export interface LiveSource {
  /** `has`: name of the last event that was taken. Throws `TidemarkError`. */
  open(identity: Identity, asked: LiveAsked, has: string | null, sink: LiveSink): LiveOpened
}

export interface LiveOpened {
  ready(): void
  /** Its rights may be others. */
  become(identity: Identity): void
  leave(): void
}

export interface LiveLimits {
  /** Listeners on this node. */
  readonly listenersMax: number
  readonly listenersPerUserMax: number
  /** Something is sent at least so often, within a second. */
  readonly heartbeatMs: number
}

import type { ErrorCode } from '../../core/protocol/error-codes.ts'
import type { Decided } from '../arbiter/arbiter.ts'
import type { LiveFromRelay, LiveFromViews } from './live/messages.ts'
import type { Answered, Operation } from './operations.ts'
import type { QueryFromRelay, QueryFromViews } from './query/messages.ts'
import type { QuerySettings } from './query/queries-in-thread.ts'
import type { QueryRights } from './query/rights.ts'
import type { RebuildFigures } from './rebuild/rebuild.ts'
import type { Refused } from './watched.ts'

/** What the relay's thread and that of the views say to each other, beside calls of the log (log-port.ts). */
export interface ViewsSettings {
  /** Of adapters; there are none when it is not there. */
  readonly folder: string
  /** Null: PGlite in `dataFolder`. */
  readonly databaseUrl: string | null
  /** Null: several nodes share the log, so there has to be a `databaseUrl`. */
  readonly dataFolder: string | null
  readonly connectionsMax: number
  /** Where PGlite takes psql and friends, on 127.0.0.1; 0: nowhere. */
  readonly port: number
  readonly queries: QuerySettings
  /** Of the thread's heap, where adapters run, and as much for Automerge's WebAssembly. */
  readonly memoryMb: number
}

/** What a thread is started with. */
export interface ThreadData {
  readonly settings: ViewsSettings
  /** See watched.ts. */
  readonly watched: SharedArrayBuffer
  readonly refused: readonly Refused[]
  /** See opening.ts. */
  readonly suspects: readonly string[]
}

export type FromRelay =
  /** A document changed. */
  | { readonly kind: 'wake' }
  | { readonly kind: 'close' }
  | { readonly kind: 'operate'; readonly id: number; readonly operation: Operation }
  | QueryFromRelay
  | LiveFromRelay<QueryRights>

export type FromViews =
  /** Adapters are loaded: none, or those that are projected from now on. */
  | {
      readonly kind: 'ready'
      readonly adapters: readonly string[]
      /** Documents that hold facts, whether their rows are kept here or not, with those that say when they were written. */
      readonly facts: readonly { readonly documents: string; readonly clocked: readonly string[] }[]
    }
  /** An adapter is broken: the relay does not start. */
  | { readonly kind: 'broken'; readonly message: string }
  | {
      readonly kind: 'log'
      readonly level: 'error' | 'warn' | 'info' | 'debug'
      readonly fields: object
      readonly message: string
    }
  | { readonly kind: 'figures'; readonly figures: ViewsFigures; readonly decided: readonly Decided[] }
  | { readonly kind: 'operated'; readonly id: number; readonly answered: Answered }
  | QueryFromViews
  | { readonly kind: 'inoperable'; readonly id: number; readonly code: ErrorCode; readonly reason: string }
  | LiveFromViews

export interface ViewsFigures {
  /** Documents that wait to be projected, or are being projected. */
  readonly pending: number
  /** Documents whose rows were brought up to date, for each adapter and change, since the tables were last looked at. */
  readonly projected: number
  /** Documents that could not be projected, likewise. */
  readonly dead: number
  /** The database cannot be reached. */
  readonly unavailable: boolean
  /** Intents that wait for a decision of this node. */
  readonly intents: number
  /** Tables that are being built. */
  readonly rebuilding: readonly RebuildFigures[]
}

/** What the relay's thread, which has the connections, and that of the views, which has the queries, say about live queries. */
import type { ErrorCode } from '../../../core/protocol/errors.ts'
import type { QueryValue } from '../../../core/protocol/query.ts'
import type { KeyColumns } from './result.ts'

export interface LiveQuery<Rights> {
  readonly sql: string
  readonly params: readonly QueryValue[]
  readonly key: KeyColumns
  /** Of who asks: what decides which rows there are. */
  readonly rights: Rights
}

export type LiveFromRelay<Rights> =
  /** As `LiveHub.open`; also of a listener that is there. */
  | {
      readonly kind: 'live-open'
      readonly listener: number
      readonly query: LiveQuery<Rights>
      readonly has: string | null
      /** It was told something, by a thread before. */
      readonly begun: boolean
    }
  | { readonly kind: 'live-ready'; readonly listeners: readonly number[] }
  | { readonly kind: 'live-leave'; readonly listener: number }

export type LiveFromViews =
  /** As it goes to the sockets; the same bytes for all. */
  | {
      readonly kind: 'live-send'
      readonly listeners: readonly number[]
      readonly id: string
      readonly event: Uint8Array
    }
  | { readonly kind: 'live-current'; readonly listener: number }
  | {
      readonly kind: 'live-end'
      readonly listeners: readonly number[]
      readonly code: ErrorCode
      readonly message: string
    }
  | { readonly kind: 'live-runs'; readonly count: number }

export function isLive<M extends { readonly kind: string }>(
  message: M,
): message is Extract<M, { readonly kind: `live-${string}` }> {
  return message.kind.startsWith('live-')
}

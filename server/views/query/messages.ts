/** What the relay's thread and that of the views say about queries. After `query-ask` one `query-answer` or `query-refusal`. */
import type { ErrorCode } from '../../../core/protocol/error-codes.ts'
import type { After } from './after.ts'
import type { Query } from './queries.ts'

export interface Ask extends Query {
  readonly after: After
}

export type QueryFromRelay =
  | { readonly kind: 'query-ask'; readonly id: number; readonly ask: Ask }
  /** Nobody waits for it any more. It is answered all the same. */
  | { readonly kind: 'query-leave'; readonly id: number }

export type QueryFromViews =
  /** The answer as JSON in UTF-8. */
  | { readonly kind: 'query-answer'; readonly id: number; readonly body: Uint8Array<ArrayBuffer> }
  | {
      readonly kind: 'query-refusal'
      readonly id: number
      readonly code: ErrorCode
      readonly message: string
    }

export function isQuery<M extends { readonly kind: string }>(
  message: M,
): message is Extract<M, { readonly kind: `query-${string}` }> {
  return message.kind.startsWith('query-')
}

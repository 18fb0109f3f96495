/**
 * The one table of everything that can be refused. Every door derives its answer from it: WebSocket
 * doors the close code, HTTP the status. PROTOCOL.md shows the same table; a test keeps them equal.
 */
import { closeCodes, type ErrorCode, isRetryable } from './error-codes.ts'

export { type ErrorCode, TidemarkError } from './error-codes.ts'

export interface ErrorRow {
  readonly closeCode: number
  readonly httpStatus: number
  readonly retryable: boolean
  /** What the reader of the error should do. */
  readonly advice: string
}

const rows: Record<ErrorCode, Pick<ErrorRow, 'httpStatus' | 'advice'>> = {
  malformed_frame: {
    httpStatus: 400,
    advice: 'Send frames as PROTOCOL.md draws them.',
  },
  invalid_document_id: {
    httpStatus: 400,
    advice: 'Use 1 to 512 bytes of UTF-8 without control characters or empty path segments.',
  },
  invalid_request: {
    httpStatus: 400,
    advice: 'Send parameters and body as /v1/openapi.json describes them.',
  },
  unauthenticated: {
    httpStatus: 401,
    advice: 'Send a valid token: as `?token=` or as `Authorization: Bearer`.',
  },
  token_expired: {
    httpStatus: 401,
    advice: 'Get a new token and connect again.',
  },
  revoked: {
    httpStatus: 401,
    advice: 'An administrator ended the session. Sign in again, if you may.',
  },
  forbidden: {
    httpStatus: 403,
    advice: 'The token does not allow this. Ask for one that does.',
  },
  read_only: {
    httpStatus: 403,
    advice:
      'The token allows reading only; nothing was stored. Disable editing, or get a token that may write.',
  },
  origin_forbidden: {
    httpStatus: 403,
    advice: "Add the page's origin to ALLOWED_ORIGINS.",
  },
  not_found: {
    httpStatus: 404,
    advice: 'There is no such document, route or entry. Check the name.',
  },
  document_removed: {
    httpStatus: 410,
    advice: 'The document was deleted. Drop the local copy; create the document anew if it is wanted again.',
  },
  query_refused: {
    httpStatus: 400,
    advice: 'Ask with one SELECT, of tables that adapters own, calling functions that only read.',
  },
  query_failed: {
    httpStatus: 400,
    advice: "The message is PostgreSQL's, with its SQLSTATE. Change the query or its parameters.",
  },
  query_timeout: {
    httpStatus: 504,
    advice:
      'The query took longer than VIEWS_QUERY_TIMEOUT_MS. Ask for less, or add an index to the adapter.',
  },
  first_message_late: {
    httpStatus: 408,
    advice: 'Send the first message within FIRST_MESSAGE_MS_MAX of the handshake.',
  },
  stale_replica: {
    httpStatus: 409,
    advice:
      'This replica comes from a lineage of the document that was deleted. Drop the local copy and join anew.',
  },
  already_exists: {
    httpStatus: 409,
    advice: 'The document exists. Open it, or delete it first.',
  },
  wrong_engine: {
    httpStatus: 409,
    advice:
      'The document is of another engine, as its first update was. Open it with that one, or use another document.',
  },
  conflict_changed: {
    httpStatus: 409,
    advice: 'Show the sides that there are now, and let the person choose again.',
  },
  update_too_large: {
    httpStatus: 413,
    advice: 'Split the change into several transactions, or raise UPDATE_BYTES_MAX.',
  },
  document_too_large: {
    httpStatus: 413,
    advice: 'The document is at DOCUMENT_BYTES_MAX. Begin another one, or raise the limit.',
  },
  malformed_update: {
    httpStatus: 422,
    advice: 'The bytes are not a well-formed update of this engine; nothing was stored.',
  },
  malformed_awareness: {
    httpStatus: 422,
    advice: 'The bytes are not a well-formed awareness update within the limits.',
  },
  fact_refused: {
    httpStatus: 422,
    advice:
      'The facts in the update are not well-formed, not in order, not of this user, of a time to come, or touch what is there.',
  },
  document_unreadable: {
    httpStatus: 500,
    advice: 'The stored document could not be read; the server log names the cause. Nothing was overwritten.',
  },
  internal: {
    httpStatus: 500,
    advice: 'A defect in the server; the server log has the details.',
  },
  shutting_down: {
    httpStatus: 503,
    advice: 'Reconnect; another node or the restarted one will answer.',
  },
  update_incomplete: {
    httpStatus: 503,
    advice: 'The update builds on others that are not here yet. Synchronise, then send it again.',
  },
  log_unavailable: {
    httpStatus: 503,
    advice: 'The log cannot take writes now. Keep the edit and retry with backoff.',
  },
  authorization_unavailable: {
    httpStatus: 503,
    advice: 'The service that knows who may do what gave no answer. Retry with backoff.',
  },
  rate_limited: {
    httpStatus: 429,
    advice: 'A limit of this user or address is reached. Retry after the time given.',
  },
  overloaded: {
    httpStatus: 503,
    advice: 'A limit of this node is reached. Retry with backoff.',
  },
  views_behind: {
    httpStatus: 504,
    advice: 'The views do not have the edit yet; the message says how far they are. Retry with backoff.',
  },
  views_unavailable: {
    httpStatus: 503,
    advice: 'Views cannot be read now: their database is away, or there are no adapters. Retry with backoff.',
  },
}

export const errorTable = Object.fromEntries(
  (Object.keys(closeCodes) as ErrorCode[]).map((code) => [
    code,
    { closeCode: closeCodes[code], retryable: isRetryable(code), ...rows[code] },
  ]),
) as Readonly<Record<ErrorCode, ErrorRow>>

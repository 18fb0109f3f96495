/**
 * The one table of everything that can be refused. Every door derives its answer from it: WebSocket
 * doors the close code, HTTP the status. PROTOCOL.md shows the same table; a test keeps them equal.
 *
 * Close codes 4400-4499 tell newer clients not to retry; 1011, 1012 and 1013 are transient.
 */
export interface ErrorRow {
  readonly closeCode: number
  readonly httpStatus: number
  readonly retryable: boolean
  /** What the reader of the error should do. */
  readonly advice: string
}

export const errorTable = {
  malformed_frame: {
    closeCode: 4400,
    httpStatus: 400,
    retryable: false,
    advice: 'Send frames as PROTOCOL.md draws them.',
  },
  invalid_document_id: {
    closeCode: 4400,
    httpStatus: 400,
    retryable: false,
    advice: 'Use 1 to 512 bytes of UTF-8 without control characters or empty path segments.',
  },
  invalid_request: {
    closeCode: 4400,
    httpStatus: 400,
    retryable: false,
    advice: 'Send parameters and body as /v1/openapi.json describes them.',
  },
  unauthenticated: {
    closeCode: 4401,
    httpStatus: 401,
    retryable: false,
    advice: 'Send a valid token: as `?token=` or as `Authorization: Bearer`.',
  },
  token_expired: {
    closeCode: 4401,
    httpStatus: 401,
    retryable: false,
    advice: 'Get a new token and connect again.',
  },
  revoked: {
    closeCode: 4401,
    httpStatus: 401,
    retryable: false,
    advice: 'An administrator ended the session. Sign in again, if you may.',
  },
  forbidden: {
    closeCode: 4403,
    httpStatus: 403,
    retryable: false,
    advice: 'The token does not allow this. Ask for one that does.',
  },
  read_only: {
    closeCode: 4403,
    httpStatus: 403,
    retryable: false,
    advice:
      'The token allows reading only; nothing was stored. Disable editing, or get a token that may write.',
  },
  origin_forbidden: {
    closeCode: 4403,
    httpStatus: 403,
    retryable: false,
    advice: "Add the page's origin to ALLOWED_ORIGINS.",
  },
  not_found: {
    closeCode: 4404,
    httpStatus: 404,
    retryable: false,
    advice: 'There is no such document, route or entry. Check the name.',
  },
  document_removed: {
    closeCode: 4404,
    httpStatus: 410,
    retryable: false,
    advice: 'The document was deleted. Drop the local copy; create the document anew if it is wanted again.',
  },
  first_message_late: {
    closeCode: 4408,
    httpStatus: 408,
    retryable: false,
    advice: 'Send the first message within FIRST_MESSAGE_MS_MAX of the handshake.',
  },
  stale_replica: {
    closeCode: 4409,
    httpStatus: 409,
    retryable: false,
    advice:
      'This replica comes from a lineage of the document that was deleted. Drop the local copy and join anew.',
  },
  already_exists: {
    closeCode: 4409,
    httpStatus: 409,
    retryable: false,
    advice: 'The document exists. Open it, or delete it first.',
  },
  update_too_large: {
    closeCode: 4413,
    httpStatus: 413,
    retryable: false,
    advice: 'Split the change into several transactions, or raise UPDATE_BYTES_MAX.',
  },
  document_too_large: {
    closeCode: 4413,
    httpStatus: 413,
    retryable: false,
    advice: 'The document is at DOCUMENT_BYTES_MAX. Begin another one, or raise the limit.',
  },
  malformed_update: {
    closeCode: 4422,
    httpStatus: 422,
    retryable: false,
    advice: 'The bytes are not a well-formed update of this engine; nothing was stored.',
  },
  malformed_awareness: {
    closeCode: 4422,
    httpStatus: 422,
    retryable: false,
    advice: 'The bytes are not a well-formed awareness update within the limits.',
  },
  document_unreadable: {
    closeCode: 1011,
    httpStatus: 500,
    retryable: true,
    advice: 'The stored document could not be read; the server log names the cause. Nothing was overwritten.',
  },
  internal: {
    closeCode: 1011,
    httpStatus: 500,
    retryable: true,
    advice: 'A defect in the server; the server log has the details.',
  },
  shutting_down: {
    closeCode: 1012,
    httpStatus: 503,
    retryable: true,
    advice: 'Reconnect; another node or the restarted one will answer.',
  },
  log_unavailable: {
    closeCode: 1013,
    httpStatus: 503,
    retryable: true,
    advice: 'The log cannot take writes now. Keep the edit and retry with backoff.',
  },
  authorization_unavailable: {
    closeCode: 1013,
    httpStatus: 503,
    retryable: true,
    advice: 'The service that knows who may do what gave no answer. Retry with backoff.',
  },
  rate_limited: {
    closeCode: 1013,
    httpStatus: 429,
    retryable: true,
    advice: 'A limit of this user or address is reached. Retry after the time given.',
  },
  overloaded: {
    closeCode: 1013,
    httpStatus: 503,
    retryable: true,
    advice: 'A limit of this node is reached. Retry with backoff.',
  },
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof errorTable

/** An error whose code is a row of the table; `message` may be shown to the sender. */
export class TidemarkError extends Error {
  readonly code: ErrorCode
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'TidemarkError'
    this.code = code
  }
}

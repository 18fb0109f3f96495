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
  update_too_large: {
    closeCode: 4413,
    httpStatus: 413,
    retryable: false,
    advice: 'Split the change into several transactions, or raise UPDATE_BYTES_MAX.',
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

/**
 * The codes of the error table (errors.ts), each with the code that a WebSocket is closed with. Apart from the table, because a
 * client needs no more of it, and an app that embeds one should not carry the texts.
 *
 * 4400 to 4499 tell newer clients not to retry; 1011, 1012 and 1013 are transient.
 */
export const closeCodes = {
  malformed_frame: 4400,
  invalid_document_id: 4400,
  invalid_request: 4400,
  unauthenticated: 4401,
  token_expired: 4401,
  revoked: 4401,
  forbidden: 4403,
  read_only: 4403,
  origin_forbidden: 4403,
  not_found: 4404,
  document_removed: 4404,
  query_refused: 4400,
  query_failed: 4400,
  query_timeout: 4408,
  first_message_late: 4408,
  stale_replica: 4409,
  already_exists: 4409,
  wrong_engine: 4409,
  conflict_changed: 4409,
  update_too_large: 4413,
  document_too_large: 4413,
  malformed_update: 4422,
  malformed_awareness: 4422,
  fact_refused: 4422,
  document_unreadable: 1011,
  internal: 1011,
  shutting_down: 1012,
  update_incomplete: 1013,
  log_unavailable: 1013,
  authorization_unavailable: 1013,
  rate_limited: 1013,
  overloaded: 1013,
  views_behind: 1013,
  views_unavailable: 1013,
} as const

export type ErrorCode = keyof typeof closeCodes

/** False for the code of a newer server too. */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(closeCodes, code)
}

/** The same may succeed later. */
export function isRetryable(code: ErrorCode): boolean {
  return closeCodes[code] < 4400
}

/** An error whose code is a row of the table; `message` may be shown to the sender. */
export class TidemarkError extends Error {
  readonly code: ErrorCode
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'TidemarkError'
    this.code = code
  }
}

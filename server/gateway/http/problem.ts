/**
 * Every refusal over HTTP as a problem (RFC 9457), made from the one error table: the status is the row's, `code`
 * its name, `advice` what to do. What went wrong inside the server is logged and never told.
 *
 *   TidemarkError                    its row and its message; for rows of status 500 not the message
 *   what Fastify refuses to read     invalid_request; a body beyond the limit of updates update_too_large
 *   anything else                    internal
 *
 * Rows that are worth a retry come with Retry-After and the same number as `retryAfter`, each time another one.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type ErrorCode, errorTable, TidemarkError } from '../../../core/protocol/errors.ts'
import type { Logger } from '../../logger.ts'
import type { Metrics } from '../../metrics.ts'
import { retryAfterSeconds } from '../admission.ts'

export const problemType = 'application/problem+json'

export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: ErrorCode
  readonly advice: string
  /** Seconds. */
  readonly retryAfter?: number
}

export const problemSchema = {
  $id: 'Problem',
  description: 'Problem details (RFC 9457). `code` is a row of the error table in PROTOCOL.md.',
  type: 'object',
  required: ['type', 'title', 'status', 'detail', 'code', 'advice'],
  properties: {
    type: { type: 'string', examples: ['urn:tidemark:error:forbidden'] },
    title: { type: 'string', examples: ['Forbidden'] },
    status: { type: 'integer', examples: [403] },
    detail: { type: 'string', description: 'What was wrong with this request.' },
    code: { type: 'string', enum: Object.keys(errorTable) },
    advice: { type: 'string', description: 'What to do about it.' },
    retryAfter: {
      type: 'integer',
      description: 'Seconds after which to try again; the header Retry-After says the same.',
    },
  },
} as const

/** Sends the problem with these two; kept apart so that the gateway can use it for what no route sees. */
export interface ProblemParts {
  readonly logger: Logger
  readonly metrics: Metrics
}

export function sendProblem(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  { logger, metrics }: ProblemParts,
  /** Members of this problem only. */
  further: Readonly<Record<string, unknown>> = {},
): FastifyReply {
  const { code, message } = refusalOf(error)
  const { httpStatus, retryable, advice } = errorTable[code]
  // Nobody waits any more: what was given up for that reason is no failure.
  if (reply.raw.closed) return reply
  metrics.refused(code)
  // The pattern of the route, not the URL: a token may be in it.
  const where = { method: request.method, route: request.routeOptions.url, code }
  if (httpStatus === 500) logger.error({ ...where, err: error }, 'request failed')
  else logger.debug({ ...where, reason: message }, 'request refused')
  const detail = httpStatus === 500 ? 'The server could not answer; its log has the details' : message
  const title = (code[0]!.toUpperCase() + code.slice(1)).replaceAll('_', ' ')
  const retryAfter = retryable ? retryAfterSeconds() : undefined
  const problem: Problem = {
    type: `urn:tidemark:error:${code}`,
    title,
    status: httpStatus,
    detail,
    code,
    advice,
    ...(retryAfter !== undefined && { retryAfter }),
  }
  if (retryAfter !== undefined) reply.header('retry-after', retryAfter)
  if (httpStatus === 401) reply.header('www-authenticate', 'Bearer')
  return reply
    .code(httpStatus)
    .header('cache-control', 'no-store')
    .type(problemType)
    .send(JSON.stringify({ ...problem, ...further }))
}

function refusalOf(error: unknown): { readonly code: ErrorCode; readonly message: string } {
  if (error instanceof TidemarkError) return error
  const { code, statusCode, message } = error as { code?: string; statusCode?: number; message?: string }
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE')
    return { code: 'update_too_large', message: 'The body exceeds what this route takes' }
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE')
    return {
      code: 'invalid_request',
      message:
        'Not a type of body that is taken here: send an update as application/octet-stream, all else as application/json',
    }
  // Fastify's own words about paths repeat them whole, with whatever is in them.
  if (code === 'FST_ERR_BAD_URL')
    return { code: 'invalid_request', message: 'The path is not valid percent-encoding' }
  if (code === 'FST_ERR_MAX_PARAM_LENGTH')
    return { code: 'invalid_document_id', message: 'A segment of the path is too long' }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return { code: 'invalid_request', message: message ?? 'The request cannot be read' }
  return { code: 'internal', message: 'Internal error' }
}

/** For paths and methods that the API does not have. */
export function noSuchRoute(request: FastifyRequest): never {
  throw new TidemarkError('not_found', `There is no ${request.method} here; see /v1/openapi.json`)
}

/** JSON schemas that routes share: Fastify validates and serialises with them, and /v1/openapi.json shows them. */
import { documentIdBytesMax } from '../../../core/document-id.ts'

export const octets = 'application/octet-stream'

export const documentParams = {
  type: 'object',
  required: ['id'],
  properties: {
    id: {
      type: 'string',
      description: `The document's id, percent-encoded as one segment: \`deals%2Fharvest-42\`. At most ${documentIdBytesMax} bytes of UTF-8.`,
      examples: ['deals/harvest-42'],
    },
  },
} as const

const offset = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const

export const offsetOf = (description: string) => ({ ...offset, description }) as const

export const limitOf = (fallback: number, max: number) =>
  ({ type: 'integer', minimum: 1, maximum: max, default: fallback }) as const

export const epoch = offsetOf(
  'Which life of the document this is: 0, or after a deletion the offset at which it was created anew. When it differs from the one that a copy came with, drop the copy.',
)

export const time = {
  type: 'string',
  format: 'date-time',
  description: "The server's clock. It decides nothing.",
} as const

export const durability = {
  type: 'string',
  enum: ['fsync', 'aof-always', 'aof-everysec', 'memory'],
  description: 'What the acknowledgement is worth; see docs/operations.md.',
} as const

export const empty = (description: string) => ({ type: 'null', description }) as const

/** What any route may answer. */
export const problems = {
  '4xx': {
    description: 'Refused; see `code`.',
    content: { 'application/problem+json': { schema: { $ref: 'Problem#' } } },
  },
  '5xx': {
    description: 'Not now; worth a retry after `retryAfter` seconds.',
    content: { 'application/problem+json': { schema: { $ref: 'Problem#' } } },
  },
} as const

export const iso = (timeMs: number): string => new Date(timeMs).toISOString()

/** SQL about documents, with the rights of the token. What a query may be, and sees: server/views/query/. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { documentIdBytesMax, parseDocumentId } from '../../../core/document-id.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import type { QueryRequest } from '../../../core/protocol/query.ts'
import { type Identity, includes } from '../../access/access.ts'
import type { After } from '../../views/query/after.ts'
import type { Ask } from '../../views/query/messages.ts'
import { rightsOf } from '../../views/query/rights.ts'
import type { ApiContext } from './context.ts'
import { offsetOf, problems } from './schemas.ts'

const bodyBytesMax = 1024 * 1024
const sqlLengthMax = 32 * 1024
const paramsMax = 1_000
const afterMax = 100
const cursorLengthMax = 64

const value = { description: 'Any JSON. Numbers of more digits than JSON has are strings.' } as const

export function queryRoutes(api: FastifyInstance, { guard, query }: ApiContext): void {
  api.post<{ Body: QueryRequest }>(
    '/query',
    {
      onRequest: guard.anyone(),
      bodyLimit: bodyBytesMax,
      preValidation: refuseUnknownFields,
      schema: {
        operationId: 'query',
        summary: 'Ask SQL about documents',
        description:
          'One statement that reads the tables of adapters. Which rows and columns there are is decided by the token; ' +
          'PROTOCOL.md, "Queries", says how values become JSON.',
        tags: ['views'],
        body: {
          type: 'object',
          required: ['sql'],
          additionalProperties: false,
          properties: {
            sql: {
              type: 'string',
              minLength: 1,
              maxLength: sqlLengthMax,
              description: 'One statement that reads; `$1` and so on stand for `params`.',
              examples: ["select document, title from notes where search @@ plainto_tsquery('simple', $1)"],
            },
            params: { type: 'array', maxItems: paramsMax, items: value },
            after: {
              type: 'object',
              maxProperties: afterMax,
              additionalProperties: offsetOf('Of an ack.'),
              propertyNames: { maxLength: documentIdBytesMax },
              description: 'Offsets by document: waits until the rows include them.',
            },
            cursor: { type: 'string', maxLength: cursorLengthMax, description: 'Of the page before.' },
          },
        },
        response: {
          200: {
            description: 'Rows. With `cursor` there are more: ask the same again with it.',
            type: 'object',
            required: ['columns', 'rows'],
            properties: {
              columns: {
                type: 'array',
                items: {
                  type: 'object',
                  required: ['name', 'type'],
                  properties: { name: { type: 'string' }, type: { type: 'string' } },
                },
              },
              rows: { type: 'array', items: { type: 'object', additionalProperties: true } },
              cursor: { type: 'string' },
            },
          },
          ...problems,
        },
      },
    },
    async (request, reply) => {
      const { identity, signal } = guard.caller(request)
      const { sql, params = [], after = {}, cursor = null } = request.body
      const rights = rightsOf(identity)
      const ask: Ask = { sql, params, cursor, rights, after: readable(after, identity) }
      const body = await query.ask(ask, signal)
      return reply.type('application/json').send(Buffer.from(body.buffer, body.byteOffset, body.length))
    },
  )
}

/** Whether and how far a document is in the views is the business of who may read it. */
function readable(after: After, identity: Identity): After {
  for (const text of Object.keys(after))
    if (!includes(identity.accessTo(parseDocumentId(text)), 'read'))
      throw new TidemarkError('forbidden', 'This token does not allow read access to a document of "after"')
  return after
}

/** Validation leaves out what the schema does not name: a mistyped `cursor` would give the first page again. */
async function refuseUnknownFields({ body }: FastifyRequest): Promise<void> {
  if (typeof body !== 'object' || body === null) return
  for (const name of Object.keys(body))
    if (!fields.includes(name))
      throw new TidemarkError('invalid_request', `There is no field ${JSON.stringify(name)} here`)
}

const fields = ['sql', 'params', 'after', 'cursor']

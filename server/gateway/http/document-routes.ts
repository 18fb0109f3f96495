/**
 * Documents as a whole: list, read as JSON, create, delete.
 *
 * Creation and deletion are statements in the log (lineage.ts), so every node comes to the same answer whatever
 * raced. Creating needs `write`; after a deletion `admin`, as deleting does: who may only write shall not
 * bring back what an administrator has taken away.
 */
import type { FastifyInstance } from 'fastify'
import { type Offset, toOffset } from '../../../core/offset.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import { includes } from '../../access/access.ts'
import { fold } from '../../log/lineage.ts'
import { type ApiContext, read, reading, readLive, state } from './context.ts'
import { Listing } from './listing.ts'
import { documentParams, durability, empty, epoch, limitOf, offsetOf, problems } from './schemas.ts'

const tags = ['documents']
const listMax = 1_000

interface ListQuery {
  readonly prefix: string
  readonly after: string
  readonly limit: number
}

export function documentRoutes(api: FastifyInstance, context: ApiContext): void {
  const { guard, log, compactSoon } = context
  const listing = new Listing(log)

  api.get<{ Querystring: ListQuery }>(
    '/documents',
    {
      onRequest: guard.anyone(),
      schema: {
        operationId: 'listDocuments',
        summary: 'List the documents that the token may read',
        tags,
        querystring: {
          type: 'object',
          properties: {
            prefix: {
              type: 'string',
              maxLength: 512,
              default: '',
              description: 'What their ids begin with.',
            },
            after: {
              type: 'string',
              maxLength: 2048,
              default: '',
              description: '`next` of the page before.',
            },
            limit: limitOf(100, listMax),
          },
        },
        response: {
          200: {
            description:
              'In the order of the bytes of their ids. A page may be short, or empty, and not the last.',
            type: 'object',
            required: ['documents', 'next'],
            properties: {
              documents: {
                type: 'array',
                items: { type: 'object', required: ['id'], properties: { id: { type: 'string' } } },
              },
              next: {
                type: ['string', 'null'],
                description: 'For `after` of the next page; null on the last one.',
              },
            },
          },
          ...problems,
        },
      },
    },
    async (request) => {
      const caller = guard.caller(request)
      const { prefix, after, limit } = request.query
      if (!caller.identity.mayList(prefix))
        throw new TidemarkError('forbidden', 'This token gives access to no document with this prefix')
      return reading(context, caller, () =>
        listing.page(caller.identity, prefix, after, limit, caller.signal),
      )
    },
  )

  api.get(
    '/documents/:id',
    {
      onRequest: guard.document('read'),
      schema: {
        operationId: 'readDocument',
        summary: 'Read a document as JSON',
        description: 'With If-None-Match and the ETag of an earlier answer: 304 when nothing has changed.',
        tags,
        params: documentParams,
        headers: { type: 'object', properties: { 'if-none-match': { type: 'string' } } },
        response: {
          200: {
            description:
              'Its roots by name: maps as objects, arrays as arrays, texts as strings, XML as markup in a string.',
            headers: { ETag: { type: 'string', description: '"epoch-offset"' } },
            type: 'object',
            additionalProperties: true,
          },
          304: empty('Nothing has changed.'),
          ...problems,
        },
      },
    },
    async (request, reply) => {
      const caller = guard.documentCaller(request)
      const { document } = caller
      const known = offsetOfTag(request.headers['if-none-match'])
      return reading(context, caller, async () => {
        if (known !== null) {
          // Nothing has come since: it is not even read.
          const { snapshot, tail, offset } = await log.load(document, known.offset)
          if (snapshot === null && tail.length === 0 && offset === known.offset)
            return reply.code(304).header('etag', known.tag).header('cache-control', 'no-cache').send()
        }
        const { content } = await readLive(context, document)
        const updates = content.entries.map((entry) => entry.update)
        if (content.snapshot !== null) updates.unshift(content.snapshot.bytes)
        const text =
          content.engine === null ? '{}' : await context.json(content.engine, updates, caller.signal)
        return reply
          .header('etag', `"${content.lineage.epoch}-${content.offset}"`)
          .header('cache-control', 'no-cache')
          .type('application/json')
          .send(text)
      })
    },
  )

  api.put(
    '/documents/:id',
    {
      onRequest: guard.document('write'),
      schema: {
        operationId: 'createDocument',
        summary: 'Create a document',
        description:
          'Not needed for new ids: the first update creates a document too. After a deletion only this brings it ' +
          'back, empty, in a new life; then it needs `admin`.',
        tags,
        params: documentParams,
        response: {
          201: {
            description: 'Created, durable, empty.',
            type: 'object',
            required: ['offset', 'epoch', 'durability'],
            properties: { offset: offsetOf('Of its creation in the log.'), epoch, durability },
          },
          ...problems,
        },
      },
    },
    async (request, reply) => {
      const caller = guard.documentCaller(request)
      const { identity, document } = caller
      return reading(context, caller, async () => {
        const before = await log.load(document)
        if (before.offset > 0) {
          if (!fold(before).lineage.removed) throw exists()
          if (!includes(identity.accessTo(document), 'admin'))
            throw new TidemarkError(
              'forbidden',
              'The document was deleted; creating it anew needs admin access',
            )
        }
        const offset = await state(context, caller, 'creation')
        const { lineage } = (await read(context, document)).content
        // Somebody else was faster: what we said means nothing.
        if (offset !== 1 && lineage.epoch !== offset) throw exists()
        return reply.code(201).send({ offset, epoch: offset === 1 ? 0 : offset, durability: log.durability })
      })
    },
  )

  api.delete(
    '/documents/:id',
    {
      onRequest: guard.document('admin'),
      schema: {
        operationId: 'deleteDocument',
        summary: 'Delete a document',
        description:
          'All its sessions on all nodes close with 4404, and replicas that hold part of it cannot bring it back. ' +
          'Who wrote when stays in its history.',
        tags,
        params: documentParams,
        response: { 204: empty('Deleted, durable.'), ...problems },
      },
    },
    async (request, reply) => {
      const caller = guard.documentCaller(request)
      await reading(context, caller, () => readLive(context, caller.document))
      await state(context, caller, 'removal')
      compactSoon(caller.document)
      return reply.code(204).send()
    },
  )
}

const exists = (): TidemarkError => new TidemarkError('already_exists', 'The document exists')

/** Of the first of our tags in If-None-Match. */
function offsetOfTag(header: string | undefined): { readonly tag: string; readonly offset: Offset } | null {
  const [tag, , digits] = /"(\d{1,16})-([1-9]\d{0,14})"/.exec(header ?? '') ?? []
  return tag === undefined ? null : { tag, offset: toOffset(Number(digits)) }
}

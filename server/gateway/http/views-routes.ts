/** How the views are, building them anew, and documents that could not be projected: for who administers everything. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { documentIdBytesMax } from '../../../core/document-id.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import { includes } from '../../access/access.ts'
import type { ApiContext } from './context.ts'
import { limitOf, problems } from './schemas.ts'

const tags = ['views']
const lettersMax = 1_000
const adapterNameMax = 40

const name = { type: 'string', minLength: 1, maxLength: adapterNameMax } as const
const count = { type: 'integer', minimum: 0 } as const
const nullable = <T extends string>(type: T) => ({ type: [type, 'null'] }) as const

const rebuild = {
  type: ['object', 'null'],
  properties: {
    version: count,
    why: { type: 'string', enum: ['version', 'command'] },
    state: { type: 'string', enum: ['counting', 'filling', 'verifying'] },
    documents: { ...count, description: 'That the log had when it began.' },
    documentsDone: count,
    ratio: { type: 'number', minimum: 0, maximum: 1 },
    rowsPerSecond: { ...count, description: 'Of this node.' },
    secondsLeft: nullable('integer'),
  },
} as const

const lastRebuild = {
  type: ['object', 'null'],
  properties: {
    version: count,
    began: { type: 'string', format: 'date-time' },
    ended: { type: 'string', format: 'date-time' },
    documents: count,
    differing: { ...count, description: 'Documents whose rows were not what the log says.' },
    sample: { type: 'array', items: { type: 'string' }, description: 'Some of their ids.' },
  },
} as const

const status = {
  type: 'object',
  required: ['adapters'],
  properties: {
    adapters: {
      type: 'array',
      items: {
        type: 'object',
        required: [
          'name',
          'version',
          'served',
          'state',
          'documents',
          'deadLetters',
          'rebuild',
          'lastRebuild',
        ],
        properties: {
          name,
          version: { ...count, description: 'Of the code that this node has.' },
          served: { ...nullable('integer'), description: 'Version of the tables that are read now.' },
          state: { type: 'string', enum: ['live', 'building', 'aside', 'absent'] },
          documents: count,
          deadLetters: count,
          rebuild,
          lastRebuild,
        },
      },
    },
  },
} as const

const letters = {
  type: 'object',
  required: ['letters', 'next'],
  properties: {
    letters: {
      type: 'array',
      items: {
        type: 'object',
        required: ['adapter', 'document', 'version', 'epoch', 'offset', 'reason', 'at'],
        properties: {
          adapter: name,
          document: { type: 'string' },
          version: count,
          epoch: nullable('integer'),
          offset: {
            ...nullable('integer'),
            description: 'Which state of the document could not be projected.',
          },
          reason: { type: 'string' },
          at: { type: 'string', format: 'date-time' },
        },
      },
    },
    next: { ...nullable('string'), description: 'For `after` of the next page; null on the last one.' },
  },
} as const

const retryBody = {
  type: 'object',
  properties: { adapter: name, document: { type: 'string', minLength: 1, maxLength: documentIdBytesMax } },
} as const

interface LettersQuery {
  readonly adapter?: string
  readonly after: string
  readonly limit: number
}

export function viewsRoutes(api: FastifyInstance, { guard, views }: ApiContext): void {
  const onRequest = guard.anyone()
  const assertAdministers = async (request: FastifyRequest): Promise<void> => {
    if (!includes(guard.caller(request).identity.accessToAll, 'admin'))
      throw new TidemarkError(
        'forbidden',
        'The views are the business of who has admin access to every document',
      )
  }
  const guards = [onRequest, assertAdministers]

  api.get(
    '/views',
    {
      onRequest: guards,
      schema: {
        operationId: 'getViews',
        summary: 'How the views are',
        description: 'Adapters, what is served, and how far tables are that are being built.',
        tags,
        response: { 200: { ...status, description: 'All adapters of this node.' }, ...problems },
      },
    },
    () => views({ verb: 'status' }),
  )

  const rebuildSchema = {
    tags,
    response: { 202: { ...status, description: 'It goes on by itself; ask `GET /v1/views`.' }, ...problems },
  } as const
  api.post(
    '/views/rebuild',
    {
      onRequest: guards,
      schema: {
        operationId: 'rebuildViews',
        summary: 'Build the tables of all adapters anew',
        ...rebuildSchema,
      },
    },
    async (_request, reply) => reply.code(202).send(await views({ verb: 'rebuild', adapters: [] })),
  )
  api.post<{ Params: { adapter: string } }>(
    '/views/:adapter/rebuild',
    {
      onRequest: guards,
      schema: {
        operationId: 'rebuildAdapter',
        summary: 'Build the tables of an adapter anew',
        description:
          'Readers have the old ones until the new ones are complete. One that is under way goes on.',
        params: { type: 'object', required: ['adapter'], properties: { adapter: name } },
        ...rebuildSchema,
      },
    },
    async ({ params }, reply) =>
      reply.code(202).send(await views({ verb: 'rebuild', adapters: [params.adapter] })),
  )

  api.get<{ Querystring: LettersQuery }>(
    '/views/dead-letters',
    {
      onRequest: guards,
      schema: {
        operationId: 'listDeadLetters',
        summary: 'Documents that could not be projected, and why',
        tags,
        querystring: {
          type: 'object',
          properties: {
            adapter: name,
            after: {
              type: 'string',
              maxLength: 1024,
              default: '',
              description: '`next` of the page before.',
            },
            limit: limitOf(100, lettersMax),
          },
        },
        response: { 200: { ...letters, description: 'In the order of adapters and ids.' }, ...problems },
      },
    },
    ({ query: { adapter = null, after, limit } }) =>
      views({ verb: 'letters', adapter, after, countMax: limit }),
  )
  api.post<{ Body: { adapter?: string; document?: string } | null }>(
    '/views/dead-letters/retry',
    {
      onRequest: guards,
      schema: {
        operationId: 'retryDeadLetters',
        summary: 'Try again to project documents that could not be projected',
        description: 'All of them, or those of an adapter, or one document.',
        tags,
        body: retryBody,
        response: {
          202: {
            type: 'object',
            required: ['retried'],
            properties: { retried: count },
            description: 'How many; within seconds they are gone, or there with a new reason.',
          },
          ...problems,
        },
      },
    },
    async ({ body }, reply) => {
      const { adapter = null, document = null } = body ?? {}
      return reply.code(202).send(await views({ verb: 'retry', adapter, document }))
    },
  )
}

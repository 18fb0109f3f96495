/**
 * Live queries: the rows of a query, and then what became of them, as server-sent events. GET for `EventSource`, POST for whoever
 * can send a body and headers.
 *
 *   place → token → place of the user → query → first run → events … until its token ends
 *
 * Places are counted apart from those of other requests: a live query stays for hours. live-streams.ts has those that are there.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import type { QueryValue } from '../../../core/protocol/query.ts'
import type { KeyColumns } from '../../views/live/result.ts'
import type { ApiContext } from './context.ts'
import { Guard } from './guard.ts'
import type { LiveAsked } from './live-source.ts'
import { LiveStreams } from './live-streams.ts'
import { problems } from './schemas.ts'

const sqlLengthMax = 65_536
const bodyBytesMax = 128 * 1024
const paramsMax = 1_000
const keysMax = 32

interface LiveBody {
  readonly sql: string
  readonly params?: readonly QueryValue[]
  readonly key?: string
}

interface LiveParameters {
  readonly sql: string
  readonly params?: string
  readonly key?: string
}

const key = {
  type: 'string',
  maxLength: 2_048,
  description:
    'Columns that tell the rows apart, separated by commas. Without it `document` and `entry`, where the result has them and they do; else the whole row.',
} as const
const sql = {
  type: 'string',
  minLength: 1,
  maxLength: sqlLengthMax,
  description: 'One statement that reads; `$1` and so on stand for `params`.',
} as const

const description =
  'As server-sent events: `rows`, then a `change` each time that the result is another one; `error` ends it. ' +
  'PROTOCOL.md, "Live queries", explains their data. With `Last-Event-ID` only what changed since then is sent, while the server knows it.'
const answers = {
  200: {
    description: 'Events, without end.',
    content: { 'text/event-stream': { schema: { type: 'string' } } },
  },
  ...problems,
} as const

export function liveRoutes(api: FastifyInstance, context: ApiContext): void {
  const { gatekeeper, limits } = context
  const guard = new Guard(gatekeeper, {
    requestsMax: limits.listenersMax,
    requestsPerUserMax: limits.listenersPerUserMax,
    bodyBytesMax,
  })
  const streams = new LiveStreams(api, context)
  const serve = async (request: FastifyRequest, reply: FastifyReply, asked: LiveAsked): Promise<void> => {
    const { identity } = guard.caller(request)
    await streams.open(request, reply, identity, asked)
  }

  api.get<{ Querystring: LiveParameters }>(
    '/live',
    {
      onRequest: guard.anyone(),
      exposeHeadRoute: false,
      schema: {
        operationId: 'live',
        summary: 'Listen to a query',
        description,
        tags: ['views'],
        querystring: {
          type: 'object',
          required: ['sql'],
          properties: { sql, params: { type: 'string', description: 'A list in JSON.' }, key },
        },
        response: answers,
      },
    },
    async (request, reply) => {
      const { params = '[]', ...rest } = request.query
      await serve(request, reply, { sql: rest.sql, params: listIn(params), key: columnsIn(rest.key) })
    },
  )
  api.post<{ Body: LiveBody }>(
    '/live',
    {
      onRequest: guard.anyone(),
      bodyLimit: bodyBytesMax,
      schema: {
        operationId: 'liveByPost',
        summary: 'Listen to a query, with a body',
        description,
        tags: ['views'],
        body: {
          type: 'object',
          required: ['sql'],
          additionalProperties: false,
          properties: { sql, params: { type: 'array', maxItems: paramsMax, items: {} }, key },
        },
        response: answers,
      },
    },
    async (request, reply) => {
      const { params = [], ...rest } = request.body
      await serve(request, reply, { sql: rest.sql, params, key: columnsIn(rest.key) })
    },
  )
}

function listIn(text: string): readonly QueryValue[] {
  let list: unknown
  try {
    list = JSON.parse(text)
  } catch {
    throw new TidemarkError('invalid_request', '`params` is not JSON')
  }
  if (!Array.isArray(list) || list.length > paramsMax)
    throw new TidemarkError('invalid_request', `\`params\` is a list of at most ${paramsMax} values`)
  return list
}

function columnsIn(text = ''): KeyColumns {
  const names = text.split(',').map((name) => name.trim())
  if (names.length > keysMax)
    throw new TidemarkError('invalid_request', `\`key\` has at most ${keysMax} columns`)
  const named = names.filter((name) => name !== '')
  return named.length === 0 ? null : named
}

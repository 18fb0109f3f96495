/**
 * Live queries: the rows of a query, and then what became of them, as server-sent events. GET for `EventSource`, POST for whoever
 * can send a body and headers.
 *
 *   place → token → place of the user → query → first run → events … until its token ends
 *
 * - Places are counted apart from those of other requests: a live query stays for hours.
 * - Who listens has an identity for as long as its token says. What an authorisation service answers is asked again when it is over,
 *   and the query goes on with the rights that there are then.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type ErrorCode, TidemarkError } from '../../../core/protocol/errors.ts'
import type { QueryValue } from '../../../core/protocol/query.ts'
import { type Identity, isEnded, type Revocation } from '../../access/access.ts'
import type { KeyColumns } from '../../views/live/result.ts'
import { tokenOf } from '../request.ts'
import type { ApiContext } from './context.ts'
import { Guard } from './guard.ts'
import type { LiveAsked, LiveOpened } from './live-source.ts'
import { LiveStream } from './live-stream.ts'
import { problems } from './schemas.ts'

const beatMs = 1_000
/** Until the first run; it may wait for others. */
const openMsMax = 30_000
const sqlLengthMax = 65_536
const bodyBytesMax = 128 * 1024
const paramsMax = 1_000
const keysMax = 32
const eventIdPattern = /^[\w-]{22}$/

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

interface Listening {
  readonly stream: LiveStream
  readonly openedMs: number
  readonly token: string | null
  readonly opened: LiveOpened
  identity: Identity
  beatenMs: number
  renewing: boolean
}

class LiveStreams {
  private readonly context: ApiContext
  private readonly listening = new Set<Listening>()
  private beating: NodeJS.Timeout | null = null
  private closed = false

  constructor(api: FastifyInstance, context: ApiContext) {
    this.context = context
    const stop = context.revocations.onRevoked((revocation) => this.revoked(revocation))
    api.addHook('preClose', async () => {
      stop()
      this.closed = true
      for (const { stream } of [...this.listening]) stream.end('shutting_down', 'The server is shutting down')
    })
  }

  /** Resolves when the answer began. Rejects with the refusal. */
  async open(
    request: FastifyRequest,
    reply: FastifyReply,
    identity: Identity,
    asked: LiveAsked,
  ): Promise<void> {
    if (this.closed) throw new TidemarkError('shutting_down', 'The server is shutting down')
    let listening: Listening | null = null
    const stream = new LiveStream({
      response: reply.raw,
      headers: reply.getHeaders() as Record<string, string>,
      takeOver: () => reply.hijack(),
      sendMsMax: this.context.limits.sendMsMax,
      onDrained: () => listening?.opened.ready(),
      onRefused: (code) => this.context.metrics.refused(code),
      onEnded: () => {
        if (listening === null) return
        listening.opened.leave()
        this.left(listening)
      },
    })
    const opened = this.context.live.open(identity, asked, eventIdOf(request), stream)
    const nowMs = Date.now()
    const token = tokenOf(request.raw)
    listening = { stream, openedMs: nowMs, token, opened, identity, beatenMs: nowMs, renewing: false }
    if (reply.raw.closed) {
      opened.leave()
      reply.hijack()
      return
    }
    this.entered(listening)
    await stream.begun
  }

  private entered(listening: Listening): void {
    this.listening.add(listening)
    this.beating ??= setInterval(() => {
      for (const one of [...this.listening]) this.beat(one, Date.now())
    }, beatMs)
  }

  private left(listening: Listening): void {
    this.listening.delete(listening)
    if (this.listening.size > 0 || this.beating === null) return
    clearInterval(this.beating)
    this.beating = null
  }

  private beat(listening: Listening, nowMs: number): void {
    const { stream, identity, openedMs, beatenMs } = listening
    if (stream.opening && nowMs - openedMs >= openMsMax)
      return stream.end('overloaded', 'The query waited too long for its turn')
    if (identity.expiresMs !== null && nowMs >= identity.expiresMs) {
      if (identity.renewable) this.renew(listening)
      else return stream.end('token_expired', 'The token has expired')
    }
    if (nowMs - beatenMs < this.context.limits.heartbeatMs) return
    listening.beatenMs = nowMs
    stream.heartbeat()
  }

  private renew(listening: Listening): void {
    if (listening.renewing) return
    listening.renewing = true
    this.context.gatekeeper
      .identify(listening.token, null)
      .then((identity) => {
        listening.identity = identity
        if (this.listening.has(listening)) listening.opened.become(identity)
      })
      .catch((error: unknown) => {
        const code: ErrorCode = error instanceof TidemarkError ? error.code : 'internal'
        listening.stream.end(
          code,
          error instanceof TidemarkError ? error.message : 'The token was not judged',
        )
      })
      .finally(() => {
        listening.renewing = false
      })
  }

  private revoked(revocation: Revocation): void {
    for (const { identity, stream } of [...this.listening])
      if (isEnded(revocation, identity, null))
        stream.end('revoked', 'An administrator ended the sessions of this user')
  }
}

/** What is no name of a result is of no use: all rows are sent. */
function eventIdOf(request: FastifyRequest): string | null {
  const id = request.headers['last-event-id']
  return typeof id === 'string' && eventIdPattern.test(id) ? id : null
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

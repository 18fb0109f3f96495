/**
 * All live queries that are listened to on this node: each for as long as its token says. What an authorisation service answered is
 * asked again when it is over, and the query goes on with the rights that there are then.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type ErrorCode, TidemarkError } from '../../../core/protocol/errors.ts'
import { type Identity, isEnded, type Revocation } from '../../access/access.ts'
import { tokenOf } from '../request.ts'
import type { ApiContext } from './context.ts'
import type { LiveAsked, LiveOpened } from './live-source.ts'
import { LiveStream } from './live-stream.ts'

const beatMs = 1_000
/** Until the first run; it may wait for others. */
const openMsMax = 30_000
const eventIdPattern = /^[\w-]{22}$/

interface Listening {
  readonly stream: LiveStream
  readonly openedMs: number
  readonly token: string | null
  readonly opened: LiveOpened
  identity: Identity
  beatenMs: number
  renewing: boolean
}

export class LiveStreams {
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

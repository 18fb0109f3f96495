/**
 * What stands before every route that needs a token, in this order, all before the body is read:
 *
 *   place among `requestsMax` → document id → token → place of the user → access → bytes of the body → route
 *
 * - `forbidden` is said before anything about the document is looked up: whoever may not read it cannot tell
 *   whether it exists (P8).
 * - A request has its place until its answer has left, or its connection is gone, so slow readers are counted too.
 * - A body takes its declared length, or the limit of its route when it declares none, out of `bodyBytesMax`; so
 *   many large ones at once cost no more memory than that (P7).
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type DocumentId, parseDocumentId } from '../../../core/document-id.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import { type Access, type Gatekeeper, type Identity, includes } from '../../access/access.ts'
import { tokenOf } from '../request.ts'

export interface GuardLimits {
  /** Requests at the same time on this node. */
  readonly requestsMax: number
  /** The same of one user, so that one alone cannot take all places. */
  readonly requestsPerUserMax: number
  /** Bodies that are being read or worked on. */
  readonly bodyBytesMax: number
}

export interface Caller {
  readonly identity: Identity
  /** Aborted when the answer has left or nobody waits for it any more. */
  readonly signal: AbortSignal
}

export interface DocumentCaller extends Caller {
  readonly document: DocumentId
}

export type Hook = (request: FastifyRequest, reply: FastifyReply) => Promise<void>

export class Guard {
  private readonly gatekeeper: Gatekeeper
  private readonly limits: GuardLimits
  private readonly callers = new WeakMap<FastifyRequest, Caller & { document: DocumentId | null }>()
  private readonly byUser = new Map<string, number>()
  private requests = 0
  private bodyBytes = 0

  constructor(gatekeeper: Gatekeeper, limits: GuardLimits) {
    this.gatekeeper = gatekeeper
    this.limits = limits
  }

  /** Lets in who may do `needed` with the document in the path. `bodyBytesMax`: of the route, 0 without a body. */
  document(needed: Access, bodyBytesMax = 0): Hook {
    return async (request, reply) => {
      const signal = this.enter(reply)
      const document = documentIn(request)
      const identity = await this.identify(request, reply, document)
      assertIncludes(identity.accessTo(document), needed)
      this.takeBody(request, reply, bodyBytesMax)
      this.callers.set(request, { identity, signal, document })
    }
  }

  /** Lets in whoever has a valid token; the route asks what it allows. */
  anyone(): Hook {
    return async (request, reply) => {
      const signal = this.enter(reply)
      const identity = await this.identify(request, reply, null)
      this.callers.set(request, { identity, signal, document: null })
    }
  }

  caller(request: FastifyRequest): Caller {
    const caller = this.callers.get(request)
    if (caller === undefined) throw new Error('a route without its guard')
    return caller
  }

  documentCaller(request: FastifyRequest): DocumentCaller {
    const { identity, signal, document } = this.caller(request) as DocumentCaller
    if (document === null) throw new Error('a route without a document')
    return { identity, signal, document }
  }

  private enter(reply: FastifyReply): AbortSignal {
    const { requestsMax } = this.limits
    if (this.requests >= requestsMax)
      throw new TidemarkError('overloaded', `More than ${requestsMax} requests at the same time`)
    const ended = new AbortController()
    this.requests++
    whenClosed(reply, () => {
      this.requests--
      ended.abort()
    })
    return ended.signal
  }

  private async identify(
    request: FastifyRequest,
    reply: FastifyReply,
    document: DocumentId | null,
  ): Promise<Identity> {
    const identity = await this.gatekeeper.identify(tokenOf(request.raw), document)
    const { subject } = identity
    if (subject === '') return identity
    const { requestsPerUserMax } = this.limits
    const before = this.byUser.get(subject) ?? 0
    if (before >= requestsPerUserMax)
      throw new TidemarkError(
        'rate_limited',
        `More than ${requestsPerUserMax} requests of one user at the same time`,
      )
    this.byUser.set(subject, before + 1)
    whenClosed(reply, () => {
      const left = this.byUser.get(subject)! - 1
      if (left > 0) this.byUser.set(subject, left)
      else this.byUser.delete(subject)
    })
    return identity
  }

  private takeBody(request: FastifyRequest, reply: FastifyReply, routeBytesMax: number): void {
    if (routeBytesMax === 0) return
    const declared = request.headers['content-length']
    const bytes = Math.min(declared === undefined ? routeBytesMax : Number(declared), routeBytesMax)
    if (this.bodyBytes + bytes > this.limits.bodyBytesMax)
      throw new TidemarkError('overloaded', 'Too many bytes of updates are being read')
    this.bodyBytes += bytes
    whenClosed(reply, () => {
      this.bodyBytes -= bytes
    })
  }
}

/** Also when that has happened already: the connection may go while a token is being checked. */
function whenClosed(reply: FastifyReply, then: () => void): void {
  if (reply.raw.closed) then()
  else reply.raw.once('close', then)
}

/** The router has decoded it. */
function documentIn(request: FastifyRequest): DocumentId {
  return parseDocumentId((request.params as { readonly id: string }).id)
}

/** Throws `forbidden`, or `read_only` for who may read and wants to write. */
function assertIncludes(held: Access, needed: Access): void {
  if (includes(held, needed)) return
  if (needed === 'write' && held === 'read')
    throw new TidemarkError('read_only', 'This token allows reading this document only')
  throw new TidemarkError('forbidden', `This token does not allow ${needed} access to this document`)
}

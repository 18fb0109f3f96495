/**
 * Pages of other origins: those that the gatekeeper allows may call the API and read its answers; requests that
 * come from any other page are refused, also those for which a browser asks no permission first. No cookies are
 * ever used, so no credentials are allowed.
 */
import type { FastifyInstance } from 'fastify'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import type { Gatekeeper } from '../../access/access.ts'

const allowed = {
  'access-control-allow-methods': 'GET, HEAD, PUT, POST, DELETE',
  'access-control-allow-headers':
    'authorization, content-type, idempotency-key, if-none-match, last-event-id',
  'access-control-max-age': '600',
}
const exposed = 'ETag, Location, Retry-After, Tidemark-Offset, Tidemark-Epoch, Tidemark-Scope'

export function crossOrigin(api: FastifyInstance, gatekeeper: Gatekeeper): void {
  api.addHook('onRequest', async (request, reply) => {
    const { origin, host } = request.headers
    reply.header('vary', 'Origin')
    if (!gatekeeper.allowsOrigin(origin, host))
      throw new TidemarkError('origin_forbidden', 'Pages of this origin may not use the API')
    if (origin !== undefined)
      reply.headers({ 'access-control-allow-origin': origin, 'access-control-expose-headers': exposed })
  })
  // What a browser asks before it sends anything with a token; it brings none itself.
  api.options('/*', { schema: { hide: true } }, async (_request, reply) =>
    reply.code(204).headers(allowed).send(),
  )
}

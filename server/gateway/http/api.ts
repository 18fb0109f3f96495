/**
 * The HTTP API under /v1: documents for programs that hold no WebSocket. A door like the others: it checks tokens with the same
 * gatekeeper, writes through the same `submit`, and answers from the same error table.
 *
 *   request → origin → guard (places, token, access) → body → schema → route → answer or problem
 *
 * The JSON schemas of the routes validate, serialise and describe: GET /v1/openapi.json is made of them, so it cannot
 * say anything else than what runs. What the schemas do not name is refused.
 *
 * The routes: document-routes.ts, update-routes.ts, history-routes.ts, session-routes.ts, views-routes.ts,
 * conflict-routes.ts.
 */
import swagger from '@fastify/swagger'
import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import { conflictRoutes } from './conflict-routes.ts'
import { type ApiContext, type ApiParts, contextOf } from './context.ts'
import { crossOrigin } from './cross-origin.ts'
import { documentRoutes } from './document-routes.ts'
import { historyRoutes } from './history-routes.ts'
import { liveRoutes } from './live-routes.ts'
import { description } from './openapi.ts'
import { noSuchRoute, problemSchema, sendProblem } from './problem.ts'
import { queryRoutes } from './query-routes.ts'
import { octets } from './schemas.ts'
import { sessionRoutes } from './session-routes.ts'
import { updateRoutes } from './update-routes.ts'
import { viewsRoutes } from './views-routes.ts'

export type { ApiParts } from './context.ts'

const methods = ['GET', 'PUT', 'POST', 'PATCH', 'DELETE']

/** For `GatewayOptions.routes`. */
export function apiRoutes(parts: ApiParts): (http: FastifyInstance) => void {
  const context = contextOf(parts)
  return (http) => {
    http.register((api) => v1(api, context), { prefix: '/v1' })
  }
}

async function v1(api: FastifyInstance, context: ApiContext): Promise<void> {
  const { gatekeeper, limits } = context
  api.setErrorHandler((error, request, reply) => sendProblem(error, request, reply, context))
  api.setNotFoundHandler(noSuchRoute)
  api.removeContentTypeParser('text/plain')
  api.addContentTypeParser(octets, { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  api.addSchema(problemSchema)
  crossOrigin(api, gatekeeper)
  api.addHook('preValidation', refuseUnknownParameters)
  api.addHook('onSend', async (_request, reply) => {
    reply.header('x-content-type-options', 'nosniff')
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store')
    // A reader that takes nothing for so long holds memory and a place.
    reply.raw.setTimeout(limits.sendMsMax, () => reply.raw.destroy())
  })

  const routes = new Map<string, Set<string>>()
  api.addHook('onRoute', (route) => note(routes, route))
  await api.register(swagger, description)
  documentRoutes(api, context)
  updateRoutes(api, context)
  historyRoutes(api, context)
  sessionRoutes(api, context)
  conflictRoutes(api, context)
  liveRoutes(api, context)
  queryRoutes(api, context)
  viewsRoutes(api, context)
  api.get('/openapi.json', { schema: { hide: true, querystring: { type: 'object', properties: {} } } }, () =>
    api.swagger(),
  )
  refuseOtherMethods(api, routes)
}

/** Without this, a mistyped parameter would be as if it were not there. */
async function refuseUnknownParameters(request: FastifyRequest): Promise<void> {
  const schema = request.routeOptions.schema?.querystring as { properties?: object } | undefined
  const known = Object.keys(schema?.properties ?? {})
  for (const name of Object.keys(request.query as object))
    if (name !== 'token' && !known.includes(name))
      throw new TidemarkError('invalid_request', `There is no parameter ${JSON.stringify(name)} here`)
}

function note(routes: Map<string, Set<string>>, { path, method }: RouteOptions & { path: string }): void {
  const noted = routes.get(path) ?? new Set()
  for (const one of [method].flat()) noted.add(one)
  routes.set(path, noted)
}

/** The table has no row for a wrong method: it is a route that does not exist, and the answer says which do. */
function refuseOtherMethods(api: FastifyInstance, routes: ReadonlyMap<string, ReadonlySet<string>>): void {
  for (const [url, known] of [...routes]) {
    if (known.has('OPTIONS')) continue
    const allow = [...known].join(', ')
    api.route({
      url: url.slice(api.prefix.length),
      method: methods.filter((method) => !known.has(method)),
      schema: { hide: true },
      onRequest: async (request, reply) => {
        reply.header('allow', allow)
        throw new TidemarkError('not_found', `There is no ${request.method} here, only ${allow}`)
      },
      handler: noSuchRoute,
    })
  }
}

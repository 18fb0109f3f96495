/**
 * The editor example's pages at `/`, when it has been built (npm run build); a relay without them is as good.
 *
 * - Three routes with no wildcard: `/`, `/embed` and `/assets/<file>`. Nothing here answers for /v1, /healthz or a
 *   document's name, and WebSocket upgrades never come here.
 * - Whether it is built is asked at each request: `npm start` builds it while the relay already runs. The build puts
 *   `.sources` into place last, so a half-built one is not served.
 * - The pages are the same for everybody: no token is read, and none is in what is cached. A token stands in the page's
 *   URL, so no page ever says where it was followed from.
 * - The content security policy allows nothing from elsewhere and no inline script or style, so markup
 *   that found its way into a document could not run. Only pages of the same origin may show these in a frame.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import staticFiles from '@fastify/static'
import type { FastifyInstance, FastifyReply } from 'fastify'

/** An answer that takes longer than this to leave is cut off: it holds a file and a place. */
const sendMsMax = 30_000

const headers = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "font-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "frame-src 'self'",
    "frame-ancestors 'self'",
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; '),
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
}

/** `folder`: what the build of the editor made, or will make. */
export function pageRoutes(folder: string): (http: FastifyInstance) => void {
  return (http) => {
    http.register(async (pages) => {
      await pages.register(staticFiles, {
        root: folder,
        serve: false,
        index: false,
        cacheControl: false,
        dotfiles: 'ignore',
      })
      pages.addHook('onRequest', async (_request, reply) => {
        if (!existsSync(join(folder, '.sources'))) return reply.callNotFound()
        reply.headers(headers)
        reply.raw.setTimeout(sendMsMax, () => reply.raw.destroy())
      })
      pages.get('/', (_request, reply) => page(reply, 'index.html'))
      pages.get('/embed', (_request, reply) => page(reply, 'embed.html'))
      // Their names contain a hash of their content.
      pages.get<{ Params: { file: string } }>('/assets/:file', (request, reply) =>
        reply
          .header('cache-control', 'public, max-age=31536000, immutable')
          .sendFile(join('assets', request.params.file)),
      )
    })
  }
}

function page(reply: FastifyReply, file: string): FastifyReply {
  return reply.header('cache-control', 'no-cache').sendFile(file)
}

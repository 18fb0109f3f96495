/**
 * The examples' pages, of the editor at `/` and of the market at `/market`, when they have been built (npm run build); a relay
 * without them is as good.
 *
 * - A few routes with no wildcard: `/`, `/embed`, `/market`, and `assets/<file>` of both. Nothing here answers for /v1,
 *   /healthz or a document's name, and WebSocket upgrades never come here.
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
import type { FastifyInstance, FastifyPluginAsync, FastifyReply } from 'fastify'

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

/** Of one example: its pages by their paths, and the path that its assets are under. */
interface Example {
  readonly folder: string
  readonly pages: Readonly<Record<string, string>>
  readonly assets: string
}

const examples: readonly Example[] = [
  { folder: 'editor', pages: { '/': 'index.html', '/embed': 'embed.html' }, assets: '/assets' },
  { folder: 'market', pages: { '/market': 'index.html' }, assets: '/market/assets' },
]

/** `folder`: with what the build of the examples made, or will make. */
export function pageRoutes(folder: string): (http: FastifyInstance) => void {
  return (http) => {
    // Fastify waits for them before it is ready.
    for (const example of examples)
      void http.register(routesOf({ ...example, folder: join(folder, example.folder) }))
  }
}

function routesOf({ folder, pages: files, assets }: Example): FastifyPluginAsync {
  return async (pages) => {
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
    for (const [path, file] of Object.entries(files)) pages.get(path, (_request, reply) => page(reply, file))
    // Their names contain a hash of their content.
    pages.get<{ Params: { file: string } }>(`${assets}/:file`, (request, reply) =>
      reply
        .header('cache-control', 'public, max-age=31536000, immutable')
        .sendFile(join('assets', request.params.file)),
    )
  }
}

function page(reply: FastifyReply, file: string): FastifyReply {
  return reply.header('cache-control', 'no-cache').sendFile(file)
}

/** What /v1/openapi.json says beside the routes. */
import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger'

export const description: FastifyDynamicSwaggerOptions = {
  openapi: {
    openapi: '3.1.0',
    info: {
      title: 'Tidemark',
      version: '1',
      description:
        'Collaborative documents over HTTP. docs/http.md has examples. Unknown parameters are refused.',
    },
    security: [{ bearer: [] }, { query: [] }],
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
        query: {
          type: 'apiKey',
          in: 'query',
          name: 'token',
          description: 'For those who cannot set headers. It may end up in the logs of proxies.',
        },
      },
    },
  },
  // The name in the document is the name in the code.
  refResolver: {
    buildLocalReference: (schema, _baseUri, _fragment, i) => String(schema['$id'] ?? `def-${i}`),
  },
}

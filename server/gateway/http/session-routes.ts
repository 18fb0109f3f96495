/** Ending sessions: a user's, or those of a document, at once and on all nodes. */
import type { FastifyInstance } from 'fastify'
import { documentIdBytesMax, parseDocumentId } from '../../../core/document-id.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import { type Identity, includes, type RevocationTarget } from '../../access/access.ts'
import type { ApiContext } from './context.ts'
import { empty, problems } from './schemas.ts'

const bodyBytesMax = 16 * 1024
const subjectLengthMax = 255

interface EndBody {
  readonly subject?: string
  readonly document?: string
}

export function sessionRoutes(api: FastifyInstance, { guard, revocations }: ApiContext): void {
  api.post<{ Body: EndBody }>(
    '/sessions/end',
    {
      onRequest: guard.anyone(),
      bodyLimit: bodyBytesMax,
      schema: {
        operationId: 'endSessions',
        summary: 'End sessions',
        description:
          "With `subject`: all sessions of that user; the user's tokens that were issued until now are refused from " +
          'now on. Needs admin access to every document (`**`). With `document`: all sessions of that document, whose ' +
          'clients may come back if they may. Needs admin access to it.',
        tags: ['sessions'],
        body: {
          type: 'object',
          properties: {
            subject: { type: 'string', minLength: 1, maxLength: subjectLengthMax },
            document: { type: 'string', minLength: 1, maxLength: documentIdBytesMax },
          },
          oneOf: [{ required: ['subject'] }, { required: ['document'] }],
        },
        response: { 204: empty('Durable; nodes act on it within moments.'), ...problems },
      },
    },
    async (request, reply) => {
      const { identity } = guard.caller(request)
      await revocations.end(targetOf(request.body, identity), identity.subject)
      return reply.code(204).send()
    },
  )
}

function targetOf({ subject, document }: EndBody, identity: Identity): RevocationTarget {
  if (subject !== undefined) {
    if (!includes(identity.accessToAll, 'admin'))
      throw new TidemarkError('forbidden', "Ending a user's sessions needs admin access to every document")
    return { subject }
  }
  const id = parseDocumentId(document ?? '')
  if (!includes(identity.accessTo(id), 'admin'))
    throw new TidemarkError('forbidden', 'This token does not allow admin access to this document')
  return { document: id }
}

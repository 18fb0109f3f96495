/**
 * Updates in the engine's own bytes: read, whole or what is missing, and append.
 *
 * Reading is a join without a socket: the chunks of the room's image, shared with everybody who joins. Appending goes
 * through the room's `submit`, as any session's updates do, and is answered when it is durable.
 *
 * A key (`Idempotency-Key: replica:sequence`) is kept under the name of its user, so that nobody can use up
 * the sequence of somebody else and have that one's updates taken for duplicates.
 */
import { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import type { EngineName } from '../../../core/engine/engine.ts'
import { engines } from '../../../core/engine/engines.ts'
import { type Offset, toOffset } from '../../../core/offset.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import { counts, endedOf, fold } from '../../log/lineage.ts'
import type { IdempotencyKey } from '../../log/log.ts'
import { append } from '../../room/append.ts'
import { wrongEngine } from '../../room/known.ts'
import type { Room } from '../../room/room.ts'
import { type ApiContext, reading, removed } from './context.ts'
import type { DocumentCaller } from './guard.ts'
import { documentParams, durability, octets, offsetOf, problems } from './schemas.ts'

const tags = ['updates']

interface UpdateQuery {
  readonly since?: string
  readonly after?: number
}

interface AppendHeaders {
  readonly 'idempotency-key'?: string
}

/** One update for a reader. */
interface Answer {
  readonly scope: 'whole' | 'since' | 'after'
  readonly chunks: readonly Uint8Array[]
  readonly offset: Offset
  readonly epoch: Offset
  /** Null: nobody has written. */
  readonly engine: EngineName | null
}

export function updateRoutes(api: FastifyInstance, context: ApiContext): void {
  const { guard, rooms, log, limits } = context
  const { updateBytesMax } = limits

  api.get<{ Querystring: UpdateQuery }>(
    '/documents/:id/update',
    {
      onRequest: guard.document('read'),
      schema: {
        operationId: 'readUpdate',
        summary: 'Read a document as one update',
        description:
          'The whole document, or with `since` or `after` what came later. Apply it to a copy of the same epoch, or ' +
          'to an empty document; it may repeat what you have, which is harmless.',
        tags,
        params: documentParams,
        querystring: {
          type: 'object',
          properties: {
            since: {
              type: 'string',
              maxLength: 8192,
              pattern: '^[A-Za-z0-9_-]*={0,2}$',
              description: "Your copy's version (Yjs: state vector, Automerge: heads), in base64url.",
            },
            after: offsetOf('The offset that an earlier answer came with.'),
          },
        },
        response: {
          200: {
            description: 'One update.',
            headers: {
              'Tidemark-Offset': { type: 'integer', description: 'Everything up to here is in it.' },
              'Tidemark-Epoch': {
                type: 'integer',
                description: 'Not the one your copy came with: drop the copy, read the whole document.',
              },
              'Tidemark-Engine': {
                type: 'string',
                enum: Object.keys(engines),
                description: 'Whose update it is. Absent as long as nobody has written.',
              },
              'Tidemark-Scope': {
                type: 'string',
                enum: ['whole', 'since', 'after'],
                description:
                  '`whole` also where `after` was asked for and what came later cannot be told apart any more.',
              },
            },
            content: { [octets]: { schema: {} } },
          },
          ...problems,
        },
      },
    },
    async (request, reply) => {
      const caller = guard.documentCaller(request)
      const { since, after } = request.query
      if (since !== undefined && after !== undefined)
        throw new TidemarkError('invalid_request', 'Give `since` or `after`, not both')
      const version = since === undefined ? null : Buffer.from(since, 'base64url')
      const answer = await reading(context, caller, () =>
        rooms.use(caller.document, (room) => answerOf(context, room, version, after)),
      )
      const bytes = answer.chunks.reduce((sum, chunk) => sum + chunk.length, 0)
      reply
        .header('tidemark-offset', answer.offset)
        .header('tidemark-epoch', answer.epoch)
        .header('tidemark-scope', answer.scope)
        .header('content-length', bytes)
        .type(octets)
      if (answer.engine !== null) reply.header('tidemark-engine', answer.engine)
      return reply.send(Readable.from(answer.chunks, { objectMode: false }))
    },
  )

  api.post<{ Headers: AppendHeaders }>(
    '/documents/:id/updates',
    {
      onRequest: guard.document('write', updateBytesMax),
      bodyLimit: updateBytesMax,
      schema: {
        operationId: 'appendUpdate',
        summary: 'Append an update',
        description:
          'Creates the document when there is none; the first update decides its engine. Answered when the update is durable.',
        tags,
        params: documentParams,
        headers: {
          type: 'object',
          properties: {
            'idempotency-key': {
              type: 'string',
              pattern: '^[A-Za-z0-9_.-]{1,64}:[1-9][0-9]{0,14}$',
              description:
                '`replica:sequence`: a name of the sender, unique among those of one user, and a number that rises ' +
                'with each of its updates. A retry with the same key appends nothing.',
              examples: ['importer-7:42'],
            },
          },
        },
        body: { content: { [octets]: { schema: {} } } },
        response: {
          200: {
            ...appendedSchema,
            description: 'The document has all of it already; nothing was appended.',
          },
          201: { ...appendedSchema, description: 'Appended, durable.' },
          ...problems,
        },
      },
    },
    async (request, reply) => {
      const caller = guard.documentCaller(request)
      if (!(request.body instanceof Uint8Array))
        throw new TidemarkError('invalid_request', `The body must be one update, as ${octets}`)
      const key = keyOf(request.headers['idempotency-key'], caller)
      const { subject: author, roles } = caller.identity
      const { offset, duplicate } = await append(rooms, caller.document, request.body, { author, roles }, key)
      return reply.code(duplicate ? 200 : 201).send({ offset, duplicate, durability: log.durability })
    },
  )
}

const appendedSchema = {
  type: 'object',
  required: ['offset', 'duplicate', 'durability'],
  properties: {
    offset: offsetOf('The update is in the log at this offset, or before.'),
    duplicate: { type: 'boolean' },
    durability,
  },
} as const

// --- append -------------------------------------------------------------------------------------

function keyOf(header: string | undefined, { identity }: DocumentCaller): IdempotencyKey | undefined {
  if (header === undefined) return undefined
  const [replica, sequence] = header.split(':') as [string, string]
  // A replica has no `#`, so no two pairs of user and replica make one name.
  return { replica: `${identity.subject}#${replica}`, sequence: Number(sequence) }
}

// --- read ---------------------------------------------------------------------------------------

async function answerOf(
  context: ApiContext,
  room: Room,
  version: Uint8Array | null,
  after: number | undefined,
): Promise<Answer> {
  if (room.offset === 0) throw new TidemarkError('not_found', 'There is no such document')
  if (room.lineage.removed) throw removed()
  const engine = version === null ? (room.engine ?? 'yjs') : engineFor(room, version)
  if (after !== undefined && after > 0) {
    const later = await since(context, room, toOffset(after))
    if (later !== null) return later
  }
  const wanted = version ?? engines[engine].emptyVersion
  const { chunks, offset } = await room.image.join(wanted, engine, Date.now())
  const scope = version === null ? 'whole' : 'since'
  // The image was read just now and is ahead of what the room has heard, perhaps by a deletion.
  if (offset > room.offset) return readAnew(context, room, engine, wanted, scope)
  return { scope, chunks, offset, epoch: room.lineage.epoch, engine: room.engine }
}

/**
 * Whose version it is: the document's engine, or the first that can read it while there is none. Throws `invalid_request`, or
 * `stale_replica` for a copy of an ended lineage.
 */
function engineFor(room: Room, version: Uint8Array): EngineName {
  const possible = room.engine === null ? (Object.keys(engines) as EngineName[]) : [room.engine]
  const able = possible.filter((name) => isVersion(name, version))
  const [engine] = able
  if (engine === undefined) throw new TidemarkError('invalid_request', '`since` is not a version')
  if (able.some((name) => endedOf(room.lineage, name)?.seenBy(version)))
    throw new TidemarkError('stale_replica', 'This copy comes from a lineage that was deleted')
  return engine
}

function isVersion(engine: EngineName, version: Uint8Array): boolean {
  try {
    engines[engine].validateVersion(version)
    return true
  } catch {
    // It is refused, unless it is another engine's.
    return false
  }
}

/**
 * Null when what came after cannot be told apart: compacted, not there yet, or not updates only. Without statements
 * the lineage is one from `after` on, and the room, which is at or after it, knows which.
 */
async function since({ log }: ApiContext, room: Room, after: Offset): Promise<Answer | null> {
  const { lineage, engine } = room
  if (after > room.offset || engine === null) return null
  const { snapshot, tail, offset } = await log.load(room.document, after)
  if (snapshot !== null || tail.some((entry) => (entry.kind ?? 'update') !== 'update')) return null
  const updates = tail.filter((entry) => entry.offset > after && counts(entry, lineage, engine))
  const chunks = engines[engine].join(
    null,
    updates.map((entry) => entry.update),
    engines[engine].emptyVersion,
  )
  return { scope: 'after', chunks, offset, epoch: lineage.epoch, engine }
}

async function readAnew(
  { log }: ApiContext,
  room: Room,
  engine: EngineName,
  version: Uint8Array,
  scope: Answer['scope'],
): Promise<Answer> {
  const content = fold(await log.load(room.document))
  if (content.lineage.removed) throw removed()
  const has = content.engine
  if (has !== null && has !== engine) throw wrongEngine(has, engine)
  const updates = content.entries.map((entry) => entry.update)
  const chunks = engines[engine].join(content.snapshot, updates, version)
  return { scope, chunks, offset: content.offset, epoch: content.lineage.epoch, engine: has }
}

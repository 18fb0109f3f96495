/**
 * Who wrote when, and what was set aside. Both survive deletion and compaction: entries that compaction has dropped
 * are told as runs (log/history.ts). Never the content.
 */
import type { FastifyInstance } from 'fastify'
import { toOffset } from '../../../core/offset.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import type { Run } from '../../log/history.ts'
import { fold } from '../../log/lineage.ts'
import { type Entry, entryKinds } from '../../log/log.ts'
import { type ApiContext, read, reading, readLive, state } from './context.ts'
import { documentParams, empty, iso, limitOf, offsetOf, problems, time } from './schemas.ts'

const historyMax = 1_000

interface HistoryQuery {
  readonly after: number
  readonly limit: number
}

interface EntryParams {
  readonly id: string
  readonly offset: number
}

const author = { type: 'string', description: "The subject of its token, '' without one." } as const
const bytes = { type: 'integer', description: 'As they came in.' } as const

export function historyRoutes(api: FastifyInstance, context: ApiContext): void {
  const { guard, log } = context

  api.get<{ Querystring: HistoryQuery }>(
    '/documents/:id/history',
    {
      onRequest: guard.document('read'),
      schema: {
        operationId: 'readHistory',
        summary: 'Read who wrote when',
        description: 'Of a deleted document too.',
        tags: ['history'],
        params: documentParams,
        querystring: {
          type: 'object',
          properties: {
            after: { ...offsetOf('`next` of the page before.'), default: 0 },
            limit: limitOf(100, historyMax),
          },
        },
        response: {
          200: { ...historySchema, description: 'Oldest first: runs, then entries.' },
          ...problems,
        },
      },
    },
    async (request) => {
      const caller = guard.documentCaller(request)
      const { after, limit } = request.query
      return reading(context, caller, async () => {
        const loaded = await log.load(caller.document, toOffset(after))
        const { snapshot, tail, offset } = loaded
        if (offset === 0) throw new TidemarkError('not_found', 'There is no such document')
        const runs = snapshot === null ? [] : fold(loaded).history
        const later = tail.filter((entry) => entry.offset > after)
        const entries = later.slice(0, limit)
        return {
          runs: runs.filter((run) => run.to > after).map(shownRun),
          entries: entries.map(shownEntry),
          next: later.length > limit ? entries.at(-1)!.offset : null,
        }
      })
    },
  )

  api.get(
    '/documents/:id/quarantine',
    {
      onRequest: guard.document('read'),
      schema: {
        operationId: 'listQuarantine',
        summary: 'List updates that were set aside because the server could not digest them',
        description: 'They are kept and count for nothing.',
        tags: ['quarantine'],
        params: documentParams,
        response: {
          200: { ...quarantineSchema, description: 'In the order of their offsets.' },
          ...problems,
        },
      },
    },
    async (request) => {
      const caller = guard.documentCaller(request)
      const { content } = await reading(context, caller, () => readLive(context, caller.document))
      const entries = content.aside.map(({ entry, reason }) => ({ ...shownEntry(entry), reason }))
      return { entries: entries.sort((a, b) => a.offset - b.offset) }
    },
  )

  for (const [verb, kind, what] of [
    ['release', 'release', 'Let an update that was set aside count again'],
    ['discard', 'discard', 'Forget an update that was set aside, for ever'],
  ] as const)
    api.post<{ Params: EntryParams }>(
      `/documents/:id/quarantine/:offset/${verb}`,
      {
        onRequest: guard.document('admin'),
        schema: {
          operationId: `${verb}QuarantinedUpdate`,
          summary: what,
          tags: ['quarantine'],
          params: {
            type: 'object',
            required: ['id', 'offset'],
            properties: { ...documentParams.properties, offset: offsetOf('Of the update.') },
          },
          response: { 204: empty('Done, durable.'), ...problems },
        },
      },
      async (request, reply) => {
        const caller = guard.documentCaller(request)
        const { offset } = request.params
        const { content } = await reading(context, caller, () => read(context, caller.document))
        if (!content.aside.some(({ entry }) => entry.offset === offset))
          throw new TidemarkError('not_found', 'No update of this offset is set aside')
        await state(context, caller, kind, [offset])
        if (kind === 'discard') context.compactSoon(caller.document)
        return reply.code(204).send()
      },
    )
}

const entryProperties = {
  offset: offsetOf('Its place in the log.'),
  time,
  author,
  bytes,
} as const

const historySchema = {
  type: 'object',
  required: ['runs', 'entries', 'next'],
  properties: {
    runs: {
      type: 'array',
      description:
        'What compaction has merged: entries of one author with less than ten minutes between them.',
      items: {
        type: 'object',
        properties: {
          from: offsetOf('Of its first entry.'),
          to: offsetOf('Of its last entry.'),
          fromTime: time,
          toTime: time,
          authors: { type: 'array', items: author },
          updates: { type: 'integer' },
          bytes,
        },
      },
    },
    entries: {
      type: 'array',
      items: {
        type: 'object',
        properties: { ...entryProperties, kind: { type: 'string', enum: Object.keys(entryKinds) } },
      },
    },
    next: { type: ['integer', 'null'], description: 'For `after` of the next page; null on the last one.' },
  },
} as const

const quarantineSchema = {
  type: 'object',
  required: ['entries'],
  properties: {
    entries: {
      type: 'array',
      items: { type: 'object', properties: { ...entryProperties, reason: { type: 'string' } } },
    },
  },
} as const

const shownRun = ({ from, to, fromMs, toMs, authors, updates, bytes }: Run) => ({
  from,
  to,
  fromTime: iso(fromMs),
  toTime: iso(toMs),
  authors,
  updates,
  bytes,
})

const shownEntry = ({ offset, timeMs, author, update, kind }: Entry) => ({
  offset,
  time: iso(timeMs),
  author,
  bytes: update.length,
  kind: kind ?? 'update',
})

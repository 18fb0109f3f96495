/**
 * Conflicts over all documents that a token may read, and settling them.
 *
 * The list is a query like any other (`tidemark.conflicts`), with the token's rights. What one field says, and settling it, is asked of
 * the document itself, since rows follow it. The fact that settles is appended as the caller's own update is: the same door, durable
 * before the answer; and under a name of its own, so that whoever asks again settles once.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { parseDocumentId } from '../../../core/document-id.ts'
import type { Outcome } from '../../../core/domain/facts/outcome.ts'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import type { QueryAnswer } from '../../../core/protocol/query.ts'
import { includes } from '../../access/access.ts'
import { append } from '../../room/append.ts'
import type { Choice, FieldAt, FieldFound, Settled } from '../../views/conflicts.ts'
import type { Operation } from '../../views/operations.ts'
import { rightsOf } from '../../views/query/rights.ts'
import { listing, readingOne, settling } from './conflict-schemas.ts'
import { type ApiContext, reading } from './context.ts'
import type { Caller } from './guard.ts'
import { sendProblem } from './problem.ts'

/** Of a conflict in the list, as JSON: a large one must not keep the others from whoever reads it. */
const sidesLengthMax = 64 * 1024

const listSql = `
  select document, adapter, entity, field, roles,
    case when length(sides::text) <= ${sidesLengthMax} then sides else '[]' end as sides,
    to_char(since at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as since
  from tidemark.conflicts
  where ($1::text is null or adapter = $1) and starts_with(document, $2) and ($3::text is null or roles = '{}' or $3 = any (roles))
    and (document collate "C", adapter collate "C", entity collate "C", field collate "C") > ($4, $5, $6, $7)
  order by document collate "C", adapter collate "C", entity collate "C", field collate "C"
  limit $8::int`

interface ListQuery {
  readonly adapter?: string
  readonly prefix: string
  readonly role?: string
  readonly after: string
  readonly limit: number
}

interface FieldQuery {
  readonly adapter?: string
  readonly entity: string
  readonly field: string
}

interface SettleBody extends FieldQuery {
  readonly document: string
  readonly seen: readonly string[]
  readonly side?: string
  readonly value?: unknown
}

export function conflictRoutes(api: FastifyInstance, context: ApiContext): void {
  const { guard, log } = context

  api.get<{ Querystring: ListQuery }>(
    '/conflicts',
    {
      onRequest: guard.anyone(),
      schema: listing,
    },
    async (request) => list(context, guard.caller(request), request.query),
  )

  api.get<{ Querystring: FieldQuery }>(
    '/conflicts/:id',
    {
      onRequest: guard.document('read'),
      schema: readingOne,
    },
    async (request) => {
      const caller = guard.documentCaller(request)
      const { document } = caller
      const { adapter = null, entity, field } = request.query
      const at = { document, adapter, entity, field }
      return reading(context, caller, () => asked(context, { verb: 'field', at }, 'found'))
    },
  )

  api.post<{ Body: SettleBody }>(
    '/conflicts',
    {
      onRequest: guard.anyone(),
      preValidation: refuseUnknownFields,
      schema: settling,
    },
    async (request, reply) => {
      const caller = guard.caller(request)
      const settled = await settle(context, caller, request.body)
      if ('changed' in settled) return changed(settled.changed, request, reply, context)
      const { duplicate } = settled
      return reply.code(duplicate ? 200 : 201).send({ ...settled, durability: log.durability })
    },
  )
}

async function list({ query }: ApiContext, { identity, signal }: Caller, asked: ListQuery) {
  const { adapter = null, prefix, role = null, after, limit } = asked
  const params = [adapter, prefix, role, ...placeIn(after), limit + 1]
  const bytes = await query.ask(
    { sql: listSql, params, cursor: null, rights: rightsOf(identity), after: {} },
    signal,
  )
  const { rows, cursor } = JSON.parse(new TextDecoder().decode(bytes)) as QueryAnswer
  const conflicts = rows.slice(0, limit)
  // The answer may have been full before the page was.
  const hasMore = rows.length > limit || cursor !== undefined
  const last = conflicts.at(-1)
  const next =
    hasMore && last !== undefined
      ? cursorOf([last['document'], last['adapter'], last['entity'], last['field']])
      : null
  return { conflicts, next }
}

interface Done {
  readonly key: string
  readonly value: unknown
  readonly outcome: Outcome
  readonly duplicate: boolean
  readonly offset: number | null
}

async function settle(
  context: ApiContext,
  caller: Caller,
  body: SettleBody,
): Promise<Done | { readonly changed: FieldFound }> {
  const { identity } = caller
  const document = parseDocumentId(body.document)
  const held = identity.accessTo(document)
  if (!includes(held, 'write'))
    throw held === 'read'
      ? new TidemarkError('read_only', 'This token allows reading this document only')
      : new TidemarkError('forbidden', 'This token does not allow write access to this document')
  const { adapter = null, entity, field, seen } = body
  const at: FieldAt = { document, adapter, entity, field }
  const choice = choiceIn(body)
  const { subject, roles } = identity
  const settling = { at, seen, choice, subject, nowMs: Date.now() }
  const settled: Settled = await reading(context, caller, () =>
    asked(context, { verb: 'settle', settling }, 'settled'),
  )
  if ('changed' in settled) return settled
  const { key, value, outcome, update, name } = settled
  if (update === null) return { key, value, outcome, duplicate: true, offset: null }
  // The same may be asked twice at once, here or on another node.
  const once = { replica: `${subject}#conflict-${name}`, sequence: 1 }
  const author = { author: subject, roles }
  const { offset, duplicate } = await append(context.rooms, document, update, author, once)
  return { key, value, outcome, duplicate, offset }
}

function choiceIn(body: SettleBody): Choice {
  const hasValue = Object.hasOwn(body, 'value')
  if ((body.side === undefined) !== hasValue)
    throw new TidemarkError('invalid_request', 'Give `side` or `value`, one of the two')
  return body.side === undefined ? { value: body.value as never } : { side: body.side }
}

/** What the thread of the views answers to one operation. */
async function asked<Name extends string, T>(
  { views }: ApiContext,
  operation: Operation,
  name: Name,
): Promise<T> {
  const answered = (await views(operation)) as object as Readonly<Record<Name, T>>
  return answered[name]
}

function changed(
  conflict: FieldFound,
  request: FastifyRequest,
  reply: FastifyReply,
  context: ApiContext,
): FastifyReply {
  const error = new TidemarkError('conflict_changed', 'The sides of this conflict are others by now')
  return sendProblem(error, request, reply, context, { conflict })
}

/** Of the order of the list: behind it the next page begins. */
const cursorOf = (place: readonly unknown[]): string =>
  Buffer.from(JSON.stringify(place)).toString('base64url')

function placeIn(cursor: string): readonly string[] {
  if (cursor === '') return ['', '', '', '']
  try {
    const place: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    if (Array.isArray(place) && place.length === 4 && place.every((part) => typeof part === 'string'))
      return place as string[]
  } catch {
    // Told below.
  }
  throw new TidemarkError('invalid_request', '`after` is not the `next` of a page')
}

/** Validation leaves out what the schema does not name: a mistyped `entity` would settle another field. */
async function refuseUnknownFields({ body }: FastifyRequest): Promise<void> {
  if (typeof body !== 'object' || body === null) return
  for (const name of Object.keys(body))
    if (!fields.includes(name))
      throw new TidemarkError('invalid_request', `There is no field ${JSON.stringify(name)} here`)
}

const fields = ['document', 'adapter', 'entity', 'field', 'seen', 'side', 'value']

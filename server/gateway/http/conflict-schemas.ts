/** What the routes of conflicts take and answer. */
import { documentIdBytesMax } from '../../../core/document-id.ts'
import { entityLengthMax } from '../../../core/domain/facts/fact.ts'
import { documentParams, durability, limitOf, offsetOf, problems, time } from './schemas.ts'

const tags = ['conflicts']
const listMax = 500
const seenMax = 1_000
const cursorLengthMax = 4_096
const nameMax = 40
const roleMax = 200

const adapter = { type: 'string', minLength: 1, maxLength: nameMax, description: 'Its name.' } as const
const entity = {
  type: 'string',
  maxLength: entityLengthMax,
  default: '',
  description: 'Empty: the document itself; `lines/7` an entity in it.',
} as const
const field = { type: 'string', minLength: 1, maxLength: entityLengthMax, examples: ['title'] } as const
/** An Automerge operation's is as long as its author's name. */
const keyLengthMax = 600
const key = {
  type: 'string',
  maxLength: keyLengthMax,
  description: 'Of a fact; of a value that no fact wrote, what its engine calls it.',
} as const
const anything = { description: 'Any JSON.' } as const
const at = { ...time, type: ['string', 'null'], description: 'By the clock of who wrote it.' } as const

const sideProperties = {
  key,
  value: anything,
  subject: { type: 'string', description: 'Who wrote it.' },
  actor: { type: 'string', description: 'On which device.' },
  at,
} as const
const side = { type: 'object', properties: sideProperties, additionalProperties: true } as const

const conflictProperties = {
  document: { type: 'string' },
  adapter,
  entity,
  field,
  since: { ...at, description: 'Since when there are two sides, by the clocks of who wrote them.' },
  roles: {
    type: 'array',
    items: { type: 'string' },
    description: 'Whose business it is; empty: anybody’s who may write.',
  },
  sides: { type: 'array', items: side },
} as const

const fieldFound = {
  type: 'object',
  properties: {
    ...conflictProperties,
    value: anything,
    earlier: {
      type: 'array',
      description: 'What was replaced, latest first; at most 100.',
      items: {
        type: 'object',
        properties: {
          ...sideProperties,
          by: { type: ['string', 'null'], description: 'The fact in its place.' },
        },
      },
    },
  },
} as const

const outcomeSchema = {
  type: 'object',
  description: 'What became of the settlement; `pending` with `proposal`: it waits for who holds the entity.',
  properties: { status: { type: 'string' }, reason: { type: 'string' }, by: key },
} as const

const settledSchema = {
  type: 'object',
  properties: {
    key,
    value: anything,
    outcome: outcomeSchema,
    duplicate: { type: 'boolean', description: 'It was settled so before, by this caller.' },
    offset: { ...offsetOf('Of the settlement in the log, or after it.'), type: ['integer', 'null'] },
    durability,
  },
} as const

export const listing = {
  operationId: 'listConflicts',
  summary: 'List what waits for a person to settle it',
  description: 'Of all documents that the token may read. Also `tidemark.conflicts` in a query, or live.',
  tags,
  querystring: {
    type: 'object',
    properties: {
      adapter,
      prefix: {
        type: 'string',
        maxLength: 512,
        default: '',
        description: 'What ids of documents begin with.',
      },
      role: {
        type: 'string',
        maxLength: roleMax,
        description: 'Those that this role is asked to settle: that name it, or name none.',
      },
      after: {
        type: 'string',
        maxLength: cursorLengthMax,
        default: '',
        description: '`next` of the page before.',
      },
      limit: limitOf(100, listMax),
    },
  },
  response: {
    200: {
      description:
        'In the order of documents. Without sides where these are more than 64 KiB: read that one.',
      type: 'object',
      required: ['conflicts', 'next'],
      properties: {
        conflicts: { type: 'array', items: { type: 'object', properties: conflictProperties } },
        next: {
          type: ['string', 'null'],
          description: 'For `after` of the next page; null on the last one.',
        },
      },
    },
    ...problems,
  },
} as const

export const readingOne = {
  operationId: 'readConflict',
  summary: 'Read a field with all its sides, and what was replaced',
  tags,
  params: documentParams,
  querystring: { type: 'object', required: ['field'], properties: { adapter, entity, field } },
  response: {
    200: { ...fieldFound, description: 'With fewer than two sides there is no conflict.' },
    ...problems,
  },
} as const

export const settling = {
  operationId: 'settleConflict',
  summary: 'Settle a conflict',
  description:
    'With one of its sides, or another value. Needs `write`. A retry settles once. When the sides are others than ' +
    'those that were seen, nothing happens, and the answer is a problem `conflict_changed` with the field as it is in `conflict`.',
  tags,
  body: {
    type: 'object',
    required: ['document', 'field', 'seen'],
    additionalProperties: false,
    properties: {
      document: { type: 'string', maxLength: documentIdBytesMax },
      adapter,
      entity,
      field,
      seen: {
        type: 'array',
        maxItems: seenMax,
        items: key,
        description: 'Keys of the sides that the person saw.',
      },
      side: { ...key, description: 'The side to take. This or `value`.' },
      value: anything,
    },
  },
  response: {
    200: { ...settledSchema, description: 'It was settled so before.' },
    201: { ...settledSchema, description: 'Settled, durable.' },
    ...problems,
  },
} as const

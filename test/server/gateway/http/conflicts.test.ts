/**
 * Conflicts over all documents, and settling them, through a real relay: over HTTP and with the client's functions; who may, whoever is
 * faster, once and not twice, and after compaction, a kill and a rebuild as before.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { createClient } from '../../../../client/create-client.ts'
import { ConflictChanged, conflictsOf } from '../../../../client/domain/conflicts-of.ts'
import { type Domain, openDomain } from '../../../../client/domain/domain.ts'
import { registration, written } from '../../../../core/domain/facts/author.ts'
import { factsRoot } from '../../../../core/domain/facts/fact.ts'
import { DocumentFold } from '../../../../core/domain/fold/document-fold.ts'
import { multiValue } from '../../../../core/domain/kinds/multi-value.ts'
import { owner } from '../../../../core/domain/kinds/owner.ts'
import { reference } from '../../../../core/domain/kinds/reference.ts'
import { engines } from '../../../../core/engine/engines.ts'
import { EventStream } from '../../../support/event-stream.ts'
import { type PostgresServer, start as startPostgres } from '../../../support/postgres-server.ts'
import { type RelayProcess, startRelay } from '../../../support/relay-process.ts'
import { type TokenOptions, token, tokenSecret } from '../../../support/tokens.ts'
import { until } from '../../../support/wait.ts'
import { type Answer, call, type Method } from './api-under-test.ts'

const adapter = `
import { defineAdapter, multiValue, owner, reference } from 'tidemark/adapter'
const isText = (value) => typeof value === 'string'
export const deals = defineAdapter({
  name: 'deals', version: 1, documents: 'deals/:id', settles: { title: ['seller'] },
  fields: { title: multiValue(isText), owner: owner({ fields: ['title'] }), visit: reference('visits/:id') },
  collections: { lines: { note: multiValue() } },
})
export const visits = defineAdapter({ name: 'visits', version: 1, documents: 'visits/:id', fields: { note: multiValue() } })
`
const fields = {
  fields: {
    title: multiValue<string>((value) => typeof value === 'string'),
    note: multiValue<string>(),
    owner: owner({ fields: ['title'] }),
    visit: reference('visits/:id'),
  },
  collections: { lines: { note: multiValue<string>() } },
}

const folder = mkdtempSync(join(tmpdir(), 'tidemark-conflicts-'))
let postgres: PostgresServer
let relay: RelayProcess

const start = (): Promise<RelayProcess> =>
  startRelay({
    DATA_DIR: folder,
    ADAPTERS: join(folder, 'adapters'),
    JWT_SECRET: tokenSecret,
    DATABASE_URL: postgres.url,
    COMPACTION_TAIL_COUNT_MAX: '2',
    COMPACTION_INTERVAL_MS: '0',
  })

beforeAll(async () => {
  mkdirSync(join(folder, 'adapters'))
  writeFileSync(join(folder, 'adapters', 'deals.ts'), adapter)
  postgres = await startPostgres()
  relay = await start()
})
afterAll(async () => {
  await relay.stop()
  await postgres.stop()
  rmSync(folder, { recursive: true })
})

const admin = { documents: [{ match: '**', access: 'admin' }] }

async function api(method: Method, path: string, who: TokenOptions, body?: object): Promise<Answer> {
  const options = { token: await token(who), ...(body !== undefined && { body }) }
  return call(relay.url, method, `/v1${path}`, options)
}

const rows = async (sql: string, who: TokenOptions = admin) => {
  const { body } = await api('POST', '/query', who, { sql })
  return (body.rows ?? []) as readonly Record<string, unknown>[]
}

class Person {
  readonly doc = new Y.Doc()
  readonly domain: Domain<typeof fields>
  readonly document: string
  readonly subject: string

  constructor(subject: string, document: string) {
    this.subject = subject
    this.document = document
    const handle = { doc: this.doc, loaded: true, on: () => () => undefined }
    this.domain = openDomain(handle, fields, { actor: subject.padEnd(6, '0'), subject })
  }

  get path(): string {
    return `/v1/documents/${encodeURIComponent(this.document)}`
  }

  /** Sends all that it has, and learns what there is. */
  async meet(): Promise<void> {
    const mine = await token({ subject: this.subject })
    if (this.doc.getMap('facts').size > 0) {
      const sent = await call(relay.url, 'POST', `${this.path}/updates`, {
        token: mine,
        body: Y.encodeStateAsUpdate(this.doc),
      })
      expect(sent.body).toMatchObject({ durability: 'fsync' })
    }
    const there = await call(relay.url, 'GET', `${this.path}/update`, { token: mine })
    Y.applyUpdate(this.doc, there.bytes)
  }
}

type Field = 'title' | 'note'

/** Ann and Ben wrote, without knowing of each other. */
async function inConflict(document: string, field: Field = 'title'): Promise<readonly [Person, Person]> {
  const people = [new Person('ann', document), new Person('ben', document)] as const
  people[0].domain.fields[field].do.set('Wheat')
  people[1].domain.fields[field].do.set('Rye')
  for (const person of people) await person.meet()
  return people
}

const seen = ['ann000:1', 'ben000:1']
const write: TokenOptions = { subject: 'cyd' }
const fieldOf = (document: string, field = 'title') =>
  api('GET', `/conflicts/${encodeURIComponent(document)}?field=${field}`, write)
const settlements = async (document: string): Promise<string[]> => {
  const { body } = await api('GET', `/documents/${encodeURIComponent(document)}`, write)
  return Object.entries(body.facts as Record<string, readonly unknown[]>).flatMap(([key, [, type]]) =>
    type === 'title.settle' ? [key] : [],
  )
}

describe('the list', () => {
  const listed = async (who: TokenOptions, query = '') => {
    const { status, body } = await api('GET', `/conflicts${query}`, who)
    expect(status).toBe(200)
    return (body.conflicts as { document: string }[]).map(({ document }) => document)
  }

  beforeAll(async () => {
    for (const document of ['deals/list-1', 'deals/list-2', 'deals/list-3']) await inConflict(document)
    await inConflict('visits/list', 'note')
    await until('projected', async () => (await rows('select from tidemark.conflicts')).length === 4)
  })

  test('has what the token may read, with both sides, who and when', async () => {
    const one = { documents: [{ match: 'deals/list-2', access: 'read' }] }
    const { body } = await api('GET', '/conflicts', one)
    expect(body).toEqual({
      conflicts: [
        {
          document: 'deals/list-2',
          adapter: 'deals',
          entity: '',
          field: 'title',
          roles: ['seller'],
          since: expect.stringMatching(/^\d{4}-.*Z$/),
          sides: [
            {
              key: 'ann000:1',
              value: 'Wheat',
              subject: 'ann',
              actor: 'ann000',
              at: expect.stringMatching(/Z$/),
            },
            {
              key: 'ben000:1',
              value: 'Rye',
              subject: 'ben',
              actor: 'ben000',
              at: expect.stringMatching(/Z$/),
            },
          ],
        },
      ],
      next: null,
    })
    expect(await listed({ documents: [] })).toEqual([])
    expect(await rows('select document from tidemark.conflicts', one)).toEqual([{ document: 'deals/list-2' }])
  })

  test('by adapter, beginning of the id, and role', async () => {
    expect(await listed(write, '?adapter=visits')).toEqual(['visits/list'])
    expect(await listed(write, '?prefix=deals/list-3')).toEqual(['deals/list-3'])
    expect(await listed(write, '?role=seller')).toHaveLength(4)
    expect(await listed(write, '?role=clerk')).toEqual(['visits/list'])
  })

  test('has large ones without their sides, and all others as ever', async () => {
    const ann = new Person('ann', 'deals/list-4')
    const ben = new Person('ben', 'deals/list-4')
    for (const { domain } of [ann, ben]) domain.fields.title.do.set('x'.repeat(40_000))
    for (const person of [ann, ben]) await person.meet()
    await until('projected', async () => (await listed(write)).includes('deals/list-4'))
    const { body } = await api('GET', '/conflicts', write)
    const sides = body.conflicts.map((conflict: { sides: unknown[] }) => conflict.sides.length)
    expect(sides).toEqual([2, 2, 2, 0, 2])
    expect((await fieldOf('deals/list-4')).body.sides).toHaveLength(2)
    await api('POST', '/conflicts', write, { document: 'deals/list-4', field: 'title', seen, value: '' })
    await until('settled', async () => !(await listed(write)).includes('deals/list-4'))
  })

  test('comes in pages', async () => {
    const found: string[] = []
    let next = ''
    for (let page = 0; page < 5 && next !== null; page++) {
      const { body } = await api('GET', `/conflicts?limit=3&after=${next}`, write)
      found.push(...body.conflicts.map(({ document }: { document: string }) => document))
      next = body.next
    }
    expect(found).toEqual(['deals/list-1', 'deals/list-2', 'deals/list-3', 'visits/list'])
    expect(next).toBeNull()
    expect((await api('GET', '/conflicts?after=x', write)).body.code).toBe('invalid_request')
  })
})

describe('settling', () => {
  test('with one side: it holds for everybody, and what was replaced stays readable, compacted or not', async () => {
    const [ann, ben] = await inConflict('deals/one')
    const settled = await api('POST', '/conflicts', write, {
      document: 'deals/one',
      field: 'title',
      seen,
      side: 'ben000:1',
    })
    expect(settled.status).toBe(201)
    expect(settled.body).toMatchObject({ value: 'Rye', outcome: { status: 'effective' }, duplicate: false })
    const { key } = settled.body
    for (const person of [ann, ben]) {
      await person.meet()
      expect(person.domain.fields.title.value).toEqual({ value: 'Rye', conflict: null })
      expect(person.domain.subjectOf(key.slice(0, 6))).toBe('cyd')
    }
    await until('compacted', async () => {
      const { body } = await api('GET', '/documents/deals%2Fone/history', write)
      return body.runs.length > 0
    })
    expect((await fieldOf('deals/one')).body).toMatchObject({
      value: 'Rye',
      sides: [{ key, subject: 'cyd' }],
      earlier: [
        { key: 'ben000:1', value: 'Rye', subject: 'ben', by: key },
        { key: 'ann000:1', value: 'Wheat', subject: 'ann', by: key },
      ],
    })
    await until('rows follow', async () => {
      const facts = await rows(
        `select status, payload->>'value' as value from deals_facts where document = 'deals/one' order by entry collate "C"`,
      )
      return facts.length === 3 && facts.filter(({ status }) => status === 'superseded').length === 2
    })
    expect(await rows(`select from tidemark.conflicts where document = 'deals/one'`)).toEqual([])
  })

  test('again, also at the same time and after a kill, settles once', async () => {
    await inConflict('deals/again')
    const body = { document: 'deals/again', field: 'title', seen: seen.toReversed(), value: 'Oats' }
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => api('POST', '/conflicts', write, body)),
    )
    const keys = new Set(answers.map((answer) => answer.body.key))
    expect(keys.size).toBe(1)
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(19)
    await relay.kill9()
    relay = await start()
    await until('again', async () => (await api('POST', '/conflicts', write, body)).status !== 503)
    const last = await api('POST', '/conflicts', write, body)
    expect(last.body).toMatchObject({ key: [...keys][0], value: 'Oats', duplicate: true })
    expect(await settlements('deals/again')).toEqual([...keys])
  })

  test('what has other sides by now is refused with these', async () => {
    const [ann] = await inConflict('deals/other')
    const dora = new Person('dora', 'deals/other')
    dora.domain.fields.title.do.set('Barley')
    await dora.meet()
    const body = { document: 'deals/other', field: 'title', seen, side: 'ann000:1' }
    const refused = await api('POST', '/conflicts', write, body)
    expect(refused.status).toBe(409)
    expect(refused.headers.get('content-type')).toContain('application/problem+json')
    expect(refused.body).toMatchObject({ code: 'conflict_changed', conflict: { document: 'deals/other' } })
    const keys = refused.body.conflict.sides.map(({ key }: { key: string }) => key)
    expect(keys.sort()).toEqual([...seen, 'dora00:1'])
    expect(await settlements('deals/other')).toEqual([])
    expect((await api('POST', '/conflicts', write, { ...body, seen: keys })).status).toBe(201)
    // Now there is none: somebody else is told what holds.
    const late = await api('POST', '/conflicts', { subject: 'dora' }, { ...body, seen: keys })
    expect(late.body).toMatchObject({ code: 'conflict_changed', conflict: { value: 'Wheat' } })
    await ann.meet()
    expect(ann.domain.conflicts()).toEqual([])
  })

  test('by two who do not know of each other is a conflict anew, of the two settlements', async () => {
    const [ann, ben] = await inConflict('deals/two')
    await ann.meet()
    await ben.meet()
    // Offline.
    ann.domain.conflicts()[0]!.settle({ value: 'Hay' })
    const body = { document: 'deals/two', field: 'title', seen, value: 'Straw' }
    expect((await api('POST', '/conflicts', write, body)).status).toBe(201)
    await ann.meet()
    const [conflict] = ann.domain.conflicts()
    expect(conflict!.sides.map(({ value }) => value).sort()).toEqual(['Hay', 'Straw'])
    expect(
      conflict!.settle({ side: conflict!.sides.find(({ value }) => value === 'Hay')!.key }).refusal,
    ).toBeNull()
    await ann.meet()
    expect((await fieldOf('deals/two')).body).toMatchObject({ value: 'Hay', sides: [{ subject: 'ann' }] })
  })

  test('an entity of a collection', async () => {
    const people = ['ann', 'ben'].map((subject) => new Person(subject, 'deals/lines'))
    for (const { domain, subject } of people) domain.entity('lines', '7').note.do.set(subject)
    for (const person of people) await person.meet()
    const body = { document: 'deals/lines', entity: 'lines/7', field: 'note', seen, value: ['any', 'JSON'] }
    expect((await api('POST', '/conflicts', write, body)).status).toBe(201)
    await people[0]!.meet()
    expect(people[0]!.domain.entity('lines', '7').note.value.value).toEqual(['any', 'JSON'])
  })

  test('in a document of Automerge too', async () => {
    const document = 'deals/automerge'
    const { automerge } = engines
    for (const [i, subject] of ['ann', 'ben'].entries()) {
      const [actor, fold] = [`${subject}000`, new DocumentFold(fields)]
      const fact = written(fold, actor, 1, { entity: '', type: 'title.set', payload: { value: subject } })
      const entries = [registration(actor, subject), fact].map(({ key, value }, n) =>
        automerge.entry(factsRoot, key, value!, { replica: i, written: n }),
      )
      const sent = await call(relay.url, 'POST', `/v1/documents/${encodeURIComponent(document)}/updates`, {
        token: await token({ subject }),
        body: automerge.merge(entries),
      })
      expect(sent.status).toBe(201)
    }
    const body = { document, field: 'title', seen, side: 'ben000:1' }
    const settled = await api('POST', '/conflicts', write, body)
    expect(settled.body).toMatchObject({ value: 'ben', outcome: { status: 'effective' } })
    expect((await api('POST', '/conflicts', write, body)).body).toMatchObject({
      key: settled.body.key,
      duplicate: true,
    })
    expect((await fieldOf(document)).body).toMatchObject({ value: 'ben', sides: [{ subject: 'cyd' }] })
  })

  test('what somebody else holds is a proposal, and waits for that one', async () => {
    const [ann, ben] = await inConflict('deals/held')
    await ben.meet()
    ben.domain.fields.owner.do.handOver('ben')
    await ben.meet()
    await until('ben holds it', async () => {
      await ben.meet()
      return ben.domain.fields.owner.value.holder === 'ben'
    })
    const body = { document: 'deals/held', field: 'title', seen, value: 'Oats' }
    const settled = await api('POST', '/conflicts', write, body)
    expect(settled.body.outcome).toMatchObject({ status: 'pending', reason: 'proposal' })
    await until('it waits for ben', async () => {
      const [intent] = await rows(
        `select fact, holder from tidemark.intents where document = 'deals/held' and waits_for = 'holder'`,
      )
      return intent?.['holder'] === 'ben' && intent['fact'] === settled.body.key
    })
    await ben.meet()
    ben.domain.fields.owner.do.takeOver(settled.body.key)
    await ben.meet()
    await ann.meet()
    expect(ann.domain.fields.title.value).toEqual({ value: 'Oats', conflict: null })
  })

  test.each<[string, TokenOptions, object, number, string]>([
    [
      'who may only read',
      { documents: [{ match: '**', access: 'read' }] },
      { side: 'ann000:1' },
      403,
      'read_only',
    ],
    ['who may not even that', { documents: [] }, { side: 'ann000:1' }, 403, 'forbidden'],
    ['neither side nor value', write, {}, 400, 'invalid_request'],
    ['both', write, { side: 'ann000:1', value: 'x' }, 400, 'invalid_request'],
    ['a side that is none', write, { side: 'ann000:9' }, 400, 'invalid_request'],
    ['a value that the field does not take', write, { value: 5 }, 400, 'invalid_request'],
    ['a field that is none', write, { field: 'nothing', value: 'x' }, 404, 'not_found'],
    ['an adapter that has it not', write, { adapter: 'visits', value: 'x' }, 404, 'not_found'],
    ['a document that is none', write, { document: 'deals/none', value: 'x' }, 404, 'not_found'],
    ['a mistyped name', write, { entitty: 'lines/7', value: 'x' }, 400, 'invalid_request'],
  ])('is refused to %s', async (_who, who, choice, status, code) => {
    const body = { document: 'deals/list-1', field: 'title', seen, ...choice }
    const refused = await api('POST', '/conflicts', who, body)
    expect({ status: refused.status, code: refused.body.code }).toEqual({ status, code })
    expect(await settlements('deals/list-1')).toEqual([])
  })

  test('reading one takes access to its document', async () => {
    const refused = await api('GET', '/conflicts/deals%2Flist-1?field=title', {
      documents: [{ match: 'visits/*', access: 'write' }],
    })
    expect(refused.body.code).toBe('forbidden')
  })
})

test('the client lists, reads and settles, and says when the sides are others', async () => {
  await inConflict('deals/client')
  const client = createClient({
    url: relay.url,
    token: await token({ subject: 'eve' }),
    storage: 'memory',
  })
  try {
    const inbox = conflictsOf(client)
    const only = { prefix: 'deals/client' }
    await until('projected', async () => (await inbox.list(only)).conflicts.length === 1)
    const [conflict] = (await inbox.list(only)).conflicts
    const at = conflict!.sides.map((side) => side.at!)
    expect(conflict!.since).toBe(Math.max(...at))
    const { entity, field, document } = conflict!
    expect((await inbox.read(document, { field, entity })).sides).toEqual(conflict!.sides)
    const settlement = { document, entity, field, seen, side: 'ann000:1' }
    const settled = await inbox.settle(settlement)
    expect(settled).toMatchObject({ outcome: { status: 'effective' } })
    expect((await inbox.settle(settlement)).key).toBe(settled.key)
    const refused = await inbox.settle({ ...settlement, side: 'ben000:1' }).catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(ConflictChanged)
    const { earlier, value } = (refused as ConflictChanged).conflict
    expect(value).toBe('Wheat')
    expect(earlier.map((side) => side.at).sort()).toEqual(at.sort())
    await expect(inbox.read('deals/client', { field: 'nothing' })).rejects.toMatchObject({
      code: 'not_found',
    })
  } finally {
    await client.close()
  }
})

test('whoever listens hears of a conflict, and that it is settled', async () => {
  const live = await EventStream.open(
    relay.url,
    `select document, adapter, entity, field from tidemark.conflicts where document = 'deals/live'`,
    { token: await token(write), key: 'document,adapter,entity,field' },
  )
  try {
    await until('nothing yet', () => live.list !== null)
    expect(live.list).toEqual([])
    await inConflict('deals/live')
    await until('heard of', () => live.list!.length === 1)
    await api('POST', '/conflicts', write, { document: 'deals/live', field: 'title', seen, value: 'Oats' })
    await until('settled', () => live.list!.length === 0)
  } finally {
    live.close()
  }
})

test('a reference is parked until its target comes, and again when that is deleted', async () => {
  const ann = new Person('ann', 'deals/parked')
  ann.domain.fields.visit.do.set('visits/later')
  await ann.meet()
  const parked = () => rows('select document, field, target from deals_parked')
  const found = [{ document: 'deals/parked', field: 'visit', target: 'visits/later' }]
  await until('parked', async () => (await parked()).length === 1)
  expect(await parked()).toEqual(found)
  expect(await rows(`select visit from deals where document = 'deals/parked'`)).toEqual([
    { visit: 'visits/later' },
  ])
  const ben = new Person('ben', 'visits/later')
  ben.domain.fields.note.do.set('there')
  await ben.meet()
  await until('complete', async () => (await parked()).length === 0)
  expect((await api('DELETE', '/documents/visits%2Flater', admin)).status).toBe(204)
  await until('parked again', async () => (await parked()).length === 1)
  expect(await parked()).toEqual(found)
})

test('after a rebuild the same rows wait', async () => {
  const all = async () => [
    await rows('select * from tidemark.conflicts order by document'),
    await rows('select * from tidemark.intents order by document, fact'),
    await rows('select * from deals_parked'),
  ]
  const before = await all()
  expect(before[0]!.length).toBeGreaterThan(2)
  expect(before[2]).toHaveLength(1)
  const made = async () => (await api('GET', '/views', admin)).body.adapters as { lastRebuild: unknown }[]
  expect((await api('POST', '/views/rebuild', admin)).status).toBe(202)
  await until('rebuilt', async () => (await made()).every(({ lastRebuild }) => lastRebuild !== null))
  expect(await all()).toEqual(before)
})

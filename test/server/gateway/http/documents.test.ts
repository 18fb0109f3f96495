/** The life of a document over HTTP: created, read, listed, deleted, created anew. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { RawClient } from '../../../support/raw-client.ts'
import { token } from '../../../support/tokens.ts'
import { until } from '../../../support/wait.ts'
import {
  type Answer,
  type ApiUnderTest,
  adminToken,
  type Call,
  call,
  docOf,
  type Method,
  pathOf,
  startApi,
  textUpdate,
} from './api-under-test.ts'

let api: ApiUnderTest
let admin: string
beforeAll(async () => {
  api = await startApi()
  admin = await adminToken()
})
afterAll(() => api.close())

const ask = (method: Method, path: string, options: Call = {}): Promise<Answer> =>
  call(api.url, method, path, { token: admin, ...options })
const post = (document: string, update: Uint8Array, headers: Record<string, string> = {}): Promise<Answer> =>
  ask('POST', pathOf(document, '/updates'), { body: update, headers })

describe('reading as JSON', () => {
  test('gives the state and a tag, and 304 for the tag until something changes', async () => {
    const doc = new Y.Doc()
    await post('json/a', textUpdate('one', doc))
    const first = await ask('GET', pathOf('json/a'))
    expect([first.status, first.body, first.headers.get('etag')]).toEqual([200, { t: 'one' }, '"0-1"'])
    const tag = { 'if-none-match': first.headers.get('etag')! }
    expect((await ask('GET', pathOf('json/a'), { headers: tag })).status).toBe(304)

    await post('json/a', textUpdate(' two', doc))
    const second = await ask('GET', pathOf('json/a'), { headers: tag })
    expect([second.status, second.body, second.headers.get('etag')]).toEqual([200, { t: 'one two' }, '"0-2"'])

    await api.compact('json/a')
    expect((await ask('GET', pathOf('json/a'))).body).toEqual({ t: 'one two' })
    const same = await ask('GET', pathOf('json/a'), { headers: { 'if-none-match': '"0-2"' } })
    expect([same.status, same.bytes.length]).toEqual([304, 0])
  })

  test('does not take a tag for one that it has not reached', async () => {
    await post('json/b', textUpdate('one'))
    const answer = await ask('GET', pathOf('json/b'), { headers: { 'if-none-match': '"0-77", W/"x"' } })
    expect([answer.status, answer.body]).toEqual([200, { t: 'one' }])
  })

  test('says not_found of what the log has nothing of, and leaves nothing there', async () => {
    for (const rest of ['', '/update', '/history', '/quarantine'])
      expect(await ask('GET', pathOf('nothing/there', rest))).toMatchObject({
        status: 404,
        body: { code: 'not_found', type: 'urn:tidemark:error:not_found', title: 'Not found' },
      })
    expect((await api.log.load('nothing/there' as never)).offset).toBe(0)
  })
})

describe('a life', () => {
  test('create, refuse to create again, write, delete, refuse everything, create anew', async () => {
    const created = await ask('PUT', pathOf('life/a'))
    expect([created.status, created.body]).toEqual([201, { offset: 1, epoch: 0, durability: 'fsync' }])
    expect(await ask('PUT', pathOf('life/a'))).toMatchObject({
      status: 409,
      body: { code: 'already_exists' },
    })
    expect((await ask('GET', pathOf('life/a'))).body).toEqual({})
    await post('life/a', textUpdate('old'))

    expect((await ask('DELETE', pathOf('life/a'))).status).toBe(204)
    expect(api.compactions).toContain('life/a')
    for (const [method, rest] of [
      ['GET', ''],
      ['GET', '/update'],
      ['GET', '/quarantine'],
      ['DELETE', ''],
    ] as const)
      expect(await ask(method, pathOf('life/a', rest))).toMatchObject({
        status: 410,
        body: { code: 'document_removed' },
      })
    expect(await post('life/a', textUpdate('late'))).toMatchObject({ status: 410 })
    await api.compact('life/a')
    expect(await ask('GET', pathOf('life/a'))).toMatchObject({ status: 410 })
    expect((await ask('GET', pathOf('life/a', '/history'))).body.runs).toHaveLength(1)

    const anew = await ask('PUT', pathOf('life/a'))
    expect(anew).toMatchObject({ status: 201, body: { epoch: anew.body.offset } })
    await post('life/a', textUpdate('new'))
    const read = await ask('GET', pathOf('life/a'))
    expect([read.body, read.headers.get('etag')]).toEqual([
      { t: 'new' },
      `"${anew.body.epoch}-${anew.body.epoch + 1}"`,
    ])
  })

  test('who may write creates what never was, and not what was deleted', async () => {
    const writer = await token()
    expect((await ask('PUT', pathOf('life/b'), { token: writer })).status).toBe(201)
    await ask('DELETE', pathOf('life/b'))
    expect(await ask('PUT', pathOf('life/b'), { token: writer })).toMatchObject({
      status: 403,
      body: { code: 'forbidden' },
    })
    expect((await ask('PUT', pathOf('life/b'))).status).toBe(201)
  })

  test('of those who create at once, one has created', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => ask('PUT', pathOf('life/race'))))
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(7).fill(409)])
    await ask('DELETE', pathOf('life/race'))
    const again = await Promise.all(Array.from({ length: 8 }, () => ask('PUT', pathOf('life/race'))))
    expect(again.map(({ status }) => status).sort()).toEqual([201, ...Array(7).fill(409)])
  })

  test('deleting closes open sessions with 4404, and a replica of before cannot bring its content back', async () => {
    const url = `${api.webSocketUrl}/life%2Fc?token=${admin}`
    const stale = await RawClient.connect(url)
    await until('synced', () => stale.synced)
    stale.sendUpdate(textUpdate('old', stale.doc))
    await until('stored', async () => (await ask('GET', pathOf('life/c'))).body?.t === 'old')

    await ask('DELETE', pathOf('life/c'))
    await stale.closed
    expect(stale.closeCode).toBe(4404)
    await api.compact('life/c')
    await ask('PUT', pathOf('life/c'))

    const back = await RawClient.connect(url, { doc: stale.doc })
    await back.closed
    expect([back.closeCode, back.closeReason]).toEqual([4409, expect.stringContaining('stale_replica')])
    const since = Buffer.from(Y.encodeStateVector(stale.doc)).toString('base64url')
    for (const answer of [
      await post('life/c', Y.encodeStateAsUpdate(stale.doc)),
      await ask('GET', pathOf('life/c', `/update?since=${since}`)),
    ])
      expect(answer).toMatchObject({ status: 409, body: { code: 'stale_replica' } })

    const fresh = await RawClient.connect(url)
    await until('synced', () => fresh.synced)
    fresh.sendUpdate(textUpdate('new', fresh.doc))
    await until('stored', async () => (await ask('GET', pathOf('life/c'))).body?.t === 'new')
    expect(fresh.doc.getText('t').toString()).toBe('new')
    fresh.close()
  })
})

describe('reading updates', () => {
  const read = (document: string, query = ''): Promise<Answer> =>
    ask('GET', pathOf(document, `/update${query}`))
  const said = ({ headers }: Answer) => [
    headers.get('tidemark-scope'),
    Number(headers.get('tidemark-offset')),
    Number(headers.get('tidemark-epoch')),
  ]

  test('whole, since a version, after an offset: always what the copy lacks', async () => {
    const doc = new Y.Doc()
    await post('updates/a', textUpdate('one', doc))
    const copy = docOf((await read('updates/a')).bytes)
    await post('updates/a', textUpdate(' two', doc))
    const version = Buffer.from(Y.encodeStateVector(copy)).toString('base64url')
    const whole = await read('updates/a')
    const since = await read('updates/a', `?since=${version}`)
    const after = await read('updates/a', '?after=1')
    expect([whole, since, after].map(said)).toEqual([
      ['whole', 2, 0],
      ['since', 2, 0],
      ['after', 2, 0],
    ])
    expect(whole.headers.get('content-type')).toBe('application/octet-stream')
    expect(Number(whole.headers.get('content-length'))).toBe(whole.bytes.length)
    expect(docOf(whole.bytes).getText('t').toString()).toBe('one two')
    for (const { bytes } of [since, after]) {
      expect(bytes.length).toBeLessThan(whole.bytes.length + 1)
      Y.applyUpdate(copy, bytes)
      expect(copy.getText('t').toString()).toBe('one two')
    }
    const nothing = await read('updates/a', '?after=2')
    expect(said(nothing)).toEqual(['after', 2, 0])
    expect(docOf(nothing.bytes).share.size).toBe(0)
  })

  test('after an offset that is compacted away, not reached yet, or before a new life: whole, and says so', async () => {
    const doc = new Y.Doc()
    for (const word of ['a', 'b', 'c']) await post('updates/b', textUpdate(word, doc))
    expect(said(await read('updates/b', '?after=99'))).toEqual(['whole', 3, 0])
    await api.compact('updates/b')
    const compacted = await read('updates/b', '?after=1')
    expect(said(compacted)).toEqual(['whole', 3, 0])
    expect(docOf(compacted.bytes).getText('t').toString()).toBe('abc')

    await ask('DELETE', pathOf('updates/b'))
    await ask('PUT', pathOf('updates/b'))
    await post('updates/b', textUpdate('new'))
    const anew = await read('updates/b', '?after=3')
    expect(said(anew)).toEqual(['whole', 6, 5])
    expect(docOf(anew.bytes).getText('t').toString()).toBe('new')
    expect(said(await read('updates/b', '?after=5'))).toEqual(['after', 6, 5])
  })

  test('refuses what is no version, and two ways at once', async () => {
    await post('updates/c', textUpdate('a'))
    for (const query of ['?since=gICAgICAgICAgA', '?since=!', '?since=AA&after=1', '?after=-1', '?afer=1'])
      expect(await read('updates/c', query)).toMatchObject({ status: 400, body: { code: 'invalid_request' } })
  })

  test('HEAD says the size and sends nothing', async () => {
    await post('updates/d', textUpdate('a'))
    const head = await ask('HEAD', pathOf('updates/d', '/update'))
    expect([head.status, head.bytes.length, said(head)]).toEqual([200, 0, ['whole', 1, 0]])
  })
})

describe('appending', () => {
  test('answers with the offset when durable; what is there already is not appended again', async () => {
    const update = textUpdate('once')
    expect(await post('append/a', update)).toMatchObject({
      status: 201,
      body: { offset: 1, duplicate: false, durability: 'fsync' },
    })
    expect(await post('append/a', update)).toMatchObject({
      status: 200,
      body: { offset: 1, duplicate: true },
    })
    expect((await api.log.load('append/a' as never)).tail).toMatchObject([{ author: 'root' }])
  })

  test('a key names an update of one user: a retry appends once, another user is not in the way', async () => {
    const key = { 'idempotency-key': 'importer:1' }
    const retries = [textUpdate('x'), textUpdate('x'), textUpdate('x')]
    const answers = await Promise.all(retries.map((update) => post('append/b', update, key)))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 201])
    expect(new Set(answers.map(({ body }) => body.offset))).toEqual(new Set([1]))
    expect((await post('append/b', textUpdate('y'), key)).body).toMatchObject({ offset: 1, duplicate: true })

    const other = await ask('POST', pathOf('append/b', '/updates'), {
      token: await token({ subject: 'other' }),
      body: textUpdate('z'),
      headers: key,
    })
    expect(other).toMatchObject({ status: 201, body: { offset: 2 } })
    expect((await post('append/b', textUpdate('w'), { 'idempotency-key': 'importer:2' })).status).toBe(201)
    for (const bad of ['importer', 'importer:0', 'a#b:1', ':1', `${'a'.repeat(65)}:1`])
      expect(await post('append/b', textUpdate('v'), { 'idempotency-key': bad })).toMatchObject({
        status: 400,
        body: { code: 'invalid_request' },
      })
  })

  test('sessions see it', async () => {
    const client = await RawClient.connect(`${api.webSocketUrl}/append%2Fc?token=${admin}`)
    await until('synced', () => client.synced)
    await post('append/c', textUpdate('hello'))
    await until('seen', () => client.doc.getText('t').toString() === 'hello')
    client.close()
  })
})

describe('history', () => {
  test('pages through entries, and tells as runs what compaction has dropped', async () => {
    const doc = new Y.Doc()
    for (const word of ['a', 'b', 'c', 'd', 'e']) await post('history/a', textUpdate(word, doc))
    const first = (await ask('GET', pathOf('history/a', '/history?limit=2'))).body
    expect(first).toMatchObject({ runs: [], next: 2 })
    expect(first.entries).toMatchObject([
      { offset: 1, author: 'root', kind: 'update', bytes: expect.any(Number) },
      { offset: 2 },
    ])
    expect(Date.parse(first.entries[0].time)).toBeGreaterThan(Date.now() - 60_000)
    const last = (await ask('GET', pathOf('history/a', '/history?limit=3&after=2'))).body
    expect(last.entries.map(({ offset }: { offset: number }) => offset)).toEqual([3, 4, 5])
    expect(last.next).toBe(null)

    await api.compact('history/a')
    await post('history/a', textUpdate('f', doc))
    const compacted = (await ask('GET', pathOf('history/a', '/history'))).body
    expect(compacted.runs).toMatchObject([{ from: 1, to: 5, authors: ['root'], updates: 5 }])
    expect(compacted.entries).toMatchObject([{ offset: 6 }])
    expect((await ask('GET', pathOf('history/a', '/history?after=5'))).body.runs).toEqual([])
  })
})

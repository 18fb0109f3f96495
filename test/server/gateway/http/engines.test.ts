/** Automerge documents over HTTP, and what becomes of updates of another engine than the document's. */
import * as Automerge from '@automerge/automerge'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { engines } from '../../../../core/engine/engines.ts'
import {
  type Answer,
  type ApiUnderTest,
  adminToken,
  call,
  pathOf,
  startApi,
  textUpdate,
} from './api-under-test.ts'

type Note = Record<string, unknown>

let api: ApiUnderTest
let token: string
beforeAll(async () => {
  await engines.automerge.load()
  api = await startApi()
  token = await adminToken()
})
afterAll(() => api.close())

const post = (id: string, body: Uint8Array, headers = {}): Promise<Answer> =>
  call(api.url, 'POST', pathOf(id, '/updates'), { token, body, headers })
const get = (id: string, rest = ''): Promise<Answer> => call(api.url, 'GET', pathOf(id, rest), { token })
const changed = (doc: Automerge.Doc<Note>, key: string): [Automerge.Doc<Note>, Uint8Array] => {
  const next = Automerge.change(Automerge.clone(doc), (note) => {
    note[key] = 1
  })
  return [next, Automerge.getLastLocalChange(next)!]
}
const headsOf = (bytes: Uint8Array): string =>
  Buffer.from(engines.automerge.version(bytes)).toString('base64url')
const noteOf = (...bytes: Uint8Array[]): Automerge.Doc<Note> =>
  Automerge.loadIncremental(Automerge.init<Note>(), Buffer.concat(bytes))

test('changes are appended once, and read whole, by heads, by offset and as JSON', async () => {
  const [one, first] = changed(Automerge.init(), 'a')
  const [, second] = changed(one, 'b')
  expect((await post('auto/read', first)).status).toBe(201)
  expect((await post('auto/read', first)).body).toMatchObject({ offset: 1, duplicate: true })
  expect((await post('auto/read', second, { 'idempotency-key': 'r:1' })).body).toMatchObject({ offset: 2 })
  for (const compacted of [false, true]) {
    if (compacted) await api.compact('auto/read')
    const whole = await get('auto/read', '/update')
    expect(Object.fromEntries(whole.headers)).toMatchObject({
      'tidemark-engine': 'automerge',
      'tidemark-offset': '2',
    })
    expect(noteOf(whole.bytes)).toEqual({ a: 1, b: 1 })
    const since = await get('auto/read', `/update?since=${headsOf(first)}`)
    expect(noteOf(first, since.bytes)).toEqual({ a: 1, b: 1 })
    const nothing = await get('auto/read', `/update?since=${headsOf(Uint8Array.of(...first, ...second))}`)
    expect(nothing.bytes).toHaveLength(0)
    expect((await get('auto/read')).body).toEqual({ a: 1, b: 1 })
  }
  const [, third] = changed(noteOf(first, second), 'c')
  await post('auto/read', third)
  const after = await get('auto/read', '/update?after=2')
  expect(after.headers.get('tidemark-scope')).toBe('after')
  expect(after.bytes).toEqual(third)
  expect((await get('auto/read', '/update?since=AQ')).body.code).toBe('invalid_request')
  const { body } = await get('auto/read', '/history')
  expect(body.runs).toMatchObject([{ from: 1, to: 2, updates: 2 }])
  expect(body.entries).toMatchObject([{ offset: 3, bytes: third.length, kind: 'update' }])
})

test('an update of another engine is refused by a conflict that names both, and nothing is stored', async () => {
  const [, change] = changed(Automerge.init(), 'a')
  await post('auto/first', change)
  await post('yjs/first', textUpdate('hello'))
  const refused = await post('auto/first', textUpdate('hello'))
  expect(refused.status).toBe(409)
  expect(refused.body).toMatchObject({
    code: 'wrong_engine',
    detail: expect.stringMatching(/automerge.*yjs/),
  })
  expect((await post('yjs/first', change)).body).toMatchObject({ code: 'wrong_engine' })
  expect((await get('yjs/first', '/update')).headers.get('tidemark-engine')).toBe('yjs')
  expect((await get('auto/first', '/update')).headers.get('tidemark-offset')).toBe('1')
})

test('of two that begin a document at once, one is taken and one refused, as the log has them', async () => {
  const outcomes = new Set<string>()
  for (let i = 0; i < 30; i++) {
    const [, change] = changed(Automerge.init(), 'a')
    const bodies = i % 2 === 0 ? [change, textUpdate('x')] : [textUpdate('x'), change]
    const answers = await Promise.all(bodies.map((body) => post(`race/${i}`, body)))
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409])
    const taken = bodies[answers[0]!.status === 201 ? 0 : 1]
    const engine = taken === change ? 'automerge' : 'yjs'
    outcomes.add(engine)
    expect((await get(`race/${i}`, '/update')).headers.get('tidemark-engine')).toBe(engine)
  }
  expect(outcomes.size).toBe(2)
})

test('a document that was deleted and created anew may have another engine, and no old replica gets in', async () => {
  const [note, change] = changed(Automerge.init(), 'old')
  const id = 'auto/again'
  await post(id, change)
  await call(api.url, 'DELETE', pathOf(id), { token })
  expect((await post(id, change)).body.code).toBe('document_removed')
  await call(api.url, 'PUT', pathOf(id), { token })
  for (const compacted of [false, true]) {
    if (compacted) await api.compact(id)
    expect((await get(id)).body).toEqual({})
    expect((await post(id, change)).body.code).toBe('stale_replica')
    expect((await post(id, changed(note, 'new')[1])).body.code).toBe('stale_replica')
    expect((await get(id, `/update?since=${headsOf(change)}`)).body.code).toBe('stale_replica')
  }
  expect((await post(id, textUpdate('a new life'))).status).toBe(201)
  expect((await get(id)).body).toEqual({ t: 'a new life' })
  await call(api.url, 'DELETE', pathOf(id), { token })
  await call(api.url, 'PUT', pathOf(id), { token })
  expect((await post(id, change)).body.code).toBe('stale_replica')
  expect((await post(id, changed(Automerge.init(), 'third')[1])).status).toBe(201)
  expect((await get(id)).body).toEqual({ third: 1 })
})

test('what is no chunk, too large, or built on what never came, harms nobody', async () => {
  const [note, change] = changed(Automerge.init(), 'a')
  await post('auto/hostile', change)
  const broken = change.slice()
  broken[20]! ^= 1
  for (const bytes of [broken, change.subarray(0, 30), Uint8Array.of(...change, 1)])
    expect((await post('auto/hostile', bytes)).body.code).toBe('malformed_update')
  const [missing] = changed(note, 'never sent')
  expect((await post('auto/hostile', changed(missing, 'waits')[1])).status).toBe(201)
  expect((await get('auto/hostile')).body).toEqual({ a: 1 })
  await api.compact('auto/hostile')
  expect((await get('auto/hostile')).body).toEqual({ a: 1 })
})

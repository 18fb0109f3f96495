/** Updates that were set aside: listed, taken back in, forgotten. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { DocumentId } from '../../../../core/document-id.ts'
import { statement } from '../../../../server/log/lineage.ts'
import {
  type Answer,
  type ApiUnderTest,
  adminToken,
  call,
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

const ask = (method: 'GET' | 'POST', rest = ''): Promise<Answer> =>
  call(api.url, method, pathOf('poisoned', rest), { token: admin })
const textNow = async (): Promise<string> => [...((await ask('GET')).body.t as string)].sort().join('')

test('what is set aside counts for nothing until it is released, and is gone when it is discarded', async () => {
  for (const letter of ['a', 'b', 'c'])
    await call(api.url, 'POST', pathOf('poisoned', '/updates'), { token: admin, body: textUpdate(letter) })
  const from = { timeMs: Date.now(), author: '', origin: 'compactor' }
  await api.log.append('poisoned' as DocumentId, [
    statement('quarantine', from, [1, 3], 'cannot be digested'),
  ])
  expect(await textNow()).toBe('b')
  const listed = (await ask('GET', '/quarantine')).body
  expect(listed.entries).toMatchObject([
    { offset: 1, author: 'root', reason: 'cannot be digested', bytes: expect.any(Number) },
    { offset: 3 },
  ])
  expect(JSON.stringify(listed)).not.toContain('update"')
  // Also after a compaction, which takes the entries out of the tail.
  await api.compact('poisoned')
  expect((await ask('GET', '/quarantine')).body).toEqual({
    entries: listed.entries.map(({ kind: _, ...entry }: { kind?: string }) => entry),
  })

  expect((await ask('POST', '/quarantine/1/release')).status).toBe(204)
  expect(await textNow()).toBe('ab')
  expect((await ask('POST', '/quarantine/3/discard')).status).toBe(204)
  expect(await textNow()).toBe('ab')
  expect(api.compactions).toContain('poisoned')
  expect((await ask('GET', '/quarantine')).body.entries).toEqual([])
  for (const offset of [1, 2, 3, 99])
    expect(await ask('POST', `/quarantine/${offset}/release`)).toMatchObject({
      status: 404,
      body: { code: 'not_found' },
    })
  expect((await ask('GET', '/history')).body.entries.map(({ kind }: { kind: string }) => kind)).toEqual([
    'release',
    'discard',
  ])
})

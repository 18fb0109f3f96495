/** The routes of the views are for who administers everything: nobody else learns or does anything with them. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { token } from '../../../support/tokens.ts'
import { type ApiUnderTest, adminToken, call, type Method, startApi } from './api-under-test.ts'

let api: ApiUnderTest
beforeAll(async () => {
  api = await startApi()
})
afterAll(() => api.close())

test.each([
  ['GET', '/v1/views'],
  ['POST', '/v1/views/rebuild'],
  ['POST', '/v1/views/notes/rebuild'],
  ['GET', '/v1/views/dead-letters'],
  ['POST', '/v1/views/dead-letters/retry'],
] as [Method, string][])('%s %s', async (method, path) => {
  const ask = (held: string | null) =>
    call(api.url, method, path, { token: held, ...(path.endsWith('retry') && { body: {} }) })
  expect(await ask(null)).toMatchObject({ status: 401 })
  for (const documents of [
    [{ match: 'notes/*', access: 'admin' }],
    [{ match: '**', access: 'write' }],
  ] as const)
    expect(await ask(await token({ subject: 'some', documents }))).toMatchObject({
      status: 403,
      body: { code: 'forbidden' },
    })
  // There are no views in this API: it was asked, and passed on.
  expect(await ask(await adminToken())).toMatchObject({ status: 503, body: { code: 'views_unavailable' } })
})

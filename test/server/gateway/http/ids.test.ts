/** Whatever a document may be called, HTTP reaches it, and by no other name. */
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { documentIdBytesMax, parseDocumentId } from '../../../../core/document-id.ts'
import { type ApiUnderTest, adminToken, call, pathOf, startApi, textUpdate } from './api-under-test.ts'

let api: ApiUnderTest
let admin: string
beforeAll(async () => {
  api = await startApi()
  admin = await adminToken()
})
afterAll(() => api.close())

const isId = (text: string): boolean => {
  try {
    parseDocumentId(text)
    return true
  } catch {
    // What is no id has a test of its own.
    return false
  }
}

const awkward = fc.constantFrom(
  ...['%', '%2F', '%25', '%zz', ' ', '+', '?', '#', '&', '=', ';', ':', '@', '$', ',', '..', '.', '/', '\\'],
  ...['é', '雪', '🌊', '\u0085', '\u2028', '"', '<', '|', '~', 'a', '0', '__proto__', 'update', 'history'],
)
const ids = fc
  .oneof(
    fc.array(awkward, { minLength: 1, maxLength: 12 }).map((parts) => parts.join('')),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }),
  )
  .filter(isId)

async function writeAndRead(id: string): Promise<void> {
  const path = pathOf(id, '/updates')
  const written = await call(api.url, 'POST', path, { token: admin, body: textUpdate(id) })
  expect(written.status, JSON.stringify(written.body)).toBeLessThan(202)
  const { tail } = await api.log.load(parseDocumentId(id))
  expect(tail).toHaveLength(1)
  const read = await call(api.url, 'GET', pathOf(id), { token: admin })
  expect([read.status, read.body]).toEqual([200, { t: id }])
}

test('odd ids are written to and read from, and listed', async () => {
  const seen = new Set<string>()
  await fc.assert(
    fc.asyncProperty(ids, async (id) => {
      if (seen.has(id)) return
      seen.add(id)
      await writeAndRead(id)
    }),
    { numRuns: 150 },
  )
  const listed: string[] = []
  for (let after = ''; ; ) {
    const page = await call(api.url, 'GET', `/v1/documents?limit=7&after=${after}`, { token: admin })
    listed.push(...page.body.documents.map(({ id }: { id: string }) => id))
    after = page.body.next
    if (after === null) break
  }
  const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))
  expect(listed).toEqual([...seen].sort(byBytes))
})

test.each([
  ['percent signs', '%'.repeat(documentIdBytesMax)],
  ['slashes', 'a/'.repeat(documentIdBytesMax / 2 - 1)],
  ['snow', '雪'.repeat(170)],
  ['letters', 'a'.repeat(documentIdBytesMax)],
])('ids as long as they may be: %s', async (_, id) => {
  await writeAndRead(id.endsWith('/') ? `${id}a` : id)
})

test.each([
  ['too long', 'a'.repeat(documentIdBytesMax + 1)],
  ['far too long', 'a'.repeat(4_000)],
  ['an empty segment', 'a//b'],
  ['a control character', 'a\u0000b'],
  ['that of Tidemark itself', '\u0000access'],
  ['dots', 'a/../b'],
])('what is no id is refused: %s', async (_, id) => {
  const answer = await call(api.url, 'GET', pathOf(id), { token: admin })
  expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_document_id' } })
})

test.each(['%', '%zz', '%ff', '%c3%28'])('%s is no percent-encoding', async (encoded) => {
  const answer = await call(api.url, 'GET', `/v1/documents/${encoded}`, { token: admin })
  expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request' } })
  expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/)
})

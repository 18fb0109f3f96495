/** The description of the API is valid OpenAPI 3.1, and names what there is. */
import { Validator } from '@seriousme/openapi-schema-validator'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { errorTable } from '../../../../core/protocol/errors.ts'
import { type ApiUnderTest, adminToken, call, type Method, startApi } from './api-under-test.ts'

let api: ApiUnderTest
beforeAll(async () => {
  api = await startApi()
})
afterAll(() => api.close())

const routes = [
  'GET /v1/documents',
  'GET /v1/documents/{id}',
  'PUT /v1/documents/{id}',
  'DELETE /v1/documents/{id}',
  'GET /v1/documents/{id}/update',
  'POST /v1/documents/{id}/updates',
  'GET /v1/documents/{id}/history',
  'GET /v1/documents/{id}/quarantine',
  'POST /v1/documents/{id}/quarantine/{offset}/release',
  'POST /v1/documents/{id}/quarantine/{offset}/discard',
  'POST /v1/sessions/end',
  'GET /v1/conflicts',
  'GET /v1/conflicts/{id}',
  'POST /v1/conflicts',
  'GET /v1/live',
  'POST /v1/live',
  'POST /v1/query',
  'GET /v1/views',
  'POST /v1/views/rebuild',
  'POST /v1/views/{adapter}/rebuild',
  'GET /v1/views/dead-letters',
  'POST /v1/views/dead-letters/retry',
]

test('it is valid, and names every route', async () => {
  const { status, body } = await call(api.url, 'GET', '/v1/openapi.json')
  expect(status).toBe(200)
  const validator = new Validator()
  expect(await validator.validate(structuredClone(body))).toEqual({ valid: true })
  expect(validator.version).toBe('3.1')
  const named = Object.entries(body.paths as Record<string, object>).flatMap(([path, item]) =>
    Object.keys(item)
      .filter((method) => ['get', 'put', 'post', 'delete', 'patch'].includes(method))
      .map((method) => `${method.toUpperCase()} ${path}`),
  )
  expect(named.sort()).toEqual([...routes].sort())
  expect(body.components.schemas.Problem.properties.code.enum).toEqual(Object.keys(errorTable))
  for (const item of Object.values(body.paths as Record<string, Record<string, { responses: object }>>))
    for (const { responses } of Object.values(item))
      expect(JSON.stringify(responses)).toContain('application/problem+json')
})

test('a validator that finds nothing would find a planted mistake', async () => {
  const { body } = await call(api.url, 'GET', '/v1/openapi.json')
  body.paths['/v1/documents'].get.responses = 'none'
  expect((await new Validator().validate(body)).valid).toBe(false)
})

test('what the routes do not have is not_found, with what they have', async () => {
  const token = await adminToken()
  for (const [method, path, allow] of [
    ['PATCH', '/v1/documents/a', 'GET, HEAD, PUT, DELETE'],
    ['POST', '/v1/documents', 'GET, HEAD'],
    ['GET', '/v1/sessions/end', 'POST'],
    ['GET', '/v1/nothing', null],
    ['GET', '/v1/documents/a/b', null],
    ['GET', '/v1', null],
    ['GET', '/nothing', null],
    ['POST', '/healthz', null],
    ['DELETE', '/notes/first', null],
  ] as [Method, string, string | null][]) {
    const answer = await call(api.url, method, path, { token })
    expect(answer, `${method} ${path}`).toMatchObject({ status: 404, body: { code: 'not_found' } })
    expect(answer.headers.get('allow')).toBe(allow)
    expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/)
  }
})

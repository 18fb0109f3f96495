/** The same API over Redis, with two nodes: what one does, the other knows. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createRedisLog } from '../../../../server/log/redis/redis-log.ts'
import { RawClient } from '../../../support/raw-client.ts'
import { type RedisServer, startRedisServer } from '../../../support/redis-server.ts'
import { silentLogger } from '../../../support/silent-logger.ts'
import { until } from '../../../support/wait.ts'
import { type ApiUnderTest, adminToken, call, docOf, pathOf, startApi, textUpdate } from './api-under-test.ts'

let redis: RedisServer
let nodes: ApiUnderTest[]
beforeAll(async () => {
  redis = await startRedisServer({ appendfsync: 'always' })
  const start = () => startApi({ log: createRedisLog({ url: redis.url, logger: silentLogger }) })
  nodes = [await start(), await start()]
})
afterAll(async () => {
  for (const node of nodes) await node.close()
  await redis.stop()
})

test('a document lives and dies on all nodes at once', async () => {
  const [here, there] = nodes as [ApiUnderTest, ApiUnderTest]
  const token = await adminToken()
  const path = pathOf('deals/harvest 42%')
  const body = textUpdate('one')
  const headers = { 'idempotency-key': 'importer:1' }
  expect((await call(here.url, 'PUT', path, { token })).status).toBe(201)
  expect((await call(there.url, 'PUT', path, { token })).status).toBe(409)
  const answers = await Promise.all(
    [here, there].map(({ url }) => call(url, 'POST', `${path}/updates`, { token, headers, body })),
  )
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 201])
  expect(answers[0]!.body).toMatchObject({ offset: 2, durability: 'aof-always' })

  const update = await call(there.url, 'GET', `${path}/update?after=1`, { token })
  expect(update.headers.get('tidemark-scope')).toBe('after')
  expect(docOf(update.bytes).getText('t').toString()).toBe('one')
  await here.compact('deals/harvest 42%')
  expect((await call(there.url, 'GET', path, { token })).body).toEqual({ t: 'one' })
  expect((await call(there.url, 'GET', `${path}/history`, { token })).body.runs).toMatchObject([
    { from: 1, to: 2, authors: ['root'] },
  ])
  const list = () => call(there.url, 'GET', '/v1/documents?prefix=deals/', { token })
  expect((await list()).body).toEqual({ documents: [{ id: 'deals/harvest 42%' }], next: null })

  const client = await RawClient.connect(
    `${there.webSocketUrl}/${encodeURIComponent('deals/harvest 42%')}?token=${token}`,
  )
  await until('synced', () => client.synced)
  expect((await call(here.url, 'DELETE', path, { token })).status).toBe(204)
  await client.closed
  expect(client.closeCode).toBe(4404)
  expect((await call(there.url, 'GET', path, { token })).status).toBe(410)
  expect((await list()).body.documents).toEqual([])
  const anew = await call(there.url, 'PUT', path, { token })
  expect(anew).toMatchObject({ status: 201, body: { epoch: 4 } })
  expect((await call(here.url, 'POST', `${path}/updates`, { token, body })).status).toBe(409)
  expect((await call(here.url, 'GET', path, { token })).headers.get('etag')).toBe('"4-4"')
})

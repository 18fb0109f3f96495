/** With `replicas`, what no replica of Redis has is neither acked nor shown nor loaded. On a real master and replica. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { noOffset } from '../../../../core/offset.ts'
import {
  contentsOf,
  entryOf,
  freshDocument,
  RecordingFollower,
  textsOf,
} from '../../../contract/log-model.ts'
import { type RedisServer, startRedisServer } from '../../../support/redis-server.ts'
import { nodesOn, until } from './nodes.ts'

let redis: RedisServer
let replica: RedisServer
const careful = nodesOn(() => redis.url, 1)
const careless = nodesOn(() => redis.url)
// Long enough for a replica that is there, on a machine that has much else to do.
const limits = { replicasMsMax: 1_000, commandMsMax: 10_000, headCheckIntervalMs: 60_000 }
const tooFew = 'Only 0 of 1 replicas of Redis had it within 1000 ms'

beforeAll(async () => {
  redis = await startRedisServer({ 'repl-diskless-sync-delay': '0' })
  replica = await startRedisServer()
  await replica.command('REPLICAOF', '127.0.0.1', String(redis.port))
  await until(async () => expect(await redis.command('INFO', 'replication')).toContain('state=online'))
})

afterEach(() => Promise.all([careful.closeAll(), careless.closeAll()]))
afterAll(() => Promise.all([redis.stop(), replica.stop()]))

it('gives nothing out that the replica does not have, and all of it once it has', async () => {
  const [one, two, hasty] = [await careful.open(limits), await careful.open(limits), await careless.open()]
  const document = freshDocument()
  const followers = [new RecordingFollower(), new RecordingFollower()]
  await one.follow(document, noOffset, followers[0]!)
  await two.follow(document, noOffset, followers[1]!)
  await one.append(document, [entryOf('a')])
  for (const follower of followers) await follower.reaches(1)
  const push = entryOf('b', { replica: 'r', sequence: 1 })
  replica.pause()
  try {
    await expect(one.append(document, [push])).rejects.toThrow(tooFew)
    expect(one.unavailable()).toBe(tooFew)
    // A retry finds it there already; that is not enough either.
    await expect(one.append(document, [push])).rejects.toThrow(tooFew)
    await expect(two.load(document)).rejects.toThrow(tooFew)
    // What another node appends without waiting reaches those who wait no sooner.
    await hasty.append(document, [entryOf('c')])
    await expect(two.load(document)).rejects.toThrow(tooFew)
    for (const follower of followers) expect(textsOf(follower.entries)).toEqual(['a'])
  } finally {
    replica.resume()
  }
  await until(async () =>
    expect(await one.append(document, [push])).toEqual([{ offset: 2, duplicate: true }]),
  )
  for (const follower of followers) {
    await follower.reaches(3)
    expect(textsOf(follower.entries)).toEqual(['a', 'b', 'c'])
  }
  expect(contentsOf(await two.load(document))).toEqual(['a', 'b', 'c'])
  await until(() => expect([one.unavailable(), two.unavailable()]).toEqual([null, null]))
})

it('waits once for what is appended in one turn, over all documents', async () => {
  const log = await careful.open({ ...limits, replicasMsMax: 5_000 })
  await log.append(freshDocument(), [entryOf('warm')])
  await redis.command('CONFIG', 'RESETSTAT')
  await Promise.all(Array.from({ length: 50 }, () => log.append(freshDocument(), [entryOf('a')])))
  expect(await redis.command('INFO', 'commandstats')).toContain('cmdstat_wait:calls=1,')
})

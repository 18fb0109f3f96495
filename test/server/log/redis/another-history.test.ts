/** Redis comes back with other entries under the same numbers: nobody follows on without a sign. */
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { DocumentId } from '../../../../core/document-id.ts'
import { noOffset, toOffset } from '../../../../core/offset.ts'
import { encodeEntry } from '../../../../server/log/entry-codec.ts'
import { logKey } from '../../../../server/log/redis/keys.ts'
import { entriesOf, entryOf, freshDocument, RecordingFollower } from '../../../contract/log-model.ts'
import { type RedisServer, startRedisServer } from '../../../support/redis-server.ts'
import { nodesOn, until } from './nodes.ts'

let redis: RedisServer
const nodes = nodesOn(() => redis.url)
const trusted = nodesOn(() => redis.url.replace('redis://', 'redis://trusted:word@'))

beforeEach(async () => {
  redis = await startRedisServer()
})

afterEach(async () => {
  await Promise.all([nodes.closeAll(), trusted.closeAll()])
  await redis.stop()
})

async function replace(document: DocumentId, count: number): Promise<void> {
  await redis.command('DEL', logKey(document))
  for (let i = 0; i < count; i++)
    await redis.command('XADD', logKey(document), '0-*', 'e', Buffer.from(encodeEntry(entryOf(`other${i}`))))
}

it('is noticed though new entries continued the old ones by number before anybody could compare', async () => {
  const log = await nodes.open({ headCheckIntervalMs: 60_000 })
  const document = freshDocument()
  const follower = new RecordingFollower()
  await log.follow(document, noOffset, follower)
  await log.append(document, entriesOf('a', 3))
  await redis.command('ACL', 'SETUSER', 'trusted', 'on', '>word', '~*', '&*', '+@all')
  // From here on the node's channels find back to Redis, its commands do not.
  await redis.command('ACL', 'SETUSER', 'default', '-function')
  await redis.command('CLIENT', 'KILL', 'TYPE', 'normal')
  await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await replace(document, 3)
  const writer = await trusted.open()
  for (let i = 4; follower.position < 4; i++) {
    await writer.append(document, [entryOf(`other${i}`)])
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  expect(follower.compactedPast).toBe(0)
  await redis.command('ACL', 'SETUSER', 'default', '+function')
  await until(() => expect(follower.compactedPast).toBe(1))
})

it.each([
  ['as long', 3],
  ['longer', 5],
])('is taken for granted after a restart where nothing was delivered to compare, %s', async (_, count) => {
  const log = await nodes.open({ headCheckIntervalMs: 60_000 })
  const document = freshDocument()
  await log.append(document, entriesOf('a', 3))
  const follower = new RecordingFollower(3)
  await log.follow(document, toOffset(3), follower)
  await replace(document, count)
  await redis.restart()
  await until(() => expect(follower.compactedPast).toBe(1))
  expect(follower.entries).toEqual([])
})

it('is not suspected when only a connection was lost', async () => {
  const log = await nodes.open({ headCheckIntervalMs: 60_000 })
  const document = freshDocument()
  await log.append(document, entriesOf('a', 3))
  const [idle, busy] = [new RecordingFollower(3), new RecordingFollower()]
  await log.follow(document, toOffset(3), idle)
  await log.follow(document, noOffset, busy)
  for (let round = 0; round < 12; round++) {
    await redis.command('CLIENT', 'KILL', 'TYPE', round % 2 === 0 ? 'normal' : 'pubsub')
    await until(async () => {
      await log.append(document, [entryOf('b')])
    })
  }
  await until(() => expect(log.unavailable()).toBeNull())
  const { offset } = await log.load(document)
  for (const follower of [idle, busy]) {
    await follower.reaches(offset)
    expect(follower.compactedPast).toBe(0)
  }
})

/** What the log on Redis does when Redis, or the way to it, fails. All on a real redis-server. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { DocumentId } from '../../../../core/document-id.ts'
import { noOffset, toOffset } from '../../../../core/offset.ts'
import { TidemarkError } from '../../../../core/protocol/errors.ts'
import { encodeEntry } from '../../../../server/log/entry-codec.ts'
import {
  changesKey,
  feedChannel,
  logKey,
  replicasKey,
  snapshotKey,
} from '../../../../server/log/redis/keys.ts'
import {
  compactTo,
  contentsOf,
  entriesOf,
  entryOf,
  freshDocument,
  RecordingFollower,
  textsOf,
} from '../../../contract/log-model.ts'
import { type RedisServer, startRedisServer } from '../../../support/redis-server.ts'
import { nodesOn, until } from './nodes.ts'

let redis: RedisServer
const nodes = nodesOn(() => redis.url)

beforeAll(async () => {
  redis = await startRedisServer()
})

afterAll(() => redis.stop())
beforeEach(async () => {
  await redis.command('FLUSHALL')
})
afterEach(() => nodes.closeAll())

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(
    () => new Error('it did not reject'),
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(TidemarkError)
  return `${(error as TidemarkError).code}: ${(error as TidemarkError).message}`
}

const hidden = (document: ReturnType<typeof freshDocument>, text: string) =>
  // An append whose message nobody gets: straight into the stream.
  redis.command('XADD', logKey(document), '0-*', 'e', Buffer.from(encodeEntry(entryOf(text))))

const listenersOf = async (document: ReturnType<typeof freshDocument>) =>
  ((await redis.command('PUBSUB', 'SHARDNUMSUB', feedChannel(document))) as unknown[])[1]

describe('messages that do not arrive', () => {
  it('repairs a gap from the stream when the next message shows it', async () => {
    const [one, two] = [await nodes.open({ headCheckIntervalMs: 60_000 }), await nodes.open()]
    const document = freshDocument()
    const follower = new RecordingFollower()
    await one.follow(document, noOffset, follower)
    await two.append(document, entriesOf('a', 2))
    await hidden(document, 'hidden')
    await two.append(document, entriesOf('b', 2))
    await follower.reaches(5)
    expect(textsOf(follower.entries)).toEqual(['a1', 'a2', 'hidden', 'b1', 'b2'])
  })

  it('finds a lost last message by the regular check of heads', async () => {
    const one = await nodes.open({ headCheckIntervalMs: 50 })
    const document = freshDocument()
    const follower = new RecordingFollower()
    await one.follow(document, noOffset, follower)
    await hidden(document, 'hidden')
    await follower.reaches(1)
  })

  describe('among many documents', () => {
    const followAll = async (headCheckDocumentsMax: number, last = freshDocument()) => {
      const log = await nodes.open({ headCheckIntervalMs: 50, headCheckDocumentsMax, headCheckRounds: 1_000 })
      const documents = [...Array.from({ length: 239 }, freshDocument), last]
      const follower = new RecordingFollower()
      await Promise.all(
        documents.map((document) =>
          log.follow(document, noOffset, document === last ? follower : new RecordingFollower()),
        ),
      )
      // The first check is of all; it has ended when the second begins.
      await redis.command('CONFIG', 'RESETSTAT')
      await until(async () => expect(await callsOf('zrange')).toBeGreaterThanOrEqual(3))
      await redis.command('CONFIG', 'RESETSTAT')
      return { last, follower }
    }
    /** Each check begins with a `zrange`, and has an `exists` for each document that it compares. */
    const callsOf = async (command: string): Promise<number> => {
      const stats = String(await redis.command('INFO', 'commandstats'))
      return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
    }

    it('asks for few while nothing happens, however many are open', async () => {
      await followAll(5)
      await until(async () => expect(await callsOf('zrange')).toBeGreaterThanOrEqual(4))
      const exists = await callsOf('exists')
      expect(exists).toBeGreaterThan(0)
      expect(exists).toBeLessThanOrEqual(5 * (1 + (await callsOf('zrange'))))
    })

    it('finds one that was appended to by the list of changes, long before its turn', async () => {
      const { last, follower } = await followAll(1)
      await hidden(last, 'hidden')
      await redis.command('ZADD', changesKey, String(Date.now() * 1_000), last)
      await follower.reaches(1)
      expect(await callsOf('zrange')).toBeLessThan(200)
    })

    it('looks at those that are not in the list each time', async () => {
      const { last, follower } = await followAll(1, '\u0000access' as DocumentId)
      await hidden(last, 'hidden')
      await follower.reaches(1)
      expect(await callsOf('zrange')).toBeLessThan(200)
    })

    it('finds one that nothing tells of when its turn comes', async () => {
      const { last, follower } = await followAll(40)
      await hidden(last, 'hidden')
      await follower.reaches(1)
    })

    it('looks at all when Redis has lost the list of changes', async () => {
      const { last, follower } = await followAll(1)
      const other = await nodes.open({ headCheckIntervalMs: 60_000 })
      await other.append(last, entriesOf('a', 3))
      await follower.reaches(3)
      await until(async () => expect(await callsOf('zcount')).toBeGreaterThan(0))
      await redis.command('FLUSHALL')
      await until(() => expect(follower.compactedPast).toBe(1))
      expect(await callsOf('zrange')).toBeLessThan(200)
    })
  })

  it('misses nothing while Redis keeps dropping the channel connection', async () => {
    const [one, two] = [await nodes.open({ headCheckIntervalMs: 60_000 }), await nodes.open()]
    const documents = [freshDocument(), freshDocument(), freshDocument()]
    const followers = documents.map(() => new RecordingFollower())
    for (const [i, document] of documents.entries()) await one.follow(document, noOffset, followers[i]!)
    for (let round = 0; round < 10; round++) {
      await Promise.all(documents.map((document) => two.append(document, entriesOf(`${round}-`, 3))))
      await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await Promise.all(documents.map((document) => two.append(document, entriesOf(`${round}+`, 3))))
    }
    for (const follower of followers) await follower.reaches(60)
    await until(() => expect(one.unavailable()).toBeNull())
    for (const document of documents) await until(async () => expect(await listenersOf(document)).toBe(1))
  })

  it('publishes nothing while no other node listens', async () => {
    const one = await nodes.open()
    const document = freshDocument()
    const follower = new RecordingFollower()
    await one.follow(document, noOffset, follower)
    await redis.command('CONFIG', 'RESETSTAT')
    await one.append(document, entriesOf('a', 3))
    one.publish(document, Uint8Array.of(1))
    await one.append(document, entriesOf('b', 3))
    await follower.reaches(6)
    expect(await redis.command('INFO', 'commandstats')).not.toContain('cmdstat_spublish')
    const two = await nodes.open()
    const other = new RecordingFollower()
    const subscription = await two.follow(document, noOffset, other)
    await one.append(document, entriesOf('c', 1))
    await other.reaches(7)
    expect(await redis.command('INFO', 'commandstats')).toContain('cmdstat_spublish:calls=1,')
    other.close(subscription)
    await until(async () => {
      expect(await listenersOf(document)).toBe(1)
    })
    await one.append(document, entriesOf('d', 1))
    await follower.reaches(8)
    expect(await redis.command('INFO', 'commandstats')).toContain('cmdstat_spublish:calls=1,')
  })
})

describe('a Redis that does not answer', () => {
  it('rejects appends within the time limit, at once while down, and recovers without a restart', async () => {
    const [one, two] = [await nodes.open(), await nodes.open()]
    const document = freshDocument()
    const followers = [new RecordingFollower(), new RecordingFollower()]
    await one.follow(document, noOffset, followers[0]!)
    await two.follow(document, noOffset, followers[1]!)
    const push = entryOf('during', { replica: 'r', sequence: 1 })
    redis.pause()
    try {
      expect(await codeOf(one.append(document, [push]))).toBe('log_unavailable: Redis did not answer in time')
      expect(one.unavailable()).not.toBeNull()
      expect(await codeOf(one.append(document, [entryOf('refused')]))).toMatch(/^log_unavailable/)
      expect(await codeOf(one.load(document))).toMatch(/^log_unavailable/)
      expect(await codeOf(one.follow(document, noOffset, new RecordingFollower()))).toMatch(
        /^log_unavailable/,
      )
    } finally {
      redis.resume()
    }
    await until(() => expect([one.unavailable(), two.unavailable()]).toEqual([null, null]))
    await one.append(document, [push])
    await two.append(document, [entryOf('after')])
    for (const follower of followers) {
      await follower.reaches(2)
      expect(textsOf(follower.entries)).toEqual(['during', 'after'])
    }
    expect(contentsOf(await one.load(document))).toEqual(['during', 'after'])
  })

  it('says at start which Redis cannot be reached, not with which password', async () => {
    const unreachable = nodesOn(() => 'redis://user:secret-word@127.0.0.1:1')
    const outcome = await codeOf(unreachable.open({ startMsMax: 200 }))
    expect(outcome).toBe('log_unavailable: No connection to Redis (ECONNREFUSED)')
    await unreachable.closeAll()
  })
})

describe('a Redis that refuses writes', () => {
  it('names maxmemory when out of memory, still loads, and recovers', async () => {
    const log = await nodes.open()
    const document = freshDocument()
    await log.append(document, entriesOf('a', 1))
    await redis.command('CONFIG', 'SET', 'maxmemory', '1')
    try {
      expect(await codeOf(log.append(document, [entryOf('secret')]))).toBe(
        'log_unavailable: Redis is out of memory (maxmemory)',
      )
      expect(log.unavailable()).toBe('Redis is out of memory (maxmemory)')
      expect(contentsOf(await log.load(document))).toEqual(['a1'])
    } finally {
      await redis.command('CONFIG', 'SET', 'maxmemory', '0')
    }
    await until(() => expect(log.unavailable()).toBeNull())
    expect(await log.append(document, [entryOf('b')])).toEqual([{ offset: 2, duplicate: false }])
  })

  it('refuses a replica, and recovers when it becomes the master', async () => {
    const log = await nodes.open()
    const document = freshDocument()
    const follower = new RecordingFollower()
    await log.follow(document, noOffset, follower)
    await redis.command('REPLICAOF', '127.0.0.1', '1')
    try {
      expect(await codeOf(log.append(document, [entryOf('a')]))).toMatch(
        /^log_unavailable: Redis is a read-only/,
      )
      await until(() => expect(log.unavailable()).toBe('Redis is a read-only replica'))
    } finally {
      await redis.command('REPLICAOF', 'NO', 'ONE')
    }
    await until(() => expect(log.unavailable()).toBeNull())
    await log.append(document, [entryOf('b')])
    await follower.reaches(1)
    expect(textsOf(follower.entries)).toEqual(['b'])
  })

  it('loads its functions again when Redis has forgotten them', async () => {
    const log = await nodes.open()
    const document = freshDocument()
    await redis.command('FUNCTION', 'FLUSH')
    const appends = Array.from({ length: 20 }, (_, i) => log.append(document, [entryOf(`a${i}`)]))
    expect((await Promise.all(appends)).map(([ack]) => ack!.offset)).toEqual(appends.map((_, i) => i + 1))
    await redis.command('FUNCTION', 'FLUSH')
    expect((await log.load(document)).offset).toBe(20)
    await redis.command('FUNCTION', 'FLUSH')
    expect(await compactTo(log, document)).toBe(true)
  })
})

describe('stored values that are damaged', () => {
  it.each([
    ['a stream of another type', async (id: string) => redis.command('SET', id, 'x')],
    ['an entry that is missing in the middle', async (id: string) => redis.command('XDEL', id, '0-2')],
    ['an entry that is missing at the end', async (id: string) => redis.command('XDEL', id, '0-3')],
    [
      'entries that are missing at the front',
      async (id: string) => redis.command('XTRIM', id, 'MAXLEN', '1'),
    ],
    [
      'an entry that cannot be decoded',
      async (id: string) => redis.command('XADD', id, '0-4', 'e', '\u0000'),
    ],
    ['a foreign field', async (id: string) => redis.command('XADD', id, '0-4', 'f', 'x')],
  ])('refuses to load %s', async (_, damage) => {
    const log = await nodes.open()
    const document = freshDocument()
    await log.append(document, entriesOf('a', 3))
    await redis.command('DEL', replicasKey(document))
    if ((await damage(logKey(document)).catch(() => null)) === null) {
      await redis.command('DEL', logKey(document))
      await damage(logKey(document))
    }
    expect(await codeOf(log.load(document))).toMatch(/^document_unreadable/)
  })

  it.each([
    ['of another type', (key: string) => redis.command('SET', key, 'x')],
    ['without its bytes', (key: string) => redis.command('HDEL', key, 'bytes')],
    ['without its index', (key: string) => redis.command('HDEL', key, 'index')],
    ['without its offset', (key: string) => redis.command('HDEL', key, 'offset')],
    ['with an offset that is no number', (key: string) => redis.command('HSET', key, 'offset', 'x')],
  ])('refuses to load a snapshot %s', async (_, damage) => {
    const log = await nodes.open()
    const document = freshDocument()
    await log.append(document, entriesOf('a', 3))
    await compactTo(log, document, 2)
    await damage(snapshotKey(document))
    expect(await codeOf(log.load(document))).toMatch(/^document_unreadable/)
  })

  it('appends to the other documents of the same turn', async () => {
    const log = await nodes.open()
    const [damaged, whole] = [freshDocument(), freshDocument()]
    await redis.command('SET', logKey(damaged), 'x')
    const [refused, appended] = [log.append(damaged, entriesOf('a', 1)), log.append(whole, entriesOf('a', 1))]
    expect(await codeOf(refused)).toMatch(/^document_unreadable/)
    expect(await appended).toEqual([{ offset: 1, duplicate: false }])
    expect(log.unavailable()).toBeNull()
  })
})

describe('a Redis that comes back with less', () => {
  it('goes on numbering behind the snapshot when the stream is gone', async () => {
    const log = await nodes.open()
    const document = freshDocument()
    await log.append(document, entriesOf('a', 3))
    await compactTo(log, document)
    await redis.command('DEL', logKey(document))
    expect(contentsOf(await log.load(document))).toEqual(['a1', 'a2', 'a3'])
    expect((await log.append(document, entriesOf('b', 2))).map((ack) => ack.offset)).toEqual([4, 5])
    expect(contentsOf(await log.load(document))).toEqual(['a1', 'a2', 'a3', 'b1', 'b2'])
  })

  it.each([
    ['shorter', 1],
    ['as long', 3],
    ['longer', 5],
  ])('tells followers to load anew when the stored log is another one, %s than theirs', async (_, count) => {
    const log = await nodes.open({ headCheckIntervalMs: 60_000 })
    const document = freshDocument()
    const follower = new RecordingFollower()
    await log.follow(document, noOffset, follower)
    await log.append(document, entriesOf('a', 3))
    await follower.reaches(3)
    await redis.command('DEL', logKey(document))
    for (let i = 0; i < count; i++) await hidden(document, `other${i}`)
    await redis.command('CLIENT', 'KILL', 'TYPE', 'normal')
    await until(() => expect(follower.compactedPast).toBe(1))
    await until(() => expect(log.unavailable()).toBeNull())
    const again = new RecordingFollower(count)
    await log.follow(document, toOffset(count), again)
    await log.append(document, entriesOf('b', 1))
    await again.reaches(count + 1)
    expect(follower.broken).toBeNull()
  })
})

it('makes no timer for a command', async () => {
  const log = await nodes.open()
  const timeout = vi.spyOn(AbortSignal, 'timeout')
  const document = freshDocument()
  await log.follow(document, noOffset, new RecordingFollower())
  await log.append(document, entriesOf('a', 3))
  await log.load(document)
  expect(timeout).not.toHaveBeenCalled()
  timeout.mockRestore()
})

it('remembers a bounded number of replicas, those that pushed last', async () => {
  const log = await nodes.open({ replicasMax: 3 })
  const document = freshDocument()
  for (let i = 1; i <= 6; i++) await log.append(document, [entryOf('x', { replica: `r${i}`, sequence: 9 })])
  await log.append(document, [entryOf('x', { replica: 'r1', sequence: 10 })])
  await compactTo(log, document)
  expect(((await redis.command('HKEYS', replicasKey(document))) as string[]).sort()).toEqual([
    'r1',
    'r5',
    'r6',
  ])
  expect((await log.append(document, [entryOf('x', { replica: 'r1', sequence: 10 })]))[0]!.duplicate).toBe(
    true,
  )
})

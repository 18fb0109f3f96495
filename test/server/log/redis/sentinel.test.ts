/**
 * The log follows its master as the Sentinels say, all of it real: P1 and P2 hold over a failover as far as
 * replicas have what was acked, and where they do not, nobody stays ahead of the log without a sign.
 *
 * One deployment for all, for a failover takes seconds; each test leaves it whole, the last one without Sentinels.
 */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import type { DocumentId } from '../../../../core/document-id.ts'
import { noOffset } from '../../../../core/offset.ts'
import type { Log } from '../../../../server/log/log.ts'
import { feedChannel, logKey } from '../../../../server/log/redis/keys.ts'
import {
  contentsOf,
  entryOf,
  freshDocument,
  RecordingFollower,
  textsOf,
} from '../../../contract/log-model.ts'
import { type RedisDeployment, startRedisDeployment } from '../../../support/redis-sentinel.ts'
import type { RedisServer } from '../../../support/redis-server.ts'
import { type Nodes, nodesOn, until } from './nodes.ts'

let redis: RedisDeployment
const nodes = nodesOn(() => redis.url)
const careful = nodesOn(() => redis.url, 1)

beforeAll(async () => {
  redis = await startRedisDeployment(1)
})

afterEach(() => Promise.all([nodes.closeAll(), careful.closeAll()]))
afterAll(() => redis?.stop())

// Long enough for a replica that is there, on a machine that has much else to do.
const limits = { replicasMsMax: 500, commandMsMax: 2_000, sentinelIntervalMs: 200 }
const open = (from: Nodes) => from.open(limits)

/** Appends one after the other, each again under its key until it is acked. */
function writer(log: Log, document: DocumentId, replica: string) {
  const acked: string[] = []
  let stopped = false
  const done = (async () => {
    for (let sequence = 1; !stopped; sequence++) {
      const push = entryOf(`${replica}-${sequence}`, { replica, sequence })
      for (;;) {
        try {
          await log.append(document, [push])
          acked.push(`${replica}-${sequence}`)
          break
        } catch {
          // Not acked: sent again under the same key.
          if (stopped) return
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
      }
    }
  })()
  return {
    acked,
    stop: () => {
      stopped = true
      return done
    },
  }
}

const other = (server: RedisServer) => redis.servers.find((one) => one !== server)!

const grow = (lists: readonly (readonly string[])[], by: number) => {
  const from = lists.map((list) => list.length)
  return until(() => {
    for (const [i, list] of lists.entries()) expect(list.length).toBeGreaterThan(from[i]! + by)
  })
}

const listenersOn = async (server: RedisServer, document: DocumentId) =>
  ((await server.command('PUBSUB', 'SHARDNUMSUB', feedChannel(document))) as unknown[])[1]

it('loses no acked append to kill -9 of the master, and leaves the old one alone', async () => {
  const logs = [await open(careful), await open(careful)]
  const document = freshDocument()
  const followers = [new RecordingFollower(), new RecordingFollower()]
  for (const [i, log] of logs.entries()) await log.follow(document, noOffset, followers[i]!)
  const writers = logs.map((log, i) => writer(log, document, `k${i}`))
  const acked = writers.map((one) => one.acked)
  await grow(acked, 20)
  const old = await redis.master()
  await old.kill9()
  await until(async () => expect(await redis.master()).toBe(other(old)))
  await until(() => {
    for (const log of logs) expect(log.unavailable()).toMatch(/of 1 replicas/)
  })
  await old.restart()
  await grow(acked, 20)
  await Promise.all(writers.map((one) => one.stop()))
  await until(() => expect(logs.map((log) => log.unavailable())).toEqual([null, null]))
  const stored = contentsOf(await logs[0]!.load(document))
  expect(new Set(stored).size, 'a push is there twice').toBe(stored.length)
  for (const text of acked.flat()) expect(stored).toContain(text)
  for (const follower of followers) {
    await follower.reaches(stored.length)
    expect(follower.compactedPast).toBe(0)
    expect(textsOf(follower.entries)).toEqual(stored)
  }
  await redis.whole()
  await until(async () => expect(await listenersOn(old, document)).toBe(0))
  await until(async () => expect(await listenersOn(await redis.master(), document)).toBe(2))
})

it('leaves a master at once that was cut off and takes itself for one still', async () => {
  // Time limits that would not notice: only the Sentinels can tell.
  const patient = { commandMsMax: 60_000, sentinelIntervalMs: 60_000 }
  const log = await nodes.open(patient)
  const document = freshDocument()
  const follower = new RecordingFollower()
  await log.follow(document, noOffset, follower)
  const pushes = writer(log, document, 'p')
  await grow([pushes.acked], 20)
  const old = await redis.master()
  old.pause()
  try {
    await until(async () => expect(await redis.master()).toBe(other(old)))
    await grow([pushes.acked], 20)
    expect(log.logger.lines.some(({ message }) => message === 'redis master moved')).toBe(true)
  } finally {
    old.resume()
  }
  await grow([pushes.acked], 20)
  await pushes.stop()
  await redis.whole()
  await until(async () => expect(await listenersOn(old, document)).toBe(0))
  const stored = contentsOf(await log.load(document))
  if (follower.compactedPast === 0) {
    await follower.reaches(stored.length)
    expect(textsOf(follower.entries)).toEqual(stored)
  }
  expect(follower.broken).toBeNull()
})

it('tells followers to load anew when the new master lacks what they were given', async () => {
  const log = await open(nodes)
  const [document, idle] = [freshDocument(), freshDocument()]
  const follower = new RecordingFollower()
  await log.follow(document, noOffset, follower)
  const old = await redis.master()
  const next = other(old)
  for (const one of [document, idle]) await log.append(one, [entryOf('kept')])
  await until(async () => expect(await next.command('XLEN', logKey(idle))).toBe(1))
  next.pause()
  let sleeper: RecordingFollower
  try {
    // What is in the replica's socket would reach it after all.
    await old.command('CLIENT', 'KILL', 'TYPE', 'replica')
    for (const one of [document, idle]) await log.append(one, [entryOf('lost')])
    await follower.reaches(2)
    const { offset } = await log.load(idle)
    sleeper = new RecordingFollower(offset)
    await log.follow(idle, offset, sleeper)
    await old.kill9()
  } finally {
    next.resume()
  }
  await until(() => expect([follower.compactedPast, sleeper.compactedPast]).toEqual([1, 1]))
  expect(contentsOf(await log.load(document))).toEqual(['kept'])
  await old.restart()
  await redis.whole()
})

it('goes on without Sentinels while the master lives, and says why it cannot dial anew', async () => {
  const log = await open(nodes)
  const document = freshDocument()
  const master = await redis.master()
  await redis.killSentinels()
  await until(() => expect(log.logger.lines.some(({ message }) => /go unnoticed/.test(message))).toBe(true))
  await log.append(document, [entryOf('a')])
  expect(log.unavailable()).toBeNull()
  await master.command('CLIENT', 'KILL', 'TYPE', 'normal')
  await until(() =>
    expect(log.unavailable()).toBe(
      'No Sentinel tells which Redis is the master: No connection to Redis (ECONNREFUSED)',
    ),
  )
})

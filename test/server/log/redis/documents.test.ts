/** What Redis alone can do to `list` and `changes`: restarts, kills, lost keys, another clock, what older versions wrote. */
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { DocumentId } from '../../../../core/document-id.ts'
import { TidemarkError } from '../../../../core/protocol/errors.ts'
import { changesKey, documentsKey, logKey, snapshotKey } from '../../../../server/log/redis/keys.ts'
import {
  changesFrom,
  compactTo,
  documentOf,
  entriesOf,
  entryOf,
  freshDocument,
} from '../../../contract/log-model.ts'
import { type RedisServer, startRedisServer } from '../../../support/redis-server.ts'
import { randomOf, seed } from '../../../support/seed.ts'
import { nodesOn, until } from './nodes.ts'

const listMax = 1_000

let redis: RedisServer
const nodes = nodesOn(() => redis.url)

beforeEach(async () => {
  redis = await startRedisServer({ appendfsync: 'always' })
})
afterEach(async () => {
  await nodes.closeAll()
  await redis.stop()
})

const sorted = (ids: Iterable<string>) => [...ids].sort()

it('lists and tells the same after a restart, and after the append-only file was written anew', async () => {
  const log = await nodes.open()
  const ids = ['b', '{a}', 'a%7Bb', '%', 'a/b'].map(documentOf)
  for (const id of [...ids, ids[0]!]) await log.append(id, entriesOf('x', 2))
  const before = [await log.list('', '', listMax), await log.changes(0, listMax)]
  expect(before[0]).toEqual(['%', 'a%7Bb', 'a/b', 'b', '{a}'])
  expect((await changesFrom(log, 0)).map((change) => change.document)).toEqual([...ids.slice(1), 'b'])
  await redis.restart()
  await until(() => expect(log.unavailable()).toBeNull())
  expect([await log.list('', '', listMax), await log.changes(0, listMax)]).toEqual(before)
  await redis.command('BGREWRITEAOF')
  await until(async () =>
    expect(await redis.command('INFO', 'persistence')).toMatch(/rewrite_in_progress:0.*bgrewrite_status:ok/s),
  )
  await redis.kill9()
  await redis.restart()
  await until(() => expect(log.unavailable()).toBeNull())
  expect([await log.list('', '', listMax), await log.changes(0, listMax)]).toEqual(before)
})

it('lists and tells every acked entry through kills of Redis under load', async () => {
  const [log, reader] = [await nodes.open(), await nodes.open()]
  const documents: DocumentId[] = []
  const acked = new Map<DocumentId, number>()
  const seen = new Map<DocumentId, number>()
  let [stopped, after] = [false, 0]
  const random = randomOf(seed)
  const write = async (mine: DocumentId[]) => {
    while (!stopped) {
      // A new document now and then, among those that go on.
      if (mine.length < 3 || random() < 0.2) mine.push(freshDocument())
      const document = mine[Math.floor(random() * mine.length)]!
      documents.push(document)
      const appended = await log.append(document, entriesOf('x', 2)).catch(() => null)
      if (appended === null) await new Promise((resolve) => setTimeout(resolve, 5))
      else acked.set(document, Math.max(acked.get(document) ?? 0, appended[1]!.offset))
    }
  }
  const read = async () => {
    const changes = await reader.changes(after, 5)
    for (const { document, sequence } of changes) {
      expect(sequence).toBeGreaterThan(after)
      seen.set(document, (await reader.load(document)).offset)
    }
    after = changes.at(-1)?.sequence ?? after
    return changes.length
  }
  const follow = async () => {
    while (!stopped) {
      // Redis is away: the cursor stays where it is.
      const count = await read().catch((error: unknown) => {
        if (error instanceof TidemarkError) return 0
        throw error
      })
      if (count === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
  const working = [write([]), write([]), write([]), follow()]
  for (let kill = 0; kill < 3; kill++) {
    const before = acked.size
    await until(() => expect(acked.size).toBeGreaterThan(before + 20))
    await redis.kill9()
    await redis.restart()
    await until(() => expect([log.unavailable(), reader.unavailable()]).toEqual([null, null]))
  }
  stopped = true
  await Promise.all(working)
  while ((await read()) > 0);
  const listed = new Set(await log.list('', '', listMax))
  expect(listed.size).toBeLessThan(listMax)
  for (const [document, offset] of acked) {
    expect(listed.has(document), `${document} was acked and is not listed`).toBe(true)
    expect(seen.get(document), `${document} was acked and not told`).toBeGreaterThanOrEqual(offset)
  }
  for (const document of documents) expect(seen.get(document) ?? 0).toBe((await log.load(document)).offset)
})

it('tells what one call appended together or not at all, each call with one command', async () => {
  const log = await nodes.open()
  const ids = Array.from({ length: 300 }, freshDocument)
  await redis.command('CONFIG', 'RESETSTAT')
  await Promise.all(ids.map((id) => log.append(id, [entryOf('a')])))
  expect(await redis.command('INFO', 'commandstats')).toMatch(/cmdstat_zadd:calls=2,/)
  const changes = await log.changes(0, 1)
  expect(sorted(changes.map((change) => change.document))).toEqual(sorted(ids))
  expect(new Set(changes.map((change) => change.sequence)).size).toBe(1)
  expect(await log.changes(changes[0]!.sequence, 1)).toEqual([])
  await Promise.all(ids.slice(0, 7).map((id) => log.append(id, [entryOf('b')])))
  expect(await redis.command('INFO', 'commandstats')).toMatch(/cmdstat_zadd:calls=3,/)
  expect(await log.changes(0, 293)).toHaveLength(293)
  expect(await log.changes(0, 294)).toHaveLength(300)
})

it('goes on behind every sequence it ever gave, after the loss of them and under a clock that went back', async () => {
  const log = await nodes.open()
  const [lost, ahead, document] = [freshDocument(), freshDocument(), freshDocument()]
  await log.append(lost, [entryOf('a')])
  const [before] = await log.changes(0, 1)
  await redis.command('FLUSHALL')
  await log.append(document, [entryOf('a')])
  expect((await log.changes(before!.sequence, 1)).map((change) => change.document)).toEqual([document])
  const future = 4_000_000_000_000_000
  await redis.command('ZADD', changesKey, String(future), ahead)
  await log.append(document, [entryOf('b')])
  await log.append(lost, [entryOf('b')])
  expect(await changesFrom(log, before!.sequence)).toEqual([
    { document: ahead, sequence: future },
    { document, sequence: future + 1 },
    { document: lost, sequence: future + 2 },
  ])
})

it('gives sequences exactly, however Redis writes large numbers', async () => {
  const log = await nodes.open()
  for (const [i, sequence] of [1_760_000_000_000_000, 1_763_000_000_000_001, 2 ** 52 + 1].entries()) {
    const document = freshDocument()
    const after = i === 0 ? 0 : (await log.changes(0, listMax)).at(-1)!.sequence
    await redis.command('ZADD', changesKey, String(sequence), document)
    expect(await log.changes(after, 1)).toEqual([{ document, sequence }])
    expect(await log.changes(sequence, 1)).toEqual([])
  }
})

it('takes in what the last version wrote: a document with its next entry, a snapshot without metadata', async () => {
  const log = await nodes.open()
  const document = freshDocument()
  await log.append(document, entriesOf('a', 3))
  await compactTo(log, document, 2)
  await redis.command('DEL', documentsKey, changesKey)
  await redis.command('HDEL', snapshotKey(document), 'metadata')
  const { snapshot, offset } = await log.load(document)
  expect([offset, snapshot!.offset, snapshot!.metadata]).toEqual([3, 2, new Uint8Array()])
  expect(await log.list('', '', listMax)).toEqual([])
  await log.append(document, [entryOf('b')])
  expect(await log.list('', '', listMax)).toEqual([document])
  expect((await log.changes(0, 1)).map((change) => change.document)).toEqual([document])
})

it('neither lists nor tells a document whose append failed beside others', async () => {
  const log = await nodes.open()
  const [damaged, whole] = [freshDocument(), freshDocument()]
  await redis.command('SET', logKey(damaged), 'x')
  const [refused] = await Promise.allSettled([
    log.append(damaged, [entryOf('a')]),
    log.append(whole, [entryOf('a')]),
  ])
  expect(refused!.status).toBe('rejected')
  expect(await log.list('', '', listMax)).toEqual([whole])
  expect((await log.changes(0, listMax)).map((change) => change.document)).toEqual([whole])
})

it('answers while Redis is out of memory', async () => {
  const log = await nodes.open()
  const document = freshDocument()
  await log.append(document, [entryOf('a')])
  await redis.command('CONFIG', 'SET', 'maxmemory', '1')
  expect(await log.list('', '', listMax)).toEqual([document])
  expect((await log.changes(0, 1)).map((change) => change.document)).toEqual([document])
})

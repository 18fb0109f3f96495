/**
 * P1 and P2 when redis-server is killed with -9 under load and started again: with appendfsync always
 * everything acked is there; with everysec nothing older than the two seconds that Redis may hold back a
 * write while its disk is slow. Offsets are contiguous, no push is there twice, and followers on both
 * nodes have what is stored.
 */
import { afterEach, expect, it } from 'vitest'
import type { DocumentId } from '../../../../core/document-id.ts'
import { noOffset } from '../../../../core/offset.ts'
import type { Log } from '../../../../server/log/log.ts'
import { contentsOf, entryOf, freshDocument, RecordingFollower, textOf } from '../../../contract/log-model.ts'
import { type RedisServer, startRedisServer } from '../../../support/redis-server.ts'
import { randomOf, seed } from '../../../support/seed.ts'
import { nodesOn, until } from './nodes.ts'

const trials = 4
const everysecHoldMs = 2_000

let redis: RedisServer | null = null
const nodes = nodesOn(() => redis!.url)

afterEach(async () => {
  await nodes.closeAll()
  await redis?.stop()
  redis = null
})

/** Follows a document for ever: loads anew whenever it is told to. */
class Reader {
  contents: string[] = []
  restarts = 0
  private readonly log: Log
  private readonly document: DocumentId

  constructor(log: Log, document: DocumentId) {
    this.log = log
    this.document = document
  }

  async start(): Promise<void> {
    const loaded = await this.log.load(this.document)
    this.contents = contentsOf(loaded)
    await this.log.follow(this.document, loaded.offset, {
      onEphemeral: () => {},
      onCompactedPast: () => {
        this.restarts++
        void until(() => this.start())
      },
      onEntries: (entries) => {
        for (const entry of entries) {
          expect(entry.offset).toBe(this.contents.length + 1)
          this.contents.push(textOf(entry.update))
        }
      },
    })
  }
}

async function write(
  log: Log,
  document: DocumentId,
  replica: string,
  acked: Map<string, number>,
  stop: () => boolean,
) {
  for (let sequence = 1; !stop(); sequence++) {
    const text = `${replica}-${sequence}`
    const push = entryOf(text, { replica, sequence })
    while (!stop()) {
      try {
        await log.append(document, [push])
        acked.set(`${document} ${text}`, performance.now())
        break
      } catch {
        // Not acked: sent again under the same key until it is.
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
  }
}

it.each(['always', 'everysec'] as const)(
  'survives kill -9 of Redis under load, appendfsync %s',
  async (appendfsync) => {
    redis = await startRedisServer({ appendfsync })
    const logs = [await nodes.open(), await nodes.open()]
    const documents = [freshDocument(), freshDocument(), freshDocument()]
    const readers = documents.flatMap((document) =>
      logs.map((log) => ({ document, reader: new Reader(log, document) })),
    )
    for (const { reader } of readers) await reader.start()
    const acked = new Map<string, number>()
    const random = randomOf(seed)
    const killedAt: number[] = []
    let stopped = false
    const writers = documents.flatMap((document) =>
      logs.flatMap((log, node) =>
        [0, 1].map((i) => write(log, document, `w${node}${i}`, acked, () => stopped)),
      ),
    )
    for (let trial = 0; trial < trials; trial++) {
      const before = acked.size
      await until(() => expect(acked.size).toBeGreaterThan(before + 200))
      await new Promise((resolve) => setTimeout(resolve, random() * 50))
      await redis.kill9()
      killedAt.push(performance.now())
      await redis.restart()
      await until(() => expect(logs.map((log) => log.unavailable())).toEqual([null, null]))
    }
    stopped = true
    await Promise.all(writers)
    const stored = new Map<DocumentId, string[]>()
    for (const document of documents) {
      const contents = contentsOf(await logs[0]!.load(document))
      expect(new Set(contents).size, 'a push is there twice').toBe(contents.length)
      stored.set(document, contents)
    }
    const all = new Set(
      [...stored].flatMap(([document, contents]) => contents.map((text) => `${document} ${text}`)),
    )
    for (const [text, at] of acked) {
      if (all.has(text)) continue
      const excused = killedAt.some((killed) => at <= killed && at > killed - everysecHoldMs)
      expect(appendfsync === 'everysec' && excused, `${text} was acked and is gone`).toBe(true)
    }
    for (const { document, reader } of readers)
      await until(() => expect(reader.contents).toEqual(stored.get(document)))
    if (appendfsync === 'always')
      expect(readers.map(({ reader }) => reader.restarts)).toEqual(readers.map(() => 0))
  },
)

it('an empty document stays empty through a kill', async () => {
  redis = await startRedisServer()
  const log = await nodes.open()
  const document = freshDocument()
  const follower = new RecordingFollower()
  await log.follow(document, noOffset, follower)
  await redis.kill9()
  await redis.restart()
  await until(() => expect(log.unavailable()).toBeNull())
  await log.append(document, [entryOf('a')])
  await follower.reaches(1)
})

/**
 * What an ack of the tidemark.v1 door is worth (P1), and that what is pushed again is appended once (P2): on another
 * connection, on another node, and after a kill -9 of the relay in the middle of typing.
 *
 * Each document is a map from sequence to text, so that every update adds something of its own; where nothing else
 * writes, the log's head counts the appends.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { type RedisServer, startRedisServer } from '../../support/redis-server.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { type OpenOptions, type Replica, TidemarkClient } from '../../support/tidemark-client.ts'
import { until } from '../../support/wait.ts'

const opened: { close(): void }[] = []
afterEach(() => {
  for (const one of opened.splice(0)) one.close()
})

async function joined(relay: RelayProcess, document: string, options: OpenOptions = {}): Promise<Replica> {
  const client = await TidemarkClient.connect(relay.webSocketUrl)
  opened.push(client)
  return client.join(document, options)
}

/** Updates of one replica, by their sequences from 1. */
function updatesOf(doc: Y.Doc, name: string, count: number): Uint8Array[] {
  const updates: Uint8Array[] = []
  doc.on('update', (update: Uint8Array) => updates.push(update))
  for (let sequence = 1; sequence <= count; sequence++) doc.getMap('m').set(`${name}:${sequence}`, sequence)
  return updates
}

describe('a kill -9 of the relay, while many type', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const start = (): Promise<RelayProcess> =>
    startRelay({ DATA_DIR: folder, COMPACTION_TAIL_COUNT_MAX: '150', COMPACTION_INTERVAL_MS: '0' })

  test('takes nothing that was acknowledged, and what is pushed again is appended once', async () => {
    const documents = ['k/one', 'k/two', 'k/three']
    const count = 3_000
    const writers = documents.flatMap((document) =>
      ['ann', 'bob'].map((name) => ({
        document,
        name,
        updates: updatesOf(new Y.Doc(), name, count),
        acked: 0,
      })),
    )
    let relay = await start()
    let pushed = 0
    for (let round = 0; pushed < count; round++) {
      const from = pushed
      pushed = Math.min(count, pushed + 600)
      const replicas = await Promise.all(
        writers.map(({ document, name }) => joined(relay, document, { replica: name })),
      )
      for (const [i, writer] of writers.entries()) {
        // From what it was told is durable, as a client does; or from further back, which changes nothing.
        const first = Math.max(0, round % 2 === 0 ? writer.acked : Math.min(from, writer.acked) - 20)
        for (let at = first; at < pushed; at += 7)
          replicas[i]!.pushAt(at + 1, writer.updates.slice(at, Math.min(at + 7, pushed)))
      }
      if (pushed < count) await until('some acks', () => replicas.every(({ acked }) => acked > from + 50))
      else await until('all acks', () => replicas.every(({ acked }) => acked === count))
      await relay.kill9()
      for (const [i, writer] of writers.entries()) writer.acked = Math.max(writer.acked, replicas[i]!.acked)
      relay = await start()
      for (const document of documents) {
        const reader = await joined(relay, document)
        const map = reader.doc.getMap('m')
        for (const { name, acked } of writers.filter((writer) => writer.document === document))
          for (let sequence = 1; sequence <= acked; sequence++)
            if (!map.has(`${name}:${sequence}`)) throw new Error(`${name}:${sequence} of ${acked} is lost`)
      }
    }
    for (const document of documents) {
      const reader = await joined(relay, document)
      expect(reader.doc.getMap('m').size).toBe(2 * count)
      expect(reader.opened!.offset).toBe(2 * count)
    }
    expect(await relay.stop()).toBe(0)
  })
})

describe('a push that is repeated', () => {
  let redis: RedisServer
  let nodes: RelayProcess[]
  beforeAll(async () => {
    redis = await startRedisServer({ appendonly: 'yes', appendfsync: 'always' })
    nodes = await Promise.all([1, 2].map(() => startRelay({ REDIS_URL: redis.url })))
  })
  afterAll(async () => {
    await Promise.all(nodes.map((node) => node.stop()))
    await redis.stop()
  })
  const headOf = async (document: string): Promise<number> =>
    (await joined(nodes[0]!, document)).opened!.offset

  test.each([
    ['another connection', 0],
    ['another node', 1],
  ])('on %s at the same moment is appended once, and acknowledged on both', async (_where, other) => {
    const document = `r/at-once-${other}`
    const updates = updatesOf(new Y.Doc(), 'ann', 500)
    const replicas = [
      await joined(nodes[0]!, document, { replica: 'ann' }),
      await joined(nodes[other]!, document, { replica: 'ann' }),
    ]
    const reader = await joined(nodes[1]!, document)
    // Nothing can become durable before both have been sent.
    for (const { pid } of nodes) process.kill(pid, 'SIGSTOP')
    for (const replica of replicas)
      for (let at = 0; at < 500; at += 50) replica.pushAt(at + 1, updates.slice(at, at + 50))
    await new Promise((sent) => setImmediate(sent))
    for (const { pid } of nodes) process.kill(pid, 'SIGCONT')
    await until('acks', () => replicas.every(({ acked }) => acked === 500))
    await until('read', () => reader.doc.getMap('m').size === 500)
    reader.assertNoGap()
    expect(await headOf(document)).toBe(500)
  })

  test('because its ack was lost is appended once, wherever it comes again', async () => {
    const document = 'r/lost-ack'
    const updates = updatesOf(new Y.Doc(), 'ann', 200)
    for (let at = 0, turn = 0; at < 200; at += 20, turn++) {
      const client = await TidemarkClient.connect(nodes[turn % 2]!.webSocketUrl)
      const replica = await client.join(document, { replica: 'ann' })
      replica.pushAt(Math.max(1, at - 19), updates.slice(Math.max(0, at - 20), at + 20))
      // Sometimes it has not even been read.
      if (turn % 3 === 0) await client.ping()
      client.close()
    }
    const replica = await joined(nodes[1]!, document, { replica: 'ann' })
    replica.pushAt(1, updates)
    await until('ack', () => replica.acked === 200)
    expect(await headOf(document)).toBe(200)
    expect((await joined(nodes[0]!, document)).doc.getMap('m').size).toBe(200)
  })

  test('goes on after a kill -9 of its node on the other one', async () => {
    const document = 'r/node-dies'
    const updates = updatesOf(new Y.Doc(), 'ann', 2_000)
    const dying = await startRelay({ REDIS_URL: redis.url })
    const before = await joined(dying, document, { replica: 'ann' })
    for (let at = 0; at < 1_500; at += 10) before.pushAt(at + 1, updates.slice(at, at + 10))
    await until('some acks', () => before.acked > 100)
    await dying.kill9()
    const after = await joined(nodes[0]!, document, { replica: 'ann' })
    const durable = after.doc.getMap('m')
    for (let sequence = 1; sequence <= before.acked; sequence++)
      expect(durable.has(`ann:${sequence}`)).toBe(true)
    after.pushAt(before.acked + 1, updates.slice(before.acked))
    await until('all acks', () => after.acked === 2_000)
    expect(await headOf(document)).toBe(2_000)
  })

  test('of another user, or another replica, is another push', async () => {
    const document = 'r/others'
    const [ann, bob] = ['ann', 'bob'].map((name) => updatesOf(new Y.Doc(), name, 1))
    const [one, two] = [
      await joined(nodes[0]!, document, { replica: 'r1' }),
      await joined(nodes[1]!, document, { replica: 'r2' }),
    ]
    one.push(...ann!)
    two.push(...bob!)
    await Promise.all([one.settled(), two.settled()])
    expect(await headOf(document)).toBe(2)
  })
})

test('what Redis could not take is refused for now, or acknowledged later, and appended once', async () => {
  const redis = await startRedisServer({ appendonly: 'yes', appendfsync: 'always' })
  const relay = await startRelay({ REDIS_URL: redis.url })
  const updates = updatesOf(new Y.Doc(), 'ann', 300)
  let replica = await joined(relay, 'f/redis', { replica: 'ann' })
  for (let at = 0; at < 300; at += 10) replica.pushAt(at + 1, updates.slice(at, at + 10))
  await until('an ack', () => replica.acked > 0)
  await redis.kill9()
  await until('told', () => replica.acked === 300 || replica.nacks.length > 0 || replica.closed !== null)
  const { acked, nacks } = replica
  for (const { sequence, problem } of nacks) {
    expect(sequence).toBeGreaterThan(acked)
    expect(problem.retryMs).not.toBe(null)
  }
  await redis.restart()
  // The same session goes on when it may; a session that was closed opens anew.
  await until('stored', async () => {
    if (replica.closed !== null) {
      const client = await TidemarkClient.connect(relay.webSocketUrl)
      opened.push(client)
      replica = client.open('f/redis', { replica: 'ann' })
      await replica.answered()
      if (replica.opened === null) return false
    }
    const { length } = replica.nacks
    replica.pushAt(acked + 1, updates.slice(acked))
    await until(
      'told',
      () => replica.acked === 300 || replica.nacks.length > length || replica.closed !== null,
    )
    return replica.acked === 300
  })
  const reader = await joined(relay, 'f/redis')
  expect(reader.opened!.offset).toBe(300)
  expect(reader.doc.getMap('m').size).toBe(300)
  expect(await relay.stop()).toBe(0)
  await redis.stop()
})

/**
 * Cold documents with real processes: relays that are killed while documents leave Redis for a folder, and an
 * S3 server that dies. Nothing that anybody saw may be missing, and a document whose snapshot cannot be
 * fetched is refused, never shown empty.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import * as Y from 'yjs'
import type { DocumentId } from '../../core/document-id.ts'
import { createFileStore } from '../../server/log/cold/file-store.ts'
import { pointerOf } from '../../server/log/cold/pointer.ts'
import { TieredLog } from '../../server/log/cold/tiered-log.ts'
import type { Loaded, Log } from '../../server/log/log.ts'
import { createRedisLog } from '../../server/log/redis/redis-log.ts'
import { s3Credentials, startS3Server } from '../server/log/cold/s3-server.ts'
import { RawClient } from '../support/raw-client.ts'
import { type RedisServer, startRedisServer } from '../support/redis-server.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { seed } from '../support/seed.ts'
import { silentLogger } from '../support/silent-logger.ts'
import { until } from '../support/wait.ts'

const documents = Array.from({ length: 20 }, (_, i) => `cold/${i}` as DocumentId)
const trials = 4

let redis: RedisServer
let folder: string
let log: Log
const relays: RelayProcess[] = []

beforeEach(async () => {
  redis = await startRedisServer({ appendonly: 'yes', appendfsync: 'everysec' })
  folder = mkdtempSync(join(tmpdir(), 'tidemark-cold-'))
  log = createRedisLog({ url: redis.url, logger: silentLogger })
  await log.start()
})

afterEach(async () => {
  for (const relay of relays.splice(0)) await relay.kill9()
  await log.close()
  await redis.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function relayWith(store: string, environment: Record<string, string> = {}): Promise<RelayProcess> {
  const relay = await startRelay({
    REDIS_URL: redis.url,
    SNAPSHOT_STORE: store,
    COLD_AFTER_SECONDS: '1',
    COLD_SWEEP_SECONDS: '1',
    ROOM_LINGER_MS: '0',
    ...environment,
  })
  relays.push(relay)
  return relay
}

/** Resolves when somebody else has seen it. */
async function type(relay: RelayProcess, id: DocumentId, text: string): Promise<string> {
  const url = `${relay.webSocketUrl}/${id}`
  const [writer, reader] = await Promise.all([RawClient.connect(url), RawClient.connect(url)])
  await until('both are synced', () => writer.synced && reader.synced)
  writer.doc.on('update', (update: Uint8Array) => writer.sendUpdate(update))
  writer.doc.getText('t').insert(writer.doc.getText('t').length, text)
  await until('the reader sees it', () => reader.doc.getText('t').toString().endsWith(text))
  for (const client of [writer, reader]) client.close()
  return reader.doc.getText('t').toString()
}

function textIn({ snapshot, tail }: Loaded): string {
  const doc = new Y.Doc()
  if (snapshot !== null) Y.applyUpdate(doc, snapshot.bytes)
  for (const { update } of tail) Y.applyUpdate(doc, update)
  return doc.getText('t').toString()
}

const isCold = async (id: DocumentId) => pointerOf((await log.load(id)).snapshot) !== null
const objectCount = () =>
  readdirSync(folder, { recursive: true }).filter((path) => /-\d+-/.test(String(path))).length

/** Those of the killed process would be waited for. */
async function dropLeases(): Promise<void> {
  const keys = (await redis.command('KEYS', '*:lease')) as string[]
  if (keys.length > 0) await redis.command('DEL', ...keys)
}

test(`relays killed while documents become cold lose nothing that was seen (seed ${seed})`, async () => {
  const store = `file:${folder}`
  const reading = new TieredLog({
    log,
    store: createFileStore(folder),
    lastTimeMs: () => 0,
    logger: silentLogger,
  })
  const seen = new Map<DocumentId, string>()
  let relay = await relayWith(store)
  for (const id of documents) seen.set(id, await type(relay, id, `${id} ${'x'.repeat(6_000)}`))
  for (let trial = 0; trial < trials; trial++) {
    const before = objectCount()
    await until('documents become cold', () => objectCount() > before)
    // Somewhere among the freezings of this sweep.
    await sleep((seed * 7919 + trial * 104_729) % 60)
    await relay.kill9()
    for (const id of documents)
      expect(textIn(await reading.load(id)), `${id}, trial ${trial}`).toBe(seen.get(id))
    await dropLeases()
    relay = await relayWith(store)
    // Long enough that they are compacted, and so warm, before they become cold again.
    for (const id of documents.slice(trial, trial + 8))
      seen.set(id, await type(relay, id, `${trial} ${'y'.repeat(6_000)}`))
  }
  await until('all are cold', async () => (await Promise.all(documents.map(isCold))).every(Boolean))
  for (const id of documents) {
    const reader = await RawClient.connect(`${relay.webSocketUrl}/${id}`)
    await until('the reader is synced', () => reader.synced)
    expect(reader.doc.getText('t').toString()).toBe(seen.get(id))
    reader.close()
  }
  expect(await relay.stop()).toBe(0)
})

test('a document whose store is away is refused, others are served, and it is back with the store', async () => {
  const s3 = await startS3Server()
  const id = documents[0]!
  try {
    const relay = await relayWith(s3.address('cold'), s3Credentials)
    const seen = await type(relay, id, 'z'.repeat(6_000))
    await until('it is cold', () => isCold(id))
    await s3.kill9()
    const refused = await RawClient.connect(`${relay.webSocketUrl}/${id}`)
    await refused.closed
    expect([refused.closeCode, refused.closeReason]).toEqual([
      1011,
      expect.stringContaining('document_unreadable'),
    ])
    expect(refused.doc.getText('t').length).toBe(0)
    expect(await type(relay, documents[1]!, 'still served')).toBe('still served')
    await s3.restart()
    expect(await type(relay, id, ' again')).toBe(`${seen} again`)
    expect(await relay.stop()).toBe(0)
  } finally {
    await s3.stop()
  }
})

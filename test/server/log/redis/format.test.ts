/**
 * The bytes that other nodes and later versions must understand. A change here is a change of format:
 * raise `redisFormat`, and keep reading what the last version wrote.
 */
import { createClient, RESP_TYPES } from 'redis'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { noOffset } from '../../../../core/offset.ts'
import { encodeEntry } from '../../../../server/log/entry-codec.ts'
import { decodeLine, encodeRequest, withKey } from '../../../../server/log/redis/append-request.ts'
import { decodeFeedMessage } from '../../../../server/log/redis/feed-message.ts'
import {
  changesKey,
  documentsKey,
  feedChannel,
  leaseKey,
  logKey,
  redisFormat,
  replicasKey,
  snapshotKey,
} from '../../../../server/log/redis/keys.ts'
import { compactTo, documentOf, RecordingFollower } from '../../../contract/log-model.ts'
import { type RedisServer, startRedisServer } from '../../../support/redis-server.ts'
import { nodesOn, until } from './nodes.ts'

let redis: RedisServer
const nodes = nodesOn(() => redis.url)
beforeAll(async () => {
  redis = await startRedisServer()
})
afterAll(async () => {
  await nodes.closeAll()
  await redis.stop()
})

const hex = (bytes: Uint8Array | string) => Buffer.from(bytes as Uint8Array).toString('hex')
const entry = { timeMs: 300, author: 'ann', origin: 's1', update: Uint8Array.of(1, 2, 255) }
const keyed = { ...entry, key: { replica: 'r', sequence: 7 } }

it('names the keys of a document so that all share one slot', () => {
  expect(redisFormat).toBe(2)
  const document = documentOf('deals/{a}%b')
  expect([logKey, snapshotKey, replicasKey, leaseKey, feedChannel].map((name) => name(document))).toEqual([
    'tidemark:{deals/%7Ba%7D%25b}:log',
    'tidemark:{deals/%7Ba%7D%25b}:snapshot',
    'tidemark:{deals/%7Ba%7D%25b}:replicas',
    'tidemark:{deals/%7Ba%7D%25b}:lease',
    'tidemark:{deals/%7Ba%7D%25b}:feed',
  ])
  expect([documentsKey, changesKey]).toEqual(['tidemark:documents', 'tidemark:changes'])
})

it('encodes an entry as ever', () => {
  expect(hex(encodeEntry(entry))).toBe('00ac0203616e6e0273310102ff')
  expect(hex(encodeEntry(keyed))).toBe('01ac0203616e6e027331017207' + '0102ff')
})

it('encodes a request as the function reads it', () => {
  const request = encodeRequest([
    { own: true, entries: [withKey(keyed, Uint8Array.of(170, 187))], messages: [] },
    { own: false, entries: [withKey(entry, Uint8Array.of(204))], messages: [Uint8Array.of(1, 2)] },
  ])
  expect(hex(request)).toBe(
    ['01', '00000001', '00000011', '00000000', '00000002', '0002', '72', '0000000000000007', 'aabb'].join(
      '',
    ) + ['00', '00000001', '00000007', '00000001', '00000001', '0000', 'cc', '00000002', '0102'].join(''),
  )
  expect(decodeLine('7', 2)).toEqual([
    { offset: 7, duplicate: false },
    { offset: 8, duplicate: false },
  ])
  expect(decodeLine('-7 9', 2)).toEqual([
    { offset: 7, duplicate: true },
    { offset: 9, duplicate: false },
  ])
  expect(decodeLine('-7', 1)).toEqual([{ offset: 7, duplicate: true }])
  expect(decodeLine('!WRONGTYPE what', 1)).toEqual(new Error('WRONGTYPE what'))
})

it('stores and publishes the bytes that were ever stored and published', async () => {
  const log = await nodes.open()
  const document = documentOf('deals/{a}%b')
  const client = createClient({ url: redis.url, RESP: 3 }).withTypeMapping({
    [RESP_TYPES.BLOB_STRING]: Buffer,
  })
  await client.connect()
  const heard: string[] = []
  await client.sSubscribe(feedChannel(document), (message) => void heard.push(hex(message)), true)
  await log.append(document, [entry, keyed])
  log.publish(document, Uint8Array.of(9))
  await until(() => expect(heard.length).toBe(2))
  const [, node] = /^65(08.{16})/.exec(heard[0]!)!
  expect(heard).toEqual([
    `65${node}0000000000000001` +
      '0000000d' +
      '00ac0203616e6e0273310102ff' +
      '00000010' +
      '01ac0203616e6e0273310172070102ff',
    `70${node}09`,
  ])
  const stream = (await client.sendCommand(['XRANGE', logKey(document), '-', '+'])) as [Buffer, Buffer[]][]
  expect(stream.map(([id, fields]) => [String(id), ...fields.map(hex)])).toEqual([
    ['0-1', '65', '00ac0203616e6e0273310102ff'],
    ['0-2', '65', '01ac0203616e6e0273310172070102ff'],
  ])
  expect(await redis.command('HGETALL', replicasKey(document))).toEqual({ r: '7:2' })
  await compactTo(log, document, 1)
  expect(await redis.command('HGETALL', snapshotKey(document))).toEqual({
    offset: '1',
    bytes: '\u0003\u0001\u0002\ufffd',
    index: 'i1',
    metadata: 'm1',
  })
  expect(await redis.command('ZRANGE', documentsKey, '0', '-1', 'WITHSCORES')).toEqual([['deals/{a}%b', 0]])
  const [change] = await log.changes(0, 1)
  expect(await redis.command('ZRANGE', changesKey, '0', '-1', 'WITHSCORES')).toEqual([
    ['deals/{a}%b', change!.sequence],
  ])
  expect((await redis.command('KEYS', '*')) as string[]).toHaveLength(5)
  client.destroy()
})

it('refuses messages that are cut off or unknown, and ignores its own', async () => {
  const node = Buffer.from('nodeA')
  const message = Buffer.from('65016200000000000000010000000d00ac0203616e6e0273310102ff', 'hex')
  const decoded = decodeFeedMessage(message, node)
  expect(decoded).toEqual({ kind: 'entries', first: 1, entries: [{ ...entry, offset: 1 }] })
  for (let length = 1; length < message.length; length++) {
    if (length === 11) continue // No entries at all: well-formed, and nothing.
    expect(() => decodeFeedMessage(message.subarray(0, length), node), `${length} bytes`).toThrow()
  }
  expect(() => decodeFeedMessage(Buffer.from('770162', 'hex'), node)).toThrow('unknown message')
  expect(decodeFeedMessage(Buffer.from('p\u0005nodeA!'), node)).toEqual({ kind: 'own' })
  const log = await nodes.open({ headCheckIntervalMs: 50 })
  const document = documentOf('noise')
  const follower = new RecordingFollower()
  await log.follow(document, noOffset, follower)
  for (const noise of ['', 'e', 'x\u0001b', 'e\u0001b'])
    await redis.command('SPUBLISH', feedChannel(document), noise)
  await log.append(document, [entry])
  await follower.reaches(1)
})

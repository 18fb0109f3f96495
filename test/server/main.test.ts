/** The program as people run it: its configuration, its health, its end, and what it does when storage fails. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { ConfigError, readConfig } from '../../server/config.ts'
import { metric } from '../support/metric.ts'
import { RawClient } from '../support/raw-client.ts'
import { startRedisServer } from '../support/redis-server.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { until } from '../support/wait.ts'

let folder: string
const relays: RelayProcess[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
})
afterEach(async () => {
  for (const relay of relays.splice(0)) await relay.kill9()
  rmSync(folder, { recursive: true, force: true })
})

const start = async (environment: Record<string, string> = {}): Promise<RelayProcess> => {
  const relay = await startRelay({ DATA_DIR: folder, ...environment })
  relays.push(relay)
  return relay
}

const update = (text: string): Uint8Array => {
  const doc = new Y.Doc()
  doc.getText('t').insert(0, text)
  return Y.encodeStateAsUpdate(doc)
}

const synced = async (relay: RelayProcess, room: string): Promise<RawClient> => {
  const client = await RawClient.connect(`${relay.webSocketUrl}/${room}`)
  await until('synced', () => client.synced || client.closeCode !== null)
  return client
}

const content = async (relay: RelayProcess, room: string): Promise<string> => {
  const client = await synced(relay, room)
  const text = client.doc.getText('t').toString()
  client.close()
  return text
}

describe('configuration', () => {
  test('has a default for everything', () => {
    expect(readConfig({})).toMatchObject({
      HOST: '127.0.0.1',
      PORT: 8080,
      DATA_DIR: './data',
      LOG_LEVEL: 'info',
    })
    expect(readConfig({ PORT: '', REDIS_URL: '' })).toMatchObject({ PORT: 8080 })
  })

  test.each([
    ['PORT', 'http', 'a whole number from 0 to 65535'],
    ['PORT', '65536', 'a whole number from 0 to 65535'],
    ['PORT', '-1', 'a whole number from 0 to 65535'],
    ['REDIS_URL', 'localhost:6379', 'a redis://'],
    ['REDIS_URL', 'redis://localhost:6379/1', 'database 0'],
    ['LOG_LEVEL', 'loud', 'one of silent, error, warn, info, debug'],
    ['UPDATE_BYTES_MAX', '1e6', 'a whole number'],
  ])('%s=%s is refused with the name and what it takes', (name, value, accepted) => {
    expect(() => readConfig({ [name]: value })).toThrowError(ConfigError)
    expect(() => readConfig({ [name]: value })).toThrowError(new RegExp(`${name}.*${accepted}`))
  })

  test('stops the start, with every invalid variable named', async () => {
    await expect(start({ PORT: 'x', LOG_LEVEL: 'y' })).rejects.toThrowError(/PORT[\s\S]*LOG_LEVEL/)
  })
})

test('health, readiness and metrics answer', async () => {
  const relay = await start()
  expect(await (await fetch(`${relay.url}/healthz`)).json()).toEqual({ status: 'ok' })
  expect(await (await fetch(`${relay.url}/readyz`)).json()).toEqual({ status: 'ready' })
  const client = await synced(relay, 'a')
  client.sendUpdate(update('x'))
  await until('it is counted', async () => (await metric(relay.url, 'appends_total')) === 1)
  expect(await metric(relay.url, 'connections')).toBe(1)
  expect(await metric(relay.url, 'rooms')).toBe(1)
  const text = await (await fetch(`${relay.url}/metrics`)).text()
  for (const name of [
    'append_seconds',
    'fan_out_seconds',
    'received_bytes_total',
    'tail_bytes',
    'compactions_total',
  ]) {
    expect(text).toContain(`tidemark_${name}`)
  }
  expect(text).toContain('nodejs_eventloop_lag')
  client.close()
})

test('SIGTERM: everyone is told to come back, what was sent is stored, the exit code is 0', async () => {
  const relay = await start()
  const clients = await Promise.all(Array.from({ length: 5 }, (_, i) => synced(relay, `room-${i}`)))
  for (const [i, client] of clients.entries()) client.sendUpdate(update(`text ${i}`))
  await until('all are stored', async () => (await metric(relay.url, 'appends_total')) === 5)
  expect(await relay.stop()).toBe(0)
  for (const client of clients) {
    await client.closed
    expect(client.closeCode).toBe(1012)
    expect(client.closeReason).toMatch(/^shutting_down: /)
  }
  const again = await start()
  for (const i of clients.keys()) expect(await content(again, `room-${i}`)).toBe(`text ${i}`)
})

test('a second server on the same data folder is refused with a clear error', async () => {
  await start()
  await expect(start()).rejects.toThrowError(/in use|another|lock/i)
})

test('a second server may take the folder over after kill -9', async () => {
  const first = await start()
  await first.kill9()
  await start()
})

test('a port that is taken is an error that names it', async () => {
  const first = await start()
  await expect(start({ PORT: String(first.port), DATA_DIR: join(folder, 'other') })).rejects.toThrowError(
    /EADDRINUSE/,
  )
})

test('a document that cannot be read is an error for its clients, never an empty document', async () => {
  const redis = await startRedisServer()
  const relay = await start({ REDIS_URL: redis.url })
  const first = await synced(relay, 'broken')
  first.sendUpdate(update('precious'))
  await until('stored', async () => (await metric(relay.url, 'appends_total')) === 1)
  await relay.kill9()
  const keys = (await redis.command('KEYS', '*broken*:log')) as string[]
  expect(keys).toHaveLength(1)
  // An entry that is not one of ours: the log cannot be trusted.
  await redis.command('XADD', keys[0]!, '0-*', 'x', 'garbage')
  const again = await start({ REDIS_URL: redis.url })
  const client = await RawClient.connect(`${again.webSocketUrl}/broken`)
  await client.closed
  expect(client.closeCode).toBe(1011)
  expect(client.closeReason).toMatch(/^document_unreadable/)
  expect(client.synced).toBe(false)
  expect(await content(again, 'another')).toBe('')
  await redis.stop()
})

describe('a full disk', () => {
  test('no edit is acknowledged or shown, clients are told, and it recovers without a restart', async () => {
    // A file system of its own that can be filled: 192 MiB.
    const disk = join(folder, 'disk')
    mkdirSync(disk)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=192m', 'tmpfs', disk])
    try {
      const relay = await start({ DATA_DIR: join(disk, 'data') })
      const reader = await synced(relay, 'a')
      const writer = await synced(relay, 'a')
      writer.sendUpdate(update('before the disk was full. '))
      await until('seen', () => reader.doc.getText('t').length > 0)
      const seen = reader.doc.getText('t').toString()

      execFileSync('sh', ['-c', `head -c 1G /dev/zero > ${join(disk, 'ballast')} || true`], {
        stdio: 'ignore',
      })
      const big = 'x'.repeat(256 * 1024)
      let refused: RawClient | null = null
      for (let i = 0; refused === null && i < 2_000; i++) {
        const client = await synced(relay, `filling/${i}`)
        client.sendUpdate(update(big))
        await until('stored or refused', async () => {
          const stored = (await metric(relay.url, 'appends_total')) >= i + 2
          return stored || client.closeCode !== null
        })
        if (client.closeCode !== null) refused = client
        else client.close()
      }
      expect(refused?.closeCode).toBe(1013)
      expect(refused?.closeReason).toMatch(/^log_unavailable/)
      expect((await fetch(`${relay.url}/readyz`)).status).toBe(503)
      expect((await fetch(`${relay.url}/healthz`)).status).toBe(200)
      expect(reader.doc.getText('t').toString()).toBe(seen)

      rmSync(join(disk, 'ballast'))
      await until('ready again', async () => (await fetch(`${relay.url}/readyz`)).ok)
      const after = await synced(relay, 'a')
      after.sendUpdate(update('after. '))
      await until('seen', () => reader.doc.getText('t').toString().includes('after. '))
      await relay.kill9()
      const again = await start({ DATA_DIR: join(disk, 'data') })
      expect(await content(again, 'a')).toContain('before the disk was full. ')
      expect(await content(again, 'a')).toContain('after. ')
      await again.kill9()
    } finally {
      for (const relay of relays.splice(0)) await relay.kill9()
      execFileSync('umount', [disk])
    }
  })
})

describe('Redis in trouble', () => {
  test.each([
    ['out of memory', ['CONFIG', 'SET', 'maxmemory', '1'], ['CONFIG', 'SET', 'maxmemory', '0']],
    ['read-only', ['REPLICAOF', '127.0.0.1', '1'], ['REPLICAOF', 'NO', 'ONE']],
  ])(
    '%s: clients are told, nothing is shown, and it recovers without a restart',
    async (_name, breakIt, mendIt) => {
      const redis = await startRedisServer()
      const relay = await start({ REDIS_URL: redis.url })
      const reader = await synced(relay, 'a')
      const writer = await synced(relay, 'a')
      await redis.command(...breakIt)
      writer.sendUpdate(update('lost? '))
      await writer.closed
      expect(writer.closeCode).toBe(1013)
      expect(writer.closeReason).toMatch(/^log_unavailable/)
      await until('it says so', async () => (await fetch(`${relay.url}/readyz`)).status === 503)
      await redis.command(...mendIt)
      await until('ready again', async () => (await fetch(`${relay.url}/readyz`)).ok)
      const again = await synced(relay, 'a')
      again.sendUpdate(update('here '))
      await until('seen', () => reader.doc.getText('t').toString() === 'here ')
      await redis.stop()
    },
  )

  test('gone when the server starts: a clear error', async () => {
    await expect(start({ REDIS_URL: 'redis://127.0.0.1:1' })).rejects.toThrowError(/Redis|ECONNREFUSED/)
  })
})

test('nothing of a document and no token is in what it logs', async () => {
  const relay = await start({ LOG_LEVEL: 'debug' })
  const client = await RawClient.connect(`${relay.webSocketUrl}/a?token=geheim-token`)
  await until('synced', () => client.synced)
  client.sendUpdate(update('geheim-content'))
  await until('stored', async () => (await metric(relay.url, 'appends_total')) === 1)
  client.sendUpdate(update('geheim-content').subarray(0, 10))
  await client.closed
  await relay.stop()
  expect(relay.lines.length).toBeGreaterThan(1)
  expect(JSON.stringify(relay.lines)).not.toContain('geheim')
})

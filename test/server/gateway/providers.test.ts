/** The real clients people have, unchanged, each in rooms of its own, against a real server process that gets killed. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import WebSocket from 'ws'
import { WebsocketProvider as ProviderV3 } from 'y-websocket'
import { WebsocketProvider as ProviderV2 } from 'y-websocket-2'
import * as Y from 'yjs'
import { metric } from '../../support/metric.ts'
import { type RedisServer, startRedisServer } from '../../support/redis-server.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { until } from '../../support/wait.ts'

const versions = { '2.x': ProviderV2, '3.x': ProviderV3 } as const

for (const log of ['embedded', 'redis'] as const) {
  describe.each(Object.keys(versions) as (keyof typeof versions)[])(
    `y-websocket %s over the ${log} log`,
    (version) => {
      let redis: RedisServer | null = null
      let folder: string
      let relay: RelayProcess
      const opened: { destroy(): void }[] = []

      beforeAll(async () => {
        if (log === 'redis') redis = await startRedisServer({ appendonly: 'yes', appendfsync: 'always' })
        folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
        relay = await start('0')
      })
      afterEach(() => {
        for (const provider of opened.splice(0)) provider.destroy()
      })
      afterAll(async () => {
        expect(await relay.stop()).toBe(0)
        await redis?.stop()
        rmSync(folder, { recursive: true })
      })

      const start = (port: string): Promise<RelayProcess> =>
        startRelay({ DATA_DIR: folder, PORT: port, ...(redis === null ? {} : { REDIS_URL: redis.url }) })

      const open = (room: string, doc = new Y.Doc()) => {
        const provider = new versions[version](relay.webSocketUrl, room, doc, {
          WebSocketPolyfill: WebSocket as unknown as typeof globalThis.WebSocket,
          disableBc: true,
          maxBackoffTime: 200,
        })
        opened.push(provider)
        return { doc, provider, text: doc.getText('t') }
      }
      const room = (): string => `rooms/${log}-${version}-${Math.random().toString(36).slice(2)}`

      test('two clients see each other’s edits, and a third one finds them', async () => {
        const id = room()
        const [a, b] = [open(id), open(id)]
        await until('both synced', () => a.provider.synced && b.provider.synced)
        a.text.insert(0, 'hello')
        await until('b has it', () => b.text.toString() === 'hello')
        b.text.insert(5, ' world')
        await until('a has it', () => a.text.toString() === 'hello world')
        const c = open(id)
        await until('c is synced', () => c.provider.synced)
        expect(c.text.toString()).toBe('hello world')
      })

      test('an id with spaces, accents and a percent sign names one document', async () => {
        const id = `${room()}/é ü%20 ${encodeURIComponent('100%')}`
        const [a, b] = [open(id), open(id)]
        await until('both synced', () => a.provider.synced && b.provider.synced)
        a.text.insert(0, 'x')
        await until('b has it', () => b.text.toString() === 'x')
      })

      test('edits made offline arrive after the reconnect, on both sides', async () => {
        const id = room()
        const [a, b] = [open(id), open(id)]
        await until('both synced', () => a.provider.synced && b.provider.synced)
        a.provider.disconnect()
        a.text.insert(0, 'offline-a ')
        b.text.insert(0, 'online-b ')
        a.provider.connect()
        await until('equal', () => a.text.length === 19 && a.text.toString() === b.text.toString())
      })

      test('what one has seen of another survives kill -9 of the server, with all clients gone', async () => {
        const id = room()
        const [a, b] = [open(id), open(id)]
        await until('both synced', () => a.provider.synced && b.provider.synced)
        for (let i = 0; i < 50; i++) a.text.insert(a.text.length, `${i},`)
        await until('b has it', () => b.text.toString() === a.text.toString())
        const seen = b.text.toString()
        for (const provider of opened.splice(0)) provider.destroy()
        await relay.kill9()
        relay = await start(String(relay.port))
        const c = open(id)
        await until('c is synced', () => c.provider.synced)
        expect(c.text.toString()).toBe(seen)
      })

      test('clients come back by themselves after kill -9 and converge', async () => {
        const id = room()
        const [a, b] = [open(id), open(id)]
        await until('both synced', () => a.provider.synced && b.provider.synced)
        await relay.kill9()
        await until('both noticed', () => !a.provider.wsconnected && !b.provider.wsconnected)
        a.text.insert(0, 'while down ')
        b.text.insert(0, 'also ')
        relay = await start(String(relay.port))
        await until('equal', () => a.text.length === 16 && a.text.toString() === b.text.toString())
      })

      test('presence is seen by others, also by those who come later, and ends with the socket', async () => {
        const id = room()
        const [a, b] = [open(id), open(id)]
        await until('both synced', () => a.provider.synced && b.provider.synced)
        a.provider.awareness.setLocalStateField('user', { name: 'Ada' })
        const seenBy = (other: typeof a) => other.provider.awareness.getStates().get(a.doc.clientID)?.['user']
        await until('b sees a', () => seenBy(b)?.name === 'Ada')
        const c = open(id)
        await until('c sees a', () => seenBy(c)?.name === 'Ada')
        a.provider.destroy()
        await until('a is gone', () => seenBy(b) === undefined && seenBy(c) === undefined)
      })

      test('a reconnect that brings nothing new appends nothing', async () => {
        const id = room()
        const a = open(id)
        await until('synced', () => a.provider.synced)
        a.text.insert(0, 'some text')
        a.text.delete(2, 3)
        const b = open(id)
        await until('b has it', () => b.text.toString() === a.text.toString())
        const before = await metric(relay.url, 'appends_total')
        for (let i = 0; i < 3; i++) {
          b.provider.disconnect()
          b.provider.connect()
          await until('synced again', () => b.provider.synced)
        }
        // An edit through the same connection orders this read after whatever the reconnect sent.
        b.text.insert(0, '!')
        await until('a has it', () => a.text.toString() === b.text.toString())
        expect((await metric(relay.url, 'appends_total')) - before).toBe(1)
      })
    },
  )
}

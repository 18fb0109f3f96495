/**
 * P2 over two nodes that share one Redis: one order on both, no gap, also when a node loses Redis for a
 * while or dies. The partition is real: node B reaches Redis through a TCP proxy that stops passing bytes.
 */
import { connect, createServer, type Server, type Socket } from 'node:net'
import { expect, type TestContext, test } from 'vitest'
import WebSocket from 'ws'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'
import { RawClient } from '../support/raw-client.ts'
import { startRedisServer } from '../support/redis-server.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { until } from '../support/wait.ts'

interface Proxy {
  readonly url: string
  /** Bytes stop in both directions; connections stay open, as when a cable is pulled. */
  freeze(): void
  thaw(): void
  /** Connections are reset, new ones refused until `thaw`. */
  cut(): void
  close(): void
}

/** Two nodes, of which `b` reaches Redis through the proxy; a client knows what it was asked to do, and no more. */
interface World {
  readonly proxy: Proxy
  readonly a: RelayProcess
  readonly b: RelayProcess
  client(relay: RelayProcess, room: string): Promise<RawClient>
}

/** It ends with the test. */
async function world({ onTestFinished }: TestContext): Promise<World> {
  const redis = await startRedisServer({ appendonly: 'yes', appendfsync: 'everysec' })
  const proxy = await startProxy(redis.port)
  const [a, b] = await Promise.all([redis.url, proxy.url].map((url) => startRelay({ REDIS_URL: url })))
  const opened: RawClient[] = []
  onTestFinished(async () => {
    for (const client of opened) client.close()
    await Promise.all([a!.stop(), b!.stop()])
    proxy.close()
    await redis.stop()
  })
  const client = async (relay: RelayProcess, room: string): Promise<RawClient> => {
    const doc = new Y.Doc()
    const opening = await RawClient.connect(`${relay.webSocketUrl}/${room}`, { doc })
    opened.push(opening)
    doc.on('update', (update: Uint8Array, origin: unknown) => {
      if (origin === null && opening.closeCode === null) opening.sendUpdate(update)
    })
    await until('synced', () => opening.synced)
    return opening
  }
  return { proxy, a: a!, b: b!, client }
}

const text = (of: { doc: Y.Doc }): Y.Text => of.doc.getText('t')
const equal = (...clients: { doc: Y.Doc }[]): boolean =>
  new Set(clients.map((each) => text(each).toString())).size === 1

/** Which edits a reader saw, in order, as client:clock of the first struct. */
const order = (reader: RawClient): string[] =>
  reader.received.flatMap((update) =>
    [...Y.parseUpdateMeta(update).from].map(([id, clock]) => `${id}:${clock}`),
  )

test.concurrent('readers on both nodes see the edits of both in the same order, without gap', async (context) => {
  const { a, b, client } = await world(context)
  const [writerA, writerB] = [await client(a, 'r'), await client(b, 'r')]
  const [readerA, readerB] = [await client(a, 'r'), await client(b, 'r')]
  for (let i = 0; i < 300; i++) {
    text(writerA).insert(0, 'a')
    text(writerB).insert(0, 'b')
    if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  await until('all equal', () => text(readerA).length === 600 && equal(writerA, writerB, readerA, readerB))
  expect(order(readerA)).toHaveLength(600)
  expect(order(readerB)).toEqual(order(readerA))
})

test.concurrent.for(['freeze', 'cut'] as const)(
  'a node that loses Redis for a while (%s) acknowledges nothing meanwhile, and misses nothing afterwards',
  async (how, context) => {
    const { a, b, client, proxy } = await world(context)
    const [writerA, readerA] = [await client(a, 'r'), await client(a, 'r')]
    const docB = new Y.Doc()
    const provider = new WebsocketProvider(b.webSocketUrl, 'r', docB, {
      WebSocketPolyfill: WebSocket as unknown as typeof globalThis.WebSocket,
      disableBc: true,
      maxBackoffTime: 200,
    })
    context.onTestFinished(() => provider.destroy())
    const clientB = { doc: docB }
    await until('b is synced', () => provider.synced)
    text(writerA).insert(0, 'before ')
    await until('b has it', () => equal(readerA, clientB))

    proxy[how]()
    text(clientB).insert(0, 'b-during ')
    text(writerA).insert(0, 'a-during ')
    await until('a goes on', () => text(readerA).toString().includes('a-during'))
    expect(text(readerA).toString()).not.toContain('b-during')
    await until('b says that it is not ready', async () => (await fetch(`${b.url}/readyz`)).status === 503)

    proxy.thaw()
    await until('b is ready', async () => (await fetch(`${b.url}/readyz`)).ok)
    await until(
      'equal',
      () => text(readerA).toString().includes('b-during') && equal(writerA, readerA, clientB),
    )
  },
)

test.concurrent('when a node dies its users’ presence is gone within 30 s, and their edits are not', async (context) => {
  const { a, b, client } = await world(context)
  const watcher = await client(a, 'r')
  const docB = new Y.Doc()
  const provider = new WebsocketProvider(b.webSocketUrl, 'r', docB, {
    WebSocketPolyfill: WebSocket as unknown as typeof globalThis.WebSocket,
    disableBc: true,
  })
  await until('b is synced', () => provider.synced)
  provider.awareness.setLocalStateField('user', 'Bea')
  docB.getText('t').insert(0, 'from b')
  const lastPresence = (): string => Buffer.from(watcher.awareness.at(-1) ?? []).toString()
  await until('a sees Bea', () => lastPresence().includes('Bea') && text(watcher).toString() === 'from b')
  const late = await client(a, 'r')
  await until('who comes later sees Bea', () => Buffer.concat(late.awareness).includes('Bea'))
  // Not a closed session but a node that can tell nobody any more.
  await b.kill9()
  provider.disconnect()
  await until('Bea is gone', () => lastPresence().includes('null'))
  expect(text(await client(a, 'r')).toString()).toBe('from b')
  provider.destroy()
})

async function startProxy(target: number): Promise<Proxy> {
  const pairs = new Set<[Socket, Socket]>()
  let state: 'open' | 'frozen' | 'cut' = 'open'
  const server: Server = createServer((inner) => {
    if (state === 'cut') {
      inner.resetAndDestroy()
      return
    }
    const outer = connect(target, '127.0.0.1')
    const pair: [Socket, Socket] = [inner, outer]
    pairs.add(pair)
    for (const [from, to] of [pair, [outer, inner] as const]) {
      if (state === 'frozen') from.pause()
      from.on('data', (chunk) => to.write(chunk))
      from.on('error', () => undefined)
      from.on('close', () => {
        to.destroy()
        pairs.delete(pair)
      })
    }
    if (state === 'frozen') for (const socket of pair) socket.pause()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    url: `redis://127.0.0.1:${address.port}`,
    freeze: () => {
      state = 'frozen'
      for (const pair of pairs) for (const socket of pair) socket.pause()
    },
    cut: () => {
      state = 'cut'
      for (const [inner, outer] of pairs) {
        inner.resetAndDestroy()
        outer.resetAndDestroy()
      }
    },
    thaw: () => {
      state = 'open'
      for (const pair of pairs) for (const socket of pair) socket.resume()
    },
    close: () => {
      for (const [inner, outer] of pairs) {
        inner.destroy()
        outer.destroy()
      }
      server.close()
    },
  }
}

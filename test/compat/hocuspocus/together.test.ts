/** Hocuspocus providers beside the clients of the other doors, on one node and on two that share one Redis. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import WebSocket from 'ws'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'
import { type RedisServer, startRedisServer } from '../../support/redis-server.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { type Replica, TidemarkClient } from '../../support/tidemark-client.ts'
import { until } from '../../support/wait.ts'
import { HocuspocusSocket, type Version, versions } from './providers.ts'

let redis: RedisServer
let nodes: readonly RelayProcess[]
const opened: { close(): void }[] = []

beforeAll(async () => {
  redis = await startRedisServer({ appendonly: 'yes', appendfsync: 'everysec' })
  const start = (): Promise<RelayProcess> => startRelay({ REDIS_URL: redis.url })
  nodes = await Promise.all([start(), start()])
})
afterEach(() => {
  for (const one of opened.splice(0)) one.close()
})
afterAll(async () => {
  for (const node of nodes) expect(await node.stop()).toBe(0)
  await redis.stop()
})

const connect = (version: Version, node: number): HocuspocusSocket => {
  const socket = new HocuspocusSocket(version, nodes[node]!.webSocketUrl)
  opened.push(socket)
  return socket
}
const yWebsocket = (id: string, node: number) => {
  const doc = new Y.Doc()
  const provider = new WebsocketProvider(nodes[node]!.webSocketUrl, id, doc, {
    WebSocketPolyfill: WebSocket as unknown as typeof globalThis.WebSocket,
    disableBc: true,
  })
  opened.push({ close: () => provider.destroy() })
  return { provider, text: doc.getText('t') }
}
const tidemark = async (id: string, node: number): Promise<Replica> => {
  const client = await TidemarkClient.connect(nodes[node]!.webSocketUrl)
  opened.push(client)
  return client.join(id)
}

describe.each(versions)('@hocuspocus/provider %s', (version) => {
  test('two nodes: edits, presence and stateless messages pass between them', async () => {
    const id = `t/nodes-${version}`
    const [a, b] = [connect(version, 0).open(id), connect(version, 1).open(id)]
    await until('both saved', () => a.saved && b.saved)
    a.write('from a')
    await until('b has it', () => b.content === 'from a')
    b.write(', from b')
    await until('a has it, all saved', () => a.content === b.content && a.saved && b.saved)
    a.provider.awareness.setLocalStateField('user', { name: 'Ada' })
    const seen = () => b.provider.awareness.getStates().get(a.doc.clientID)?.['user']
    await until('b sees a', () => seen()?.name === 'Ada')
    // At most once: what is lost while the nodes find each other is lost.
    await until('b hears', () => {
      if (b.stateless.length === 0) a.provider.sendStateless('over there')
      return b.stateless[0] === 'over there'
    })
    expect(a.stateless).toEqual([])
    a.destroy()
    await until('a is gone', () => seen() === undefined)
  })

  test('clients of all doors, on both nodes, edit one document and see each other', async () => {
    const id = `t/doors-${version}`
    const hocuspocus = [connect(version, 0).open(id), connect(version, 1).open(id)] as const
    const y = [yWebsocket(id, 0), yWebsocket(id, 1)] as const
    const replicas = [await tidemark(id, 0), await tidemark(id, 1)] as const
    await until(
      'all in',
      () => hocuspocus.every(({ saved }) => saved) && y.every((one) => one.provider.synced),
    )
    const texts = [...hocuspocus, ...y].map(({ text }) => text)
    const contents = (): string[] => [...texts.map(String), ...replicas.map((replica) => replica.text)]
    for (let i = 0; i < 5; i++) {
      for (const text of texts) text.insert(0, 'x')
      for (const replica of replicas) await replica.write('y')
    }
    await until('all equal', () => contents().every((content) => content.length === 30))
    expect(new Set(contents()).size).toBe(1)
    await until('saved', () => hocuspocus.every(({ saved }) => saved))
    y[0].provider.awareness.setLocalStateField('user', { name: 'Yves' })
    hocuspocus[1].provider.awareness.setLocalStateField('user', { name: 'Hoku' })
    const seenBy = ({ awareness }: { awareness: { getStates(): unknown } }): string =>
      JSON.stringify([...(awareness.getStates() as Map<number, unknown>).values()])
    await until('both are seen', () =>
      [hocuspocus[0].provider, y[1].provider].every((provider) =>
        ['Yves', 'Hoku'].every((name) => seenBy(provider).includes(name)),
      ),
    )
  })
})

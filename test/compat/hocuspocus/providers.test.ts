/** The Hocuspocus providers people have, unchanged, against a real server process that gets killed. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { metric } from '../../support/metric.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { until } from '../../support/wait.ts'
import { HocuspocusSocket, type Version, versions } from './providers.ts'

let folder: string
let relay: RelayProcess
const opened: HocuspocusSocket[] = []

const start = (port: string): Promise<RelayProcess> => startRelay({ DATA_DIR: folder, PORT: port })

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  relay = await start('0')
})
afterEach(() => {
  for (const socket of opened.splice(0)) socket.close()
})
afterAll(async () => {
  expect(await relay.stop()).toBe(0)
  expect(relay.lines.filter(({ msg }) => /failed/.test(String(msg)))).toEqual([])
  rmSync(folder, { recursive: true })
})

const connect = (version: Version): HocuspocusSocket => {
  const socket = new HocuspocusSocket(version, relay.webSocketUrl)
  opened.push(socket)
  return socket
}
let rooms = 0
const room = (): string => `hocuspocus/${rooms++}`

describe.each(versions)('@hocuspocus/provider %s', (version) => {
  test('two clients see each other’s edits, and a third one finds them', async () => {
    const id = room()
    const [a, b] = [connect(version).open(id), connect(version).open(id)]
    await until('both saved', () => a.saved && b.saved)
    a.write('hello')
    await until('b has it', () => b.content === 'hello')
    b.write(' world')
    await until('a has it, all saved', () => a.content === 'hello world' && a.saved && b.saved)
    const c = connect(version).open(id)
    await until('c is synced', () => c.provider.synced)
    expect(c.content).toBe('hello world')
  })

  test('edits made offline arrive after the reconnect, on both sides', async () => {
    const id = room()
    const [a, b] = [connect(version).open(id), connect(version).open(id)]
    await until('both saved', () => a.saved && b.saved)
    a.socket.provider.disconnect()
    await until('a is away', () => !a.socket.connected && !a.provider.synced)
    a.write('offline-a ')
    b.write('online-b ')
    expect(a.saved).toBe(false)
    void a.socket.provider.connect()
    await until('equal', () => a.content.length === 19 && a.content === b.content)
    await until('saved', () => a.saved && b.saved)
  })

  test('edits made offline are counted right: what came after them is not taken for saved by their statuses', async () => {
    const id = room()
    const a = connect(version).open(id)
    a.write('0123456789')
    await until('saved', () => a.saved)
    for (let round = 0; round < 5; round++) {
      a.socket.provider.disconnect()
      await until('a is away', () => !a.socket.connected && !a.provider.synced)
      for (let i = 0; i < 20; i++) a.write('x')
      for (let i = 0; i < 10; i++) a.text.delete(0, 1)
      if (round % 2 === 1) a.provider.forceSync()
      void a.socket.provider.connect()
      await until('saved', () => a.saved)
      const appended = await metric(relay.url, 'appends_total')
      // Whatever was on its way when it was taken for saved is told of before this one.
      a.write('!')
      expect(a.provider.unsyncedChanges).toBe(1)
      await until('saved', () => a.saved)
      expect((await metric(relay.url, 'appends_total')) - appended).toBe(1)
    }
  })

  test('what is saved survives kill -9 of the server, with all clients gone', async () => {
    const id = room()
    const a = connect(version).open(id)
    for (let i = 0; i < 50; i++) a.write(`${i},`)
    await until('saved', () => a.saved)
    const saved = a.content
    for (const socket of opened.splice(0)) socket.close()
    await relay.kill9()
    relay = await start(String(relay.port))
    const b = connect(version).open(id)
    await until('synced', () => b.provider.synced)
    expect(b.content).toBe(saved)
  })

  test('clients come back by themselves after kill -9 and converge, in all documents of their sockets', async () => {
    const ids = Array.from({ length: 20 }, room)
    const [first, second] = [connect(version), connect(version)]
    const pairs = ids.map((id) => [first.open(id), second.open(id)] as const)
    const all = pairs.flat()
    await until('all saved', () => all.every((client) => client.saved))
    await relay.kill9()
    await until('both noticed', () => !first.connected && !second.connected)
    for (const [a, b] of pairs) {
      a.write('while down ')
      b.write('also ')
    }
    relay = await start(String(relay.port))
    await until(
      'equal and saved',
      () =>
        pairs.every(([a, b]) => a.content.length === 16 && a.content === b.content) &&
        all.every((client) => client.saved),
    )
  })

  test('presence is seen by others, also by those who come later, and ends with the document', async () => {
    const id = room()
    const [a, b] = [connect(version).open(id), connect(version).open(id)]
    await until('both synced', () => a.provider.synced && b.provider.synced)
    a.provider.awareness.setLocalStateField('user', { name: 'Ada' })
    const seenBy = (other: typeof a) => other.provider.awareness.getStates().get(a.doc.clientID)?.['user']
    await until('b sees a', () => seenBy(b)?.name === 'Ada')
    const c = connect(version).open(id)
    await until('c sees a', () => seenBy(c)?.name === 'Ada')
    a.socket.provider.webSocket?.terminate()
    a.socket.provider.disconnect()
    await until('a is gone', () => seenBy(b) === undefined && seenBy(c) === undefined)
  })

  test('a stateless message reaches everybody else in the document, and nobody in another', async () => {
    const id = room()
    const socket = connect(version)
    const [a, elsewhere] = [socket.open(id), socket.open(room())]
    const [b, c] = [connect(version).open(id), connect(version).open(id)]
    const all = [a, b, c, elsewhere]
    await until('all saved', () => all.every((each) => each.saved))
    a.provider.sendStateless('{"ring":"bell"} 🔔')
    b.provider.sendStateless('and from b')
    const heard = (): string => [a, b, c].map(({ stateless }) => [...stateless].sort().join()).join('|')
    const [fromA, fromB] = ['{"ring":"bell"} 🔔', 'and from b']
    await until('heard', () => heard() === `${fromB}|${fromA}|${fromB},${fromA}`)
    expect(elsewhere.stateless).toEqual([])
  })

  test('20 documents live on one socket, and closing one leaves the others', async () => {
    const ids = Array.from({ length: 20 }, room)
    const [socket, other] = [connect(version), connect(version)]
    const mine = ids.map((id) => socket.open(id))
    const theirs = ids.map((id) => other.open(id))
    for (const [i, document] of mine.entries()) document.write(`document ${i}`)
    await until('all have theirs', () => theirs.every(({ content }, i) => content === `document ${i}`))
    await until('all saved', () => mine.every((document) => document.saved))
    mine[7]!.destroy()
    theirs[7]!.write(', alone')
    for (const document of theirs) document.write('!')
    await until('the others go on', () => mine.every(({ content }, i) => i === 7 || content.endsWith('!')))
    const again = socket.open(ids[7]!)
    await until('it is opened anew', () => again.saved && again.content === 'document 7, alone!')
    expect(mine[7]!.content).toBe('document 7')
    expect(socket.connected && other.connected).toBe(true)
  })

  test('a reconnect that brings nothing new appends nothing', async () => {
    const id = room()
    const [a, b] = [connect(version).open(id), connect(version).open(id)]
    a.write('some text')
    a.text.delete(2, 3)
    await until('b has it', () => a.saved && b.saved && b.content === a.content)
    const before = await metric(relay.url, 'appends_total')
    for (let i = 0; i < 3; i++) {
      b.socket.provider.disconnect()
      await until('away', () => !b.socket.connected && !b.provider.synced)
      void b.socket.provider.connect()
      await until('saved again', () => b.saved)
    }
    b.provider.forceSync()
    await until('saved once more', () => b.saved)
    b.write('!')
    await until('a has it', () => a.content === b.content)
    expect((await metric(relay.url, 'appends_total')) - before).toBe(1)
  })
})

test('sessions of 4.x with names of their own share a socket and a document', async () => {
  const id = room()
  const socket = connect('4.8')
  const [a, b] = [socket.open(id, { sessionAwareness: true }), socket.open(id, { sessionAwareness: true })]
  const plain = connect('3.4').open(id)
  await until('all saved', () => a.saved && b.saved && plain.saved)
  a.write('a')
  plain.write('-')
  await until('all have both', () => [a, b, plain].every(({ content }) => content.length === 2))
  a.provider.awareness.setLocalStateField('user', { name: 'Ada' })
  a.provider.sendStateless('hi')
  await until('b is told', () => b.stateless.length === 1 && plain.stateless.length === 1)
  expect(a.stateless).toEqual([])
  await until(
    'b sees a',
    () => b.provider.awareness.getStates().get(a.doc.clientID)?.['user']?.name === 'Ada',
  )
  a.destroy()
  await until('a is gone', () => !b.provider.awareness.getStates().has(a.doc.clientID))
  b.write('b')
  await until('b goes on', () => b.saved && plain.content === b.content)
})

test('edits that 4.x collects are saved when the one message that has them is durable', async () => {
  const id = room()
  const a = connect('4.8').open(id, { flushDelayMs: 100 })
  const b = connect('4.8').open(id)
  await until('both saved', () => a.saved && b.saved)
  const before = await metric(relay.url, 'appends_total')
  for (const letter of 'collected') a.write(letter)
  expect(a.provider.unsyncedChanges).toBe(1)
  await until('saved', () => a.saved)
  expect((await metric(relay.url, 'appends_total')) - before).toBe(1)
  await until('b has it', () => b.content === 'collected')
})

test('all three versions edit one document', async () => {
  const id = room()
  const clients = versions.map((version) => connect(version).open(id))
  await until('saved', () => clients.every((client) => client.saved))
  for (const [i, client] of clients.entries()) client.text.insert(0, String(i))
  await until('equal', () => clients.every(({ content }) => content.length === 3))
  expect(new Set(clients.map(({ content }) => content)).size).toBe(1)
  await until('saved', () => clients.every((client) => client.saved))
})

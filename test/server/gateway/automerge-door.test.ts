/** What the automerge-repo door allows, and what it passes on, message by message. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { RawPeer } from '../../compat/automerge-repo/raw-peer.ts'
import { type ServerUnderTest, startServer } from '../../compat/automerge-repo/server-under-test.ts'
import { until } from '../../support/wait.ts'

const documentId = '4NMNnkMhL8jXrdJ9jamS58PAVdXu'
let server: ServerUnderTest
const opened: RawPeer[] = []

beforeAll(async () => {
  server = await startServer({
    DOCUMENTS_PER_SOCKET_MAX: '3',
    FIRST_MESSAGE_MS_MAX: '1000',
  })
})
afterEach(async () => {
  for (const peer of opened.splice(0)) await peer.close()
})
afterAll(() => server.close())

const joined = async (name: string): Promise<RawPeer> => {
  const peer = await RawPeer.joined(server.url, name)
  opened.push(peer)
  return peer
}
/** Both have the document open. */
const pair = async (): Promise<readonly [RawPeer, RawPeer]> => {
  const peers = [await joined('ann'), await joined('bob')] as const
  for (const peer of peers) {
    peer.request(documentId)
    await until('answered', () => peer.is('doc-unavailable', documentId) !== undefined)
  }
  return peers
}
const data = Uint8Array.of(1, 2, 3)
const ephemeral = (sessionId: string, count: number, senderId = 'ann') => ({
  type: 'ephemeral',
  senderId,
  documentId,
  sessionId,
  count,
  data,
})

test('an ephemeral message goes to the others as it came but for its target, each once and in order', async () => {
  const [ann, bob] = await pair()
  for (const count of [1, 2, 2, 1, 5, 3]) ann.send(ephemeral('s', count))
  ann.send(ephemeral('t', 1))
  ann.send(ephemeral('t', 2, 'somebody else'))
  ann.send(ephemeral('t', 3))
  const heard = () => bob.told.filter(({ type }) => type === 'ephemeral')
  await until('heard', () => heard().some(({ sessionId, count }) => sessionId === 't' && count === 3))
  expect(heard().map(({ sessionId, count }) => `${sessionId}${count}`)).toEqual([
    's1',
    's2',
    's5',
    't1',
    't3',
  ])
  expect({ ...heard()[0]!, data: [...heard()[0]!.data!] }).toEqual({
    ...ephemeral('s', 1),
    data: [...data],
    targetId: 'bob',
  })
  expect(ann.is('ephemeral')).toBeUndefined()
})

test('each of a crowd hears all others under its own name, however long that is', async () => {
  const names = Array.from({ length: 24 }, (_, i) => `${'é'.repeat((i % 8) * (i % 3) * 9)}peer-${i}`)
  const crowd = await Promise.all(names.map(joined))
  for (const peer of crowd) peer.request(documentId)
  for (const peer of crowd) await until('answered', () => peer.is('doc-unavailable') !== undefined)
  const [rounds, speakers] = [5, 8]
  for (let count = 1; count <= rounds; count++)
    for (const peer of crowd.slice(0, speakers))
      peer.send({ ...ephemeral('s', count, peer.name), data: Buffer.from(peer.name) })
  const heardBy = (peer: RawPeer) => peer.told.filter(({ type }) => type === 'ephemeral')
  for (const peer of crowd) {
    const others = names.slice(0, speakers).filter((name) => name !== peer.name)
    await until('it hears all', () => heardBy(peer).length >= others.length * rounds)
    const heard = heardBy(peer)
    for (const other of others) {
      const ofOther = heard.filter(({ senderId }) => senderId === other)
      expect(ofOther.map(({ count }) => count)).toEqual([1, 2, 3, 4, 5])
      for (const { targetId, data } of ofOther)
        expect([targetId, Buffer.from(data!).toString()]).toEqual([peer.name, other])
    }
    expect(heard).toHaveLength(others.length * rounds)
  }
})

test('too many ephemeral messages are lost, and it can be heard again', async () => {
  const [ann, bob] = await pair()
  for (let count = 1; count <= 3_000; count++) ann.send(ephemeral('s', count))
  const last = () => Number(bob.is('ephemeral')?.['count'] ?? 0)
  let count = 3_000
  await until('heard again', () => {
    ann.send(ephemeral('s', ++count))
    return last() > 3_000
  })
  const heard = bob.told.filter(({ type }) => type === 'ephemeral').length
  expect(heard).toBeGreaterThan(500)
  expect(heard).toBeLessThan(2_500)
})

test('a document too many is refused, and those that are open go on', async () => {
  const ann = await joined('ann')
  for (let i = 1; i <= 4; i++) {
    ann.request(`doc${i}`)
    await until('answered', () => ann.is('doc-unavailable', `doc${i}`) !== undefined)
  }
  expect(ann.told.filter(({ type }) => type === 'error').map(({ message }) => message)).toEqual([
    'rate_limited: More than 3 documents on one socket',
  ])
  ann.told.length = 0
  ann.request('doc1')
  await until('answered', () => ann.is('doc-unavailable', 'doc1') !== undefined)
  expect(ann.is('error')).toBeUndefined()
})

test('who never joins is sent away', async () => {
  const stranger = await RawPeer.connect(server.url, 'stranger')
  opened.push(stranger)
  stranger.request(documentId)
  await until('closed', () => stranger.closed !== null)
  expect(stranger.closed).toMatch(/^4408 first_message_late/)
  expect(stranger.told).toEqual([])
})

test('a thousand messages at once are answered in time, whatever waits', async () => {
  const ann = await joined('ann')
  for (let i = 0; i < 1_000; i++) ann.request(`doc${i % 3}`)
  await until('answered', () => ann.told.filter(({ type }) => type === 'doc-unavailable').length >= 3)
  ann.send(ephemeral('s', 1))
  expect(ann.closed).toBeNull()
})

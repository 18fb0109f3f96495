/** What the server tells peers of automerge-repo is durable, whatever the log does; and what it refuses harms nobody else. */
import { randomBytes } from 'node:crypto'
import * as Automerge from '@automerge/automerge'
import { type DocHandle, generateAutomergeUrl, parseAutomergeUrl } from '@automerge/automerge-repo'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { decodeSyncMessage, type Filter } from '../../../core/engine/automerge/sync-message.ts'
import { until } from '../../support/wait.ts'
import { linesOf, type Note, RepoPeer, untilLines, write } from './peers.ts'
import { RawPeer } from './raw-peer.ts'
import { type ServerUnderTest, startServer } from './server-under-test.ts'
import { SyncPeer } from './sync-peer.ts'

const updateBytesMax = 64 * 1024
let server: ServerUnderTest
const opened: { close(): Promise<void> }[] = []

beforeAll(async () => {
  server = await startServer({ UPDATE_BYTES_MAX: String(updateBytesMax) })
})
afterEach(async () => {
  server.failing = false
  server.release()
  for (const peer of opened.splice(0)) await peer.close()
})
afterAll(() => server.close())

const connect = (): RepoPeer => {
  const peer = new RepoPeer(server.url)
  opened.push(peer)
  return peer
}
const raw = async (name: string): Promise<RawPeer> => {
  const peer = await RawPeer.joined(server.url, name)
  opened.push(peer)
  return peer
}
const shared = async (
  title: string,
): Promise<{ a: RepoPeer; b: RepoPeer; ours: DocHandle<Note>; theirs: DocHandle<Note> }> => {
  const [a, b] = [connect(), connect()]
  const ours = a.create(title)
  await a.saved(ours)
  return { a, b, ours, theirs: await b.open(ours.url) }
}

/** What it tells others to have, as one who has never heard of them. */
const filterOf = (doc: Automerge.Doc<unknown>): Filter =>
  decodeSyncMessage(Automerge.generateSyncMessage(doc, Automerge.initSyncState())[1]!).have[0]!.filter

test('a change is saved, and seen by others, once it is durable and not before', async () => {
  const { a, ours, theirs } = await shared('held')
  server.hold()
  write(ours, 'one')
  write(ours, 'two')
  await until('the log has been asked', () => server.held > 0)
  // What comes back on the same sockets comes after what was sent before.
  const heard = new Promise((resolve) => theirs.once('ephemeral-message', resolve))
  ours.broadcast('heard?')
  await heard
  expect([a.isSaved(ours), linesOf(theirs)]).toEqual([false, []])
  server.release()
  await a.saved(ours)
  await untilLines(theirs, 'one', 'two')
})

test('a change that the log could not take is sent again on the next connection', async () => {
  const { a, b, ours, theirs } = await shared('failing')
  server.failing = true
  write(ours, 'kept')
  await until('a was sent away', () => !a.connected)
  expect(linesOf(theirs)).toEqual([])
  server.failing = false
  await a.saved(ours)
  await b.ready()
  await untilLines(theirs, 'kept')
})

test('a change that is too large is refused with a reason, and other documents go on', async () => {
  const { a, b, ours, theirs } = await shared('large')
  const other = a.create('other')
  await a.saved(other)
  write(ours, randomBytes(updateBytesMax).toString('base64url'))
  await until('refused', () => a.errors.length > 0)
  expect(a.errors[0]).toMatch(/^update_too_large: /)
  write(other, 'goes on')
  await a.saved(other)
  await untilLines(await b.open(other.url), 'goes on')
  expect([a.isSaved(ours), linesOf(theirs), a.connected]).toEqual([false, [], true])
})

test('a long history that is pushed at once arrives, and what is said meanwhile comes after it', async () => {
  const { documentId } = parseAutomergeUrl(generateAutomergeUrl())
  const [a, b] = ['author', 'reader'].map((name) => new SyncPeer(server.url, name, documentId)) as [
    SyncPeer,
    SyncPeer,
  ]
  opened.push({ close: async () => a.leave() }, { close: async () => b.leave() })
  for (let i = 0; i < 900; i++) a.write(`key${i % 10}`, Uint8Array.of(i & 255))
  b.connect(false)
  a.connect(false)
  await until('a pushes', () => a.received > 0)
  a.write('late', Uint8Array.of(1))
  await until('b has it', () => Automerge.getHeads(b.doc).join() === Automerge.getHeads(a.doc).join())
  expect([Automerge.getAllChanges(b.doc).length, a.errors, b.errors]).toEqual([901, [], []])
})

test('a peer that joins again, here or on another socket, is told everything anew, and its old socket goes', async () => {
  const { ours } = await shared('again')
  const { documentId } = ours
  const first = await raw('twin')
  first.request(documentId)
  await until('told', () => first.is('sync', documentId) !== undefined)
  const second = await raw('twin')
  await until('the first one is gone', () => first.closed !== null)
  expect(first.closed).toBe('1000 This peer has joined again')
  for (let round = 0; round < 2; round++) {
    second.told.length = 0
    second.join()
    second.request(documentId)
    await until('told', () => second.is('sync', documentId) !== undefined)
    const { data, targetId, senderId } = second.is('sync', documentId)!
    expect(targetId).toBe('twin')
    expect(senderId).toMatch(/^tidemark-127\.0\.0\.1-\d+$/)
    expect(Automerge.decodeSyncMessage(Uint8Array.from(data!)).changes.length).toBeGreaterThan(0)
  }
  // Others are not taken for it.
  write(ours, 'after')
  const heads = () => Automerge.decodeSyncMessage(Uint8Array.from(second.is('sync', documentId)!.data!)).heads
  await until(
    'told of what came later',
    () => JSON.stringify(heads()) === JSON.stringify(Automerge.getHeads(ours.doc())),
  )
})

test('a client that connects a second time without a word to its Repo goes on where it was', async () => {
  const { a, b, ours, theirs } = await shared('connected twice')
  let lost = 0
  b.adapter.socket!.send = () => {
    lost++
  }
  write(theirs, 'under way')
  await until('sent', () => lost > 0)
  // As the timer of an earlier retry does, beside a connection that stands.
  b.adapter.connect(b.repo.peerId)
  const second = b.adapter.socket!
  await until('connected again', () => second.readyState === second.OPEN)
  write(ours, 'meanwhile')
  await a.saved(ours)
  await untilLines(theirs, 'meanwhile', 'under way')
  await untilLines(ours, 'meanwhile', 'under way')
  await b.saved(theirs)
  expect(b.errors).toEqual([])
})

test('whoever says the same again and again is answered once', async () => {
  const { ours } = await shared('loop')
  const { documentId } = ours
  const peer = await raw('parrot')
  // It has a change that it never sends.
  const own = Automerge.change(Automerge.clone(ours.doc()), (doc) => {
    doc.title = 'never sent'
  })
  const [, data] = Automerge.generateSyncMessage(own, Automerge.initSyncState())
  for (let i = 0; i < 10; i++) {
    peer.send({ type: 'sync', documentId, data })
    peer.request(`probe${i}`)
    await until('both were read', () => peer.is('doc-unavailable', `probe${i}`) !== undefined)
  }
  expect(peer.told.filter((told) => told.documentId === documentId).length).toBeLessThanOrEqual(2)
})

test('whoever edits before the first answer reaches it is sent the document once', async () => {
  const { a, ours } = await shared('far away')
  const { documentId } = ours
  for (let i = 0; i < 20; i++) write(ours, `line ${i}`)
  await a.saved(ours)
  const peer = await raw('far')
  let own = Automerge.init<Note>()
  let state = Automerge.initSyncState()
  for (let i = 0; i < 5; i++) {
    own = Automerge.change(own, (doc) => {
      doc.title = `mine ${i}`
    })
    const [next, data] = Automerge.generateSyncMessage(own, state)
    state = next
    peer.send({ type: 'sync', documentId, data })
    // What is told changes meanwhile.
    write(ours, `later ${i}`)
    await a.saved(ours)
    peer.request(`probe${i}`)
    await until('both were read', () => peer.is('doc-unavailable', `probe${i}`) !== undefined)
  }
  const edits = Automerge.getHeads(own)
  const told = (): Uint8Array[] =>
    peer.told.flatMap(({ documentId: id, data }) =>
      id === documentId && data !== undefined ? [Uint8Array.from(data)] : [],
    )
  // The document takes more than two kilobytes, an edit some 200 bytes.
  expect(told().filter(({ length }) => length > 1_000)).toHaveLength(1)
  let read = 0
  await until('its edits are there', () => {
    const unread = told().slice(read)
    read += unread.length
    for (const data of unread) [own, state] = Automerge.receiveSyncMessage(own, state, data)
    const [next, data] = Automerge.generateSyncMessage(own, state)
    state = next
    if (data !== null) peer.send({ type: 'sync', documentId, data })
    return Automerge.hasHeads(ours.doc(), edits)
  })
})

test('whoever is not sent what its filter seems to contain, and says so, is sent it', async () => {
  const { a, ours } = await shared('in the filter')
  for (let i = 0; i < 5; i++) write(ours, `line ${i}`)
  await a.saved(ours)
  const first = Automerge.decodeChange(Automerge.getAllChanges(ours.doc())[0]!).hash
  // One change in a hundred or so is in a filter that does not have it: others build on this one.
  let peer: SyncPeer
  do {
    peer = new SyncPeer(server.url, 'unlucky', ours.documentId)
    peer.write('mine', Uint8Array.of(1))
  } while (!filterOf(peer.doc).contains(Buffer.from(first, 'hex')))
  opened.push({ close: async () => peer.leave() })
  peer.connect(false)
  await until(
    'both have all',
    () => Automerge.getHeads(peer.doc).join() === Automerge.getHeads(ours.doc()).join(),
  )
})

test('whoever has forgotten what it had in common with the server is not sent what it has', async () => {
  const { documentId } = parseAutomergeUrl(generateAutomergeUrl())
  const [a, b] = ['forgetful', 'other'].map((name) => new SyncPeer(server.url, name, documentId)) as [
    SyncPeer,
    SyncPeer,
  ]
  opened.push({ close: async () => a.leave() }, { close: async () => b.leave() })
  const same = (): boolean => Automerge.getHeads(a.doc).join() === Automerge.getHeads(b.doc).join()
  b.connect(false)
  for (let i = 0; i < 100; i++) b.write(`key${i}`, Uint8Array.of(i))
  a.connect(false)
  await until('both have it', () => Automerge.getHeads(a.doc).length > 0 && same())
  a.leave()
  a.write('own', Uint8Array.of(1))
  const before = a.receivedChanges
  a.connect(false)
  await until('both have it', same)
  expect([a.receivedChanges - before, a.errors]).toEqual([0, []])
})

test('garbage ends the socket or its document, and never the server', async () => {
  const { a, ours, theirs } = await shared('hostile')
  const { documentId } = ours
  const frames: (string | Uint8Array)[] = [
    'text',
    Uint8Array.of(),
    Uint8Array.of(0xff),
    Buffer.from('81'.repeat(10_000), 'hex'),
  ]
  for (const frame of frames) {
    const peer = await raw('hostile')
    peer.socket.send(frame)
    await until('closed', () => peer.closed !== null)
    expect(peer.closed).toMatch(/^4400 malformed_frame/)
  }
  const early = await RawPeer.connect(server.url, 'early')
  opened.push(early)
  early.request(documentId)
  early.join(['7'])
  await until('closed', () => early.closed !== null)
  expect(early.told).toMatchObject([
    { type: 'error', message: 'unsupported protocol version', targetId: 'early' },
  ])
  const peer = await raw('hostile')
  const [, good] = Automerge.generateSyncMessage(ours.doc(), Automerge.initSyncState())
  const bad: [string, Uint8Array][] = [
    [documentId, Uint8Array.of(0x42, 0xff)],
    [documentId, Uint8Array.from([0x42, 0, 0, 0, 1, 12, ...Buffer.from('not a chunk.')])],
    ['no base58 0OIl', good!],
  ]
  for (const [id, data] of bad) {
    peer.told.length = 0
    peer.send({ type: 'sync', documentId: id, data })
    await until('refused', () => peer.is('doc-unavailable', id) !== undefined)
    expect(peer.is('error')?.message).toMatch(/^(malformed_frame|malformed_update|invalid_document_id): /)
  }
  peer.send({ type: 'sync', documentId, data: good, senderId: 'somebody else' })
  peer.request(documentId)
  await until('it may go on', () => peer.is('sync', documentId) !== undefined)
  write(ours, 'unharmed')
  await untilLines(theirs, 'unharmed')
  await a.saved(ours)
})

test('pings every five seconds', async () => {
  const peer = await raw('pinged')
  await until('pinged', () => peer.pings > 0, 8_000)
})

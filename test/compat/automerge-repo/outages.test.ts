/** Repos, unchanged, against real server processes: one that gets killed, and two that share one Redis. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as Automerge from '@automerge/automerge'
import { type DocHandle, Repo } from '@automerge/automerge-repo'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type RedisServer, startRedisServer } from '../../support/redis-server.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { until } from '../../support/wait.ts'
import {
  MemoryStorageAdapter,
  type Note,
  note,
  type PeerOptions,
  RepoPeer,
  untilLines,
  write,
} from './peers.ts'
import { RawPeer } from './raw-peer.ts'

let folder: string
let relay: RelayProcess
let redis: RedisServer
let nodes: readonly RelayProcess[]
const opened: RepoPeer[] = []

const compactsSoon = { COMPACTION_TAIL_COUNT_MAX: '8', COMPACTION_INTERVAL_MS: '50' }
const start = (port: string): Promise<RelayProcess> =>
  startRelay({ DATA_DIR: folder, PORT: port, ...compactsSoon })

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  redis = await startRedisServer({ appendonly: 'yes', appendfsync: 'everysec' })
  const node = (): Promise<RelayProcess> => startRelay({ REDIS_URL: redis.url })
  ;[relay, ...nodes] = (await Promise.all([start('0'), node(), node()])) as [
    RelayProcess,
    RelayProcess,
    RelayProcess,
  ]
})
afterEach(async () => {
  for (const peer of opened.splice(0)) await peer.close()
})
afterAll(async () => {
  for (const one of [relay, ...nodes]) {
    expect(await one.stop()).toBe(0)
    expect(one.lines.filter(({ msg }) => /failed/.test(String(msg)))).toEqual([])
  }
  await redis.stop()
  rmSync(folder, { recursive: true })
})

const connect = ({ webSocketUrl }: RelayProcess, options: PeerOptions = {}): RepoPeer => {
  const peer = new RepoPeer(webSocketUrl, options)
  opened.push(peer)
  return peer
}

test('edits made offline on both sides arrive after the reconnect', async () => {
  const [a, b] = [connect(relay), connect(relay)]
  const ours = a.create('offline')
  await a.saved(ours)
  const theirs = await b.open(ours.url)
  for (const peer of [a, b]) await peer.leave()
  write(ours, 'a alone')
  write(theirs, 'b alone')
  const made = a.create('made offline')
  expect(a.isSaved(ours)).toBe(false)
  for (const peer of [a, b]) await peer.comeBack()
  for (const handle of [ours, theirs]) await untilLines(handle, 'a alone', 'b alone')
  await a.saved(made)
  expect((await b.open(made.url)).doc().title).toBe('made offline')
})

test('a server that is killed comes back with everything that was saved, and takes what was written meanwhile', async () => {
  const [a, b] = [connect(relay), connect(relay)]
  const handles = Array.from({ length: 5 }, (_, i) => a.create(`killed ${i}`))
  await Promise.all(handles.map((handle) => a.saved(handle)))
  const theirs = await b.open(handles[0]!.url)
  write(handles[0]!, 'before')
  await untilLines(theirs, 'before')
  await a.saved(handles[0]!)
  await relay.kill9()
  await until('both are away', () => !a.connected && !b.connected)
  write(handles[0]!, 'meanwhile')
  write(theirs, 'meanwhile too')
  const made = b.create('without a server')
  relay = await start(String(relay.port))
  await b.saved(made)
  for (const handle of [handles[0]!, theirs]) await untilLines(handle, 'before', 'meanwhile', 'meanwhile too')
  await a.saved(handles[0]!)
  const c = connect(relay)
  for (const [i, { url }] of handles.entries()) expect((await c.open(url)).doc().title).toBe(`killed ${i}`)
  await untilLines(await c.open(handles[0]!.url), 'before', 'meanwhile', 'meanwhile too')
})

test('after a compaction, who comes new and who comes back get what they lack', async () => {
  const [a, b] = [connect(relay), connect(relay)]
  const ours = a.create('compacted')
  await a.saved(ours)
  const theirs = await b.open(ours.url)
  await b.leave()
  write(theirs, 'b alone')
  const done = async (): Promise<number> => {
    const text = await (await fetch(`${relay.url}/metrics`)).text()
    return Number(/compactions_total{result="done"} (\d+)/.exec(text)?.[1] ?? 0)
  }
  const before = await done()
  const lines = Array.from({ length: 10 }, (_, i) => `line ${i}`)
  for (const line of lines) {
    write(ours, line)
    await a.saved(ours)
  }
  await until('compacted', async () => (await done()) > before)
  const raw = await RawPeer.joined(relay.webSocketUrl, 'raw')
  raw.request(ours.documentId)
  await until('answered', () => raw.is('sync', ours.documentId) !== undefined)
  await raw.close()
  const [chunk] = Automerge.decodeSyncMessage(Uint8Array.from(raw.is('sync', ours.documentId)!.data!)).changes
  expect([raw.is('sync', ours.documentId)!.data![0], chunk![8]]).toEqual([0x43, 0])
  await untilLines(await connect(relay).open(ours.url), ...lines)
  await b.comeBack()
  for (const handle of [ours, theirs]) await untilLines(handle, 'b alone', ...lines)
  await b.saved(theirs)
})

test('a document that was pushed whole over HTTP is found, and edited', async () => {
  const [a, b] = [connect(relay), connect(relay)]
  const made = new Repo().create(note('pushed'))
  write(made, 'before')
  const answer = await fetch(`${relay.url}/v1/documents/${made.documentId}/updates`, {
    method: 'POST',
    headers: { 'content-type': 'application/octet-stream' },
    body: Buffer.from(Automerge.save(made.doc())),
  })
  expect(answer.status).toBeLessThan(300)
  const [ours, theirs] = [await a.open(made.url), await b.open(made.url)]
  await untilLines(ours as DocHandle<Note>, 'before')
  write(ours as DocHandle<Note>, 'after')
  await untilLines(theirs as DocHandle<Note>, 'before', 'after')
  await a.saved(ours as DocHandle<Note>)
})

test('heads of a peer are told to who subscribed to its storage, on another node and on the same', async () => {
  const gossips = { enableRemoteHeadsGossiping: true, isEphemeral: false }
  const storing = (node: number): RepoPeer =>
    connect(nodes[node]!, { ...gossips, storage: new MemoryStorageAdapter() })
  const [a, b, c] = [storing(0), storing(1), connect(nodes[0]!, gossips)]
  const ours = a.create('watched')
  await a.saved(ours)
  const [theirs, third] = [await b.open(ours.url), await c.open(ours.url)]
  const storageId = (await b.repo.storageId())!
  for (const peer of [a, c]) peer.repo.subscribeToRemotes([storageId])
  write(theirs, 'seen')
  for (const handle of [ours, third])
    await until('told of b', () => {
      const told = handle.getSyncInfo(storageId)?.lastHeads
      return JSON.stringify(told) === JSON.stringify(theirs.heads()) && handle.doc().lines.length === 1
    })
})

test('two nodes: changes, news of a document and ephemeral messages pass between them', async () => {
  const [a, b] = [connect(nodes[0]!), connect(nodes[1]!)]
  const ours = a.create('across')
  await a.saved(ours)
  const theirs = await b.open(ours.url)
  write(theirs, 'from b')
  write(ours, 'from a')
  for (const handle of [ours, theirs]) await untilLines(handle, 'from a', 'from b')
  const heard: unknown[] = []
  theirs.on('ephemeral-message', ({ message, senderId }) => heard.push([message, senderId]))
  for (const message of [{ cursor: 1 }, { cursor: 2 }]) ours.broadcast(message)
  await until('heard', () => heard.length === 2)
  expect(heard).toEqual([
    [{ cursor: 1 }, a.repo.peerId],
    [{ cursor: 2 }, a.repo.peerId],
  ])
})

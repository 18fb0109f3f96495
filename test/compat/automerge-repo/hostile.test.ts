/**
 * What no Automerge sends, through the door of a real relay: bombs, cut and deep changes, histories that fit no frame. Each is refused
 * with a reason or taken, costs little memory, and somebody else's edits go on in between.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deflateRawSync } from 'node:zlib'
import * as Automerge from '@automerge/automerge'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { until } from '../../support/wait.ts'
import { RawPeer } from './raw-peer.ts'
import { SyncPeer } from './sync-peer.ts'

const mib = 1024 * 1024
const updateBytesMax = mib
let folder: string
let relay: RelayProcess
let ours: SyncPeer
let theirs: SyncPeer
let hostile: RawPeer
let count = 0

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  relay = await startRelay({ DATA_DIR: folder, PORT: '0', UPDATE_BYTES_MAX: String(updateBytesMax) })
  ;[ours, theirs] = ['ours', 'theirs'].map((name) => {
    const peer = new SyncPeer(relay.webSocketUrl, name, 'othersdocument')
    peer.connect(false)
    return peer
  }) as [SyncPeer, SyncPeer]
  await until('connected', () => ours.connected && theirs.connected)
})
beforeEach(async () => {
  hostile = await RawPeer.joined(relay.webSocketUrl, 'hostile')
})
afterEach(() => hostile.close())
afterAll(async () => {
  ours.leave()
  theirs.leave()
  expect(await relay.stop()).toBe(0)
  rmSync(folder, { recursive: true })
})

/** Somebody else's edit is written, made durable and read. */
async function othersGoOn(): Promise<void> {
  const key = `key${count++}`
  ours.write(key, Uint8Array.of(1))
  await until('it is read', () => theirs.doc[key] !== undefined)
}

const leb = (value: number): number[] =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb(value >>> 7)]
/** Sent as by a peer that has nothing else to say. */
function send(documentId: string, changes: readonly Uint8Array[]): void {
  const parts = changes.flatMap((change) => [Uint8Array.from(leb(change.length)), change])
  const data = Buffer.concat([Uint8Array.from([0x42, 0, 0, 0, ...leb(changes.length)]), ...parts])
  hostile.send({ type: 'sync', documentId, data: Uint8Array.from(data) })
}
async function refusedWith(code: RegExp, documentId: string): Promise<void> {
  await until('refused', () => hostile.is('doc-unavailable', documentId) !== undefined)
  expect(hostile.is('error')?.message).toMatch(code)
  expect(hostile.closed).toBeNull()
}
async function residentBytes(): Promise<number> {
  const text = await (await fetch(`${relay.url}/metrics`)).text()
  return Number(/^process_resident_memory_bytes (\S+)/m.exec(text)![1])
}
const deflated = (bytes: number): Uint8Array => {
  const contents = deflateRawSync(new Uint8Array(bytes))
  return Buffer.concat([
    Uint8Array.of(0x85, 0x6f, 0x4a, 0x83, 0, 0, 0, 0, 2, ...leb(contents.length)),
    contents,
  ])
}
const change = (ops: readonly object[], actor = 'aabb'): Uint8Array =>
  (Automerge.encodeChange as (change: object) => Uint8Array)({
    ...{ actor, seq: 1, startOp: 1, time: 0, deps: [], message: '', ops },
  })
const set = { action: 'set', obj: '_root', key: 'a', value: 'x', pred: [] }

test('changes that inflate to far more than was sent are refused before they do', async () => {
  const before = await residentBytes()
  const bomb = deflated(200 * mib)
  expect(bomb.length).toBeLessThan(updateBytesMax)
  // Those that are together too much, not each.
  for (const [i, changes] of [[bomb], Array<Uint8Array>(60).fill(deflated(mib))].entries()) {
    send(`bomb${i + 1}`, changes)
    await othersGoOn()
    await refusedWith(/^malformed_update: /, `bomb${i + 1}`)
  }
  expect((await residentBytes()) - before).toBeLessThan(150 * mib)
})

test('a change that is cut, or damaged, is refused, and what came before it in the message is not half there', async () => {
  const good = change([set])
  const damaged = Uint8Array.from(good)
  damaged[20]! ^= 1
  for (const [i, bad] of [good.subarray(0, -3), damaged, Uint8Array.from([...good, 0])].entries()) {
    const documentId = `cut${i + 1}`
    send(documentId, [change([set], 'ccdd'), bad])
    await othersGoOn()
    await refusedWith(/^malformed_update: /, documentId)
    hostile.told.length = 0
    hostile.request(documentId)
    await until('nobody has it', () => hostile.is('doc-unavailable', documentId) !== undefined)
  }
})

test('values nested twenty thousand deep are taken, and hurt nobody', async () => {
  const deep = Array.from({ length: 20_000 }, (_, i) => ({
    ...{ action: 'makeMap', obj: i === 0 ? '_root' : `${i}@aabb`, key: 'k', pred: [] },
  }))
  send('deep', [change(deep)])
  await othersGoOn()
  const joiner = await RawPeer.joined(relay.webSocketUrl, 'joiner')
  joiner.request('deep')
  await until('a joiner is sent it', () => (joiner.is('sync', 'deep')?.data?.length ?? 0) > 20_000)
  await joiner.close()
  // As JSON it cannot be had; nobody else is hurt.
  const { status } = await fetch(`${relay.url}/v1/documents/deep`)
  expect([200, 500]).toContain(status)
  await othersGoOn()
})

test('a message larger than a frame may be ends the socket with 1009; its history comes in by parts over HTTP', async () => {
  const changes: Uint8Array[] = []
  let doc = Automerge.init<Record<string, Uint8Array>>()
  const noise = (i: number) => Uint8Array.from({ length: 100_000 }, (_, at) => (at * 7919 * (i + 1)) >>> 3)
  for (let i = 0; i < 40; i++) {
    doc = Automerge.change(doc, (content) => {
      content[`k${i}`] = noise(i)
    })
    changes.push(Automerge.getLastLocalChange(doc)!)
  }
  send('history', changes)
  await othersGoOn()
  await until('closed', () => hostile.closed !== null)
  expect(hostile.closed).toMatch(/^1009/)
  for (const body of changes) {
    const options = { method: 'POST', body: body.slice().buffer, headers }
    expect((await fetch(`${relay.url}/v1/documents/history/updates`, options)).status).toBe(201)
  }
  const peer = new SyncPeer(relay.webSocketUrl, 'author', 'history')
  peer.doc = doc
  peer.connect(false)
  peer.write('more', Uint8Array.of(1))
  const joiner = new SyncPeer(relay.webSocketUrl, 'joiner', 'history')
  joiner.connect(false)
  await until('a joiner has all of it', () => joiner.doc['more'] !== undefined)
  expect(Object.keys(joiner.doc)).toHaveLength(41)
  peer.leave()
  joiner.leave()
  await othersGoOn()
})
const headers = { 'content-type': 'application/octet-stream' }

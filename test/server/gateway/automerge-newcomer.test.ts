/**
 * What somebody who has nothing of an Automerge document is given: about what Automerge saves it in, however it was typed, while its
 * author is still there; and what is given to somebody who lacks nothing.
 */
import * as Automerge from '@automerge/automerge'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { hex, unhex } from '../../../core/engine/automerge/chunk.ts'
import { decodeSyncMessage, encodeSyncMessage, Filter } from '../../../core/engine/automerge/sync-message.ts'
import { writeVersion } from '../../../core/engine/automerge/version.ts'
import { noOffset } from '../../../core/offset.ts'
import { RawPeer } from '../../compat/automerge-repo/raw-peer.ts'
import { type ServerUnderTest, startServer } from '../../compat/automerge-repo/server-under-test.ts'
import { metric } from '../../support/metric.ts'
import { TidemarkClient } from '../../support/tidemark-client.ts'
import { until } from '../../support/wait.ts'

interface Content extends Record<string, unknown> {
  text: string
}

/** A text that was typed from its middle, a few characters in each change. */
let doc = Automerge.from<Content>({ text: '' })
const changes = [Automerge.getLastLocalChange(doc)!]
for (let i = 0; i < 200; i++) {
  doc = Automerge.change(doc, (content) => {
    for (let edit = 0; edit < 20; edit++)
      Automerge.splice(content, ['text'], Math.floor(content.text.length / 2), 0, `${(i * 7 + edit) % 10}`)
  })
  changes.push(Automerge.getLastLocalChange(doc)!)
}
const heads = Automerge.getHeads(doc).map(unhex)
const savedBytes = Automerge.save(doc).length
const typedBytes = changes.reduce((sum, { length }) => sum + length, 0)
const isWhole = (chunks: readonly Uint8Array[]): boolean =>
  Automerge.load<Content>(Buffer.concat(chunks)).text === doc.text

let server: ServerUnderTest
let documents = 0
const opened: { close(): unknown }[] = []
beforeAll(async () => {
  expect(typedBytes).toBeGreaterThan(savedBytes * 4)
  // A slow machine may take longer to start a thread than anybody is let wait.
  server = await startServer({ COMPACTION_NEWCOMER_MS: '60000' })
})
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close()
})
afterAll(() => server.close())

const joined = async (name: string): Promise<RawPeer> => {
  const peer = await RawPeer.joined(server.url, name)
  opened.push(peer)
  return peer
}
const dataOf = (parts: Parameters<typeof encodeSyncMessage>[0]): Uint8Array =>
  Buffer.concat(encodeSyncMessage(parts, false))
const have = [{ lastSync: [], filter: Filter.empty }]

/** It was told of everything. */
function knowsAll(peer: RawPeer, documentId: string): boolean {
  const told = peer.is('sync', documentId)
  return told !== undefined && decodeSyncMessage(told.data!).heads.map(hex).join() === heads.map(hex).join()
}

/** A document whose author is there, and has heard that everything is durable. */
async function typed(): Promise<string> {
  const documentId = `typed${++documents}`
  const author = await joined(`author-${documents}`)
  for (const change of changes)
    author.send({ type: 'sync', documentId, data: dataOf({ heads, need: [], have, changes: [change] }) })
  await until('all is durable', () => knowsAll(author, documentId))
  return documentId
}

async function given(peer: RawPeer, documentId: string): Promise<readonly Uint8Array[]> {
  await until('it is given everything', () => knowsAll(peer, documentId))
  const all = peer.told
    .filter((told) => told.type === 'sync' && told.documentId === documentId)
    .flatMap(({ data }) => decodeSyncMessage(data!).changes)
  expect(isWhole(all)).toBe(true)
  return all
}
const bytesOf = (chunks: readonly Uint8Array[]): number => chunks.reduce((sum, { length }) => sum + length, 0)
const done = (): Promise<number> => metric(server.httpUrl, 'compactions_total{result="done"}').catch(() => 0)

test('a newcomer of automerge-repo gets what Automerge saves, and a crowd of them makes one compaction', async () => {
  const documentId = await typed()
  const before = await done()
  const crowd = await Promise.all(Array.from({ length: 10 }, (_, i) => joined(`newcomer-${i}`)))
  for (const peer of crowd) peer.request(documentId)
  for (const peer of crowd) expect(bytesOf(await given(peer, documentId))).toBeLessThan(savedBytes * 1.1)
  expect(await done()).toBe(before + 1)
})

test('a newcomer of the Tidemark door gets what Automerge saves, and who lacks nothing is told so', async () => {
  const documentId = await typed()
  const catchUpFor = async (version: Uint8Array) => {
    const client = await TidemarkClient.connect(server.url)
    opened.push(client)
    const none = noOffset
    const open = {
      request: 1,
      document: documentId,
      engine: 'automerge',
      token: '',
      replica: 'reader',
    } as const
    // Not as a replica of it, which is of Yjs.
    client.send({ kind: 'open', ...open, have: { epoch: none, offset: none, version } })
    await until('it is open', () => client.of('opened').length === 1)
    return client.of('opened')[0]!.catchUp
  }
  const catchUp = await catchUpFor(writeVersion([]))
  if (catchUp.kind !== 'update') throw new Error(`a newcomer was given ${catchUp.kind}`)
  expect(isWhole([catchUp.update])).toBe(true)
  expect(catchUp.update.length).toBeLessThan(savedBytes * 1.1)
  expect(await catchUpFor(writeVersion(heads))).toEqual({ kind: 'nothing' })
})

test('what is typed while a newcomer waits for less comes to it too', async () => {
  const documentId = await typed()
  const [author, newcomer] = [await joined('late'), await joined('newcomer')]
  newcomer.request(documentId)
  const after = Automerge.change(Automerge.clone(doc), (content) => {
    Automerge.splice(content, ['text'], 0, 0, 'later ')
  })
  const now = Automerge.getHeads(after).map(unhex)
  const change = Automerge.getLastLocalChange(after)!
  author.send({ type: 'sync', documentId, data: dataOf({ heads: now, need: [], have, changes: [change] }) })
  const text = (): string => {
    const all = newcomer.told.flatMap(({ type, data }) =>
      type === 'sync' ? decodeSyncMessage(data!).changes : [],
    )
    return all.length === 0 ? '' : Automerge.load<Content>(Buffer.concat(all)).text
  }
  await until('it has both', () => text() === after.text)
})

test('a newcomer that takes no documents gets the changes as they were made, and no compaction is made of them', async () => {
  const documentId = await typed()
  const before = await done()
  const old = await joined('old')
  old.send({ type: 'request', documentId, data: dataOf({ heads: [], need: [], have, changes: [] }) })
  expect(bytesOf(await given(old, documentId))).toBe(typedBytes)
  expect(await done()).toBe(before)
})

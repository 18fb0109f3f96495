/** Several begin one Automerge document at once, without knowing of each other: they have one of each root, not one each. */
import * as Automerge from '@automerge/automerge'
import type { DocumentId } from '@automerge/automerge-repo'
import { generateAutomergeUrl, parseAutomergeUrl } from '@automerge/automerge-repo'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { createClient } from '../../client/create-client.ts'
import { createMemoryStorage } from '../../client/storage/memory.ts'
import type { AutomergeHandle, Client } from '../../client/types.ts'
import { RepoPeer } from '../compat/automerge-repo/peers.ts'
import { type ServerUnderTest, startServer } from '../compat/automerge-repo/server-under-test.ts'
import { until } from '../support/wait.ts'

interface Note {
  text: string
  tags: Record<string, number>
}

const beginning = ((): Uint8Array => {
  const empty = Automerge.init<Note>({ actor: '00'.repeat(16) })
  const begun = Automerge.change(empty, { time: 0 }, (doc) => {
    Object.assign(doc, { text: '', tags: {} })
  })
  return Automerge.save(begun)
})()

const write = (doc: Note, name: string): void => {
  Automerge.splice(doc as Automerge.Doc<Note>, ['text'], 0, 0, name)
  doc.tags[name] = 1
}
const hasBoth = ({ text, tags }: Note): boolean => text.length === 6 && Object.keys(tags).length === 2

let server: ServerUnderTest
const opened: { close(): Promise<unknown> }[] = []

beforeAll(async () => {
  server = await startServer({ AUTOMERGE_PREFIX: 'notes/' })
})
afterEach(async () => {
  for (const each of opened.splice(0)) await each.close()
})
afterAll(() => server.close())

const newId = (): DocumentId => parseAutomergeUrl(generateAutomergeUrl()).documentId
const connect = (): Client => {
  const client = createClient({ url: server.url, storage: createMemoryStorage() })
  opened.push(client)
  return client
}
async function beginOffline(name: string, id: DocumentId): Promise<[Client, AutomergeHandle<Note>]> {
  const client = connect()
  client.pause()
  const note = await client.open<Note>(`notes/${id}`, { engine: 'automerge' })
  await note.whenLoaded
  note.merge(beginning)
  note.change((doc) => write(doc, name))
  return [client, note]
}

test('what two have made offline is in one text and one map', async () => {
  const id = newId()
  const [[anns, ann], [bobs, bob]] = [await beginOffline('ann', id), await beginOffline('bob', id)]
  anns.resume()
  bobs.resume()
  await Promise.all([ann.saved(), bob.saved()])
  await until('both have both', () => hasBoth(ann.doc) && hasBoth(bob.doc))
  expect(Automerge.getConflicts(ann.doc, 'text')).toBeUndefined()
  expect(Automerge.getHeads(ann.doc).sort()).toEqual(Automerge.getHeads(bob.doc).sort())
  // Ours, theirs, and the beginning once.
  expect(Automerge.getAllChanges(ann.doc)).toHaveLength(3)
})

test('one of them is a Repo', async () => {
  const id = newId()
  const [anns, ann] = await beginOffline('ann', id)
  const peer = new RepoPeer(server.url)
  opened.push(peer)
  const bob = peer.repo.import<Note>(beginning, { docId: id })
  bob.change((doc) => write(doc, 'bob'))
  anns.resume()
  await ann.saved()
  await until('both have both', () => hasBoth(ann.doc) && hasBoth(bob.doc()))
  expect(Automerge.getConflicts(ann.doc, 'text')).toBeUndefined()
})

test('a beginning that is there already is no edit', async () => {
  const [client, note] = await beginOffline('ann', newId())
  client.resume()
  await note.saved()
  const heard: boolean[] = []
  note.on('change', ({ local }) => heard.push(local))
  note.merge(beginning)
  expect([note.pending, heard]).toEqual([0, []])
})

test('what builds on changes that are not here is refused, and leaves nothing behind', async () => {
  const [, note] = await beginOffline('ann', newId())
  const before = Automerge.getHeads(note.doc)
  const other = Automerge.change(Automerge.from({ title: 'a' }), (doc) => {
    doc.title = 'b'
  })
  const [first, second] = Automerge.getAllChanges(other) as [Uint8Array, Uint8Array]
  expect(() => note.merge(second)).toThrow(/builds on changes that are not here/)
  expect(() => note.merge(Uint8Array.of(1, 2, 3))).toThrow(/Not chunks of Automerge/)
  expect([Automerge.getHeads(note.doc), note.pending]).toEqual([before, 2])
  note.merge(first)
  expect((note.doc as unknown as { title: string }).title).toBe('a')
})

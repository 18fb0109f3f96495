/** What peers of automerge-repo may do is what the token in their URL says, for each document. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { token, tokenSecret } from '../../support/tokens.ts'
import { until } from '../../support/wait.ts'
import { linesOf, RepoPeer, untilLines, write } from './peers.ts'
import { RawPeer } from './raw-peer.ts'
import { type ServerUnderTest, startServer } from './server-under-test.ts'

let server: ServerUnderTest
const opened: { close(): Promise<void> }[] = []

beforeAll(async () => {
  server = await startServer({
    JWT_SECRET: tokenSecret,
    JWT_CLOCK_TOLERANCE_SECONDS: '0',
    AUTOMERGE_PREFIX: 'notes/',
  })
})
afterEach(async () => {
  for (const peer of opened.splice(0)) await peer.close()
})
afterAll(() => server.close())

const connect = (bearer: string): RepoPeer => {
  const peer = new RepoPeer(server.url, { token: bearer })
  opened.push(peer)
  return peer
}
const raw = async (name: string, bearer?: string): Promise<RawPeer> => {
  const peer = await RawPeer.connect(server.url, name, bearer === undefined ? '' : `?token=${bearer}`)
  opened.push(peer)
  return peer
}
const grant = (match: string, access: string, subject = 'rita'): Promise<string> =>
  token({ subject, documents: [{ match, access }] })

test('a reader receives everything and changes nothing, and is told once', async () => {
  const writer = connect(await token())
  const ours = writer.create('read me')
  await writer.saved(ours)
  const reader = connect(await grant('notes/**', 'read'))
  const theirs = await reader.open(ours.url)
  write(theirs, 'mine')
  await until('told', () => reader.errors.length > 0)
  expect(reader.errors[0]).toMatch(/^read_only: /)
  write(theirs, 'mine too')
  write(ours, 'ours')
  await untilLines(theirs, 'mine', 'mine too', 'ours')
  await writer.saved(ours)
  const heard = new Promise((resolve) => ours.once('ephemeral-message', resolve))
  theirs.broadcast('still there')
  await heard
  expect([linesOf(ours), reader.errors.length, reader.isSaved(theirs)]).toEqual([['ours'], 1, false])
})

test('a document that may not be read is as one that is not there', async () => {
  const writer = connect(await token())
  const ours = writer.create('secret')
  await writer.saved(ours)
  for (const bearer of [await grant('other/**', 'write'), await grant('notes/other', 'read')])
    await expect(connect(bearer).open(ours.url)).rejects.toThrow(/unavailable/)
  const friend = connect(await grant(`notes/${ours.documentId}`, 'read'))
  expect((await friend.open(ours.url)).doc().title).toBe('secret')
})

test('without a good token nobody gets in', async () => {
  for (const bearer of [undefined, 'nonsense', await token({ expiresIn: -10 })]) {
    const peer = await raw('stranger', bearer)
    await until('closed', () => peer.closed !== null)
    expect(peer.closed).toMatch(/^4401 (unauthenticated|token_expired)/)
  }
})

test('a token that ends closes the socket', async () => {
  const peer = await raw('brief', await token({ expiresIn: 2 }))
  peer.join()
  await until('closed', () => peer.closed !== null)
  expect(peer.closed).toMatch(/^4401 token_expired/)
})

test('an administrator ends the sessions of a user, and removes a document', async () => {
  const admin = { authorization: `Bearer ${await grant('**', 'admin', 'admin')}` }
  const writer = connect(await token())
  const ours = writer.create('short-lived')
  await writer.saved(ours)
  const reader = await raw('reader', await grant('notes/**', 'read', 'ruth'))
  reader.join()
  reader.request(ours.documentId)
  await until('it is there', () => reader.is('sync', ours.documentId) !== undefined)
  const path = `${server.httpUrl}/v1/documents/${encodeURIComponent(`notes/${ours.documentId}`)}`
  expect((await fetch(path, { method: 'DELETE', headers: admin })).ok).toBe(true)
  await until('it is gone', () => reader.is('doc-unavailable', ours.documentId) !== undefined)
  expect(reader.is('error')?.message).toMatch(/^document_removed: /)
  const ended = await fetch(`${server.httpUrl}/v1/sessions/end`, {
    method: 'POST',
    headers: { ...admin, 'content-type': 'application/json' },
    body: JSON.stringify({ subject: 'ruth' }),
  })
  expect(ended.ok).toBe(true)
  await until('closed', () => reader.closed !== null)
  expect(reader.closed).toMatch(/^4401 revoked/)
})

test('nobody takes the place of a peer of another user', async () => {
  const [ann, bob] = [await raw('same', await token()), await raw('same', await token({ subject: 'bob' }))]
  for (const peer of [ann, bob]) {
    peer.join()
    await until('joined', () => peer.is('peer') !== undefined)
  }
  expect([ann.closed, bob.closed]).toEqual([null, null])
})

test('a document of Yjs is unavailable, and its clients are not disturbed', async () => {
  const documentId = '4NMNnkMhL8jXrdJ9jamS58PAVdXu'
  const admin = await grant('**', 'admin', 'admin')
  const path = `${server.httpUrl}/v1/documents/${encodeURIComponent(`notes/${documentId}`)}/updates`
  const update = Uint8Array.from([1, 1, 1, 0, 4, 1, 1, 116, 1, 97, 0])
  const answer = await fetch(path, {
    method: 'POST',
    headers: { authorization: `Bearer ${admin}`, 'content-type': 'application/octet-stream' },
    body: update,
  })
  expect([answer.ok, await answer.text()]).toMatchObject([true, expect.anything()])
  const peer = await raw('other engine', admin)
  peer.join()
  peer.request(documentId)
  await until('refused', () => peer.is('doc-unavailable', documentId) !== undefined)
  expect(peer.is('error')?.message).toMatch(/^wrong_engine: /)
})

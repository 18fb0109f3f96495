/** Repos of the published client, unchanged, edit documents together through one server, and come back after outages. */

import * as Automerge from '@automerge/automerge'
import { Repo } from '@automerge/automerge-repo'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Browser } from '../../client/browser.ts'
import { until } from '../../support/wait.ts'
import { type Note, note, type PeerOptions, RepoPeer, untilLines, write } from './peers.ts'
import { type ServerUnderTest, startServer } from './server-under-test.ts'

let server: ServerUnderTest
const opened: RepoPeer[] = []

beforeAll(async () => {
  server = await startServer()
})
afterEach(async () => {
  for (const peer of opened.splice(0)) await peer.close()
})
afterAll(() => server.close())

const connect = (options: PeerOptions = {}): RepoPeer => {
  const peer = new RepoPeer(server.url, options)
  opened.push(peer)
  return peer
}

describe('documents', () => {
  test('one peer creates, others find, and all see what each writes', async () => {
    const [a, b, c] = [connect(), connect(), connect()]
    const ours = a.create('first')
    write(ours, 'a1')
    await a.saved(ours)
    const theirs = await b.open(ours.url)
    expect(theirs.doc().title).toBe('first')
    write(theirs, 'b1')
    write(ours, 'a2')
    const third = await c.open(ours.url)
    write(third, 'c1')
    for (const handle of [ours, theirs, third]) await untilLines(handle, 'a1', 'a2', 'b1', 'c1')
  })

  test('nobody has it: unavailable, and there once somebody brings it', async () => {
    const [a, b, early] = [connect(), connect(), connect()]
    const made = new Repo().create(note('late'))
    await expect(b.open(made.url)).rejects.toThrow(/unavailable/)
    await expect(early.open(made.url)).rejects.toThrow(/unavailable/)
    await a.ready()
    const ours = a.repo.import<Note>(Automerge.save(made.doc()), { docId: made.documentId })
    await a.saved(ours)
    for (const peer of [b, early]) {
      await until('it is there', () => peer.repo.handles[made.documentId]?.isReady() === true)
      expect((await peer.open(made.url)).doc().title).toBe('late')
    }
  })

  test('twenty documents on one socket', async () => {
    const [a, b] = [connect(), connect()]
    const ours = Array.from({ length: 20 }, (_, i) => a.create(`document ${i}`))
    await Promise.all(ours.map((handle) => a.saved(handle)))
    const theirs = await Promise.all(ours.map(({ url: one }) => b.open(one)))
    for (const [i, handle] of theirs.entries()) {
      expect(handle.doc().title).toBe(`document ${i}`)
      write(handle, `b${i}`)
    }
    await Promise.all(ours.map((handle, i) => untilLines(handle, `b${i}`)))
  })
})

test('a server that is full sends a peer away, which comes again by itself and does not die of it', async () => {
  const small = await startServer({ SESSIONS_MAX: '1' })
  try {
    const first = new RepoPeer(small.url)
    const ours = first.create('first')
    await first.saved(ours)
    const second = new RepoPeer(small.url)
    opened.push(second)
    await until('sent away', async () => {
      const text = await (await fetch(`${small.httpUrl}/metrics`)).text()
      return /refusals_total{code="overloaded"} [1-9]/.test(text)
    })
    await first.close()
    expect((await second.open(ours.url)).doc().title).toBe('first')
  } finally {
    for (const peer of opened.splice(0)) await peer.close()
    await small.close()
  }
})

test('a Repo, a Tidemark client and the HTTP API have one document', async () => {
  const repo = connect()
  const ours = repo.create('mixed')
  await repo.saved(ours)
  const browser = new Browser()
  try {
    const { client } = browser.open({ url: server.httpUrl })
    const theirs = await client.open<Note>(ours.documentId, { engine: 'automerge' })
    await until('the client has it', () => theirs.doc.title === 'mixed')
    theirs.change((doc) => {
      doc.lines.push('of the client')
    })
    await theirs.saved()
    write(ours, 'of the repo')
    await untilLines(ours, 'of the client', 'of the repo')
    await until('the client has both', () => theirs.doc.lines.length === 2)
    await repo.saved(ours)
    const answer = await fetch(`${server.httpUrl}/v1/documents/${ours.documentId}`)
    const json = (await answer.json()) as { lines?: string[] }
    expect([answer.status, [...(json.lines ?? [])].sort()]).toEqual([200, ['of the client', 'of the repo']])
  } finally {
    await browser.close()
  }
})

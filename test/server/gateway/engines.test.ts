/** The doors of Yjs clients, of documents that are Automerge's: a refusal that names both engines, and nobody else harmed. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as Automerge from '@automerge/automerge'
import { afterAll, beforeAll, expect, test } from 'vitest'
import * as Y from 'yjs'
import { noOffset } from '../../../core/offset.ts'
import { HocuspocusRaw } from '../../support/hocuspocus-client.ts'
import { RawClient } from '../../support/raw-client.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { TidemarkClient } from '../../support/tidemark-client.ts'
import { until } from '../../support/wait.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
let relay: RelayProcess
beforeAll(async () => {
  relay = await startRelay({ DATA_DIR: folder })
})
afterAll(async () => {
  expect(await relay.stop()).toBe(0)
  rmSync(folder, { recursive: true })
})

const change = Automerge.getLastLocalChange(Automerge.from({ a: 1 }))!
async function writeAutomerge(document: string): Promise<void> {
  const { status } = await fetch(`${relay.url}/v1/documents/${document}/updates`, {
    method: 'POST',
    headers: { 'content-type': 'application/octet-stream' },
    body: change.slice().buffer,
  })
  expect(status).toBe(201)
}
const typed = (): Uint8Array => {
  const doc = new Y.Doc()
  doc.getText('t').insert(0, 'x')
  return Y.encodeStateAsUpdate(doc)
}

test('a y-websocket client is closed with 4409, whether it came before the first update or after', async () => {
  const early = await RawClient.connect(`${relay.webSocketUrl}/early`)
  await until('it is synced', () => early.synced)
  await writeAutomerge('early')
  const late = await RawClient.connect(`${relay.webSocketUrl}/early`)
  for (const client of [early, late]) {
    await until('it is closed', () => client.closeCode !== null)
    expect(client.closeCode).toBe(4409)
    expect(client.closeReason).toMatch(/^wrong_engine: .*automerge.*yjs/)
  }
})

test('a client of a Yjs document that sends chunks of Automerge is refused, and the others go on', async () => {
  const url = `${relay.webSocketUrl}/chunks`
  const [one, other] = await Promise.all([RawClient.connect(url), RawClient.connect(url)])
  await until('both are synced', () => one.synced && other.synced)
  one.sendUpdate(change)
  await until('it is closed', () => one.closeCode !== null)
  expect(one.closeCode).toBe(4422)
  other.doc.on('update', (update: Uint8Array) => other.sendUpdate(update))
  other.doc.getText('t').insert(0, 'hello')
  const third = await RawClient.connect(url)
  await until('a third one has it', () => third.doc.getText('t').toString() === 'hello')
  for (const client of [other, third]) client.close()
})

test('a Hocuspocus client is denied the document, told nothing of it is saved, and keeps its socket', async () => {
  const client = await HocuspocusRaw.connect(relay.webSocketUrl)
  await client.open('hocus')
  await client.open('fine')
  await writeAutomerge('hocus')
  client.send('hocus', 0, 2, typed())
  await until('it is denied', () => client.of('hocus').some((text) => /denied.*wrong_engine/.test(text)))
  expect(client.of('hocus').filter((text) => /sync status 1|saved/.test(text))).toEqual([])
  client.send('fine', 0, 2, typed())
  await until('the other is saved', () => client.of('fine').some((text) => text.startsWith('status')))
  client.socket.close()
})

test('of pushes that race, each for its engine, one is acknowledged and the other document closed', async () => {
  const winners = new Set<string>()
  for (let run = 0; run < 20; run++) {
    const [one, two] = await Promise.all([0, 1].map(() => TidemarkClient.connect(relay.webSocketUrl)))
    const yjs = await one!.join(`race-${run}`)
    // Not as a replica of it, which is of Yjs.
    const have = { epoch: noOffset, offset: noOffset, version: Uint8Array.of(0) }
    const open = { request: 1, document: `race-${run}`, token: '', replica: 'automerge' } as const
    two!.send({ kind: 'open', engine: 'automerge', have, ...open })
    await until('both are open', () => two!.of('opened').length === 1)
    const { channel } = two!.of('opened')[0]!
    if (run % 2 === 0) yjs.push(yjs.type('x'))
    two!.send({ kind: 'push', channel, sequence: 1, updates: [change] })
    if (run % 2 === 1) yjs.push(yjs.type('x'))
    const acks = (): number[] => [one!, two!].map((client) => client.of('ack').length)
    const ends = (): unknown[] =>
      [one!, two!].flatMap((client) => client.of('closed').map(({ problem }) => problem))
    await until('both are answered', () => acks()[0]! + acks()[1]! > 0 && ends().length > 0)
    expect(acks().toSorted()).toEqual([0, 1])
    expect(ends()).toMatchObject([{ code: 'wrong_engine', retryMs: null }])
    winners.add(String(acks()))
    for (const client of [one!, two!]) client.close()
  }
  expect(winners.size).toBe(2)
})

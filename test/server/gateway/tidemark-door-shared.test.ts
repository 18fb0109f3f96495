/**
 * What is shared at the tidemark.v1 door: a socket by several documents, a room by clients of both doors, and the window
 * of a document by the pushes that wait for their ack.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { unackedUpdatesMax } from '../../../core/protocol/tidemark-v1/messages.ts'
import { RawClient } from '../../support/raw-client.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { refusalOf, TidemarkClient } from '../../support/tidemark-client.ts'
import { until } from '../../support/wait.ts'

let folder: string
let relay: RelayProcess
const opened: { close(): void }[] = []

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  relay = await startRelay({ DATA_DIR: folder, DOCUMENTS_PER_SOCKET_MAX: '50' })
})
afterEach(() => {
  for (const one of opened.splice(0)) one.close()
})
afterAll(async () => {
  expect(await relay.stop()).toBe(0)
  rmSync(folder, { recursive: true })
})

async function connect(): Promise<TidemarkClient> {
  const client = await TidemarkClient.connect(relay.webSocketUrl)
  opened.push(client)
  return client
}

async function connectOther(document: string): Promise<RawClient> {
  const client = await RawClient.connect(`${relay.webSocketUrl}/${document}`)
  opened.push(client)
  await until('synced', () => client.synced)
  return client
}

describe('two documents on a socket', () => {
  test('are edited at the same time and do not mix', async () => {
    const [one, two] = [await connect(), await connect()]
    const names = ['d/two-a', 'd/two-b']
    const here = await Promise.all(names.map((name) => one.join(name)))
    const there = await Promise.all(names.map((name) => two.join(name)))
    for (let i = 0; i < 20; i++)
      for (const [at, replica] of here.entries()) replica.push(replica.type(`${'ab'[at]}`))
    await Promise.all(here.map((replica) => replica.settled()))
    await until('read', () => there.every((replica) => replica.text.length === 20))
    expect(there.map((replica) => replica.text)).toEqual(['a'.repeat(20), 'b'.repeat(20)])
  })

  test('one that is refused or ends leaves the other', async () => {
    const client = await connect()
    const [stays, goes] = [await client.join('d/stays'), await client.join('d/goes')]
    expect(
      (await fetch(`${relay.url}/v1/documents/${encodeURIComponent('d/goes')}`, { method: 'DELETE' })).ok,
    )
    await stays.write('here')
    expect(goes.text).toBe('')
    expect(client.closeCode).toBe(null)
  })

  test('up to the limit, which closing one makes room in', async () => {
    const client = await connect()
    const replicas = await Promise.all(Array.from({ length: 50 }, (_, i) => client.join(`d/limit-${i}`)))
    const refused = client.open('d/limit-50')
    await refused.answered()
    expect(refusalOf(refused).code).toBe('rate_limited')
    client.send({ kind: 'close', channel: replicas[0]!.channel })
    await client.join('d/limit-50')
  })
})

describe('a room with clients of both doors', () => {
  test('shows all the same edits in the same order', async () => {
    const tide = await (await connect()).join('d/mixed')
    const other = await connectOther('d/mixed')
    other.doc.on('update', (update: Uint8Array, origin: unknown) => {
      if (origin === null) other.sendUpdate(update)
    })
    const watchTide = await (await connect()).join('d/mixed')
    const watchOther = await connectOther('d/mixed')
    const seenBefore = watchOther.received.length
    for (let i = 0; i < 50; i++) {
      tide.push(tide.type('t'))
      other.doc.getText('t').insert(0, 'o')
    }
    await tide.settled()
    const all = (): string[] => [tide.text, other.doc.getText('t').toString(), watchTide.text]
    await until('all have all', () => all().every((text) => text.length === 100))
    await until('the watcher too', () => watchOther.doc.getText('t').length === 100)
    expect(new Set([...all(), watchOther.doc.getText('t').toString()]).size).toBe(1)
    watchTide.assertNoGap()
    const orderOf = (updates: readonly Uint8Array[]): string[] =>
      updates.map((update) => Buffer.from(update).toString('hex'))
    expect(orderOf(watchTide.received.map(({ update }) => update))).toEqual(
      orderOf(watchOther.received.slice(seenBefore)),
    )
  })
})

describe('the window', () => {
  test(`takes ${unackedUpdatesMax} updates that wait for their ack, and more as they are acknowledged`, async () => {
    const client = await connect()
    const replica = await client.join('d/window')
    const updates = Array.from({ length: unackedUpdatesMax + 10 }, () => replica.type('x'))
    // Both are there before the first is appended.
    process.kill(relay.pid, 'SIGSTOP')
    replica.push(...updates.slice(0, unackedUpdatesMax))
    replica.push(...updates.slice(unackedUpdatesMax))
    await until('sent', () => client.socket.bufferedAmount === 0)
    process.kill(relay.pid, 'SIGCONT')
    await until('nack', () => replica.nacks.length > 0)
    const { sequence, problem } = replica.nacks[0]!
    expect(sequence).toBe(unackedUpdatesMax + 1)
    expect(problem).toMatchObject({ code: 'rate_limited', retryMs: expect.any(Number) })
    await until('acks', () => replica.acked === unackedUpdatesMax)
    replica.pushAt(sequence, updates.slice(unackedUpdatesMax))
    await until('the rest', () => replica.acked === updates.length)
    expect((await (await connect()).join('d/window')).doc.getText('t').length).toBe(updates.length)
  })

  test.each([
    ['leaves a gap', 5],
    ['goes back before the first', 1],
  ])('a push that %s closes the socket', async (_what, sequence) => {
    const client = await connect()
    const replica = await client.join(`d/gap-${sequence}`)
    replica.pushAt(3, [replica.type('a')])
    replica.pushAt(sequence, [replica.type('b')])
    expect(await client.end()).toBe('4400 malformed_frame')
  })
})

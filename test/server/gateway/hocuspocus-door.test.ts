/**
 * The Hocuspocus door while the log is slow to read: what waits is limited, and whoever leaves meanwhile has left. The server
 * runs here, over a real log whose reads are held back when the test says so.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import * as Y from 'yjs'
import { readConfig } from '../../../server/config.ts'
import { createEmbeddedLog } from '../../../server/log/lmdb/embedded-log.ts'
import { Server } from '../../../server/server.ts'
import { type Held, held } from '../../support/held-log.ts'
import { encode, HocuspocusRaw } from '../../support/hocuspocus-client.ts'
import { metric } from '../../support/metric.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'

const mib = 1024 * 1024
let folder: string
let server: Server
let http: string
const opened: HocuspocusRaw[] = []

let reads: Held

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  const config = readConfig({
    DATA_DIR: folder,
    PORT: '0',
    ADAPTERS: './no-adapters',
    SESSION_BUFFER_BYTES_MAX: String(64 * 1024),
    IMAGE_BYTES_MAX: String(mib),
    // Nothing reads but those who join.
    COMPACTION_TAIL_BYTES_MAX: String(1024 * mib),
  })
  const log = createEmbeddedLog({ directory: folder, logger: silentLogger })
  reads = held(log, 'load')
  server = new Server(config, log, silentLogger)
  http = await server.start()
})
afterEach(() => {
  reads.release()
  for (const client of opened.splice(0)) client.close()
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
})

async function connect(): Promise<HocuspocusRaw> {
  const client = await HocuspocusRaw.connect(http.replace('http', 'ws'))
  opened.push(client)
  return client
}
const received = (): Promise<number> => metric(http, 'received_bytes_total')
const update = (text: string): Uint8Array => {
  const doc = new Y.Doc()
  doc.getText('t').insert(0, text)
  return Y.encodeStateAsUpdate(doc)
}

test('what waits for a document to open is limited by reading no further, and none of it is lost', async () => {
  const client = await connect()
  const before = await received()
  reads.hold()
  client.auth('w/slow', '')
  client.send('w/slow', 0, 0, Uint8Array.of(0))
  const count = 24
  const frame = encode('w/slow', 0, 2, update('x'.repeat(mib)))
  for (let i = 0; i < count; i++) client.socket.send(frame)
  await until('the limit is reached', async () => (await received()) - before > 4 * mib)
  const { bufferedAmount } = client.socket
  expect(bufferedAmount).toBeGreaterThan(0)
  // One is on its way while reading stops, and what the socket had read already.
  expect((await received()) - before).toBeLessThan(8 * mib)
  reads.release()
  await until(
    'all were taken',
    () => client.of('w/slow').filter((text) => text === 'status 1').length === count,
  )
})

test('who leaves a document while it opens has said what they said, and is not in it afterwards', async () => {
  const client = await connect()
  reads.hold()
  client.auth('w/left', '')
  client.send('w/left', 0, 0, Uint8Array.of(0))
  client.send('w/left', 0, 2, update('last words'))
  client.send('w/left', 7)
  await until('it is being read', () => reads.waiting === 1)
  reads.release()
  const writer = await connect()
  await writer.open('w/left')
  await until('the last words are there', () => writer.updates.some(({ length }) => length > 10))
  writer.send('w/left', 0, 2, update('unseen'))
  await until('stored', () => writer.of('w/left').includes('status 1'))
  await client.heard()
  expect(client.of('w/left')).toEqual(['authenticated read-write'])
})

test('who leaves a document while it opens, and opens it again at once, is in it', async () => {
  const client = await connect()
  reads.hold()
  for (let i = 0; i < 3; i++) {
    client.auth('w/twice', '')
    client.send('w/twice', 0, 0, Uint8Array.of(0))
    if (i < 2) client.send('w/twice', 7)
  }
  await until('it is being read', () => reads.waiting === 1)
  await client.heard()
  reads.release()
  await until('it is open', () => client.of('w/twice').includes('step 2'))
  client.send('w/twice', 0, 2, update('x'))
  await until('stored', () => client.of('w/twice').includes('status 1'))
})

test('who is told what it lacks after all it says is durable hears that it is', async () => {
  const writer = await connect()
  await writer.open('w/known')
  // Too large for the node to keep: who joins waits for it to be read.
  const known = update('x'.repeat(mib))
  writer.send('w/known', 0, 2, known)
  await until('stored', () => writer.of('w/known').includes('status 1'))
  const client = await connect()
  reads.hold()
  client.auth('w/known', '')
  client.send('w/known', 0, 0, Uint8Array.of(0))
  await until('it is being read', () => reads.waiting === 1)
  client.send('w/known', 0, 1, known)
  await client.heard()
  reads.release()
  await until('told', () => client.of('w/known').includes('status 1'))
  expect(client.of('w/known')).toContain('step 2')
})

test('many documents of one socket are opened a few at a time', async () => {
  const client = await connect()
  reads.hold()
  for (let i = 0; i < 30; i++) {
    client.auth(`w/many-${i}`, '')
    client.send(`w/many-${i}`, 0, 0, Uint8Array.of(0))
  }
  await until('some are being read', () => reads.waiting === 8)
  await client.heard()
  expect(reads.waiting).toBe(8)
  reads.release()
  await until('all are open', () => client.messages.filter((text) => text.endsWith('step 2')).length === 30)
})

test('a document that is not there any more when its client comes back is opened anew with the socket', async () => {
  const client = await connect()
  await client.open('w/again')
  client.send('w/again', 7)
  await client.open('w/again')
  client.send('w/again', 0, 2, update('x'))
  await until('stored', () => client.of('w/again').includes('status 1'))
})

test('who falls behind in some documents of a socket gets all of them when it reads again', async () => {
  const [slow, writer] = [await connect(), await connect()]
  const ids = ['w/behind-1', 'w/behind-2']
  for (const id of ids) for (const client of [slow, writer]) await client.open(id)
  slow.socket.pause()
  const docs = ids.map(() => new Y.Doc())
  for (const [i, doc] of docs.entries()) {
    doc.on('update', (bytes: Uint8Array) => writer.send(ids[i]!, 0, 2, bytes))
    // More than the kernel and the session's buffer take.
    for (let k = 0; k < 8; k++) doc.getText('t').insert(0, 'x'.repeat(mib))
  }
  const stored = (id: string): number => writer.of(id).filter((text) => text === 'status 1').length
  await until('all is stored', () => ids.every((id) => stored(id) === 8))
  expect(await metric(http, 'sessions_behind_total')).toBeGreaterThan(0)
  slow.socket.resume()
  const got = new Y.Doc()
  let applied = 0
  await until('it has all', () => {
    for (; applied < slow.updates.length; applied++) Y.applyUpdate(got, slow.updates[applied]!)
    return got.getText('t').length === 2 * 8 * mib
  })
})

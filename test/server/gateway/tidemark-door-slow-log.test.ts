/**
 * Between reading what somebody lacks and writing it to their socket others go on: what becomes durable meanwhile must
 * reach them as well. The server runs here, over a real log whose reads are held back when the test says so.
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
import { silentLogger } from '../../support/silent-logger.ts'
import { TidemarkClient } from '../../support/tidemark-client.ts'
import { until } from '../../support/wait.ts'

const kib = 1024
let folder: string
let server: Server
let url: string
const opened: TidemarkClient[] = []

let reads: Held

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  const config = readConfig({
    DATA_DIR: folder,
    PORT: '0',
    ADAPTERS: './no-adapters',
    SESSION_BUFFER_BYTES_MAX: String(64 * kib),
    COMPACTION_TAIL_BYTES_MAX: String(1024 * kib * kib),
  })
  const log = createEmbeddedLog({ directory: folder, logger: silentLogger })
  reads = held(log, 'loaded')
  server = new Server(config, log, silentLogger)
  url = (await server.start()).replace('http', 'ws')
})
afterEach(() => {
  reads.release()
  for (const client of opened.splice(0)) client.close()
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
})

async function connect(): Promise<TidemarkClient> {
  const client = await TidemarkClient.connect(url)
  opened.push(client)
  return client
}

test('whoever comes back gets what became durable after their catch-up was read', async () => {
  const writer = await (await connect()).join('s/join')
  for (let i = 0; i < 5; i++) await writer.write('a')
  const { have } = writer
  const doc = new Y.Doc()
  Y.applyUpdate(doc, Y.encodeStateAsUpdate(writer.doc))
  reads.hold()
  const back = (await connect()).open('s/join', { doc, have })
  await until('its catch-up is read', () => reads.waiting === 1)
  for (let i = 0; i < 5; i++) await writer.write('b')
  reads.release()
  await back.answered()
  await until('it has all', () => back.text === 'aaaaabbbbb')
  back.assertNoGap()
  await writer.write('c')
  await until('and what follows', () => back.text === 'aaaaabbbbbc')
  back.assertNoGap()
})

test('whoever was behind, and writes while what they missed is read, gets all of it', async () => {
  const client = await connect()
  const slow = await client.join('s/behind')
  const writer = await (await connect()).join('s/behind')
  client.pause()
  reads.hold()
  // More than the kernel and the session's buffer take.
  const line = 'x'.repeat(256 * kib)
  for (let i = 0; i < 64; i++) await writer.write(line)
  client.resume()
  await until('what it missed is read', () => reads.waiting === 1)
  slow.push(slow.edit((doc) => doc.getMap('m').set('mine', true)))
  await until('its own is durable', () => writer.doc.getMap('m').has('mine'))
  await writer.write('!')
  await client.ping()
  reads.release()
  await until('it has all', () => slow.text.length === 64 * line.length + 1)
  await slow.settled()
  expect(slow.offset).toBe(66)
})

/** Rights at the Hocuspocus door that change while documents are open, byte by byte: an authorisation service that changes its mind. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import * as Y from 'yjs'
import { HocuspocusRaw } from '../../support/hocuspocus-client.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { until } from '../../support/wait.ts'

let folder: string
let service: Server
let relay: RelayProcess
/** What the service says of each document; 0: it fails. */
const access = new Map<string, string | 0>()

beforeAll(async () => {
  service = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      const { document } = JSON.parse(body) as { document: string }
      const may = access.get(document)
      response.writeHead(may === 0 ? 500 : may === undefined ? 403 : 200, {
        'content-type': 'application/json',
      })
      response.end(
        JSON.stringify({ subject: 'ann', documents: [{ match: document, access: may ?? 'none' }] }),
      )
    })
  })
  await new Promise<void>((listening) => service.listen(0, '127.0.0.1', listening))
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  relay = await startRelay({
    DATA_DIR: folder,
    AUTHORIZE_URL: `http://127.0.0.1:${(service.address() as AddressInfo).port}/`,
    AUTHORIZE_CACHE_SECONDS: '1',
  })
})
afterAll(async () => {
  expect(await relay.stop()).toBe(0)
  service.close()
  rmSync(folder, { recursive: true })
})

const update = (text: string): Uint8Array => {
  const doc = new Y.Doc()
  doc.getText('t').insert(0, text)
  return Y.encodeStateAsUpdate(doc)
}

test('each document has what the service says of it now, and its client is told when that changes', async () => {
  for (const id of ['s/one', 's/two', 's/three']) access.set(id, 'write')
  const client = await HocuspocusRaw.connect(relay.webSocketUrl)
  for (const id of access.keys()) await client.open(id, 'opaque')
  client.auth('s/none', 'opaque')
  await until('denied', () => client.of('s/none').some((text) => text.startsWith('denied forbidden: ')))

  access.set('s/one', 'read')
  await until('told', () => client.of('s/one').at(-1) === 'authenticated readonly')
  client.send('s/one', 0, 2, update('refused'))
  await until('refused', () => client.of('s/one').at(-1) === 'status 0')
  access.set('s/one', 'write')
  // It is asked for what was refused, and told of it when it is durable.
  await until('asked back', () => client.of('s/one').slice(-2).join() === 'authenticated read-write,step 1')
  client.send('s/one', 0, 1, update('taken'))
  await until('taken', () => client.of('s/one').at(-1) === 'status 1')

  access.delete('s/two')
  await until('denied', () => client.of('s/two').some((text) => text.startsWith('denied forbidden: ')))
  client.send('s/two', 0, 2, update('never'))
  client.send('s/three', 0, 2, update('on'))
  await until('the other goes on', () => client.of('s/three').at(-1) === 'status 1')
  expect(client.of('s/two')).not.toContain('status 1')
  expect(client.messages.some((text) => text.includes('token?'))).toBe(false)
  client.close()
})

test('a service that fails ends the connection, which comes again later', async () => {
  access.set('s/failing', 0)
  const client = await HocuspocusRaw.connect(relay.webSocketUrl)
  client.auth('s/failing', 'opaque')
  expect(await client.end()).toBe('1013 authorization_unavailable')
})

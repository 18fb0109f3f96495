/**
 * "Saved" at a Hocuspocus provider means durable: it is told so when the log has written the update and not before, and then
 * of every one. The server runs here, over a real log whose appends are held back when the test says so.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import { readConfig } from '../../../server/config.ts'
import { createEmbeddedLog } from '../../../server/log/lmdb/embedded-log.ts'
import { Server } from '../../../server/server.ts'
import { type Held, held } from '../../support/held-log.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'
import { HocuspocusSocket, type Version, versions } from './providers.ts'

const updateBytesMax = 64 * 1024
let folder: string
let server: Server
let url: string
const opened: HocuspocusSocket[] = []

let appends: Held

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  const config = readConfig({
    DATA_DIR: folder,
    PORT: '0',
    ADAPTERS: './no-adapters',
    UPDATE_BYTES_MAX: String(updateBytesMax),
  })
  const log = createEmbeddedLog({ directory: folder, logger: silentLogger })
  appends = held(log, 'append')
  server = new Server(config, log, silentLogger)
  url = (await server.start()).replace('http', 'ws')
})
afterEach(() => {
  appends.failing = null
  appends.release()
  for (const socket of opened.splice(0)) socket.close()
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
})

const connect = (version: Version): HocuspocusSocket => {
  const socket = new HocuspocusSocket(version, url)
  opened.push(socket)
  return socket
}

describe.each(versions)('@hocuspocus/provider %s', (version) => {
  test('is told of each update once it is durable, and nobody sees one before', async () => {
    const id = `d/${version}`
    const socket = connect(version)
    const [a, other] = [socket.open(id), socket.open(`${id}-other`)]
    const b = connect(version).open(id)
    await until('all saved', () => a.saved && b.saved && other.saved)
    appends.hold()
    for (const letter of 'abc') a.write(letter)
    await until('the log has been asked', () => appends.waiting > 0)
    // What comes back on the same socket comes after what was sent before.
    a.provider.sendStateless('heard?')
    await until('b hears', () => b.stateless.length === 1)
    b.provider.sendStateless('yes')
    await until('a hears', () => a.stateless.length === 1)
    expect([a.provider.unsyncedChanges, b.content]).toEqual([3, ''])
    appends.release()
    await until('saved and seen', () => a.saved && b.content === 'abc')
  })

  test('a step 2 is told of once what it brings is durable', async () => {
    const id = `d/offline-${version}`
    appends.hold()
    const a = connect(version).open(id)
    a.write('made before there was a connection')
    await until('synced', () => a.provider.synced)
    await until('the log has been asked', () => appends.waiting > 0)
    expect(a.provider.unsyncedChanges).toBe(1)
    appends.release()
    await until('saved', () => a.saved)
    const b = connect(version).open(id)
    await until('b has it', () => b.content === a.content)
  })

  test('an update that the log could not take is sent again by the next connection', async () => {
    const id = `d/failing-${version}`
    const a = connect(version).open(id)
    await until('saved', () => a.saved)
    appends.failing = new TidemarkError('log_unavailable', 'The disk is full')
    a.write('kept')
    await until('reconnecting', () => a.socket.closes.length > 0)
    expect(a.socket.closes[0]).toMatch(/^1013 log_unavailable/)
    expect(a.saved).toBe(false)
    appends.failing = null
    await until('saved', () => a.saved)
    const b = connect(version).open(id)
    await until('b has it', () => b.content === 'kept')
  })

  test('an update that is too large is denied with the reason, and counts as unsaved', async () => {
    const id = `d/large-${version}`
    const socket = connect(version)
    const [a, other] = [socket.open(id), socket.open(`${id}-other`)]
    const b = connect(version).open(id)
    await until('saved', () => a.saved && b.saved && other.saved)
    a.write('x'.repeat(updateBytesMax))
    await until('denied', () => a.denials.length > 0)
    expect(a.denials[0]).toMatch(/^update_too_large/)
    if (version === '4.8') expect(a.closes[0]).toMatch(/^update_too_large/)
    a.write('and what leans on it')
    other.write('goes on')
    await until('the other document goes on', () => other.saved && other.content === 'goes on')
    expect(a.provider.unsyncedChanges).toBeGreaterThan(0)
    expect([socket.closes, b.content]).toEqual([[], ''])
  })
})

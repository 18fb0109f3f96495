/**
 * What a hostile or broken client sends is refused with a code and a reason, leaves nothing in the log,
 * and disturbs nobody else. One server process takes it all.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { errorTable } from '../../../core/protocol/errors.ts'
import { metric } from '../../support/metric.ts'
import { RawClient } from '../../support/raw-client.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { until } from '../../support/wait.ts'

const updateBytesMax = 64 * 1024
const sessionBufferBytesMax = 64 * 1024
let folder: string
let relay: RelayProcess
/** Two people who only want to work. */
let typist: RawClient
let reader: RawClient
const opened: RawClient[] = []

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  relay = await startRelay({
    DATA_DIR: folder,
    UPDATE_BYTES_MAX: String(updateBytesMax),
    SESSION_BUFFER_BYTES_MAX: String(sessionBufferBytesMax),
    SESSION_UNACKED_BYTES_MAX: String(16 * 1024),
  })
  typist = await RawClient.connect(`${relay.webSocketUrl}/shared`)
  reader = await RawClient.connect(`${relay.webSocketUrl}/shared`)
  typist.doc.on('update', (update: Uint8Array, origin: unknown) => {
    if (origin === null) typist.sendUpdate(update)
  })
  await until('both are synced', () => typist.synced && reader.synced)
})
afterAll(async () => {
  expect(await relay.stop()).toBe(0)
  rmSync(folder, { recursive: true })
})

let appendsBefore: number
beforeEach(async () => {
  await othersWork()
  appendsBefore = await metric(relay.url, 'appends_total')
})
afterEach(async () => {
  for (const client of opened.splice(0)) client.close()
  await othersWork()
})

const hostile = async (document = 'shared'): Promise<RawClient> => {
  const client = await RawClient.connect(`${relay.webSocketUrl}/${document}`)
  opened.push(client)
  await until('synced', () => client.synced)
  return client
}

/** A line from the typist to the reader, over the connections they have had from the start. */
async function othersWork(): Promise<void> {
  const text = typist.doc.getText('t')
  text.insert(text.length, 'a line\n')
  await until('the reader has it', () => reader.doc.getText('t').length === text.length)
  expect(typist.closeCode).toBe(null)
}

async function nothingAppended(): Promise<void> {
  expect(await metric(relay.url, 'appends_total')).toBe(appendsBefore)
}

const concat = (...parts: Uint8Array[]): Buffer => Buffer.concat(parts)
const update = (text: string): Uint8Array => {
  const doc = new Y.Doc()
  doc.getText('t').insert(0, text)
  return Y.encodeStateAsUpdate(doc)
}

describe('a frame that is not a message closes its session', () => {
  test.each([
    ['empty', Buffer.alloc(0)],
    ['of an unknown type', Buffer.from('09', 'hex')],
    ['of an unknown sync step', Buffer.from('000700', 'hex')],
    ['a denial, which only servers send', Buffer.from('020000', 'hex')],
    ['cut off', Buffer.from('000205aabb', 'hex')],
    ['with a length of 2^53', Buffer.from('0002ffffffffffffff0f00', 'hex')],
    ['with a length beyond any integer', Buffer.from('0002ffffffffffffffffffffffff7f', 'hex')],
    ['with bytes after its message', Buffer.from('00020200000a', 'hex')],
  ])('%s', async (_name, bytes) => {
    const client = await hostile()
    client.socket.send(bytes)
    await client.closed
    expect(client.closeCode).toBe(errorTable.malformed_frame.closeCode)
    expect(client.closeReason).toMatch(/^malformed_frame: /)
    expect(client.denials).toHaveLength(1)
    await nothingAppended()
  })

  test('a version that is none', async () => {
    const client = await hostile()
    client.sendSync(0, Buffer.from('05ff', 'hex'))
    await client.closed
    expect(client.closeCode).toBe(errorTable.malformed_frame.closeCode)
  })

  test('text instead of bytes', async () => {
    const client = await hostile()
    client.socket.send('hello')
    await client.closed
    expect(client.closeCode).toBe(errorTable.malformed_frame.closeCode)
    await nothingAppended()
  })
})

describe('an update that cannot be one closes its session and is not stored', () => {
  const good = update('some text and more of it')
  test.each([
    ['empty', Buffer.alloc(0)],
    ['truncated', good.subarray(0, good.length - 3)],
    ['with trailing bytes', concat(good, Buffer.from([0]))],
    ['of 2^40 structs', Buffer.from('01808080808020', 'hex')],
    ['random', Buffer.from('ff00ff00ff00aabbccdd', 'hex')],
  ])('%s', async (_name, bytes) => {
    const client = await hostile()
    client.sendUpdate(bytes)
    await client.closed
    expect(client.closeCode).toBe(errorTable.malformed_update.closeCode)
    expect(client.denials).toHaveLength(1)
    await nothingAppended()
  })

  test('one byte too large, while one at the limit is taken', async () => {
    const overhead = update('x').length + 2
    const fits = await hostile('limits')
    const atLimit = update('x'.repeat(updateBytesMax - overhead))
    expect(atLimit.length).toBeLessThanOrEqual(updateBytesMax)
    fits.sendUpdate(atLimit)
    await until('it is stored', async () => (await metric(relay.url, 'appends_total')) === appendsBefore + 1)
    const tooLarge = await hostile('limits')
    tooLarge.sendUpdate(update('x'.repeat(updateBytesMax - overhead + 8)))
    await tooLarge.closed
    expect(tooLarge.closeCode).toBe(errorTable.update_too_large.closeCode)
    expect(fits.closeCode).toBe(null)
  })

  test('a frame far past the limit is cut off before it is read', async () => {
    const client = await hostile()
    client.socket.send(Buffer.alloc(updateBytesMax * 4))
    await client.closed
    expect([1009, 1006]).toContain(client.closeCode)
    await nothingAppended()
  })
})

test('fuzzed frames and updates never reach the log or the others, and the server lives', async () => {
  const base = update('The quick brown fox jumps over the lazy dog, twice. 🦊')
  const mutated = fc
    .tuple(
      fc.constantFrom('flip', 'cut', 'insert', 'random'),
      fc.nat(),
      fc.uint8Array({ minLength: 1, maxLength: 40 }),
    )
    .map(([kind, at, bytes]) => {
      const position = at % base.length
      if (kind === 'flip')
        return base.map((byte, i) => (i === position ? byte ^ (1 << (bytes[0]! & 7)) : byte))
      if (kind === 'cut') return base.subarray(0, position)
      if (kind === 'insert') return concat(base.subarray(0, position), bytes, base.subarray(position))
      return Uint8Array.from(bytes)
    })
  let id = 0
  await fc.assert(
    fc.asyncProperty(mutated, fc.boolean(), async (bytes, framed) => {
      const client = await hostile(`fuzz/${id++}`)
      if (framed) client.sendUpdate(bytes)
      else client.socket.send(Uint8Array.from(bytes))
      // A second message orders our question behind the first: either the session ends or this is answered.
      client.synced = false
      client.sendStep1()
      await until('an answer or an end', () => client.synced || client.closeCode !== null)
      if (client.closeCode !== null) expect([4400, 4413, 4422]).toContain(client.closeCode)
      client.close()
    }),
    { numRuns: 300 },
  )
  expect(relay.lines.filter((line) => Number(line['level']) >= 50)).toEqual([])
})

test('a broken presence state is refused and shown to nobody', async () => {
  const client = await hostile()
  const before = reader.awareness.length
  client.socket.send(Buffer.from('0106010720027b7b', 'hex'))
  await client.closed
  expect(client.closeCode).toBe(errorTable.malformed_awareness.closeCode)
  await othersWork()
  expect(reader.awareness.length).toBe(before)
})

test.each(['/', '//', '/a//b', '/../x', '/%', '/%00', `/${'x'.repeat(600)}`])(
  'the path %s names no document',
  async (path) => {
    const client = await RawClient.connect(`${relay.webSocketUrl}${path}`, { handshake: false }).catch(
      () => null,
    )
    // A URL library may normalise the path to one that is fine; what is refused says why.
    if (client === null) return
    opened.push(client)
    if (path === '/../x' || path === '/a//b') return
    await client.closed
    expect(client.closeCode).toBe(errorTable.invalid_document_id.closeCode)
  },
)

test('a reader that stops reading costs a bounded amount of memory and gets everything when it reads again', async () => {
  const slow = await hostile('slow')
  const writer = await hostile('slow')
  slow.socket.pause()
  const doc = new Y.Doc()
  const text = doc.getText('t')
  const updates: Uint8Array[] = []
  doc.on('update', (bytes: Uint8Array) => updates.push(bytes))
  let buffered = 0
  const chunk = 'x'.repeat(16 * 1024)
  for (let i = 0; i < 3_000; i++) {
    // In front: Yjs would merge appended text into one ever longer string, in this process.
    text.insert(0, chunk)
    writer.sendUpdate(updates.pop()!)
    if (i % 64 !== 0) continue
    await until('the socket drains', () => writer.socket.bufferedAmount < 1_000_000)
    buffered = Math.max(buffered, await metric(relay.url, 'buffered_bytes'))
  }
  await until(
    'all is stored',
    async () => (await metric(relay.url, 'appends_total')) >= appendsBefore + 3_000,
  )
  expect(await metric(relay.url, 'sessions_behind_total')).toBeGreaterThan(0)
  // Of the 48 MB that were written, what its socket was given before it counted as full.
  expect(buffered).toBeGreaterThan(sessionBufferBytesMax)
  expect(buffered).toBeLessThan(sessionBufferBytesMax + 1_000_000)
  slow.socket.resume()
  await until('it has caught up', () => slow.doc.getText('t').length === text.length)
})

test('a session that floods is not read faster than the log takes it', async () => {
  const client = await hostile('flood')
  const doc = new Y.Doc()
  doc.on('update', (bytes: Uint8Array) => client.sendUpdate(bytes))
  for (let i = 0; i < 5_000; i++) doc.getText('t').insert(0, 'flood')
  await until(
    'all of it is stored',
    async () => (await metric(relay.url, 'appends_total')) >= appendsBefore + 5_000,
  )
  expect(client.closeCode).toBe(null)
})

test('half a handshake, garbage and sudden resets harm nobody', async () => {
  const payloads = [
    '',
    'GET / HTTP/1.1\r\n',
    'garbage\r\n\r\n',
    'GET /x HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
  ]
  await Promise.all(
    payloads.map(
      (payload) =>
        new Promise<void>((resolve) => {
          const socket = connect(relay.port, '127.0.0.1', () => {
            socket.write(payload)
            setTimeout(() => socket.resetAndDestroy(), 20)
          })
          socket.on('error', () => undefined)
          socket.on('close', () => resolve())
        }),
    ),
  )
})

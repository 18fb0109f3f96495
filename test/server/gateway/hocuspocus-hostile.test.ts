/**
 * What a hostile or broken client sends through the Hocuspocus door ends its document or its socket with a reason, leaves
 * nothing in the log, and disturbs nobody else. One server process takes it all, while two people type.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { encode, HocuspocusRaw } from '../../support/hocuspocus-client.ts'
import { metric } from '../../support/metric.ts'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { type Replica, TidemarkClient } from '../../support/tidemark-client.ts'
import { token, tokenSecret } from '../../support/tokens.ts'
import { until } from '../../support/wait.ts'

const updateBytesMax = 128 * 1024
let folder: string
let relay: RelayProcess
let jwt: string
/** Two people who only want to work. */
let typist: Replica
let reader: Replica
const people: TidemarkClient[] = []
/** Says nothing after it has opened a document. */
let quiet: HocuspocusRaw
const opened: HocuspocusRaw[] = []

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  relay = await startRelay({
    DATA_DIR: folder,
    JWT_SECRET: tokenSecret,
    UPDATE_BYTES_MAX: String(updateBytesMax),
    DOCUMENTS_PER_SOCKET_MAX: '5',
    FIRST_MESSAGE_MS_MAX: '1000',
  })
  jwt = await token()
  quiet = await HocuspocusRaw.connect(relay.webSocketUrl)
  await quiet.open('quiet', jwt)
  for (const _ of [1, 2]) people.push(await TidemarkClient.connect(relay.webSocketUrl, { bearer: jwt }))
  typist = await people[0]!.join('shared')
  reader = await people[1]!.join('shared')
})
afterEach(async () => {
  for (const client of opened.splice(0)) client.close()
  await typist.write('a line\n')
  await until('the reader has it', () => reader.text === typist.text)
})
afterAll(async () => {
  quiet.close()
  for (const client of people) client.close()
  expect(await relay.stop()).toBe(0)
  rmSync(folder, { recursive: true })
})

async function connect(document: string | null = null): Promise<HocuspocusRaw> {
  const client = await HocuspocusRaw.connect(relay.webSocketUrl)
  opened.push(client)
  if (document !== null) await client.open(document, jwt)
  return client
}
const update = (text: string, client?: number): Uint8Array => {
  const doc = new Y.Doc()
  if (client !== undefined) doc.clientID = client
  doc.getText('t').insert(0, text)
  return Y.encodeStateAsUpdate(doc)
}
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

describe('a frame that is not a message closes the socket', () => {
  test.each([
    ['empty', ''],
    ['an address and nothing else', '01 61'],
    ['of an unknown type', '01 61 04'],
    ['a broadcast, which only servers send', '01 61 06 01 61'],
    ['a status, which only servers send', '01 61 08 01'],
    ['a denial, which only servers send', '01 61 02 01 01 61'],
    ['of an unknown sync step', '01 61 00 03 00'],
    ['cut off', '01 61 00 02 05 aa'],
    ['with a length of 2^53', '01 61 00 02 ffffffffffffff0f 00'],
    ['with bytes after its message', '01 61 07 00'],
    ['with an address that is not UTF-8', '01 ff 07'],
    ['with a stateless message that is not UTF-8', '01 61 05 01 ff'],
    ['with an address that is too long', `fa07 ${'61'.repeat(1018)} 07`],
  ])('%s', async (_what, bytes) => {
    const client = await connect('m/frames')
    client.socket.send(hex(bytes))
    expect(await client.end()).toBe('4400 malformed_frame')
  })

  test('text instead of bytes', async () => {
    const client = await connect('m/frames')
    client.socket.send('hello')
    expect(await client.end()).toBe('4400 malformed_frame')
  })

  test('one that is larger than any may be', async () => {
    const client = await connect('m/frames')
    client.send('m/frames', 0, 2, Buffer.alloc(3 * updateBytesMax))
    expect(await client.end()).toMatch(/^1009/)
  })
})

describe('what cannot be taken ends its document, is not stored, and leaves the others of its socket', () => {
  const good = update('some text')
  test.each<[string, string, (number | Uint8Array)[]]>([
    ['an update that is cut off', 'malformed_update', [0, 2, good.subarray(0, good.length - 3)]],
    ['an update of nothing', 'malformed_update', [0, 2, Buffer.alloc(0)]],
    ['a step 2 that is none', 'malformed_update', [0, 1, hex('ff00ff00ff')]],
    ['an update that is too large', 'update_too_large', [0, 2, update('x'.repeat(updateBytesMax))]],
    ['a version that is none', 'malformed_frame', [0, 0, hex('05ff')]],
    ['presence that is none', 'malformed_awareness', [1, hex('0102')]],
  ])('%s', async (what, code, parts) => {
    const [id, other] = [`u/${what}`, `u/${what}, beside`]
    const client = await connect(id)
    await client.open(other, jwt)
    const before = await metric(relay.url, 'appends_total')
    client.send(id, ...parts)
    client.send(id, 0, 2, good)
    await client.heard()
    await until('denied', () => client.of(id).some((text) => text.startsWith(`denied ${code}: `)))
    expect(client.of(id)).not.toContain('status 1')
    expect(await metric(relay.url, 'appends_total')).toBe(before)
    client.send(other, 0, 1, good)
    await until('the other goes on', () => client.of(other).includes('status 1'))
    await client.open(id, jwt)
  })

  test('who said its version is told in both ways', async () => {
    const client = await connect()
    client.auth('u/four', jwt, '4.8.0')
    client.send('u/four', 0, 0, Uint8Array.of(0))
    client.send('u/four', 0, 2, hex('ff'))
    await until('closed', () =>
      client.of('u/four').some((text) => text.startsWith('closed malformed_update: ')),
    )
  })
})

test('an update at the limit is taken, whatever its document is called', async () => {
  const address = `${'long/'.repeat(100)}name\0${'s'.repeat(128)}`
  const client = await connect(address)
  const overhead = update('x'.repeat(updateBytesMax), 7).length - updateBytesMax
  const largest = update('x'.repeat(updateBytesMax - overhead), 7)
  expect(largest.length).toBe(updateBytesMax)
  client.send(address, 0, 2, largest)
  await until('taken', () => client.of(address).includes('status 1'))
})

test('what comes before a token is dropped, whatever it is, and its document opens as ever', async () => {
  const client = await connect()
  const before = await metric(relay.url, 'appends_total')
  client.send('b/early', 0, 2, update('never'))
  client.send('b/early', 5, 'never')
  client.send('b/early', 7)
  await client.heard()
  expect(client.messages).toEqual([': pong'])
  await client.open('b/early', jwt)
  expect(await metric(relay.url, 'appends_total')).toBe(before)
  expect(client.of('b/early')).toEqual(['authenticated read-write', 'step 1', 'step 2'])
})

test('a reader is refused what is new and confirmed what is not', async () => {
  const writer = await connect('r/doc')
  writer.send('r/doc', 0, 1, update('known'))
  await until('stored', () => writer.of('r/doc').includes('status 1'))
  const client = await connect()
  await client.open('r/doc', await token({ documents: [{ match: 'r/**', access: 'read' }] }))
  client.send('r/doc', 0, 1, client.updates[0]!)
  client.send('r/doc', 0, 2, update('new'))
  client.send('r/doc', 0, 2, client.updates[0]!)
  const statuses = (): string[] => client.of('r/doc').filter((text) => text.startsWith('status'))
  await until('all answered', () => statuses().length === 3)
  expect(statuses().sort()).toEqual(['status 0', 'status 1', 'status 1'])
})

test('no more documents than a socket may have', async () => {
  const client = await connect()
  for (let i = 0; i < 5; i++) await client.open(`l/${i}`, jwt)
  client.auth('l/one more', jwt)
  await until('denied', () => client.of('l/one more').length > 0)
  expect(client.of('l/one more')[0]).toMatch(/^denied rate_limited: /)
  client.send('l/0', 7)
  await client.open('l/one more', jwt)
})

test('who sends too many stateless messages loses the document, and the others have heard so many', async () => {
  const [client, listener] = [await connect('s/flood'), await connect('s/flood')]
  for (let i = 0; i < 1_500; i++) client.send('s/flood', 5, `message ${i}`)
  await client.heard()
  expect(client.of('s/flood').at(-1)).toMatch(/^denied rate_limited: /)
  // They are heard in their order, gathered: after the last none of them is under way.
  const last = await connect('s/flood')
  last.send('s/flood', 5, 'the last')
  await until('heard', () => listener.of('s/flood').at(-1) === 'stateless the last')
  const heard = listener.of('s/flood').filter((text) => text.startsWith('stateless message')).length
  expect(heard).toBeGreaterThanOrEqual(1_000)
  expect(heard).toBeLessThan(1_500)
})

describe('somebody unknown', () => {
  test('may say so much and no more', async () => {
    const client = await connect()
    for (let i = 0; i < 3; i++) client.send('shared', 0, 2, Buffer.alloc(64 * 1024))
    expect(await client.end()).toBe('4401 unauthenticated')
  })

  test('may not make the server hold a large frame', async () => {
    const client = await connect()
    client.send('shared', 2, 0, 'x'.repeat(updateBytesMax + 10))
    expect(await client.end()).toBe('4401 unauthenticated')
  })

  test('may not keep a socket, whatever it says', async () => {
    const [silent, pinging, refused] = [await connect(), await connect(), await connect()]
    const timer = setInterval(() => pinging.socket.send(Uint8Array.of(9)), 100)
    refused.auth('shared', 'no token')
    const ends = await Promise.all([silent.end(), pinging.end(), refused.end()])
    clearInterval(timer)
    expect(ends).toEqual(Array(3).fill('4408 first_message_late'))
  })

  test('has one document judged after the other, and is known by the first that is good', async () => {
    const client = await connect()
    client.socket.send(encode('shared', 2, 0, 'no token'))
    client.socket.send(encode('mine', 2, 0, jwt))
    client.socket.send(encode('mine', 0, 0, Uint8Array.of(0)))
    await until('mine is open', () => client.of('mine').includes('step 2'))
    expect(client.of('shared')).toEqual(['denied unauthenticated: The token is not a valid JWT'])
  })
})

test('who asks again and again without reading is not answered again and again', async () => {
  const client = await connect('a/large')
  for (let i = 0; i < 20; i++) client.send('a/large', 0, 2, update('x'.repeat(updateBytesMax - 100)))
  await until('stored', () => client.of('a/large').filter((text) => text === 'status 1').length === 20)
  client.socket.pause()
  const sentBefore = client.messages.length
  const asked = [encode('a/large', 0, 0, Uint8Array.of(0)), encode('a/large', 3)]
  const received = (): Promise<number> => metric(relay.url, 'received_bytes_total')
  const rounds = 40
  for (let i = 0; i < rounds; i++) {
    const all = (await received()) + asked[0]!.length + asked[1]!.length
    for (const frame of asked) client.socket.send(frame)
    await until('it has come', async () => (await received()) >= all)
  }
  client.socket.resume()
  await client.heard()
  const answers = client.messages.slice(sentBefore).filter((text) => text.endsWith('step 2')).length
  // 2.5 MB each: as many as sockets and their buffers hold.
  expect(answers).toBeLessThan(rounds / 2)
  expect(client.closeCode).toBe(null)
})

test('fuzzed messages break nothing: neither the server, nor documents, nor what others do', async () => {
  const state = update('The quick brown fox jumps over the lazy dog. 🦊')
  const id = 'f/0'
  const frames = [
    encode(id, 2, 0, jwt),
    encode(id, 2, 0, jwt, '4.8.0'),
    encode(`${id}\0session`, 2, 0, jwt),
    encode(id, 0, 0, Y.encodeStateVectorFromUpdate(state)),
    encode(id, 0, 1, state),
    encode(id, 0, 2, state),
    encode(id, 1, hex('01 07 01 02 7b7d')),
    encode(id, 3),
    encode(id, 5, 'a message'),
    encode(id, 7),
    Uint8Array.of(9),
  ]
  const mutation = fc.record({
    frame: fc.nat({ max: frames.length - 1 }),
    kind: fc.constantFrom('same', 'flip', 'cut', 'insert', 'random'),
    at: fc.nat(),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }),
  })
  const mutate = (base: Uint8Array, { kind, at, bytes }: { kind: string; at: number; bytes: Uint8Array }) => {
    const position = at % base.length
    if (kind === 'flip') return base.map((byte, i) => (i === position ? byte ^ (1 << (bytes[0]! & 7)) : byte))
    if (kind === 'cut') return base.subarray(0, position)
    if (kind === 'insert') return Buffer.concat([base.subarray(0, position), bytes, base.subarray(position)])
    return kind === 'random' ? bytes : base
  }
  await fc.assert(
    fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 6 }), async (mutations) => {
      const client = await connect(id)
      for (const one of mutations) client.socket.send(mutate(frames[one.frame]!, one))
      await client.heard()
      if (client.closeCode !== null) expect(client.closeReason).toMatch(/^malformed_frame: /)
      expect(client.messages.filter((text) => text.includes('internal'))).toEqual([])
      client.close()
    }),
    { numRuns: 300, endOnFailure: true },
  )
  expect(relay.lines.filter(({ msg }) => /failed/.test(String(msg)))).toEqual([])
  await connect(id)
})

test('a silent connection is kept alive, since providers take 30 s of silence for its end', async () => {
  await until('a word of nobody', () => quiet.of('').includes('awareness of 0'))
  expect(quiet.closeCode).toBe(null)
})

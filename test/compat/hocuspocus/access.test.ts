/** What the Hocuspocus providers show of rights: tokens that open, limit, end, are renewed and taken back. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type RelayProcess, startRelay } from '../../support/relay-process.ts'
import { token, tokenSecret } from '../../support/tokens.ts'
import { until } from '../../support/wait.ts'
import { HocuspocusSocket, type Version, versions } from './providers.ts'

let folder: string
let relay: RelayProcess
const opened: HocuspocusSocket[] = []

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  relay = await startRelay({
    DATA_DIR: folder,
    JWT_SECRET: tokenSecret,
    JWT_CLOCK_TOLERANCE_SECONDS: '0',
    FIRST_MESSAGE_MS_MAX: '3000',
  })
})
afterAll(async () => {
  for (const socket of opened.splice(0)) socket.close()
  expect(await relay.stop()).toBe(0)
  expect(relay.lines.filter(({ msg }) => /failed/.test(String(msg)))).toEqual([])
  rmSync(folder, { recursive: true })
})

const connect = (version: Version, query = ''): HocuspocusSocket => {
  const socket = new HocuspocusSocket(version, relay.webSocketUrl, query)
  opened.push(socket)
  return socket
}
const reading = (): Promise<string> =>
  token({ subject: 'rita', documents: [{ match: '**', access: 'read' }] })

async function asAdmin(method: string, path: string, body?: unknown): Promise<void> {
  const admin = await token({ subject: 'admin', documents: [{ match: '**', access: 'admin' }] })
  const answer = await fetch(`${relay.url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${admin}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  expect(answer.ok).toBe(true)
}

// Together: they mostly wait for tokens to end.
describe.concurrent.each(versions)('@hocuspocus/provider %s', (version) => {
  const refreshes = version !== '2.15'

  test('opens a document with a token that took its time', async () => {
    const slow = async (): Promise<string> => {
      await new Promise((resolve) => setTimeout(resolve, 50))
      return token()
    }
    const a = connect(version).open(`a/slow-${version}`, { token: slow })
    a.write('before')
    await until('connected', () => a.socket.provider.webSocket?.readyState === 1)
    a.write(' and between')
    await until('saved', () => a.saved)
    expect(a.provider.authorizedScope).toBe('read-write')
    const b = connect(version).open(`a/slow-${version}`, { token: await token({ subject: 'bob' }) })
    await until('b has it', () => b.content === 'before and between')
    expect(a.denials).toEqual([])
  })

  test('a reader sees everything, is seen, and cannot change anything', async () => {
    const id = `a/read-${version}`
    const writer = connect(version).open(id, { token: await token() })
    const reader = connect(version).open(id, { token: await reading() })
    await until('both saved', () => writer.saved && reader.saved)
    expect(reader.provider.authorizedScope).toBe('readonly')
    writer.write('read me')
    await until('the reader has it', () => reader.content === 'read me')
    reader.provider.awareness.setLocalStateField('user', { name: 'Rita' })
    await until('the reader is seen', () => writer.provider.awareness.getStates().has(reader.doc.clientID))
    reader.write(', changed')
    writer.write('!')
    await until('the reader goes on', () => reader.content.includes('!'))
    reader.socket.provider.disconnect()
    await until('away', () => !reader.provider.synced)
    void reader.socket.provider.connect()
    await until('back', () => reader.provider.synced && reader.provider.isAuthenticated)
    writer.write('?')
    await until('the reader goes on', () => reader.content.includes('?'))
    expect(writer.content).toBe('read me!?')
    expect(reader.provider.unsyncedChanges).toBeGreaterThan(0)
    expect(reader.denials).toEqual([])
  })

  test('what is not allowed is denied with a reason, and concerns no other document of the socket', async () => {
    const mine = await token({ subject: 'mia', documents: [{ match: 'mine/**', access: 'write' }] })
    const socket = connect(version)
    const good = socket.open(`mine/${version}`, { token: mine })
    await until('saved', () => good.saved)
    const [other, none, bad, odd] = [
      socket.open(`other/${version}`, { token: mine }),
      socket.open(`mine/none-${version}`),
      socket.open(`mine/bad-${version}`, { token: await token({ secret: 'x'.repeat(40) }) }),
      socket.open(`mine//${version}`, { token: mine }),
    ]
    const all = [other, none, bad, odd]
    await until('all denied', () => all.every(({ denials }) => denials.length > 0))
    expect(all.map(({ denials }) => denials[0]!.split(':')[0])).toEqual([
      'forbidden',
      'unauthenticated',
      'unauthenticated',
      'invalid_document_id',
    ])
    for (const denied of all) denied.write('never')
    good.write('still there')
    await until('saved', () => good.saved && good.content === 'still there')
    expect(all.every(({ provider }) => provider.unsyncedChanges === 0)).toBe(false)
  })

  test('the token in the URL is for those who bring none', async () => {
    const client = connect(version, `?token=${await token()}`).open(`a/url-${version}`)
    client.write('x')
    await until('saved', () => client.saved)
  })

  test('whoever shows nothing good in time is closed', async () => {
    const socket = connect(version)
    const client = socket.open(`a/late-${version}`, { token: 'no token' })
    await until('closed', () => socket.closes.length > 0)
    expect(socket.closes[0]).toMatch(/^4408 first_message_late/)
    expect(client.denials[0]).toMatch(/^unauthenticated/)
  })

  test('a token that ends is replaced by the next one that the app gives, and nothing is lost', async () => {
    const id = `a/renewed-${version}`
    let given = 0
    const firstEndsMs = Date.now() + 6_000
    const next = async (): Promise<string> => token({ expiresIn: ++given === 1 ? 5 : 3600 })
    const client = connect(version).open(id, { token: next })
    const witness = connect(version).open(id, { token: await token({ subject: 'wes' }) })
    await until('saved', () => client.saved && witness.saved)
    client.write('before')
    await until('asked again', () => given >= 2)
    if (!refreshes) expect(client.socket.closes).toEqual(['4205 token_expired: The token has expired'])
    await until('saved', () => client.saved && client.provider.isAuthenticated)
    await until('the first token is over', () => Date.now() > firstEndsMs)
    client.write(' and after')
    await until('the witness has it', () => witness.content === 'before and after' && client.saved)
    expect(client.denials).toEqual([])
    if (refreshes) expect(client.socket.closes).toEqual([])
  })

  test('a token that ended is denied', async () => {
    const client = connect(version).open(`a/ended-${version}`, { token: await token({ expiresIn: 4 }) })
    await until('saved', () => client.saved)
    await until('denied', () => client.denials.length > 0)
    expect(client.denials[0]).toMatch(/^token_expired/)
    expect(client.socket.closes[0]).toBe('4205 token_expired: The token has expired')
  })

  test('an administrator ends what a user has open', async () => {
    const [id, subject] = [`a/revoked-${version}`, `gone-${version}`]
    const socket = connect(version)
    const gone = socket.open(id, { token: await token({ subject }) })
    const stays = socket.open(`${id}-stays`, { token: await token({ subject: 'stays' }) })
    await until('saved', () => gone.saved && stays.saved)
    await asAdmin('POST', '/v1/sessions/end', { subject })
    await until('denied', () => gone.denials.length > 0)
    expect(gone.denials[0]).toMatch(/^revoked/)
    if (version === '4.8') expect(gone.closes[0]).toMatch(/^revoked/)
    gone.write('never')
    stays.write('on')
    await until('the other goes on', () => stays.saved && stays.content === 'on')
    expect(socket.closes).toEqual([])
  })

  test('a document that is deleted is closed for those who have it open', async () => {
    const id = `a/deleted-${version}`
    const client = connect(version).open(id, { token: await token() })
    client.write('x')
    await until('saved', () => client.saved)
    await asAdmin('DELETE', `/v1/documents/${encodeURIComponent(id)}`)
    await until('denied', () => client.denials.length > 0)
    expect(client.denials[0]).toMatch(/^document_removed/)
    expect(client.socket.connected).toBe(true)
  })
})

describe.each(['3.4', '4.8'] as const)('@hocuspocus/provider %s', (version) => {
  test('who may write now is asked for what was refused before', async () => {
    const id = `a/upgraded-${version}`
    let write = false
    const current = (): Promise<string> => (write ? token() : reading())
    const client = connect(version).open(id, { token: current })
    const witness = connect(version).open(id, { token: await token() })
    await until('saved', () => client.saved && witness.saved)
    for (const letter of 'kept') client.write(letter)
    witness.write('-')
    await until('in touch', () => client.content.includes('-'))
    expect([witness.content, client.provider.unsyncedChanges]).toEqual(['-', 4])
    write = true
    await (client.provider as unknown as { sendToken(): Promise<void> }).sendToken()
    await until('the witness has it', () => witness.content.length === 5 && client.saved)
    expect(client.provider.authorizedScope).toBe('read-write')
  })
})

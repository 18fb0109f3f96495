/** What a client makes of tokens that expire, are refused, or allow reading only. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Handle } from '../../client/types.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { token, tokenSecret } from '../support/tokens.ts'
import { until } from '../support/wait.ts'
import { Browser, type Tab } from './browser.ts'

let directory: string
let relay: RelayProcess
const browsers: Browser[] = []

const newTab = (given: string | (() => string | Promise<string>)): Tab => {
  const browser = new Browser()
  browsers.push(browser)
  return browser.open({ url: relay.url, token: given })
}
const type = ({ doc }: Handle, text: string): void => doc.getText('text').insert(0, text)
const reading = { documents: [{ match: '**', access: 'read' }] }

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-client-'))
  relay = await startRelay({
    DATA_DIR: directory,
    JWT_SECRET: tokenSecret,
    JWT_CLOCK_TOLERANCE_SECONDS: '0',
    FIRST_MESSAGE_MS_MAX: '2000',
  })
})
afterAll(async () => {
  await Promise.all(browsers.map((browser) => browser.close()))
  await relay.stop()
  rmSync(directory, { recursive: true, force: true })
})

test('with a token that allows reading only, edits are kept, and refused', async () => {
  const writer = newTab(await token()).client.open('reading')
  type(writer, 'hello')
  await writer.saved()
  const tab = newTab(await token(reading))
  const reader = tab.client.open('reading')
  await reader.whenSynced
  expect(reader.access).toBe('read')
  expect(reader.doc.getText('text').toString()).toBe('hello')
  type(reader, 'mine ')
  await expect(reader.saved()).rejects.toMatchObject({ code: 'read_only' })
  expect(reader.status).toBe('live')
  expect(reader.error?.code).toBe('read_only')
  expect(reader.pending).toBe(1)
  type(writer, 'more ')
  await until('the reader goes on reading', () => reader.doc.getText('text').toString().includes('more'))
  expect(writer.doc.getText('text').toString()).not.toContain('mine')
})

test('edits that were refused as read_only are saved once the token allows it', async () => {
  let access = reading
  const tab = newTab(() => token(access))
  const handle = tab.client.open('promoted')
  await handle.whenSynced
  type(handle, 'mine')
  await expect(handle.saved()).rejects.toMatchObject({ code: 'read_only' })
  access = { documents: [{ match: '**', access: 'write' }] }
  tab.client.pause()
  tab.client.resume()
  await until('it is saved', () => handle.pending === 0)
  expect(handle.access).toBe('write')
  expect(handle.error).toBeNull()
})

test('a document that is forbidden is refused, and asked for again only by retry()', async () => {
  let access = { documents: [{ match: 'mine/**', access: 'write' }] }
  const tab = newTab(() => token(access))
  const [mine, other] = [tab.client.open('mine/a'), tab.client.open('others/a')]
  type(other, 'kept')
  await expect(other.saved()).rejects.toMatchObject({ code: 'forbidden' })
  await expect(other.whenSynced).rejects.toMatchObject({ code: 'forbidden' })
  expect(other.status).toBe('refused')
  await mine.whenSynced
  expect(mine.status).toBe('live')
  access = { documents: [{ match: '**', access: 'write' }] }
  tab.client.pause()
  tab.client.resume()
  await until('the other one is live again', () => mine.status === 'live')
  expect(other.status).toBe('refused')
  tab.client.retry()
  await until('it is saved', () => other.pending === 0 && other.status === 'live')
})

test('the token function is asked again before the token ends, and nobody notices', async () => {
  let asked = 0
  const tab = newTab(() => {
    asked++
    // Less than the hint's 60 s: the hint comes at once.
    return token({ expiresIn: asked === 1 ? 3 : 3600 })
  })
  const handle = tab.client.open('renewed')
  await handle.whenSynced
  const statuses: string[] = []
  handle.on('status', (status) => statuses.push(status))
  await until('it is asked again', () => asked === 2)
  const untilMs = Date.now() + 4_000
  await until('the first token has expired', () => Date.now() > untilMs)
  type(handle, 'x')
  await handle.saved()
  expect(statuses).toEqual([])
  expect(asked).toBe(2)
})

test('a token function that fails is asked again, and one whose tokens are refused is believed at last', async () => {
  let answer: () => Promise<string> = () => Promise.reject(new Error('offline'))
  let asked = 0
  const tab = newTab(() => {
    asked++
    return answer()
  })
  const handle = tab.client.open('late')
  await until('it was asked', () => asked > 0)
  expect(handle.status).not.toBe('refused')
  answer = () => token({ expiresIn: -10 })
  tab.client.retry()
  await until('it is refused for good', () => tab.client.status === 'refused')
  expect(tab.client.error?.code).toBe('token_expired')
  expect(handle.error?.code).toBe('token_expired')
  type(handle, 'x')
  await expect(handle.saved()).rejects.toMatchObject({ code: 'token_expired' })
  const before = asked
  expect(tab.client.inspect().retryAtMs).toBeNull()
  answer = () => token()
  tab.client.retry()
  await until('it is saved', () => handle.pending === 0)
  expect(asked).toBe(before + 1)
})

test('a token that was never valid is refused for good, and says why', async () => {
  const tab = newTab('not a token')
  const handle = tab.client.open('refused')
  await until('it is refused', () => handle.status === 'refused')
  expect(tab.client.error?.code).toBe('unauthenticated')
  expect(tab.client.inspect()).toMatchObject({ status: 'refused', retryAtMs: null })
})

test('a session that an administrator ended stays ended, and its edits are kept', async () => {
  const tab = newTab(() => token({ subject: 'eve', issuedAgo: 5 }))
  const handle = tab.client.open('revoked')
  await handle.whenSynced
  const admin = await token({ documents: [{ match: '**', access: 'admin' }] })
  const answer = await fetch(`${relay.url}/v1/sessions/end`, {
    method: 'POST',
    headers: { authorization: `Bearer ${admin}`, 'content-type': 'application/json' },
    body: JSON.stringify({ subject: 'eve' }),
  })
  expect(answer.ok, await answer.text()).toBe(true)
  await until('it is refused', () => tab.client.status === 'refused')
  expect(handle.error?.code).toBe('revoked')
  type(handle, 'kept')
  expect(handle.pending).toBe(1)
  await expect(handle.saved()).rejects.toMatchObject({ code: 'revoked' })
})

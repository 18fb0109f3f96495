/** The editor at `/` of a relay that asks for tokens: what a page shows when they end, are taken away, or are somebody else's. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startChromium } from '../support/chromium.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { type TokenOptions, token, tokenSecret } from '../support/tokens.ts'
import { until } from '../support/wait.ts'
import { Editor, textOnServer } from './editor.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidemark-access-'))
let relay: RelayProcess
let browser: Browser

beforeAll(async () => {
  ;[relay, browser] = await Promise.all([
    startRelay({ DATA_DIR: folder, JWT_SECRET: tokenSecret, JWT_CLOCK_TOLERANCE_SECONDS: '0' }),
    startChromium(),
  ])
})
afterAll(async () => {
  await browser?.close()
  await relay?.stop()
  rmSync(folder, { recursive: true })
})

async function open(
  document: string,
  options: TokenOptions,
  profile = browser.newContext(),
): Promise<Editor> {
  return Editor.open(await profile, relay, document, { token: await token(options) })
}

/** As the app around the editor would, when it has signed its user in anew. */
async function giveToken(editor: Editor, options: TokenOptions): Promise<void> {
  await editor.page.evaluate(
    (next) => {
      sessionStorage.setItem('tidemark.editor.token', next)
    },
    await token(options),
  )
}

async function administer(method: string, path: string, body: object | null = null): Promise<void> {
  const administrator = await token({ subject: 'root', documents: [{ match: '**', access: 'admin' }] })
  const answer = await fetch(relay.url + path, {
    method,
    headers: {
      authorization: `Bearer ${administrator}`,
      ...(body === null ? {} : { 'content-type': 'application/json' }),
    },
    body: body === null ? null : JSON.stringify(body),
  })
  if (!answer.ok) throw new Error(`the relay answered ${answer.status}: ${await answer.text()}`)
}

test('a token that is renewed in time is not noticed; one that ends keeps the edits here until there is another', async () => {
  const endsMs = Date.now() + 6_000
  const [ann, bob] = await Promise.all([
    open('notes/renewed', { subject: 'ann', expiresIn: 6 }),
    open('notes/ended', { subject: 'bob', expiresIn: 6 }),
  ])
  expect(ann.page.url()).not.toContain('token')
  await ann.type('one ')
  await bob.type('one ')
  await Promise.all([ann.showsBadge('Saved'), bob.showsBadge('Saved')])
  await giveToken(ann, { subject: 'ann' })
  await bob.showsBadge('Refused: The token has expired')
  await until('both tokens have ended', () => Date.now() > endsMs)
  await ann.type('two')
  await ann.showsBadge('Saved')
  expect(await textOnServer(relay, 'notes/renewed', await token())).toBe('one two')

  await bob.type('two')
  await bob.showsBadge('Refused: The token has expired (3 kept here)')
  await bob.reload()
  await bob.showsText('one two')
  await bob.showsBadge('Refused: The token has expired (3 kept here)')
  await giveToken(bob, { subject: 'bob' })
  await bob.page.getByRole('button', { name: 'Try again' }).click()
  await bob.showsBadge('Saved')
  expect(await textOnServer(relay, 'notes/ended', await token())).toBe('one two')
})

test('whose access is taken away is told so, and cannot write on', async () => {
  const eve = await open('notes/revoked', { subject: 'eve', issuedAgo: 5 })
  await eve.type('hello')
  await eve.showsBadge('Saved')
  await administer('POST', '/v1/sessions/end', { subject: 'eve' })
  await eve.page.getByRole('heading', { name: 'Your access was ended.' }).waitFor()
  await eve.showsBadge(/^Refused: /)
  expect(await eve.page.locator('.prose').getAttribute('contenteditable')).toBe('false')
  await eve.page.reload()
  await eve.showsBadge(/^Refused: /)
  await eve.page.getByRole('heading', { name: 'Your access was ended.' }).waitFor()
})

test('who may only read sees others write, and has nothing to write with', async () => {
  const [ann, bob] = await Promise.all([
    open('notes/read', { subject: 'ann' }),
    open('notes/read', { subject: 'bob', documents: [{ match: '**', access: 'read' }] }),
  ])
  await bob.showsBadge('Read only')
  await ann.type('for all to see')
  await bob.showsText('for all to see')
  expect(await bob.page.locator('.prose').getAttribute('contenteditable')).toBe('false')
  expect(await bob.page.getByRole('toolbar').count()).toBe(0)
  await bob.showsBadge('Read only')
})

test('another user of the same browser does not see what was kept on it', async () => {
  const profile = browser.newContext()
  const ann = await open('notes/private', { subject: 'ann' }, profile)
  await ann.showsBadge('Saved')
  await ann.switchOffline()
  await ann.type('not yours')
  await ann.showsBadge('Offline, 9 edits not yet saved')
  const eve = await open('notes/private', { subject: 'eve', documents: [] }, profile)
  await eve.page.getByRole('heading', { name: 'You may not read this document.' }).waitFor()
  expect(await eve.page.locator('body').innerText()).not.toContain('not yours')
  expect(await eve.page.locator('.prose').count()).toBe(0)
  await ann.reload()
  await ann.showsText('not yours')
  await ann.showsBadge('Offline, 9 edits not yet saved')
})

test('a document that was deleted while one wrote offline: one is told, and can keep one’s copy under a new name', async () => {
  const ann = await open('notes/deleted', { subject: 'ann' })
  await ann.type('old ')
  await ann.showsBadge('Saved')
  await ann.switchOffline()
  await ann.type('mine')
  await ann.showsBadge('Offline, 4 edits not yet saved')
  await administer('DELETE', '/v1/documents/notes%2Fdeleted')
  await ann.switchOffline()
  await ann.page
    .getByRole('heading', { name: 'This document was deleted, or deleted and begun anew' })
    .waitFor()
  await ann.page.getByText('with 4 edits that nobody else has').waitFor()
  await ann.page.getByRole('button', { name: 'Keep my copy as a new document' }).click()
  await ann.page.waitForURL((url) => url.searchParams.get('document') !== 'notes/deleted')
  await ann.showsText('old mine')
  await ann.showsBadge('Saved')
  const copy = new URL(ann.page.url()).searchParams.get('document') ?? ''
  expect(await textOnServer(relay, copy, await token())).toBe('old mine')
})

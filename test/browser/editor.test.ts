/** The editor at `/`, in Chromium: together, apart, and together again. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, BrowserContext } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { startChromium } from '../support/chromium.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { until } from '../support/wait.ts'
import { Editor, textOnServer } from './editor.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidemark-editor-'))
const errors: Error[] = []
let relay: RelayProcess
let browser: Browser
let profiles: BrowserContext[] = []

beforeAll(async () => {
  ;[relay, browser] = await Promise.all([startRelay({ DATA_DIR: folder }), startChromium()])
})
afterAll(async () => {
  await browser?.close()
  await relay?.stop()
  rmSync(folder, { recursive: true })
})
afterEach(async () => {
  await Promise.all(profiles.map((profile) => profile.close()))
  profiles = []
  expect(errors.splice(0)).toEqual([])
})

/** Somebody with a browser of their own. */
async function person(): Promise<BrowserContext> {
  const profile = await browser.newContext({ viewport: { width: 1100, height: 720 } })
  profiles.push(profile)
  return profile
}

async function open(document: string, name: string, profile?: BrowserContext): Promise<Editor> {
  return Editor.open(profile ?? (await person()), relay, document, { name, errors })
}

test('two people write in one text, and each sees who the other is and where; a third finds all of it', async () => {
  const [ida, ravi] = await Promise.all([
    open('notes/together', 'Ida Holm'),
    open('notes/together', 'Ravi Menon'),
  ])
  await ida.type('The lower field first.')
  await ravi.showsText('The lower field first.')
  await ravi.type(' Then the lane.')
  await ida.showsText('The lower field first. Then the lane.')
  for (const [editor, other] of [
    [ida, 'Ravi Menon'],
    [ravi, 'Ida Holm'],
  ] as const) {
    await editor.page.locator('.prose .caret-name', { hasText: other }).waitFor()
    await editor.page.getByRole('listitem').filter({ hasText: other }).waitFor()
    await editor.showsBadge('Saved')
  }
  await ida.page.locator('.title textarea').fill('Harvest plan')
  const noor = await open('notes/together', 'Noor Aziz')
  await noor.showsText('The lower field first. Then the lane.')
  await until(
    'the title',
    async () => (await noor.page.locator('.title textarea').inputValue()) === 'Harvest plan',
  )
  await noor.page.locator('.prose .caret-name', { hasText: 'Ravi Menon' }).waitFor()
  // Whoever leaves takes the caret along.
  await ravi.page.close()
  await noor.page.locator('.caret-name', { hasText: 'Ravi Menon' }).waitFor({ state: 'detached' })
})

test('offline, reloaded, edited, and back: the badge counts what is not saved, and nothing is lost', async () => {
  const [ida, ravi] = await Promise.all([open('notes/away', 'Ida Holm'), open('notes/away', 'Ravi Menon')])
  await ida.type('one')
  await ida.showsBadge('Saved')
  await ravi.showsText('one')
  await ida.switchOffline()
  await ida.showsBadge('Offline')
  await ida.page.getByRole('list', { name: 'Others who were here' }).getByText('Ravi Menon').waitFor()
  await ida.type('two')
  await ida.showsBadge('Offline, 3 edits not yet saved')
  await ravi.type('else')
  await ravi.showsBadge('Saved')
  await ida.reload()
  await ida.showsText('onetwo')
  await ida.showsBadge('Offline, 3 edits not yet saved')
  await ida.type('five!')
  await ida.showsBadge('Offline, 8 edits not yet saved')
  expect(await textOnServer(relay, 'notes/away')).toBe('oneelse')
  await ida.switchOffline()
  await ida.showsBadge('Saved')
  const all = await ida.text()
  expect(['onetwofive!else', 'oneelsetwofive!']).toContain(all)
  await ravi.showsText(all)
  expect(await textOnServer(relay, 'notes/away')).toBe(all)
  await ida.reload()
  await ida.showsText(all)
})

test('without a network the badge says so at once; with one again the edits are saved, and nobody had to do anything', async () => {
  const profile = await person()
  const ida = await open('notes/tunnel', 'Ida Holm', profile)
  await ida.type('in ')
  await ida.showsBadge('Saved')
  await profile.setOffline(true)
  await ida.showsBadge('Offline')
  await ida.type('out')
  await ida.showsBadge('Offline, 3 edits not yet saved')
  await profile.setOffline(false)
  await ida.showsBadge('Saved')
  expect(await textOnServer(relay, 'notes/tunnel')).toBe('in out')
})

test('two tabs of one person show the same while offline; what a closed one left unsent, the other sends', async () => {
  const profile = await person()
  const left = await open('notes/tabs', 'Ida Holm', profile)
  await left.type('here')
  await left.showsBadge('Saved')
  const right = await open('notes/tabs', 'Ida Holm', profile)
  await right.showsText('here')
  await left.switchOffline()
  await right.switchOffline()
  await left.type('ab')
  await right.showsText('hereab')
  await right.type('c')
  await left.showsText('hereabc')
  await left.showsBadge('Offline, 2 edits not yet saved')
  await left.page.close()
  await right.showsBadge('Offline, 3 edits not yet saved')
  await right.switchOffline()
  await right.showsBadge('Saved')
  expect(await textOnServer(relay, 'notes/tabs')).toBe('hereabc')
})

test('storage deleted under the page: it says so, writing goes on, and the badge speaks of the server', async () => {
  const ida = await open('notes/wiped', 'Ida Holm')
  await ida.type('before ')
  await ida.showsBadge('Saved')
  await ida.switchOffline()
  await ida.type('kept ')
  await ida.showsBadge('Offline, 5 edits not yet saved')
  await ida.page.evaluate(async () => {
    const databases = await indexedDB.databases()
    await Promise.all(
      databases.map(
        ({ name }) =>
          new Promise((resolve, reject) => {
            const request = indexedDB.deleteDatabase(name ?? '')
            request.onsuccess = resolve
            request.onerror = () => reject(request.error)
          }),
      ),
    )
  })
  await ida.page.getByRole('heading', { name: 'This browser keeps no copy' }).waitFor()
  await ida.type('after')
  await ida.showsBadge('Offline, 10 edits not yet saved')
  expect(await textOnServer(relay, 'notes/wiped')).toBe('before ')
  await ida.switchOffline()
  await ida.showsBadge('Saved')
  expect(await textOnServer(relay, 'notes/wiped')).toBe('before kept after')
})

test('a new document gets a name, a title, and a place in the list; the way back is the browser’s', async () => {
  const ida = await open('notes/first', 'Ida Holm')
  await ida.showsBadge('Saved')
  await ida.page.getByRole('button', { name: 'New document' }).click()
  await ida.page.waitForURL(/document=notes%2F[a-z0-9]{10}(&|$)/)
  await ida.page.locator('.title textarea').fill('Prices this week')
  await ida.page.keyboard.press('Enter')
  await ida.page.keyboard.type('Cox, Bramley')
  await ida.showsText('Cox, Bramley')
  await ida.showsBadge('Saved')
  await ida.page.getByRole('link', { name: 'Prices this week', exact: false }).waitFor()
  await ida.page.goBack()
  await ida.showsText('')
  const ravi = await open('notes/second', 'Ravi Menon')
  await ravi.page.getByRole('heading', { name: 'On the server' }).waitFor()
})

test('a page that knows only its address shows the editor in a frame', async () => {
  const ida = await open('notes/minutes', 'Ida Holm')
  await ida.type('Present: all')
  await ida.showsBadge('Saved')
  await ida.page.goto(`${relay.url}/embed`)
  const frame = ida.page.frameLocator('iframe[data-editor]')
  await frame.locator('.prose', { hasText: 'Present: all' }).waitFor()
  await frame.getByText('Saved', { exact: true }).waitFor()
  expect(await frame.getByRole('navigation').count()).toBe(0)
})

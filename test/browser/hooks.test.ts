/** The React hooks in strict mode, and the devtools, on a page in Chromium and against a relay. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { openTab, startChromium } from '../support/chromium.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { serveTestPage, type TestPage } from '../support/test-page.ts'
import { until } from '../support/wait.ts'
import type { Drawn, HooksPage } from './pages/hooks.ts'

declare const hooksPage: HooksPage

const folder = mkdtempSync(join(tmpdir(), 'tidemark-hooks-'))
const errors: Error[] = []
let relay: RelayProcess
let browser: Browser
let served: TestPage
let page: Page

beforeAll(async () => {
  ;[relay, browser, served] = await Promise.all([
    startRelay({ DATA_DIR: folder }),
    startChromium(),
    serveTestPage('test/browser/pages/hooks.ts'),
  ])
})
afterAll(async () => {
  await browser?.close()
  await served?.close()
  await relay?.stop()
  rmSync(folder, { recursive: true })
})
beforeEach(async () => {
  page = await openPage()
})
afterEach(async () => {
  await page.context().close()
  expect(errors.splice(0)).toEqual([])
})

async function openPage(): Promise<Page> {
  const opened = await openTab(await browser.newContext(), errors)
  await opened.goto(`${served.url}?relay=${encodeURIComponent(relay.url)}`)
  await opened.waitForFunction(() => 'hooksPage' in globalThis)
  return opened
}

const show = (id: string, on = page) => on.evaluate((document) => hooksPage.show(document), id)
const drawn = (on = page): Promise<Drawn> => on.evaluate(() => hooksPage.drawn())
const documents = () =>
  page.evaluate(() => hooksPage.client.inspect().documents.map(({ id, handles }) => ({ id, handles })))
const draws = (what: string, condition: (now: Drawn) => boolean, on = page) =>
  until(what, async () => condition(await drawn(on)))

test('useDocument opens once, through strict mode and another id, and closes what is not shown any more', async () => {
  await show('hooks/one')
  await draws('the first', ({ status }) => status?.synced === true)
  // What strict mode opened besides is given up a moment later.
  await until('one handle', async () => (await documents()).every(({ handles }) => handles === 1))
  expect(await documents()).toEqual([{ id: 'hooks/one', handles: 1 }])
  await show('hooks/two')
  await draws('the second', ({ opened }) => opened.at(-1) === 'hooks/two')
  const { opened } = await drawn()
  expect(opened.indexOf(null, opened.indexOf('hooks/one'))).toBeGreaterThan(0)
  await until('the first is closed', async () => {
    const now = await documents()
    return now.length === 1 && now[0]?.id === 'hooks/two' && now[0].handles === 1
  })
  await page.evaluate(() => hooksPage.unmount())
  await until('all are closed', async () => (await documents()).length === 0)
})

test('useStatus tells pending edits as they are made and saved', async () => {
  await show('hooks/status')
  await draws('live', ({ status }) => status?.status === 'live')
  expect((await drawn()).status).toEqual({ status: 'live', pending: 0, loaded: true, synced: true })
  await page.evaluate(() => hooksPage.client.pause())
  await draws('offline', ({ status }) => status?.status === 'offline')
  await page.evaluate(() => {
    for (const word of ['one', 'two']) hooksPage.current().doc.getText('body').insert(0, word)
  })
  await draws('two edits', ({ status }) => status?.pending === 2)
  await page.getByText('offline, 2', { exact: true }).waitFor()
  await page.evaluate(() => hooksPage.client.resume())
  await page.getByText('live, 0', { exact: true }).waitFor()
})

test('usePresence lists who is there, oneself first, and is no new list for the move of a caret', async () => {
  const other = await openPage()
  await Promise.all([show('hooks/presence'), show('hooks/presence', other)])
  await Promise.all([draws('live', isLive), draws('live', isLive, other)])
  const name = (on: Page, value: string) =>
    on.evaluate((mine) => hooksPage.current().awareness.setLocalStateField('name', mine), value)
  await name(page, 'Ida')
  await name(other, 'Ravi')
  await draws('both', ({ names }) => names.join() === 'Ida,Ravi')
  await draws('both, the other way round', ({ names }) => names.join() === 'Ravi,Ida', other)
  const { nameLists } = await drawn()
  await other.evaluate(() => hooksPage.current().awareness.setLocalStateField('caret', 7))
  await until('the caret has come', () =>
    page.evaluate(() =>
      [...hooksPage.current().awareness.getStates().values()].some((state) => state['caret'] === 7),
    ),
  )
  expect((await drawn()).nameLists).toBe(nameLists)
  await other.context().close()
  await draws('the other has left', ({ names }) => names.join() === 'Ida')
})

test('after a reset the hooks give the new document, and what is shown is of that one', async () => {
  await show('hooks/reset')
  await draws('live', isLive)
  const [first] = (await drawn()).guids
  await page.evaluate(() => hooksPage.current().handle.reset())
  await draws('another document', ({ guids }) => guids.length === 2)
  await draws('live again', isLive)
  expect(await page.evaluate(() => hooksPage.current().doc.guid)).not.toBe(first)
  await page.evaluate(() => hooksPage.current().awareness.setLocalStateField('name', 'Ida'))
  await draws('the presence of the new one', ({ names }) => names.join() === 'Ida')
})

test('the devtools show documents and what happened, as text; switch offline, retry, and go without a trace', async () => {
  const id = 'hooks/<img src=x onerror=alert(1)>'
  await show(id)
  await draws('live', isLive)
  await page.evaluate(() => hooksPage.devtools())
  const panel = page.getByRole('region', { name: 'Tidemark devtools' })
  expect(await panel.isVisible()).toBe(false)
  await page.getByRole('button', { name: 'live' }).click()
  await panel.getByRole('cell', { name: id, exact: true }).first().waitFor()
  expect(await panel.locator('img').count()).toBe(0)
  await panel.getByText('an ack means fsync').waitFor()

  const offline = panel.getByRole('button', { name: 'Work offline' })
  await offline.click()
  expect(await offline.getAttribute('aria-pressed')).toBe('true')
  await page.evaluate(() => hooksPage.current().doc.getText('body').insert(0, 'a'))
  await page.getByRole('button', { name: 'switched offline · 1 pending' }).waitFor()
  await panel.getByRole('cell', { name: /^1 \(\d+ B\)$/ }).waitFor()
  await offline.click()
  await page.getByRole('button', { name: 'live', exact: true }).waitFor()
  expect(await offline.getAttribute('aria-pressed')).toBe('false')

  await page.evaluate(() => hooksPage.noDevtools())
  expect(await page.locator('[data-tidemark-devtools]').count()).toBe(0)
})

test('the devtools’ retry connects at once to a relay that was away', async () => {
  const away = await startRelay({ DATA_DIR: join(folder, 'away') })
  const tab = await openTab(await browser.newContext(), errors)
  await tab.goto(`${served.url}?relay=${encodeURIComponent(away.url)}`)
  await tab.evaluate(() => hooksPage.devtools())
  await show('hooks/away', tab)
  await draws('live', isLive, tab)
  await away.kill9()
  const panel = tab.getByRole('region', { name: 'Tidemark devtools' })
  await tab.locator('.pill').click()
  await panel.getByText('retry in').first().waitFor()
  const back = await startRelay({ DATA_DIR: join(folder, 'away'), PORT: String(away.port) })
  await panel.getByRole('button', { name: 'Retry now' }).click()
  await tab.getByRole('button', { name: 'live', exact: true }).waitFor()
  await tab.context().close()
  await back.stop()
})

const isLive = ({ status }: Drawn): boolean => status?.status === 'live'

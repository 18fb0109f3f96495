/** The hook of `tidemark/client/react/domain`, in Chromium, in strict mode, offline. */
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTab, startChromium } from '../support/chromium.ts'
import { serveTestPage, type TestPage } from '../support/test-page.ts'
import { until } from '../support/wait.ts'
import type { DomainPage } from './pages/domain.ts'

declare const domainPage: DomainPage

const errors: Error[] = []
let served: TestPage
let browser: Browser
let page: Page

beforeAll(async () => {
  ;[served, browser] = await Promise.all([serveTestPage('test/browser/pages/domain.ts'), startChromium()])
  page = await openTab(browser, errors)
  await page.goto(served.url)
  await page.waitForFunction(() => 'domainPage' in globalThis)
})
afterAll(async () => {
  await browser?.close()
  await served?.close()
})

const drawn = () => page.evaluate(() => domainPage.drawn.at(-1))
const shows = (...expected: readonly [string, number, string, string]): Promise<void> =>
  until(expected.join(), async () => (await drawn())?.join() === expected.join())
const open = () => page.evaluate(() => domainPage.open())

test('a document is drawn once it is loaded and at each change, another one in its place; nothing stays open', async () => {
  await page.evaluate(() => domainPage.show(null))
  await until('nothing is drawn', () => page.evaluate(() => domainPage.nothing > 0))
  expect(await open()).toEqual([])

  await page.evaluate(() => domainPage.show('pens/1'))
  await shows('pens/1', 0, 'open', 'open')
  await page.evaluate(() => domainPage.add(3))
  await shows('pens/1', 3, 'open', 'open')
  await page.evaluate(() => domainPage.shut())
  await shows('pens/1', 3, 'open', 'shut')

  // No change, no drawing: what is given to a memoised part is the same.
  const times = await page.evaluate(() => domainPage.drawn.length)
  await page.evaluate(() => domainPage.show('pens/1'))
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(resolve)))
  expect(await page.evaluate(() => domainPage.drawn.length)).toBe(times)

  await page.evaluate(() => domainPage.show('pens/2'))
  await shows('pens/2', 0, 'open', 'open')
  await until('the first is closed', async () => (await open()).join() === 'pens/2')
  await page.evaluate(() => domainPage.unmount())
  await until('all are closed', async () => (await open()).length === 0)
  expect(errors).toEqual([])
})

test('a document of Automerge is drawn as well, once Automerge is loaded', async () => {
  await page.evaluate(() => domainPage.show('pens/3', 'automerge'))
  await shows('pens/3', 0, 'open', 'open')
  await page.evaluate(() => domainPage.add(2))
  await page.evaluate(() => domainPage.shut())
  await shows('pens/3', 2, 'open', 'shut')
  // Gone before it was there.
  await page.evaluate(() => domainPage.show('pens/4', 'automerge'))
  await page.evaluate(() => domainPage.unmount())
  await until('all are closed', async () => (await open()).length === 0)
  expect(errors).toEqual([])
})

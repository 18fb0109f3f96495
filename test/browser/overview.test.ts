/** Search and tasks of all documents, in Chromium over a relay with the views that `npm start` has; and the hooks that they are made of. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { openTab, startChromium } from '../support/chromium.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { serveTestPage, type TestPage } from '../support/test-page.ts'
import { until } from '../support/wait.ts'
import { Editor } from './editor.ts'
import type { QueriesPage } from './pages/queries.ts'

declare const queriesPage: QueriesPage

const folder = mkdtempSync(join(tmpdir(), 'tidemark-overview-'))
const errors: Error[] = []
let relay: RelayProcess
let browser: Browser
let hooks: TestPage
let profiles: BrowserContext[] = []

beforeAll(async () => {
  ;[relay, browser, hooks] = await Promise.all([
    startRelay({ DATA_DIR: join(folder, 'one'), ADAPTERS: './adapters' }),
    startChromium(),
    serveTestPage('test/browser/pages/queries.ts'),
  ])
  await until('the views are there', viewsAreThere)
})
afterAll(async () => {
  await browser?.close()
  await hooks?.close()
  await relay?.stop()
  rmSync(folder, { recursive: true })
})
afterEach(async () => {
  await Promise.all(profiles.map((profile) => profile.close()))
  profiles = []
  expect(errors.splice(0)).toEqual([])
})

async function viewsAreThere(): Promise<boolean> {
  const { status } = await fetch(`${relay.url}/v1/query`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sql: 'select count(*) from notes' }),
  })
  return status === 200
}

async function profile(): Promise<BrowserContext> {
  const opened = await browser.newContext({ viewport: { width: 1100, height: 720 } })
  profiles.push(opened)
  return opened
}

const write = async (document: string): Promise<Editor> => {
  const editor = await Editor.open(await profile(), relay, document, { errors })
  await editor.showsBadge('Saved')
  return editor
}

class Overview {
  readonly page: Page
  constructor(page: Page) {
    this.page = page
  }

  static async open(at: Pick<RelayProcess, 'url'> = relay): Promise<Overview> {
    const page = await openTab(await profile(), errors)
    await page.goto(`${at.url}/?overview`)
    return new Overview(page)
  }

  badge(text: string): Promise<void> {
    return this.page.locator('.badge', { hasText: text }).waitFor()
  }

  /** Of one document, as they stand there. */
  tasks(title: string): Promise<string[]> {
    return this.page.locator('.tasks article').filter({ hasText: title }).locator('label').allInnerTexts()
  }

  async shows(title: string, ...expected: string[]): Promise<void> {
    let seen: string[] = []
    const condition = async (): Promise<boolean> => {
      seen = await this.tasks(title)
      return seen.join('|') === expected.join('|')
    }
    await until(`tasks of ${title}`, condition).catch((error: Error) => {
      throw new Error(`${error.message}; shown are ${JSON.stringify(seen)}`, { cause: error })
    })
  }
}

/** At the end of the text, as one would: the tool, then a line for each. */
async function writeTasks(editor: Editor, ...tasks: string[]): Promise<void> {
  await editor.page.locator('.prose').focus()
  await editor.page.keyboard.press('Control+End')
  await editor.page.getByRole('button', { name: 'Tasks', exact: true }).click()
  for (const [place, task] of tasks.entries()) {
    if (place > 0) await editor.page.keyboard.press('Enter')
    await editor.page.keyboard.type(task)
  }
}

test('a task is in the list of another window as it is typed; ticked it goes, in whichever window', async () => {
  const list = await Overview.open()
  const ida = await write('notes/harvest')
  await ida.page.locator('.title textarea').fill('Harvest plan')
  await writeTasks(ida, 'Crates', 'Ask Ravi')
  await list.shows('Harvest plan', 'Crates', 'Ask Ravi')
  await list.badge('Live')
  await ida.page.locator('.prose li', { hasText: 'Crates' }).getByRole('checkbox').check()
  await list.shows('Harvest plan', 'Ask Ravi')
  await list.page.getByText('1 in one document').waitFor()
  await list.page.getByRole('checkbox', { name: 'Ask Ravi' }).check()
  await list.shows('Harvest plan')
  await ida.page.locator('.prose li[data-checked="true"]', { hasText: 'Ask Ravi' }).waitFor()
  await list.page.getByText('Nothing to do').waitFor()
})

test('a search finds what was typed a moment ago, shows where, and leads there', async () => {
  const ida = await write('notes/orchard')
  await ida.page.locator('.title textarea').fill('The old orchard')
  await ida.type('Bramleys ripen late, and keep until spring.')
  await ida.showsBadge('Saved')
  await ida.page.getByRole('link', { name: 'Search and tasks' }).click()
  await ida.page.getByLabel('Search in all documents').fill('ripe bramley')
  const result = ida.page.locator('.results li')
  await result.locator('mark', { hasText: 'Bramleys' }).waitFor()
  expect(await result.count()).toBe(1)
  expect(await result.locator('mark').allInnerTexts()).toEqual(['Bramleys', 'ripen'])
  await result.getByText('The old orchard').click()
  await ida.showsText('Bramleys ripen late, and keep until spring.')
  await ida.page.goBack()
  await ida.page.getByLabel('Search in all documents').fill("nothing '& | ! :* <b>")
  await ida.page.getByText('No document has words').waitFor()
})

test('without a connection the list says that it is not current; with one again it is', async () => {
  const list = await Overview.open()
  const ravi = await write('notes/lane')
  await ravi.page.locator('.title textarea').fill('The lane')
  await writeTasks(ravi, 'Gravel')
  await list.shows('The lane', 'Gravel')
  await list.page.context().setOffline(true)
  await list.badge('Not current')
  expect(await list.page.getByRole('checkbox', { name: 'Gravel' }).isDisabled()).toBe(true)
  await ravi.page.keyboard.press('Enter')
  await ravi.page.keyboard.type('Drains')
  await ravi.showsBadge('Saved')
  expect(await list.tasks('The lane')).toEqual(['Gravel'])
  await list.page.context().setOffline(false)
  await list.shows('The lane', 'Gravel', 'Drains')
  await list.badge('Live')
  await list.page.getByRole('switch', { name: 'Work offline' }).click()
  await list.badge('Not current')
  await list.page.getByRole('switch', { name: 'Work offline' }).click()
  await list.badge('Live')
})

test('a relay without adapters says so kindly, and writing works', async () => {
  const bare = await startRelay({ DATA_DIR: join(folder, 'bare') })
  try {
    const list = await Overview.open(bare)
    await list.page.getByRole('heading', { name: 'no views' }).waitFor()
    await list.page.getByRole('button', { name: 'New document' }).click()
    const editor = new Editor(list.page)
    await editor.type('Here')
    await editor.showsBadge('Saved')
  } finally {
    await bare.stop()
  }
})

test('useQuery and useLive ask what they are given, once, and give new rows only when there are others', async () => {
  const page = await openTab(await profile(), errors)
  let requests: string[] = []
  page.on('request', (request) => requests.push(new URL(request.url()).pathname))
  await page.goto(`${hooks.url}?relay=${encodeURIComponent(relay.url)}`)
  await page.waitForFunction(() => 'queriesPage' in globalThis)
  const answer = () => page.evaluate(() => queriesPage.answer())
  const live = () => page.evaluate(() => queriesPage.live())
  const handle = await page.evaluate(async () => {
    const note = queriesPage.client.open('notes/hooks')
    note.doc.getText('title').insert(0, 'Hooks')
    await note.saved()
    queriesPage.ask('select title from notes where document = $1', ['notes/hooks'], true)
    return note.id
  })
  expect(handle).toBe('notes/hooks')
  await until('the answer', async () => (await answer()).state === 'answered')
  expect((await answer()).rows).toEqual([{ title: 'Hooks' }])
  await page.evaluate(() => queriesPage.ask('select nothing from nowhere', []))
  await until('the failure', async () => (await answer()).state === 'failed')
  expect(await answer()).toMatchObject({ rows: [{ title: 'Hooks' }] })
  expect((await answer()).code).toMatch(/^query_/)
  await page.evaluate(() => queriesPage.ask(null, []))
  await until('nothing asked', async () => (await answer()).state === 'idle')
  expect((await answer()).rows).toEqual([])

  requests = []
  await page.evaluate(() => {
    queriesPage.listen('select document, title from notes where document = $1', ['notes/hooks'])
  })
  await until('live', async () => (await live()).state === 'live')
  const before = await page.evaluate(() => {
    for (let i = 0; i < 3; i++) queriesPage.redraw()
    return queriesPage.newRows
  })
  await page.evaluate(() => queriesPage.client.open('notes/hooks').doc.getText('title').insert(5, '!'))
  await until('the change', async () => (await live()).rows[0]?.['title'] === 'Hooks!')
  expect(await page.evaluate(() => queriesPage.newRows)).toBe(before + 1)
  // Strict mode comes and goes: one stream all the same.
  expect(requests.filter((path) => path === '/v1/live')).toHaveLength(1)
  await page.evaluate(() => queriesPage.unmount())
})

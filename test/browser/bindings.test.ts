/** Editors that know nothing of this client take its `doc` and `awareness` as they take any provider's. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTab, startChromium } from '../support/chromium.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { serveTestPage, type TestPage } from '../support/test-page.ts'
import { until } from '../support/wait.ts'
import type { BindingsPage } from './pages/bindings.ts'

declare const page: BindingsPage

const folder = mkdtempSync(join(tmpdir(), 'tidemark-bindings-'))
const errors: Error[] = []
let relay: RelayProcess
let browser: Browser
let served: TestPage

beforeAll(async () => {
  ;[relay, browser, served] = await Promise.all([
    startRelay({ DATA_DIR: folder }),
    startChromium(),
    serveTestPage('test/browser/pages/bindings.ts'),
  ])
})
afterAll(async () => {
  await browser?.close()
  await served?.close()
  await relay?.stop()
  rmSync(folder, { recursive: true })
})

const bindings = [
  { binding: 'tiptap', editor: '.ProseMirror', caret: '.collaboration-carets__label' },
  { binding: 'codemirror', editor: '.cm-content', caret: '.cm-ySelectionInfo' },
  // Its carets need a module of their own.
  { binding: 'quill', editor: '.ql-editor', caret: null },
]

test.each(bindings)(
  '$binding: two type, one of them offline for a while, and both end with the same',
  async (given) => {
    const { binding, editor, caret } = given
    const open = async (name: string): Promise<Page> => {
      const tab = await openTab(await browser.newContext(), errors)
      const parameters = new URLSearchParams({ binding, relay: relay.url, document: `test/${binding}`, name })
      await tab.goto(`${served.url}?${parameters}`)
      await tab.locator(editor).waitFor()
      return tab
    }
    const text = (tab: Page): Promise<string> =>
      tab.evaluate((selector) => {
        const copy = document.querySelector(selector)?.cloneNode(true) as HTMLElement
        for (const label of copy.querySelectorAll('.collaboration-carets__caret, .cm-ySelectionCaret'))
          label.remove()
        return copy.textContent.replace(/[\u2060\ufeff]/g, '')
      }, editor)
    const type = async (tab: Page, typed: string): Promise<void> => {
      await tab.locator(editor).focus()
      await tab.keyboard.press('Control+End')
      await tab.keyboard.type(typed)
    }
    const shows = async (tab: Page, expected: string): Promise<void> => {
      let seen = ''
      await until(`${binding} shows ${expected}`, async () => {
        seen = await text(tab)
        return seen === expected
      }).catch((error: Error) => {
        throw new Error(`${error.message}; it shows ${seen}`)
      })
    }

    // No spaces: at the end of a line Quill writes them as others, and takes them back when more follows.
    const [ida, ravi] = await Promise.all([open('Ida Holm'), open('Ravi Menon')])
    await type(ida, 'Crates.')
    await shows(ravi, 'Crates.')
    await type(ravi, 'Ladders.')
    await shows(ida, 'Crates.Ladders.')
    if (caret !== null) await ida.locator(caret, { hasText: 'Ravi Menon' }).waitFor({ state: 'attached' })
    await ida.evaluate(() => page.handle.saved())
    await ida.evaluate(() => page.pause())
    await type(ida, 'Gloves.')
    expect(await ida.evaluate(() => page.handle.pending)).toBe(7)
    await type(ravi, 'Bottles.')
    await shows(ravi, 'Crates.Ladders.Bottles.')
    await ida.evaluate(() => page.resume())
    await until('all is saved', async () => (await ida.evaluate(() => page.handle.pending)) === 0)
    await until('both are there', async () => (await text(ravi)).includes('Gloves.'))
    const all = await text(ravi)
    expect(['Crates.Ladders.Gloves.Bottles.', 'Crates.Ladders.Bottles.Gloves.']).toContain(all)
    await shows(ida, all)
    const late = await open('Noor Aziz')
    await shows(late, all)
    expect(errors).toEqual([])
  },
)

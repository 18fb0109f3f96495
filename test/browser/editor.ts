/** The editor example as a person uses it: what they press, and what they read. */
import type { Browser, BrowserContext, Page } from 'playwright-core'
import * as Y from 'yjs'
import { openTab } from '../support/chromium.ts'
import type { RelayProcess } from '../support/relay-process.ts'
import { until } from '../support/wait.ts'

const waitMsMax = 100_000

interface EditorOptions {
  /** Others see it at the caret. */
  readonly name?: string
  readonly token?: string
  readonly errors?: Error[]
}

export class Editor {
  readonly page: Page

  constructor(page: Page) {
    this.page = page
  }

  static async open(
    profile: Browser | BrowserContext,
    relay: Pick<RelayProcess, 'url'>,
    document: string,
    { name, token, errors }: EditorOptions = {},
  ): Promise<Editor> {
    const page = await openTab(profile, errors)
    if (name !== undefined)
      await page.addInitScript(
        (person) => {
          localStorage.setItem('tidemark.editor.person.', person)
        },
        JSON.stringify({ name, color: '#0b7285' }),
      )
    const parameters = new URLSearchParams({
      document,
      devtools: '',
      ...(token === undefined ? {} : { token }),
    })
    await page.goto(`${relay.url}/?${parameters}`)
    return new Editor(page)
  }

  /** At the end of the text, key by key. */
  async type(text: string): Promise<void> {
    await this.page.locator('.prose').focus()
    await this.page.keyboard.press('Control+End')
    await this.page.keyboard.type(text)
  }

  async text(): Promise<string> {
    return this.page.evaluate(() => {
      // A caret's label is no text of the document.
      const copy = document.querySelector('.prose')?.cloneNode(true) as HTMLElement | undefined
      for (const caret of copy?.querySelectorAll('.caret') ?? []) caret.remove()
      return copy?.textContent.replace(/\u2060/g, '') ?? ''
    })
  }

  async badge(): Promise<string> {
    return this.page.locator('.badge').innerText()
  }

  async showsText(text: string): Promise<void> {
    await this.waits(`the text ${text}`, async () => (await this.text()) === text)
  }

  async showsBadge(badge: string | RegExp): Promise<void> {
    await this.waits(`the badge ${badge}`, async () => {
      const shown = await this.badge()
      return typeof badge === 'string' ? shown === badge : badge.test(shown)
    })
  }

  /** The switch at the top: as if there were no network. */
  async switchOffline(): Promise<void> {
    await this.page.getByRole('switch', { name: 'Work offline' }).click()
  }

  async reload(): Promise<void> {
    await this.page.reload()
    await this.page.locator('.prose').waitFor()
  }

  private async waits(what: string, condition: () => Promise<boolean>): Promise<void> {
    try {
      await until(what, condition, waitMsMax)
    } catch (error) {
      const seen = `text: ${await this.text()}, badge: ${await this.badge()}\n${await this.log()}`
      throw new Error(`${(error as Error).message}; the page shows ${seen}`, { cause: error })
    }
  }

  /** What the devtools say, for a test that failed. */
  private async log(): Promise<string> {
    const panel = this.page.locator('[data-tidemark-devtools] .panel')
    if (!(await panel.isVisible())) await this.page.locator('[data-tidemark-devtools] .pill').click()
    return panel.innerText()
  }
}

/** What the relay has of a document's text, as anybody would read it who joins now. */
export async function textOnServer(
  relay: Pick<RelayProcess, 'url'>,
  document: string,
  token?: string,
): Promise<string> {
  const answer = await fetch(`${relay.url}/v1/documents/${encodeURIComponent(document)}/update`, {
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
  })
  if (answer.status === 404) return ''
  if (!answer.ok) throw new Error(`the relay answered ${answer.status}: ${await answer.text()}`)
  const doc = new Y.Doc()
  Y.applyUpdate(doc, new Uint8Array(await answer.arrayBuffer()))
  return doc
    .getXmlFragment('body')
    .toString()
    .replace(/<[^>]*>/g, '')
}

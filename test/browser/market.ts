/** The market example as a person uses it: what they press, and what they read. */
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { openTab } from '../support/chromium.ts'
import type { RelayProcess } from '../support/relay-process.ts'
import { token } from '../support/tokens.ts'

export interface NewDeal {
  readonly harvest: string
  readonly asking: number
  readonly tonnes: number
  readonly delivery?: string
}

/** Somebody with a browser of their own. */
export class Trader {
  readonly page: Page
  readonly profile: BrowserContext

  constructor(page: Page, profile: BrowserContext) {
    this.page = page
    this.profile = profile
  }

  static async enter(
    browser: Browser,
    relay: Pick<RelayProcess, 'url'>,
    subject: string,
    role: 'seller' | 'dealer',
    errors: Error[],
  ): Promise<Trader> {
    const profile = await browser.newContext({ viewport: { width: 1100, height: 900 } })
    const page = await openTab(profile, errors)
    const access = role === 'seller' ? 'write' : 'read'
    const documents = [
      { match: 'deals/*', access: 'write' },
      { match: 'listings/*', access },
    ]
    await page.goto(`${relay.url}/market?token=${await token({ subject, roles: [role], documents })}`)
    return new Trader(page, profile)
  }

  /** Pulls the network, or gives it back. */
  async isOnline(online: boolean): Promise<void> {
    await this.profile.setOffline(!online)
    await this.badge(online ? 'Up to date' : 'No connection')
  }

  badge(text: string): Promise<void> {
    return this.page.locator('.badge', { hasText: text }).waitFor()
  }

  part(name: 'Bids' | 'Stock' | 'Agreement') {
    return this.page.getByRole('region', { name, exact: true })
  }

  button(name: string | RegExp) {
    return this.page.getByRole('button', { name, exact: true })
  }

  async makes({ harvest, asking, tonnes, delivery = '' }: NewDeal): Promise<void> {
    await this.page.getByRole('link', { name: 'New deal' }).click()
    await this.page.getByLabel('Harvest').fill(harvest)
    await this.page.getByLabel('Asking price').fill(String(asking))
    await this.page.getByLabel('Tonnes').fill(String(tonnes))
    await this.page.getByLabel('Delivery').fill(delivery)
    await this.button('Make the deal').click()
    await this.page.getByRole('heading', { level: 1, name: harvest }).waitFor()
  }

  /** About a listing that is there. */
  async makesAnother(harvest: string, tonnes: number): Promise<void> {
    await this.page.getByRole('link', { name: 'New deal' }).click()
    await this.page.getByLabel('About').selectOption({ label: harvest })
    await this.page.getByLabel('Tonnes').fill(String(tonnes))
    await this.button('Make the deal').click()
    await this.figure('stock', tonnes)
  }

  async opens(harvest: string): Promise<void> {
    await this.page.getByRole('navigation').getByRole('link', { name: harvest }).first().click()
    await this.page.getByRole('heading', { level: 1, name: harvest }).waitFor()
  }

  async bids(price: number): Promise<void> {
    await this.page.getByLabel('Your bid').fill(String(price))
    await this.button('Bid').click()
    await this.bid(price).getByText('You', { exact: true }).waitFor()
  }

  /** The line of a bid. */
  bid(price: number) {
    return this.part('Bids')
      .getByRole('listitem')
      .filter({ hasText: `€${price}` })
  }

  bidIs(price: number, status: 'Accepted' | 'Not chosen' | 'Withdrawn'): Promise<void> {
    return this.bid(price).getByText(status, { exact: true }).waitFor()
  }

  accepts(price: number): Promise<void> {
    return this.bid(price).getByRole('button', { name: 'Accept' }).click()
  }

  async answers(price: number, other: number): Promise<void> {
    await this.bid(price).getByRole('button', { name: 'Answer' }).click()
    await this.page.getByLabel('Another price').fill(String(other))
    await this.page.keyboard.press('Enter')
  }

  async sells(tonnes: number): Promise<void> {
    await this.part('Stock').getByLabel('Sell, tonnes').fill(String(tonnes))
    await this.part('Stock').getByRole('button', { name: 'Sell', exact: true }).click()
  }

  async handsOut(tonnes: number, to: string): Promise<void> {
    await this.part('Stock').getByLabel('Hand out, tonnes').fill(String(tonnes))
    await this.part('Stock').getByLabel('To whom').selectOption({ label: to })
    await this.part('Stock').getByRole('button', { name: 'Hand out' }).click()
  }

  /** `Delivery` or `Asking price`, in its place. */
  async writes(label: string, value: string): Promise<void> {
    await this.page.getByRole('button', { name: new RegExp(` ${label}$`) }).click()
    await this.page
      .getByRole('textbox', { name: label, exact: true })
      .or(this.page.getByRole('spinbutton', { name: label, exact: true }))
      .fill(value)
    await this.page.keyboard.press('Enter')
  }

  state(text: string): Promise<void> {
    return this.page.locator('.heading .chip', { hasText: text }).waitFor()
  }

  /** Of what is in the stock, and of what one may sell oneself. */
  async figure(of: 'stock' | 'mine', tonnes: number): Promise<void> {
    await this.page.locator(`[data-figure="${of}"]`, { hasText: new RegExp(`^${tonnes} t$`) }).waitFor()
  }

  /** From now on; resolves with what gives the lowest stock that the page has shown. */
  async watchStock(): Promise<() => Promise<number>> {
    await this.page.evaluate(() => {
      const look = (): number =>
        Number.parseInt(document.querySelector('[data-figure="stock"]')?.textContent ?? '', 10)
      const seen = [look()]
      new MutationObserver(() => seen.push(look())).observe(document.body, {
        subtree: true,
        childList: true,
        characterData: true,
      })
      Object.assign(globalThis, { stockSeen: seen })
    })
    return () =>
      this.page.evaluate(() =>
        Math.min(
          ...(globalThis as unknown as { stockSeen: number[] }).stockSeen.filter(
            (each) => !Number.isNaN(each),
          ),
        ),
      )
  }

  /** Presses Tab until what has the focus is called so, and is seen to have it. */
  async tabsTo(name: string): Promise<void> {
    const tabsMax = 60
    for (let tabs = 0; tabs < tabsMax; tabs++) {
      await this.page.keyboard.press('Tab')
      const { text, outline } = await this.page.evaluate(() => {
        const focused = document.activeElement
        if (focused === null || focused === document.body) return { text: '', outline: 'none' }
        const label =
          focused instanceof HTMLInputElement ? focused.labels?.[0]?.textContent : focused.textContent
        return { text: label ?? '', outline: getComputedStyle(focused).outlineStyle }
      })
      if (!text.includes(name)) continue
      if (outline === 'none') throw new Error(`"${name}" has the focus, and nobody sees it`)
      return
    }
    throw new Error(`Tab does not come to "${name}"`)
  }

  /** Of the inbox: the one that is chosen, in a list that has the focus. */
  async current(text: string): Promise<void> {
    await this.page.locator('[role="listbox"]:focus [aria-selected="true"]', { hasText: text }).waitFor()
  }
}

/**
 * The market example at `/market`, in Chromium: two sellers of one harvest and two dealers, each with a browser of their own, with the
 * network pulled and given back; over a real relay and a real PostgreSQL.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { openTab, startChromium } from '../support/chromium.ts'
import { type PostgresServer, start as startPostgres } from '../support/postgres-server.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { token, tokenSecret } from '../support/tokens.ts'
import { until } from '../support/wait.ts'
import { Trader } from './market.ts'

const folder = mkdtempSync(join(tmpdir(), 'tidemark-market-'))
const errors: Error[] = []
let postgres: PostgresServer
let relay: RelayProcess
let browser: Browser
let ida: Trader
let ravi: Trader
let dora: Trader
let dirk: Trader

beforeAll(async () => {
  ;[postgres, browser] = await Promise.all([startPostgres(), startChromium()])
  relay = await startRelay({
    DATA_DIR: folder,
    ADAPTERS: './examples/market/adapters',
    JWT_SECRET: tokenSecret,
    DATABASE_URL: postgres.url,
  })
  await until('the views are there', viewsAreThere)
  const enter = (subject: string, role: 'seller' | 'dealer'): Promise<Trader> =>
    Trader.enter(browser, relay, subject, role, errors)
  ;[ida, ravi, dora, dirk] = await Promise.all([
    enter('ida', 'seller'),
    enter('ravi', 'seller'),
    enter('dora', 'dealer'),
    enter('dirk', 'dealer'),
  ])
})
afterAll(async () => {
  await browser?.close()
  await relay?.stop()
  await postgres?.stop()
  rmSync(folder, { recursive: true })
})
afterEach(() => expect(errors.splice(0)).toEqual([]))

/** Before, pages would ask again and again, each time later. */
async function viewsAreThere(): Promise<boolean> {
  const { status } = await fetch(`${relay.url}/v1/query`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await token()}`, 'content-type': 'application/json' },
    body: JSON.stringify({ sql: 'select document from deals union select document from tidemark.intents' }),
  })
  return status === 200
}

const online = (isOnline: boolean, ...traders: Trader[]): Promise<unknown> =>
  Promise.all(traders.map((trader) => trader.isOnline(isOnline)))

test('the badge tells a market without deals from one that says nothing to this token', async () => {
  await ida.badge('Up to date')
  const profile = await browser.newContext()
  const page = await openTab(profile, errors)
  const stranger = await token({ subject: 'stranger' })
  await page.goto(`${relay.url}/market?token=${stranger.slice(0, -6)}AAAAAA`)
  await page.locator('.badge', { hasText: 'Refused' }).waitFor()
  await page.getByText(/^Refused: ./).waitFor()
  await profile.close()
})

test('of two bids made offline, accepted offline by two sellers, one is accepted; the other seller learns why and how it stands', async () => {
  const harvest = 'Cox, lower field'
  await ida.makes({ harvest, asking: 120, tonnes: 100 })
  await Promise.all([ravi, dora, dirk].map((trader) => trader.opens(harvest)))
  await online(false, dora, dirk)
  await dora.bids(100)
  await dirk.bids(105)
  await online(true, dora, dirk)
  for (const seller of [ida, ravi]) for (const price of [100, 105]) await seller.bid(price).waitFor()

  await online(false, ida, ravi)
  await ida.accepts(100)
  await ravi.accepts(105)
  for (const seller of [ida, ravi]) {
    await seller.state('Agreed')
    await seller.page.locator('.heading').getByText('Waiting for the server').waitFor()
  }
  await ravi.isOnline(true)
  await dirk.bidIs(105, 'Accepted')
  await ida.isOnline(true)
  const notice = ida.page.getByRole('status').filter({ hasText: '“Accept Dora’s €100” did not go through' })
  await notice
    .getByText('Ravi had accepted Dirk’s €105 before. You can still ship or cancel the deal.')
    .waitFor()
  for (const trader of [ida, ravi, dora, dirk]) {
    await trader.bidIs(105, 'Accepted')
    await trader.bidIs(100, 'Not chosen')
    await trader.state('Agreed')
  }
  expect(await ravi.page.getByText('did not go through').count()).toBe(0)
  await notice.getByRole('button', { name: 'OK' }).click()
  await ida.page.reload()
  await ida.state('Agreed')
  expect(await ida.page.getByText('did not go through').count()).toBe(0)
})

test('the same harvest in a second deal finds no buyer', async () => {
  await ida.makesAnother('Cox, lower field', 20)
  const deal = new URL(ida.page.url()).searchParams.get('deal')!
  await dora.page.goto(`${relay.url}/market?deal=${encodeURIComponent(deal)}`)
  await dora.bids(99)
  await ida.accepts(99)
  await ida.page.getByText('This harvest was sold in another deal.').waitFor()
  await dora
    .bid(99)
    .getByText(/Accepted/)
    .waitFor({ state: 'detached' })
})

test('100 t, sold apart on three devices with 40, 30 and 30, are never less than none', async () => {
  const harvest = 'Bramley, hill'
  const tablet = await Trader.enter(browser, relay, 'ida', 'seller', errors)
  await ida.makes({ harvest, asking: 90, tonnes: 100 })
  const sellers = [ida, ravi, tablet]
  await Promise.all([ravi, tablet].map((trader) => trader.opens(harvest)))
  await ida.handsOut(40, 'yourself')
  await ida.handsOut(30, 'Ravi')
  await ida.handsOut(30, 'Ida (2)')
  for (const [index, rights] of [40, 30, 30].entries()) await sellers[index]!.figure('mine', rights)
  const lowest = await Promise.all(sellers.map((seller) => seller.watchStock()))

  await online(false, ...sellers)
  await Promise.all(
    [40, 30, 30].map(async (rights, index) => {
      const seller = sellers[index]!
      await seller.sells(rights - 10)
      await seller.sells(11)
      await seller.page.getByRole('alert').getByText('You can sell 10 t now').waitFor()
      await seller.sells(10)
      await seller.figure('mine', 0)
      await seller.figure('stock', 100 - rights)
    }),
  )
  await online(true, ...sellers)
  for (const seller of sellers) await seller.figure('stock', 0)
  await ravi.sells(1)
  await ravi.page.getByRole('alert').getByText('You can sell 0 t now').waitFor()
  for (const of of lowest) expect(await of()).toBe(0)
  await tablet.profile.close()
})

test('who ships and who cancels at the same time: one of both, and what was built on the other is undone with it', async () => {
  const harvest = 'Russet, lane'
  await ida.makes({ harvest, asking: 140, tonnes: 40 })
  await Promise.all([dora, ravi].map((trader) => trader.opens(harvest)))
  await dora.bids(139)
  await ravi.accepts(139)
  for (const seller of [ida, ravi]) await seller.bidIs(139, 'Accepted')
  await online(false, ida, ravi)
  await ida.button('Ship').click()
  await ida.button('Send the invoice').click()
  await ida.state('Invoiced')
  const waiting = ida.page.getByRole('region', { name: 'Not decided yet' })
  await waiting.getByText('Waiting for the server; only if “Ship” goes through').waitFor()
  await ravi.button('Cancel the deal').click()
  await ravi.isOnline(true)
  await dora.state('Cancelled')
  await ida.isOnline(true)
  await ida.state('Cancelled')
  await ida.page.getByText('“Ship” did not go through').waitFor()
  await ida.page.getByText('“Send the invoice” did not go through').waitFor()
  await ida.page.getByText('Ravi had been first. The deal is cancelled.').first().waitFor()
  for (const name of ['Ship', 'Send the invoice', 'Cancel the deal'])
    expect(await ida.button(name).count(), name).toBe(0)
})

test('a bid is answered with another price, which only its dealer can accept', async () => {
  const harvest = 'Spartan, orchard'
  await ravi.makes({ harvest, asking: 110, tonnes: 5 })
  await Promise.all([dora, dirk, ida].map((trader) => trader.opens(harvest)))
  await dora.bids(100)
  await ida.answers(100, 106)
  await dora.bid(106).getByText('Ida to you').waitFor()
  await dirk.bid(106).getByText('Ida to Dora').waitFor()
  await dora.bid(100).getByText('Answered').waitFor()
  for (const other of [dirk, ravi]) expect(await other.bid(106).getByRole('button').count()).toBe(0)
  await dora.accepts(106)
  for (const trader of [ida, ravi, dora, dirk]) await trader.bidIs(106, 'Accepted')
})

describe('with the keyboard alone', () => {
  test('what the old holder wrote meanwhile is taken over as it was written; two prices are settled with a third', async () => {
    const harvest = 'Discovery, pond'
    await ida.makes({ harvest, asking: 80, tonnes: 10, delivery: 'Free to the gate' })
    await ravi.opens(harvest)
    await ida.isOnline(false)
    await ida.writes('Delivery', 'Free to the gate, before noon')
    await ida.writes('Asking price', '85')
    await ravi.button('Take it over').click()
    await ravi.button('Hand to Ida').waitFor()
    await ravi.writes('Asking price', '90')
    await ravi.badge('Up to date')
    await ida.isOnline(true)
    await ida.part('Agreement').getByText('Waiting for Ravi').waitFor()
    expect(await ida.part('Agreement').getByText('Free to the gate', { exact: true }).count()).toBe(1)

    const { keyboard } = ravi.page
    await ravi.tabsTo('Inbox')
    await keyboard.press('Enter')
    const options = ravi.page.getByRole('option')
    await options.nth(1).waitFor()
    expect(await options.allInnerTexts()).toEqual([
      expect.stringContaining('Asking price'),
      expect.stringContaining('Delivery'),
    ])
    await ravi.current('Asking price')
    await keyboard.press('j')
    await ravi.current('Delivery')
    await keyboard.press('2')
    const version = ravi.page.getByRole('button', { name: 'Free to the gate, before noon' })
    expect(await version.getAttribute('aria-pressed')).toBe('true')
    await keyboard.press('Enter')
    await ida.part('Agreement').getByText('Free to the gate, before noon', { exact: true }).waitFor()
    await ida.part('Agreement').getByText('Waiting for Ravi').waitFor({ state: 'detached' })

    await ravi.current('Asking price')
    for (const side of ['€90 a tonne', '€85 a tonne'])
      await ravi.page.getByRole('button', { name: side }).waitFor()
    await keyboard.press('1')
    await keyboard.press('e')
    await keyboard.type('87')
    await keyboard.press('Enter')
    await ravi.page.getByText('Nothing waits for you.').waitFor()
    await ida.page.locator('.heading').getByText('€87 a tonne').waitFor()
  })

  test('a dealer finds a deal, bids and withdraws', async () => {
    const { keyboard } = dora.page
    await dora.page.goto(`${relay.url}/market`)
    await dora.page.getByRole('link', { name: 'Discovery, pond' }).waitFor()
    await dora.tabsTo('Discovery, pond')
    await keyboard.press('Enter')
    await dora.tabsTo('Your bid')
    await keyboard.type('88')
    await keyboard.press('Enter')
    await dora.bid(88).waitFor()
    await until('it is seen', async () => (await ida.bid(88).count()) === 1)
    await dora.tabsTo('Withdraw')
    await keyboard.press('Enter')
    await dora.bidIs(88, 'Withdrawn')
  })
})

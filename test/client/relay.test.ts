/** The client against a relay of its own process: what an app does, with the network and the server failing under it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createClient } from '../../client/create-client.ts'
import type { Handle } from '../../client/types.ts'
import { freePort } from '../support/free-port.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { until } from '../support/wait.ts'
import { Browser, type Tab } from './browser.ts'

let directory: string
let port: number
let relay: RelayProcess
let browsers: Browser[]

const start = async (environment: Record<string, string> = {}): Promise<void> => {
  relay = await startRelay({ DATA_DIR: directory, PORT: String(port), ...environment })
}
const newTab = (): Tab => {
  const browser = new Browser()
  browsers.push(browser)
  return browser.open({ url: relay.url })
}
const textOf = ({ doc }: Handle): string => doc.getText('text').toString()
const type = ({ doc }: Handle, text: string): void => doc.getText('text').insert(0, text)

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-client-'))
  browsers = []
  port = await freePort()
  await start()
})
afterEach(async () => {
  await Promise.all(browsers.map((browser) => browser.close()))
  await relay.stop()
  rmSync(directory, { recursive: true, force: true })
})

test('two people edit together, and each edit is saved', async () => {
  const [ann, bob] = [newTab().client.open('notes'), newTab().client.open('notes')]
  type(ann, 'hello ')
  expect(ann.pending).toBe(1)
  await ann.saved()
  expect(ann.pending).toBe(0)
  await bob.whenSynced
  type(bob, 'world ')
  await bob.saved()
  await until('both have both', () => textOf(ann) === textOf(bob) && textOf(ann).length === 12)
  expect(ann.status).toBe('live')
})

test('in Node, with nothing but a URL', async () => {
  const client = createClient({ url: relay.url })
  const handle = client.open('notes')
  type(handle, 'hello')
  await handle.saved()
  expect(handle.storage).toBe('memory')
  await client.close()
  expect(() => client.open('notes')).toThrow('closed')
  await expect(handle.saved()).resolves.toBeUndefined()
})

test('presence is seen by the others, and gone when its tab closes', async () => {
  const [annTab, bobTab] = [newTab(), newTab()]
  const [ann, bob] = [annTab.client.open('notes'), bobTab.client.open('notes')]
  ann.awareness.setLocalStateField('user', 'ann')
  const seen = () => [...bob.awareness.getStates().values()].some((state) => state['user'] === 'ann')
  await until('bob sees ann', seen)
  await annTab.client.close()
  await until('bob sees that ann has gone', () => !seen())
})

test('edits made offline are pending, and saved after the network is back', async () => {
  const [tab, other] = [newTab(), newTab()]
  const [ann, bob] = [tab.client.open('notes'), other.client.open('notes')]
  await Promise.all([ann.whenSynced, bob.whenSynced])
  tab.client.pause()
  expect(ann.status).toBe('offline')
  for (let i = 0; i < 40; i++) type(ann, 'x')
  type(bob, 'bob ')
  await bob.saved()
  expect(ann.pending).toBe(40)
  let saved = false
  const whenSaved = ann.saved().then(() => {
    saved = true
  })
  await ann.close()
  expect(saved).toBe(false)
  tab.client.resume()
  await whenSaved
  expect(ann.pending).toBe(0)
  await until('both have all', () => textOf(ann).length === 44 && textOf(bob) === textOf(ann))
})

test('a page that is killed offline shows its edits, still pending, after a reload', async () => {
  const browser = new Browser()
  browsers.push(browser)
  const first = browser.open({ url: relay.url })
  const before = first.client.open('notes')
  await before.whenSynced
  type(before, 'online ')
  await before.saved()
  first.client.pause()
  for (const text of ['one ', 'two ', 'three ']) type(before, text)
  await before.close()
  first.kill()

  const second = browser.open({ url: relay.url })
  second.client.pause()
  const after = second.client.open('notes')
  expect(await after.whenLoaded).toBe('stored')
  expect(textOf(after)).toBe('three two one online ')
  expect(after.pending).toBe(3)
  type(after, 'four ')
  expect(after.pending).toBe(4)
  second.client.resume()
  await after.saved()
  const other = newTab().client.open('notes')
  await other.whenSynced
  expect(textOf(other)).toBe('four three two one online ')
})

test('what is unsent when a document is not opened again is sent all the same', async () => {
  const browser = new Browser()
  browsers.push(browser)
  const first = browser.open({ url: relay.url })
  first.client.pause()
  const forgotten = first.client.open('forgotten')
  type(forgotten, 'offline')
  await forgotten.close()
  first.kill()
  const second = browser.open({ url: relay.url })
  second.client.open('another')
  const other = newTab().client.open('forgotten')
  await until('it has arrived', () => textOf(other) === 'offline')
  await until('it was let go of', () => second.client.inspect().documents.length === 1)
})

test('saved() never resolves for an edit that a killed relay has lost', async () => {
  const tab = newTab()
  const ann = tab.client.open('notes')
  await ann.whenSynced
  const promised: number[] = []
  let typed = 0
  for (let kill = 0; kill < 3; kill++) {
    const typing = setInterval(() => {
      const mine = ++typed
      type(ann, `<${mine}>`)
      void ann.saved().then(() => promised.push(mine))
    }, 1)
    const saved = promised.length
    await until('edits are being saved', () => promised.length > saved + 20)
    await relay.kill9()
    clearInterval(typing)
    const known = [...promised]
    await start()
    // As nobody has who was there: only what is on disk.
    const witness = newTab().client
    const seen = witness.open('notes')
    tab.client.pause()
    await seen.whenSynced
    for (const edit of known) expect(textOf(seen)).toContain(`<${edit}>`)
    await witness.close()
    tab.client.resume()
    await ann.saved()
  }
  await until('everything was saved in the end', () => promised.length === typed)
  const last = newTab().client.open('notes')
  await last.whenSynced
  expect(textOf(last)).toBe(textOf(ann))
})

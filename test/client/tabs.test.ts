/** Two tabs of one user with one document, over the locks and channels of one browser. */
import { afterEach, expect, test } from 'vitest'
import * as Y from 'yjs'
import type { Client, Handle } from '../../client/types.ts'
import { until } from '../support/wait.ts'
import { Browser, type Tab } from './browser.ts'
import { type Door, openDoor } from './door.ts'
import { type Faults, FaultySocket } from './faulty-socket.ts'
import { VirtualTime } from './virtual-time.ts'

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function newDoor(): Promise<Door> {
  const door = await openDoor()
  closing.push(() => door.close())
  return door
}
function newBrowser(): Browser {
  const browser = new Browser()
  closing.push(() => browser.close())
  return browser
}
/** Without a door there is no network. */
function newTab(browser: Browser, door: Door | null, options: { url?: string; user?: string } = {}): Tab {
  const time = new VirtualTime()
  const faults: Faults = { time, random: () => 0.5, lossShare: 0, delayMsMax: 0 }
  const pulse = setInterval(() => {
    while (time.step());
  }, 1)
  closing.push(async () => clearInterval(pulse))
  const accept = door === null ? null : door.accept
  class Socket extends FaultySocket {
    constructor() {
      super(faults, accept)
    }
  }
  return browser.open({ url: 'ws://relay', ...options, webSocket: Socket })
}
const textOf = ({ doc }: Handle): string => doc.getText('text').toString()
const type = ({ doc }: Handle, text: string): void => doc.getText('text').insert(0, text)
const logged = async (door: Door): Promise<number> => (await door.log.load('notes' as never)).tail.length
const happened = ({ events }: Client, event: string): number =>
  events.filter((entry) => entry.event === event).length

test('offline, an edit in one tab is in the other at once, and pending in the first alone', async () => {
  const browser = newBrowser()
  const [one, two] = [newTab(browser, null), newTab(browser, null)]
  const [first, second] = [one.client.open('notes'), two.client.open('notes')]
  await Promise.all([first.whenLoaded, second.whenLoaded])
  type(first, 'hello')
  await until('the second tab shows it', () => textOf(second) === 'hello')
  expect(first.pending).toBe(1)
  expect(second.pending).toBe(0)
})

test('with a network, an edit that both tabs have is sent by one', async () => {
  const [browser, door] = [newBrowser(), await newDoor()]
  const [one, two] = [newTab(browser, door), newTab(browser, door)]
  const [first, second] = [one.client.open('notes'), two.client.open('notes')]
  await Promise.all([first.whenSynced, second.whenSynced])
  for (let i = 0; i < 10; i++) {
    type(i % 2 === 0 ? first : second, 'x')
    await until('both have it', () => textOf(first).length === i + 1 && textOf(second).length === i + 1)
  }
  await Promise.all([first.saved(), second.saved()])
  for (const { client } of [one, two]) {
    client.pause()
    client.resume()
  }
  await until('both are back', () => first.status === 'live' && second.status === 'live')
  await Promise.all([first.saved(), second.saved()])
  expect(await logged(door)).toBe(10)
})

test('the edits of a tab that is gone are adopted by one of those left, and sent once', async () => {
  const [browser, door] = [newBrowser(), await newDoor()]
  const dying = newTab(browser, null)
  const left = [newTab(browser, door), newTab(browser, door), newTab(browser, door)]
  const handle = dying.client.open('notes')
  const handles = left.map(({ client }) => client.open('notes'))
  await Promise.all([handle.whenLoaded, ...handles.map(({ whenSynced }) => whenSynced)])
  for (let i = 0; i < 5; i++) type(handle, 'x')
  await until('all show them', () => handles.every((each) => textOf(each) === 'xxxxx'))
  expect(handles.map(({ pending }) => pending)).toEqual([0, 0, 0])
  expect(await logged(door)).toBe(0)
  dying.kill()
  await until('they are in the log', async () => (await logged(door)) === 5)
  await Promise.all(handles.map((each) => each.saved()))
  expect(left.reduce((sum, { client }) => sum + happened(client, 'outbox adopted'), 0)).toBe(1)
  expect(await logged(door)).toBe(5)
})

test('what pages that are gone had left is sent in the order in which it was made', async () => {
  const [browser, door] = [newBrowser(), await newDoor()]
  for (const letter of 'abcdef') {
    const openedMs = Date.now()
    const { client } = newTab(browser, null)
    const handle = client.open('notes')
    await handle.whenLoaded
    type(handle, letter)
    await client.close()
    await until('the clock has gone on', () => Date.now() > openedMs)
  }
  await newTab(browser, door).client.open('notes').saved()
  const doc = new Y.Doc()
  for (const { update } of (await door.log.load('notes' as never)).tail) {
    Y.applyUpdate(doc, update)
    expect(doc.store.pendingStructs, 'what it builds on is there').toBeNull()
  }
  expect(doc.getText('text').toString()).toBe('fedcba')
})

test('a tab that opens while another lives leaves its outbox alone', async () => {
  const browser = newBrowser()
  const one = newTab(browser, null)
  const first = one.client.open('notes')
  type(first, 'x')
  await first.close()
  one.client.open('notes')
  const two = newTab(browser, null)
  const second = two.client.open('notes')
  await second.whenLoaded
  expect(textOf(second)).toBe('x')
  expect(second.pending).toBe(0)
  one.kill()
  await until('it is adopted now', () => second.pending === 1)
})

test('a document of one user, or of another server, is not shown to another on the same browser', async () => {
  const browser = newBrowser()
  const first = newTab(browser, null, { user: 'ann' }).client.open('notes')
  type(first, 'of ann')
  await first.close()
  for (const options of [{ user: 'bob' }, { user: 'ann', url: 'ws://elsewhere' }]) {
    const handle = newTab(browser, null, options).client.open('notes')
    expect(await handle.whenLoaded).toBe('empty')
    expect(textOf(handle)).toBe('')
  }
})

test('forget() leaves nothing of the user on the browser, and closes the other tabs', async () => {
  const browser = newBrowser()
  const [one, two, other] = ['ann', 'ann', 'bob'].map((user) => newTab(browser, null, { user }))
  const handles = [one!, two!, other!].map(({ client }) => client.open('notes'))
  await Promise.all(handles.map(({ whenLoaded }) => whenLoaded))
  type(handles[0]!, 'of ann')
  type(handles[2]!, 'of bob')
  await Promise.all(handles.map((handle) => handle.close()))
  const forgotten = new Promise<void>((resolve) => {
    two!.client.on('forgotten', resolve)
  })
  await one!.client.forget()
  await forgotten
  expect(() => two!.client.open('notes')).toThrow('closed')
  const names = (await browser.indexedDB.databases()).map(({ name }) => name)
  expect(names).toHaveLength(2)
  const again = newTab(browser, null, { user: 'ann' }).client.open('notes')
  expect(await again.whenLoaded).toBe('empty')
  const ofBob = newTab(browser, null, { user: 'bob' }).client.open('notes')
  expect(await ofBob.whenLoaded).toBe('stored')
})

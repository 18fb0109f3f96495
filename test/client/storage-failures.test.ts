/** A disk that is full, blocked, gone or back: the app is told, editing goes on in memory, and `pending` tells the truth. */
import { afterEach, expect, test } from 'vitest'
import { createIndexedDbStorage } from '../../client/storage/indexeddb.ts'
import type { DocumentStorage, Storage } from '../../client/storage/storage.ts'
import type { Handle, StorageState } from '../../client/types.ts'
import { until } from '../support/wait.ts'
import { Browser } from './browser.ts'

const browsers: Browser[] = []
afterEach(async () => {
  for (const browser of browsers.splice(0)) await browser.close()
})
function newBrowser(): Browser {
  const browser = new Browser()
  browsers.push(browser)
  return browser
}
/** Nobody listens there: the client stays offline. */
const url = 'ws://127.0.0.1:1'
const type = ({ doc }: Handle, text: string): void => doc.getText('text').insert(0, text)
const textOf = ({ doc }: Handle): string => doc.getText('text').toString()

function statesOf(handle: Handle): [StorageState, string | null][] {
  const states: [StorageState, string | null][] = []
  handle.on('storage', (state, error) => states.push([state, error?.message ?? null]))
  return states
}

/** IndexedDB whose writes fail while `full` is true, as with a quota that is exceeded. */
function limitedDisk(browser: Browser) {
  const real = createIndexedDbStorage(browser.indexedDB)
  const disk = { full: false, blocked: false }
  const limited = (document: DocumentStorage): DocumentStorage => {
    const write: DocumentStorage['write'] = (batch) =>
      disk.full
        ? Promise.reject(new DOMException('the quota is exceeded', 'QuotaExceededError'))
        : document.write(batch)
    return {
      write,
      load: () => document.load(),
      outboxOf: (replica) => document.outboxOf(replica),
      compact: (merge) => document.compact(merge),
      setAside: (make) => document.setAside(make),
      discardAside: () => document.discardAside(),
      close: () => document.close(),
    }
  }
  const storage: Storage = {
    ...real,
    open: async (...given) => {
      if (disk.blocked) throw new Error('another tab blocks the database')
      return limited(await real.open(...given))
    },
  }
  return { disk, storage }
}

test('with a full disk, edits stay in memory and pending; when there is room again, all of it is written', async () => {
  const browser = newBrowser()
  const { disk, storage } = limitedDisk(browser)
  const tab = browser.open({ url, storage })
  const handle = tab.client.open('notes')
  const states = statesOf(handle)
  await handle.whenLoaded
  expect(handle.storage).toBe('disk')
  type(handle, 'a')
  await handle.close()
  disk.full = true
  tab.client.open('notes')
  for (const text of 'bcd') type(handle, text)
  await until('the app is told', () => states.length === 1)
  expect(states[0]).toEqual(['memory', 'the quota is exceeded'])
  expect(handle.storage).toBe('memory')
  expect(handle.pending).toBe(4)
  type(handle, 'e')
  expect(handle.pending).toBe(5)

  disk.full = false
  tab.client.retry()
  await until('the app is told again', () => states.length === 2)
  expect(states[1]).toEqual(['disk', null])
  type(handle, 'f')
  await handle.close()
  tab.kill()
  const after = browser.open({ url }).client.open('notes')
  await after.whenLoaded
  expect(textOf(after)).toBe('fedcba')
  expect(after.pending).toBe(6)
})

test('with a blocked database the document is there all the same, and says that it is not stored', async () => {
  const browser = newBrowser()
  const { disk, storage } = limitedDisk(browser)
  disk.blocked = true
  const handle = browser.open({ url, storage }).client.open('notes')
  const states = statesOf(handle)
  type(handle, 'before ')
  expect(await handle.whenLoaded).toBe('unavailable')
  expect(states).toEqual([['memory', 'another tab blocks the database']])
  type(handle, 'after ')
  expect(handle.pending).toBe(2)
  expect(handle.storage).toBe('memory')
  await handle.close()
})

test('with its database deleted under it, a page goes on in memory, and does not write it again', async () => {
  const browser = newBrowser()
  const handle = browser.open({ url }).client.open('notes')
  const states = statesOf(handle)
  type(handle, 'a')
  await handle.whenLoaded
  for (const { name } of await browser.indexedDB.databases()) browser.indexedDB.deleteDatabase(name!)
  await until('the app is told', () => states.length === 1)
  expect(states[0]![0]).toBe('memory')
  type(handle, 'b')
  expect(handle.pending).toBe(2)
  expect(textOf(handle)).toBe('ba')
  await until('it is gone', async () => (await browser.indexedDB.databases()).length === 0)
  type(handle, 'c')
  await handle.close()
  expect(await browser.indexedDB.databases()).toEqual([])
})

test('without IndexedDB everything works in memory', async () => {
  const browser = newBrowser()
  const handle = browser.open({ url, storage: 'memory' }).client.open('notes')
  expect(await handle.whenLoaded).toBe('empty')
  expect(handle.storage).toBe('memory')
  type(handle, 'a')
  expect(handle.pending).toBe(1)
})

test('a document that was edited at length is one update after a while, and loads as it was', async () => {
  const browser = newBrowser()
  const tab = browser.open({ url })
  const handle = tab.client.open('notes')
  await handle.whenLoaded
  for (let round = 0; round < 12; round++) {
    for (let i = 0; i < 50; i++) type(handle, 'x')
    await handle.close()
    tab.client.open('notes')
  }
  await handle.close()
  tab.kill()
  const stored = createIndexedDbStorage(browser.indexedDB)
  const scope = (await browser.indexedDB.databases())
    .map(({ name }) => name!)
    .sort()[0]!
    .split('/')[1]!
  const { updates } = await (await stored.open(scope, 'notes', () => undefined)).load()
  expect(updates.length).toBeLessThan(200)
  const after = browser.open({ url }).client.open('notes')
  await after.whenLoaded
  expect(textOf(after)).toBe('x'.repeat(600))
  expect(after.pending).toBe(600)
})

/** Documents that are deleted, and created anew, under clients that have them: nothing of the old comes into the new unasked. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Aside, Handle } from '../../client/types.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { until } from '../support/wait.ts'
import { Browser } from './browser.ts'

let directory: string
let relay: RelayProcess
const browsers: Browser[] = []
let documents = 0

const newBrowser = (): Browser => {
  const browser = new Browser()
  browsers.push(browser)
  return browser
}
const newTab = (browser = newBrowser()) => browser.open({ url: relay.url })
const textOf = ({ doc }: Pick<Handle, 'doc'>): string => doc.getText('text').toString()
const type = ({ doc }: Handle, text: string): void => doc.getText('text').insert(0, text)
const api = async (method: string, document: string): Promise<void> => {
  const { ok, status } = await fetch(`${relay.url}/v1/documents/${document}`, { method })
  expect(ok, `${method}: ${status}`).toBe(true)
}
const lineageOf = (handle: Handle): Promise<Aside> =>
  new Promise((resolve) => {
    handle.on('lineage', resolve)
  })

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-client-'))
  relay = await startRelay({ DATA_DIR: directory })
})
afterAll(async () => {
  await Promise.all(browsers.map((browser) => browser.close()))
  await relay.stop()
  rmSync(directory, { recursive: true, force: true })
})

/** A page whose document was deleted and created anew while it was offline with an edit. */
async function staleReplica() {
  const id = `stale-${documents++}`
  const tab = newTab()
  const handle = tab.client.open(id)
  type(handle, 'old ')
  await handle.saved()
  tab.client.pause()
  type(handle, 'unsaved ')
  const saved = handle.saved()
  await api('DELETE', id)
  await api('PUT', id)
  const other = newTab().client.open(id)
  type(other, 'new')
  await other.saved()
  return { id, tab, handle, saved, other }
}

test('a stale replica is set aside and offered, and nothing of it is merged', async () => {
  const { id, tab, handle, saved, other } = await staleReplica()
  const lineage = lineageOf(handle)
  tab.client.resume()
  await expect(saved).rejects.toMatchObject({ code: 'stale_replica' })
  const aside = await lineage
  expect(aside).toMatchObject({ code: 'stale_replica', unsaved: 1, epoch: 0 })
  expect(handle.status).toBe('refused')
  expect(handle.error?.code).toBe('stale_replica')
  await expect(handle.saved()).rejects.toMatchObject({ code: 'stale_replica' })

  const old = handle.doc
  let resets = 0
  handle.on('reset', () => resets++)
  await handle.reset()
  expect(resets).toBe(1)
  expect(handle.doc).not.toBe(old)
  await handle.whenSynced
  expect(textOf(handle)).toBe('new')
  expect(handle.pending).toBe(0)
  type(handle, 'mine ')
  await handle.saved()
  await until('both have both', () => textOf(other) === 'mine new')

  const recovered = await handle.recover()
  expect(recovered?.getText('text').toString()).toBe('unsaved old ')
  await handle.discard()
  expect(handle.aside).toBeNull()
  expect(await handle.recover()).toBeNull()
  const witness = newTab().client.open(id)
  await witness.whenSynced
  expect(textOf(witness)).toBe('mine new')
})

test('what was set aside is offered after a reload too, and only there', async () => {
  const browser = newBrowser()
  const first = newTab(browser)
  const id = `reload-${documents++}`
  const before = first.client.open(id)
  type(before, 'old')
  await before.saved()
  const lineage = lineageOf(before)
  await api('DELETE', id)
  expect(await lineage).toMatchObject({ code: 'document_removed', unsaved: 0 })
  await first.client.close()

  await api('PUT', id)
  const second = newTab(browser)
  const after = second.client.open(id)
  expect(await after.whenLoaded).toBe('empty')
  await after.whenSynced
  expect(textOf(after)).toBe('')
  expect(after.status).toBe('live')
  expect(after.aside?.code).toBe('document_removed')
  expect((await after.recover())?.getText('text').toString()).toBe('old')
  const elsewhere = newTab().client.open(id)
  await elsewhere.whenLoaded
  expect(elsewhere.aside).toBeNull()
})

test('a second tab that is offline meanwhile shows and sends nothing of one lineage in the other', async () => {
  const browser = newBrowser()
  const [one, two] = [newTab(browser), newTab(browser)]
  const id = `tabs-${documents++}`
  const [first, second] = [one.client.open(id), two.client.open(id)]
  type(first, 'old')
  await first.saved()
  await until('the second tab has it', () => textOf(second) === 'old')
  two.client.pause()
  const lineage = lineageOf(first)
  await api('DELETE', id)
  await lineage
  await api('PUT', id)
  await first.reset()
  await first.whenSynced
  type(second, 'offline ')
  // On disk, or refused by it: either way the first tab would have been told.
  await second.close()
  await until('the disk refuses the old lineage', () => second.storage === 'memory')
  expect(textOf(first)).toBe('')
  type(first, 'new')
  await first.saved()
  expect(textOf(second)).toBe('offline old')
  two.client.open(id)
  const secondLineage = lineageOf(second)
  two.client.resume()
  expect(await secondLineage).toMatchObject({ code: 'stale_replica', unsaved: 1 })
  await second.reset()
  await second.whenSynced
  expect(textOf(second)).toBe('new')
  expect(textOf(first)).toBe('new')
})

test('an app that resets at the first sign of it loses nothing of what is being set aside', async () => {
  const { tab, handle } = await staleReplica()
  const reset = new Promise<void>((resolve, reject) => {
    handle.on('status', (status) => {
      if (status === 'refused') Promise.all([handle.reset(), handle.reset()]).then(() => resolve(), reject)
    })
  })
  tab.client.resume()
  await reset
  await handle.whenSynced
  expect(textOf(handle)).toBe('new')
  expect((await handle.recover())?.getText('text').toString()).toBe('unsaved old ')
  expect(handle.aside).toMatchObject({ unsaved: 1 })
})

test('an app can give a replica up by itself, and edits again at once', async () => {
  const tab = newTab()
  const handle = tab.client.open(`given-up-${documents++}`)
  type(handle, 'saved ')
  await handle.saved()
  tab.client.pause()
  type(handle, 'unsaved ')
  await handle.reset()
  expect(handle.aside).toMatchObject({ code: 'reset', unsaved: 1 })
  expect(textOf(handle)).toBe('')
  type(handle, 'again ')
  expect(handle.pending).toBe(1)
  tab.client.resume()
  await handle.saved()
  await handle.whenSynced
  expect(['again saved ', 'saved again ']).toContain(textOf(handle))
})

test('asking again while an answer is under way leaves the document open once', async () => {
  const tab = newTab()
  const id = `again-${documents++}`
  const handle = tab.client.open(id)
  for (let i = 0; i < 5; i++) await handle.reset()
  await handle.whenSynced
  type(handle, 'x')
  await handle.saved()
  expect(handle.status).toBe('live')
})

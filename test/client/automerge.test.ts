/** Automerge documents of the client against a relay of its own process: the same promises as of Yjs ones. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as Automerge from '@automerge/automerge'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createClient } from '../../client/create-client.ts'
import type { AutomergeHandle, Client } from '../../client/types.ts'
import { freePort } from '../support/free-port.ts'
import { type RelayProcess, startRelay } from '../support/relay-process.ts'
import { until } from '../support/wait.ts'
import { Browser, type Tab } from './browser.ts'

interface Note {
  title?: string
  tags?: Record<string, number>
}

let directory: string
let port: number
let relay: RelayProcess
let browsers: Browser[]

const start = async (): Promise<void> => {
  relay = await startRelay({ DATA_DIR: directory, PORT: String(port) })
}
const newBrowser = (): Browser => {
  const browser = new Browser()
  browsers.push(browser)
  return browser
}
const newTab = (browser = newBrowser()): Tab => browser.open({ url: relay.url })
const openNote = (client: Client, id = 'note'): Promise<AutomergeHandle<Note>> =>
  client.open<Note>(id, { engine: 'automerge' })
const tag = (handle: AutomergeHandle<Note>, name: string): unknown =>
  handle.change((doc) => {
    doc.tags ??= {}
    doc.tags[name] = 1
  })
const isSame = (a: AutomergeHandle<Note>, b: AutomergeHandle<Note>): boolean =>
  Automerge.equals(a.doc, b.doc) && `${Automerge.getHeads(a.doc)}` === `${Automerge.getHeads(b.doc)}`

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-automerge-'))
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
  const [ann, bob] = await Promise.all([openNote(newTab().client), openNote(newTab().client)])
  const changes: [local: boolean, paths: string[]][] = []
  bob.on('change', ({ patches, local }) => changes.push([local, patches.map(({ path }) => path.join('.'))]))
  ann.change((doc) => {
    doc.title = 'hello'
  })
  expect(ann.pending).toBe(1)
  await ann.saved()
  expect(ann.pending).toBe(0)
  await until('bob has it', () => bob.doc.title === 'hello')
  bob.change((doc) => {
    doc.tags = { red: 1 }
  })
  await bob.saved()
  await until('both have both', () => isSame(ann, bob))
  expect(ann.doc).toEqual({ title: 'hello', tags: { red: 1 } })
  expect(changes.map(([local]) => local)).toEqual([false, true])
  expect(changes[0]![1]).toContain('title')
})

test('edits made offline outlive the page, and are saved by the next one, with a killed relay in between', async () => {
  const browser = newBrowser()
  const first = newTab(browser)
  const ann = await openNote(first.client)
  await ann.whenSynced
  tag(ann, 'online')
  await ann.saved()
  await relay.kill9()
  for (let i = 0; i < 30; i++) tag(ann, `offline ${i}`)
  expect(ann.pending).toBe(30)
  await first.client.close()
  const later = await openNote(newTab(browser).client)
  expect(await later.whenLoaded).toBe('stored')
  expect(Object.keys(later.doc.tags ?? {})).toHaveLength(31)
  expect(later.pending).toBe(30)
  await start()
  await later.saved()
  const bob = await openNote(newTab().client)
  await bob.whenSynced
  expect(isSame(later, bob)).toBe(true)
})

test('what an earlier visit left unsent is sent without being opened', async () => {
  const browser = newBrowser()
  const first = newTab(browser)
  first.client.pause()
  const ann = await openNote(first.client)
  await ann.whenLoaded
  tag(ann, 'left')
  await first.client.close()
  const second = newTab(browser)
  second.client.open('another')
  const bob = await openNote(newTab().client)
  await until('bob has it', () => bob.doc.tags?.['left'] === 1)
})

test('tabs of one browser show each other edits offline', async () => {
  const browser = newBrowser()
  const [one, two] = [newTab(browser), newTab(browser)]
  const [ann, also] = await Promise.all([openNote(one.client), openNote(two.client)])
  await Promise.all([ann.whenSynced, also.whenSynced])
  one.client.pause()
  two.client.pause()
  tag(ann, 'here')
  await until('the other tab shows it', () => also.doc.tags?.['here'] === 1)
  expect(also.pending).toBe(0)
  two.client.resume()
  one.client.resume()
  await ann.saved()
})

test('a document of the other engine is refused, and says which it is', async () => {
  const client = createClient({ url: relay.url })
  const [yjs, automerge] = [client.open('mixed'), await openNote(newTab().client, 'mixed')]
  await Promise.all([yjs.whenSynced, automerge.whenSynced])
  yjs.doc.getMap('m').set('a', 1)
  await yjs.saved()
  await until('it is told', () => automerge.status === 'refused')
  expect(automerge.error).toMatchObject({ code: 'wrong_engine', message: expect.stringContaining('yjs') })
  tag(automerge, 'lost')
  await expect(automerge.saved()).rejects.toMatchObject({ code: 'wrong_engine' })
  const late = await openNote(newTab().client, 'mixed')
  await expect(late.whenSynced).rejects.toMatchObject({ code: 'wrong_engine' })
  yjs.doc.getMap('m').set('b', 2)
  await yjs.saved()
  await client.close()
})

test('presence passes, though Automerge has none of its own', async () => {
  const [ann, bob] = await Promise.all([openNote(newTab().client), openNote(newTab().client)])
  ann.awareness.setLocalStateField('user', 'ann')
  await until('bob sees ann', () =>
    [...bob.awareness.getStates().values()].some((state) => state['user'] === 'ann'),
  )
})

/// <reference lib="dom" />
/**
 * In Chromium: puts a document into IndexedDB as each contestant keeps it, and, after the browser was started again, opens
 * it. Plain `fetch` gets what to put from the question (cold-open.ts), so that nothing passes through its protocol.
 */
import { IndexeddbPersistence } from 'y-indexeddb'
import * as Y from 'yjs'
import { createClient } from '../../client/index.ts'
import { scopeOf } from '../../client/scope.ts'
import { createIndexedDbStorage } from '../../client/storage/indexeddb.ts'

export const contestants = ['disk-and-yjs', 'y-indexeddb', 'tidemark'] as const
export type Contestant = (typeof contestants)[number]

export interface Opened {
  readonly loadMs: number
  /** Of the document that was loaded, base64. */
  readonly version: string
}

export interface ColdOpenPage {
  seed(contestant: Contestant, count: number): Promise<void>
  open(contestant: Contestant): Promise<Opened>
}

const document = 'bench-cold-open'
/** Never connected to: nothing is asked of the network. */
const url = 'ws://127.0.0.1:9/v1/sync'

async function seed(contestant: Contestant, count: number): Promise<void> {
  const updates: Uint8Array<ArrayBuffer>[] = []
  for (let i = 0; i < count; i++)
    updates.push(new Uint8Array(await (await fetch(`/updates/${i}`)).arrayBuffer()))
  switch (contestant) {
    case 'disk-and-yjs': {
      const database = await rawDatabase()
      const transaction = database.transaction('updates', 'readwrite')
      for (const update of updates) transaction.objectStore('updates').add(update)
      await new Promise((resolve, reject) => {
        transaction.oncomplete = resolve
        transaction.onerror = () => reject(transaction.error)
      })
      return database.close()
    }
    case 'y-indexeddb': {
      const doc = new Y.Doc()
      const persistence = new IndexeddbPersistence(document, doc)
      await persistence.whenSynced
      for (const update of updates) Y.applyUpdate(doc, update)
      // It does not say when it has written; transactions of one store wait for each other.
      const store = persistence.db!.transaction('updates', 'readwrite').objectStore('updates')
      if ((await resultOf(store.count())) < count)
        throw new Error('y-indexeddb has merged what was to be many')
      return persistence.destroy()
    }
    case 'tidemark': {
      const storage = await createIndexedDbStorage(indexedDB).open(
        scopeOf(url, ''),
        document,
        () => undefined,
      )
      await storage.load()
      for (const [i, update] of updates.entries())
        await storage.write({ updates: [update], position: { epoch: 0, offset: i + 1 }, put: [], remove: [] })
      return storage.close()
    }
  }
}

async function open(contestant: Contestant): Promise<Opened> {
  const startedMs = performance.now()
  const doc = await load(contestant)
  const loadMs = performance.now() - startedMs
  return { loadMs, version: btoa(String.fromCharCode(...Y.encodeStateVector(doc))) }
}

async function load(contestant: Contestant): Promise<Y.Doc> {
  switch (contestant) {
    case 'disk-and-yjs': {
      const database = await rawDatabase()
      const request = database.transaction('updates', 'readonly').objectStore('updates').getAll()
      const updates = await resultOf<Uint8Array[]>(request)
      const doc = new Y.Doc()
      doc.transact(() => {
        for (const update of updates) Y.applyUpdate(doc, update)
      })
      return doc
    }
    case 'y-indexeddb': {
      const doc = new Y.Doc()
      await new IndexeddbPersistence(document, doc).whenSynced
      return doc
    }
    case 'tidemark': {
      const client = createClient({ url, user: '' })
      client.pause()
      const handle = client.open(document)
      if ((await handle.whenLoaded) !== 'stored') throw new Error('nothing was stored')
      return handle.doc
    }
  }
}

function rawDatabase(): Promise<IDBDatabase> {
  const request = indexedDB.open('raw', 1)
  request.onupgradeneeded = () => request.result.createObjectStore('updates', { autoIncrement: true })
  return resultOf(request)
}

function resultOf<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

const page: ColdOpenPage = { seed, open }
Object.assign(globalThis, { coldOpenPage: page })

/** Sources as other servers leave them, made by their own packages. */
import { mkdir } from 'node:fs/promises'
import { Repo } from '@automerge/automerge-repo'
import { NodeFSStorageAdapter } from '@automerge/automerge-repo-storage-nodefs'
import sqlite from 'node-sqlite3-wasm'
import { LeveldbPersistence } from 'y-leveldb'
import * as Y from 'yjs'

export type Documents = Readonly<Record<string, Y.Doc>>

/** A text with a mark, a map and an array, with something deleted; each of another content. */
export function richDocument(seed: number): Y.Doc {
  const doc = new Y.Doc()
  doc.clientID = 1000 + seed
  const text = doc.getText('text')
  text.insert(0, `Forty tonnes of wheat, number ${seed}`)
  text.format(0, 5, { bold: true })
  text.delete(6, 3)
  doc.getMap('deal').set('price', seed)
  doc.getArray('notes').push([`first ${seed}`, { nested: [seed] }])
  doc.getArray('notes').delete(0, 1)
  return doc
}

export function richDocuments(names: readonly string[]): Documents {
  return Object.fromEntries(names.map((name, i) => [name, richDocument(i + 1)]))
}

/** Each document in several updates, as its clients sent them; some of them merged by y-leveldb itself. */
export async function makeYLevelDb(path: string, documents: Documents): Promise<void> {
  await mkdir(path, { recursive: true })
  const persistence = new LeveldbPersistence(path)
  for (const [i, [name, doc]] of Object.entries(documents).entries()) {
    const updates: Uint8Array[] = []
    doc.on('update', (update: Uint8Array) => updates.push(update))
    const before = Y.encodeStateAsUpdate(doc)
    doc.getArray('later').push([1])
    doc.getArray('later').push([2])
    for (const update of [before, ...updates]) await persistence.storeUpdate(name, update)
    if (i % 2 === 1) await persistence.flushDocument(name)
    await persistence.setMeta(name, 'created', i)
  }
  await persistence.destroy()
}

/** With the statements of Hocuspocus's extension-sqlite, whose own SQLite is compiled where it is installed. */
export function makeHocuspocusSqlite(path: string, documents: Documents): void {
  withSqlite(path, (database) => {
    database.exec(`CREATE TABLE IF NOT EXISTS "documents" (
      "name" varchar(255) NOT NULL,
      "data" blob NOT NULL,
      UNIQUE(name)
    )`)
    for (const [name, doc] of Object.entries(documents))
      database.run(
        'INSERT INTO "documents" ("name", "data") VALUES (:name, :data) ON CONFLICT(name) DO UPDATE SET data = :data',
        { ':name': name, ':data': Y.encodeStateAsUpdate(doc) },
      )
  })
}

export function withSqlite(
  path: string,
  work: (database: InstanceType<typeof sqlite.Database>) => void,
): void {
  const database = new sqlite.Database(path)
  try {
    work(database)
  } finally {
    database.close()
  }
}

export interface Deal {
  title: string
  bids: number[]
  price?: number
}

/** By document id. Those with an odd place have changes that came after the snapshot, in files of their own. */
export async function makeAutomergeRepo(path: string, deals: readonly Deal[]): Promise<Map<string, Deal>> {
  const made = new Map<string, Deal>()
  const repo = new Repo({ storage: new NodeFSStorageAdapter(path) })
  for (const [i, deal] of deals.entries()) {
    const handle = repo.create<Deal>({ ...deal })
    await repo.flush()
    if (i % 2 === 1) handle.change((doc) => doc.bids.push(i))
    await repo.flush()
    made.set(handle.documentId, JSON.parse(JSON.stringify(handle.doc())) as Deal)
  }
  await repo.shutdown()
  return made
}

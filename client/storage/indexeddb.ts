/// <reference lib="dom" />
/**
 * Documents in IndexedDB, one database each, in the layout of y-indexeddb 9 with what we know of the server beside it:
 *
 *   tidemark/<scope>/<document>   updates   autoincremented → update      as y-indexeddb has it
 *                                 custom    'tidemark' → Row              as y-indexeddb has it, one key of ours
 *                                 outbox    [replica, sequence] → OutboxEntry
 *   tidemark/<scope>              documents id → 1                        what `forget` deletes
 *                                 unsaved   [id, replica] → 1             written before the replica's first outbox entry
 *
 * - A batch is one transaction over all stores of the document: an edit is in the document and in the outbox or in neither.
 * - `lineage` counts how often the document was set aside. A tab that has loaded an earlier one is refused its writes:
 *   another tab has emptied the document, and its old content must not come back.
 * - The layout is y-indexeddb's so that an app can come from it and go back to it; its code is not used. It
 *   writes from inside Yjs's event without a way to hear of a failure (a full disk is an unhandled rejection, a
 *   deleted database an exception in the middle of the app's transaction), and nothing can be in one transaction with it.
 * - Tabs do not wait for each other: a database that is to be deleted is let go of at once, and is lost to its tab.
 */
import { onRequest, onTransaction, openDatabase, removeDatabase } from './indexeddb-requests.ts'
import type { AsideRecord, Batch, DocumentStorage, OutboxEntry, Position, Storage } from './storage.ts'

interface Row {
  readonly position: Position
  readonly lineage: number
  readonly asides: readonly AsideRecord[]
}

const rowKey = 'tidemark'
const emptyRow: Row = { position: { epoch: 0, offset: 0 }, lineage: 0, asides: [] }
const stores = ['updates', 'custom', 'outbox'] as const
/** Kept per document; the oldest goes first. */
const asidesMax = 8

export function createIndexedDbStorage(factory: IDBFactory): Storage {
  return {
    durable: true,
    open: async (scope, document, onLost) => {
      const catalogue = await openCatalogue(factory, scope)
      try {
        await inCatalogue(catalogue, 'documents', (store) => store.put(1, document))
        const database = await openDatabase(factory, nameOf(scope, document), 1, (created) => {
          created.createObjectStore('updates', { autoIncrement: true })
          created.createObjectStore('custom')
          created.createObjectStore('outbox', { keyPath: ['replica', 'sequence'] })
        })
        return new IndexedDbDocument(document, database, catalogue, onLost)
      } catch (error) {
        catalogue.close()
        throw error
      }
    },
    unsaved: async (scope) => {
      const catalogue = await openCatalogue(factory, scope)
      const keys = await inCatalogue(catalogue, 'unsaved', (store) => store.getAllKeys())
      catalogue.close()
      return [...new Set((keys as [string, string][]).map(([document]) => document))]
    },
    forget: async (scope) => {
      const catalogue = await openCatalogue(factory, scope)
      const documents = (await inCatalogue(catalogue, 'documents', (store) => store.getAllKeys())) as string[]
      catalogue.close()
      await Promise.all(documents.map((document) => removeDatabase(factory, nameOf(scope, document))))
      await removeDatabase(factory, nameOf(scope))
    },
  }
}

class IndexedDbDocument implements DocumentStorage {
  readonly #document: string
  readonly #database: IDBDatabase
  readonly #catalogue: IDBDatabase
  /** Replicas that the catalogue names. */
  readonly #marked = new Set<string>()
  /** Everything up to here is known to the one who loaded. */
  #lastKey: IDBValidKey = 0
  #lineage = 0

  constructor(document: string, database: IDBDatabase, catalogue: IDBDatabase, onLost: (why: Error) => void) {
    this.#document = document
    this.#database = database
    this.#catalogue = catalogue
    const lost = (): void => {
      this.#closeBoth()
      onLost(new Error('the database is deleted or closed'))
    }
    database.onversionchange = database.onclose = catalogue.onversionchange = lost
  }

  async load() {
    const transaction = this.#database.transaction(stores, 'readonly')
    const updates = transaction.objectStore('updates')
    const outbox = transaction.objectStore('outbox')
    const [rows, keys, row, entries] = await Promise.all([
      onRequest<Uint8Array[]>(updates.getAll()),
      onRequest(updates.getAllKeys()),
      this.#row(transaction),
      onRequest<OutboxEntry[]>(outbox.getAll()),
    ])
    this.#lastKey = keys.at(-1) ?? 0
    this.#lineage = row.lineage
    return {
      updates: rows,
      position: row.position,
      outbox: entries,
      aside: row.asides.at(-1) ?? null,
      lineage: row.lineage,
    }
  }

  async write(batch: Batch): Promise<void> {
    const document = this.#document
    const catalogue = this.#catalogue
    const marked = this.#marked
    for (const replica of new Set(batch.put.map((entry) => entry.replica)))
      if (!marked.has(replica)) {
        await inCatalogue(catalogue, 'unsaved', (store) => store.put(1, [document, replica]))
        marked.add(replica)
      }
    const emptied = await this.#change((transaction, row) => {
      const updates = transaction.objectStore('updates')
      const outbox = transaction.objectStore('outbox')
      for (const update of batch.updates) updates.add(own(update))
      for (const { replica, from, to } of batch.remove) outbox.delete(rangeOf(replica, from, to))
      for (const entry of batch.put) outbox.put({ ...entry, update: own(entry.update) })
      if (batch.position !== null)
        transaction.objectStore('custom').put({ ...row, position: batch.position }, rowKey)
      const counts = [...new Set(batch.remove.map(({ replica }) => replica))].map(async (replica) => {
        const count = await onRequest(outbox.count(rangeOf(replica)))
        return count === 0 ? replica : null
      })
      return Promise.all(counts)
    })
    for (const replica of emptied)
      if (replica !== null) {
        await inCatalogue(catalogue, 'unsaved', (store) => store.delete([document, replica]))
        marked.delete(replica)
      }
  }

  outboxOf(replica: string): Promise<readonly OutboxEntry[]> {
    const outbox = this.#database.transaction('outbox', 'readonly').objectStore('outbox')
    return onRequest<OutboxEntry[]>(outbox.getAll(rangeOf(replica)))
  }

  async compact(merge: (added: readonly Uint8Array[]) => Uint8Array): Promise<void> {
    await this.#change(async (transaction) => {
      const updates = transaction.objectStore('updates')
      const added = await onRequest<Uint8Array[]>(updates.getAll(IDBKeyRange.lowerBound(this.#lastKey, true)))
      const key = await onRequest(updates.add(own(merge(added))))
      updates.delete(IDBKeyRange.upperBound(key, true))
      this.#lastKey = key
    })
  }

  setAside(
    make: (added: readonly Uint8Array[], outbox: readonly OutboxEntry[]) => AsideRecord,
  ): Promise<AsideRecord> {
    return this.#change(async (transaction, row) => {
      const updates = transaction.objectStore('updates')
      const outbox = transaction.objectStore('outbox')
      const [added, entries] = await Promise.all([
        onRequest<Uint8Array[]>(updates.getAll(IDBKeyRange.lowerBound(this.#lastKey, true))),
        onRequest<OutboxEntry[]>(outbox.getAll()),
      ])
      const record = make(added, entries)
      const lineage = row.lineage + 1
      const asides = [...row.asides, record].slice(-asidesMax)
      updates.clear()
      outbox.clear()
      transaction.objectStore('custom').put({ ...emptyRow, lineage, asides }, rowKey)
      this.#lineage = lineage
      return record
    })
  }

  discardAside(): Promise<AsideRecord | null> {
    return this.#change((transaction, row) => {
      const asides = row.asides.slice(0, -1)
      transaction.objectStore('custom').put({ ...row, asides }, rowKey)
      return Promise.resolve(asides.at(-1) ?? null)
    })
  }

  close(): Promise<void> {
    this.#closeBoth()
    return Promise.resolve()
  }

  #closeBoth(): void {
    this.#database.close()
    this.#catalogue.close()
  }

  /** One transaction, written whole or not at all. */
  async #change<T>(work: (transaction: IDBTransaction, row: Row) => Promise<T>): Promise<T> {
    const transaction = this.#database.transaction(stores, 'readwrite')
    const done = onTransaction(transaction)
    try {
      const row = await this.#row(transaction)
      if (row.lineage !== this.#lineage) throw new Error('another tab set the document aside')
      const result = await work(transaction, row)
      await done
      return result
    } catch (error) {
      done.catch(() => undefined) // It failed for the same reason.
      try {
        transaction.abort()
      } catch {
        // It has ended already.
      }
      throw error
    }
  }

  async #row(transaction: IDBTransaction): Promise<Row> {
    return (await onRequest<Row | undefined>(transaction.objectStore('custom').get(rowKey))) ?? emptyRow
  }
}

function nameOf(scope: string, document?: string): string {
  return document === undefined ? `tidemark/${scope}` : `tidemark/${scope}/${document}`
}

function openCatalogue(factory: IDBFactory, scope: string): Promise<IDBDatabase> {
  return openDatabase(factory, nameOf(scope), 1, (database) => {
    database.createObjectStore('documents')
    database.createObjectStore('unsaved')
  })
}

async function inCatalogue<T>(
  catalogue: IDBDatabase,
  name: 'documents' | 'unsaved',
  work: (store: IDBObjectStore) => IDBRequest<T>,
): Promise<T> {
  const transaction = catalogue.transaction(name, 'readwrite')
  const done = onTransaction(transaction)
  done.catch(() => undefined) // The request below fails for the same reason.
  const result = await onRequest(work(transaction.objectStore(name)))
  await done
  return result
}

function rangeOf(replica: string, from = 0, to = Number.MAX_SAFE_INTEGER): IDBKeyRange {
  return IDBKeyRange.bound([replica, from], [replica, to])
}

/** A view would be stored with all of the frame that it is a view of. */
function own(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice()
}

/** What every storage promises, on each there is; and what IndexedDB does when the disk or the user gets in the way. */
import { IDBFactory } from 'fake-indexeddb'
import { describe, expect, test } from 'vitest'
import { createIndexedDbStorage } from '../../client/storage/indexeddb.ts'
import { createMemoryStorage } from '../../client/storage/memory.ts'
import type { AsideRecord, Batch, OutboxEntry, Storage } from '../../client/storage/storage.ts'
import './browser.ts'

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
const entry = (replica: string, sequence: number, edits = 1): OutboxEntry => ({
  replica,
  sequence,
  edits,
  update: bytes(sequence),
})
const batch = (change: Partial<Batch>): Batch => ({
  updates: [],
  position: null,
  put: [],
  remove: [],
  ...change,
})
const aside = (update: Uint8Array, unsaved: number): AsideRecord => ({
  update,
  unsaved,
  code: 'stale_replica',
  why: 'why',
  epoch: 0,
  atMs: 1,
})
const joined = (parts: readonly Uint8Array[]): Uint8Array => bytes(...parts.flatMap((part) => [...part]))
const noLoss = (why: Error): void => {
  throw why
}

const storages: readonly [string, () => Storage][] = [
  ['memory', createMemoryStorage],
  ['IndexedDB', () => createIndexedDbStorage(new IDBFactory())],
]

describe.each(storages)('%s', (_name, create) => {
  test('a document that was never written is empty', async () => {
    const opened = await create().open('scope', 'document', noLoss)
    expect(await opened.load()).toMatchObject({
      updates: [],
      outbox: [],
      aside: null,
      position: { epoch: 0, offset: 0 },
    })
  })

  test('what was written is there when it is opened again, outboxes in the order of their sequences', async () => {
    const storage = create()
    const opened = await storage.open('scope', 'document', noLoss)
    await opened.load()
    await opened.write(batch({ updates: [bytes(1)], put: [entry('b', 2), entry('b', 10)] }))
    await opened.write(batch({ put: [entry('a', 1, 3), entry('b', 9)], position: { epoch: 4, offset: 7 } }))
    await opened.write(batch({ updates: [bytes(2)] }))
    await opened.close()
    const again = await storage.open('scope', 'document', noLoss)
    const stored = await again.load()
    expect(stored).toMatchObject({ updates: [bytes(1), bytes(2)], position: { epoch: 4, offset: 7 } })
    expect(stored.outbox).toEqual([entry('a', 1, 3), entry('b', 2), entry('b', 9), entry('b', 10)])
    expect(await again.outboxOf('b')).toEqual([entry('b', 2), entry('b', 9), entry('b', 10)])
    expect(await again.outboxOf('c')).toEqual([])
  })

  test('what is put again replaces what was there', async () => {
    const opened = await create().open('scope', 'document', noLoss)
    await opened.load()
    await opened.write(batch({ put: [entry('a', 1), entry('a', 2)] }))
    await opened.write(batch({ put: [entry('a', 1, 5)] }))
    expect((await opened.load()).outbox).toEqual([entry('a', 1, 5), entry('a', 2)])
  })

  test('a batch removes before it puts, of the replica it names only', async () => {
    const opened = await create().open('scope', 'document', noLoss)
    await opened.load()
    await opened.write(batch({ put: [1, 2, 3, 4].flatMap((n) => [entry('a', n), entry('b', n)]) }))
    await opened.write(batch({ remove: [{ replica: 'a', from: 2, to: 4 }], put: [entry('a', 2, 3)] }))
    expect((await opened.load()).outbox).toEqual([
      entry('a', 1),
      entry('a', 2, 3),
      ...[1, 2, 3, 4].map((n) => entry('b', n)),
    ])
  })

  test('it tells which documents have an outbox', async () => {
    const storage = create()
    for (const document of ['empty', 'full', 'emptied']) {
      const opened = await storage.open('scope', document, noLoss)
      await opened.load()
      if (document !== 'empty') await opened.write(batch({ put: [entry('a', 1)] }))
      if (document === 'emptied') await opened.write(batch({ remove: [{ replica: 'a', from: 0, to: 1 }] }))
    }
    expect(await storage.unsaved('scope')).toEqual(['full'])
    expect(await storage.unsaved('another')).toEqual([])
  })

  test('compaction leaves one update, with what others added', async () => {
    const storage = create()
    const opened = await storage.open('scope', 'document', noLoss)
    await opened.load()
    await opened.write(
      batch({ updates: [bytes(1)], put: [entry('a', 1)], position: { epoch: 0, offset: 5 } }),
    )
    await opened.write(batch({ updates: [bytes(2)] }))
    let seen: readonly Uint8Array[] = []
    await opened.compact((added) => {
      seen = added
      return joined(added)
    })
    expect(seen).toEqual([bytes(1), bytes(2)])
    await opened.write(batch({ updates: [bytes(3)] }))
    await opened.compact((added) => {
      seen = added
      return bytes(1, 2, 3)
    })
    expect(seen).toEqual([bytes(3)])
    const stored = await opened.load()
    expect(stored.updates).toEqual([bytes(1, 2, 3)])
    expect(stored.outbox).toEqual([entry('a', 1)])
    expect(stored.position.offset).toBe(5)
  })

  test('what is set aside leaves the document empty, and can be discarded', async () => {
    const opened = await create().open('scope', 'document', noLoss)
    await opened.load()
    await opened.write(
      batch({ updates: [bytes(7)], put: [entry('a', 1, 2)], position: { epoch: 1, offset: 5 } }),
    )
    const record = await opened.setAside((added, outbox) => aside(joined(added), outbox[0]!.edits))
    expect(record).toEqual(aside(bytes(7), 2))
    const stored = await opened.load()
    expect(stored).toMatchObject({ updates: [], outbox: [], aside: record, lineage: 1 })
    expect(stored.position).toEqual({ epoch: 0, offset: 0 })
    const second = await opened.setAside(() => aside(bytes(8), 0))
    expect((await opened.load()).aside).toEqual(second)
    expect(await opened.discardAside()).toEqual(record)
    expect(await opened.discardAside()).toBeNull()
    expect((await opened.load()).aside).toBeNull()
  })

  test('scopes know nothing of each other, and one is forgotten alone', async () => {
    const storage = create()
    for (const scope of ['one', 'other']) {
      const opened = await storage.open(scope, 'document', noLoss)
      await opened.load()
      await opened.write(batch({ updates: [bytes(scope.length)], put: [entry('a', 1)] }))
      await opened.close()
    }
    await storage.forget('one')
    expect(await (await storage.open('one', 'document', noLoss)).load()).toMatchObject({ updates: [] })
    expect(await storage.unsaved('one')).toEqual([])
    const other = await (await storage.open('other', 'document', noLoss)).load()
    expect(other.updates).toEqual([bytes(5)])
  })
})

test('two tabs: one compacts what both have written, and neither writes to a lineage the other has ended', async () => {
  const storage = createIndexedDbStorage(new IDBFactory())
  const one = await storage.open('scope', 'document', noLoss)
  const two = await storage.open('scope', 'document', noLoss)
  await Promise.all([one.load(), two.load()])
  await one.write(batch({ updates: [bytes(1)] }))
  await two.write(batch({ updates: [bytes(2)] }))
  await two.compact(joined)
  expect((await one.load()).updates).toEqual([bytes(1, 2)])
  await one.setAside((added) => aside(joined(added), 0))
  await expect(two.write(batch({ updates: [bytes(3)] }))).rejects.toThrow('set the document aside')
  await expect(two.compact(joined)).rejects.toThrow('set the document aside')
  expect((await one.load()).updates).toEqual([])
})

test('a batch that fails half-way is not there at all', async () => {
  const storage = createIndexedDbStorage(new IDBFactory())
  const opened = await storage.open('scope', 'document', noLoss)
  await opened.load()
  const impossible = { ...entry('a', 2), sequence: Number.NaN }
  await expect(
    opened.write(batch({ updates: [bytes(1)], put: [entry('a', 1), impossible] })),
  ).rejects.toThrow()
  expect(await opened.load()).toMatchObject({ updates: [], outbox: [] })
})

test('a database that is deleted while it is open is let go of, and said to be lost', async () => {
  const factory = new IDBFactory()
  const storage = createIndexedDbStorage(factory)
  const lost: string[] = []
  const opened = await storage.open('scope', 'document', (why) => lost.push(why.message))
  await opened.load()
  await createIndexedDbStorage(factory).forget('scope')
  expect(lost[0]).toContain('deleted')
  await expect(opened.write(batch({ updates: [bytes(1)] }))).rejects.toThrow()
  expect(await factory.databases()).toEqual([])
})

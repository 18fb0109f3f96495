/** Documents for the projector, over the real embedded log: what is told as touched is all that differs. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as Automerge from '@automerge/automerge'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import * as Y from 'yjs'
import type { DocumentId } from '../../../core/document-id.ts'
import { engines } from '../../../core/engine/engines.ts'
import type { State } from '../../../core/engine/live-document.ts'
import { fold, metadataOf, statement } from '../../../server/log/lineage.ts'
import { createEmbeddedLog } from '../../../server/log/lmdb/embedded-log.ts'
import type { Log } from '../../../server/log/log.ts'
import { type Brought, LiveDocuments, type Progress } from '../../../server/views/live-documents.ts'
import { enginesInTurn, newAuthor } from '../../support/author.ts'
import { silentLogger } from '../../support/silent-logger.ts'

const document = 'deals/1' as DocumentId
const by = { timeMs: 1, author: '', origin: 'o' }
const engine = engines.yjs
let folder: string
let log: Log

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  log = createEmbeddedLog({ directory: folder, logger: silentLogger })
  await log.start()
})
afterEach(async () => {
  await log.close()
  rmSync(folder, { recursive: true })
})

/** A person with a map and a list, whose edits go to the log one by one. */
class Person {
  readonly doc = new Y.Doc()
  private readonly updates: Uint8Array[] = []
  constructor() {
    this.doc.on('update', (update: Uint8Array) => this.updates.push(update))
  }
  async edit(change: (map: Y.Map<unknown>, list: Y.Array<unknown>) => void, epoch = 0): Promise<void> {
    change(this.doc.getMap('facts'), this.doc.getArray('list'))
    const entries = this.updates.splice(0).map((update) => ({ ...by, update, epoch: epoch as never }))
    if (entries.length > 0) await log.append(document, entries)
  }
}

async function compact(): Promise<void> {
  const loaded = await log.load(document)
  const content = fold(loaded)
  const updates = content.entries.map(({ update }) => update)
  const state = engine.compact(content.snapshot === null ? updates : [content.snapshot.bytes, ...updates])
  const snapshot = { ...state, offset: loaded.offset, metadata: metadataOf(content, loaded) }
  expect(await log.compact(document, snapshot, loaded.snapshot?.offset ?? (0 as never))).toBe(true)
}

const keysOf = (brought: Brought): string[] =>
  brought.kind === 'touched' ? [...(brought.touched.get('facts')?.keys ?? [])].sort() : [`(${brought.kind})`]

test('kept, it tells what the entries since touched; dropped, it finds that out from the tail', async () => {
  const person = new Person()
  const live = new LiveDocuments(log)
  await person.edit((map) => map.set('a', 1))
  const first = await live.bring(document, null)
  expect(first.kind).toBe('whole')
  await person.edit((map) => map.set('b', 2))
  const second = await live.bring(document, first.progress)
  expect(keysOf(second)).toEqual(['b'])
  await person.edit((map) => map.delete('a'))
  live.drop(document)
  expect(keysOf(await live.bring(document, second.progress))).toEqual(['a'])
  live.drop(document)
  expect(keysOf(await live.bring(document, first.progress))).toEqual(['a', 'b'])
  // Kept, and further than the rows are.
  expect(keysOf(await live.bring(document, second.progress))).toEqual(['a'])
})

test('compacted past its progress, it is whole; compacted up to it, it is not', async () => {
  const person = new Person()
  const live = new LiveDocuments(log)
  await person.edit((map) => map.set('a', 1))
  const { progress } = await live.bring(document, null)
  await compact()
  await person.edit((map) => map.set('b', 2))
  live.drop(document)
  expect(keysOf(await live.bring(document, progress))).toEqual(['b'])
  await compact()
  live.drop(document)
  expect(keysOf(await live.bring(document, progress))).toEqual(['(whole)'])
})

test('deleted it is gone; created anew, or with entries set aside, it is read anew', async () => {
  const person = new Person()
  const live = new LiveDocuments(log)
  await person.edit((map) => map.set('a', 1))
  await person.edit((map) => map.set('bad', 1))
  let { progress } = await live.bring(document, null)
  await log.append(document, [statement('quarantine', by, [2 as never], 'why')])
  const aside = await live.bring(document, progress)
  expect(aside.kind === 'whole' && aside.state.map('facts').keys()).toEqual(['a'])
  progress = aside.progress
  await log.append(document, [statement('removal', by)])
  const gone = await live.bring(document, progress)
  expect(gone.kind).toBe('gone')
  const [created] = await log.append(document, [statement('creation', by)])
  const another = new Person()
  await another.edit((map) => map.set('new', 1), created!.offset)
  const anew = await live.bring(document, gone.progress)
  expect(anew.kind === 'whole' && anew.state.map('facts').keys()).toEqual(['new'])
  expect(anew.progress.epoch).toBe(created!.offset)
  expect((await live.bring('never/was' as DocumentId, null)).kind).toBe('gone')
})

test('keeps as many as it may, and as many bytes', async () => {
  const live = new LiveDocuments(log, { documentsMax: 3, bytesMax: 10_000 })
  const update = (bytes: number): Uint8Array => {
    const doc = new Y.Doc()
    doc.getText('t').insert(0, 'x'.repeat(bytes))
    return Y.encodeStateAsUpdate(doc)
  }
  for (let i = 0; i < 5; i++) {
    await log.append(`small/${i}` as DocumentId, [{ ...by, update: update(10) }])
    await live.bring(`small/${i}` as DocumentId, null)
  }
  expect(live.size).toBe(3)
  await log.append(document, [{ ...by, update: update(20_000) }])
  await live.bring(document, null)
  expect(live.size).toBe(1)
})

test('asked for ahead, several are read at once, kept ones from where they are, and few of the others', async () => {
  const asked: [string, number | undefined][] = []
  const counting = {
    load: (id: DocumentId, after?: never) => {
      asked.push([id, after])
      return log.load(id, after)
    },
  }
  const live = new LiveDocuments(counting)
  const ids = Array.from({ length: 12 }, (_, i) => `ahead/${i}` as DocumentId)
  const doc = new Y.Doc()
  doc.getMap('facts').set('a', 1)
  for (const id of ids) await log.append(id, [{ ...by, update: Y.encodeStateAsUpdate(doc) }])
  const wanted = ids.map((id) => ({ document: id, progress: null }))
  expect(live.ahead(wanted)).toBe(4)
  expect(asked.length).toBe(4)
  const kept = []
  for (const id of ids) kept.push({ document: id, progress: (await live.bring(id, null)).progress })
  expect(asked.map(([id]) => id)).toEqual(ids)

  asked.length = 0
  const version = Y.encodeStateVector(doc)
  doc.getMap('facts').set('b', 2)
  const update = Y.encodeStateAsUpdate(doc, version)
  for (const id of ids) await log.append(id, [{ ...by, update }])
  expect(live.ahead(kept)).toBe(12)
  expect(asked).toEqual(ids.map((id) => [id, 1]))
  // Dropped meanwhile: what was asked for is not enough, and not used.
  live.drop(ids[3]!)
  for (const { document: id, progress } of kept) expect(keysOf(await live.bring(id, progress))).toEqual(['b'])
  expect(asked.slice(12)).toEqual([[ids[3], undefined]])
})

test('what cannot be read is told when it is brought, not when it is asked for', async () => {
  const failing = { load: () => Promise.reject(new Error('not now')) }
  const live = new LiveDocuments(failing)
  expect(live.ahead([{ document, progress: null }])).toBe(1)
  await new Promise((resolve) => setImmediate(resolve))
  await expect(live.bring(document, null)).rejects.toThrow('not now')
})

/** What an adapter would make of it: one row for each key and element. */
function rowsOf(state: State): Map<string, string> {
  const rows = new Map<string, string>()
  for (const [key, value] of state.map('facts').entries()) rows.set(`m${key}`, JSON.stringify(value))
  for (const [key, value] of state.list('list').entries()) rows.set(`l${key}`, JSON.stringify(value))
  return rows
}

function project(rows: Map<string, string>, brought: Brought): void {
  if (brought.kind !== 'touched') {
    rows.clear()
    if (brought.kind === 'whole') for (const [key, value] of rowsOf(brought.state)) rows.set(key, value)
    return
  }
  const { state, touched } = brought
  const replace = (key: string, value: unknown): void => {
    rows.delete(key)
    if (value !== undefined) rows.set(key, JSON.stringify(value))
  }
  for (const key of touched.get('facts')?.keys ?? []) replace(`m${key}`, state.map('facts').get(key))
  for (const key of touched.get('list')?.elements ?? []) replace(`l${key}`, state.list('list').get(key))
}

const lives = [
  { name: 'of Yjs', engineOf: () => 'yjs' as const, numRuns: 150 },
  { name: 'of Automerge', engineOf: () => 'automerge' as const, numRuns: 60 },
  { name: 'of another engine in each life', engineOf: enginesInTurn[2]!.engineOf, numRuns: 60 },
]
test.each(lives)(
  'rows that follow what is touched in a document $name are those of the whole one, whatever is dropped, compacted, deleted',
  async ({ engineOf, numRuns }) => {
    await engines.automerge.load()
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.tuple(fc.constant('set' as const), fc.nat(4), fc.nat(9)) },
      { weight: 3, arbitrary: fc.tuple(fc.constant('insert' as const), fc.nat(5), fc.nat(9)) },
      { weight: 3, arbitrary: fc.tuple(fc.constantFrom('unset', 'cut' as const), fc.nat(5), fc.constant(0)) },
      {
        weight: 6,
        arbitrary: fc.tuple(
          fc.constantFrom('bring', 'bring', 'ahead', 'drop' as const),
          fc.constant(0),
          fc.constant(0),
        ),
      },
      {
        weight: 2,
        arbitrary: fc.tuple(
          fc.constantFrom('compact', 'remove', 'create' as const),
          fc.constant(0),
          fc.constant(0),
        ),
      },
    )
    let count = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        // A log of its own for each history would take too long to open; a document of its own will do.
        const own = `run/${count++}` as DocumentId
        const live = new LiveDocuments(log)
        const rows = new Map<string, string>()
        let progress: Progress | null = null
        let life = 0
        let person = newAuthor[engineOf(life)]()
        let epoch = 0
        let removed = false
        const say = async (update: Uint8Array | null): Promise<void> => {
          if (update !== null) await log.append(own, [{ ...by, update, epoch: epoch as never }])
        }
        const bring = async (): Promise<void> => {
          const brought: Brought = await live.bring(own, progress)
          project(rows, brought)
          progress = brought.progress
        }
        for (const [kind, at, value] of steps) {
          if (kind === 'set') await say(person.set('facts', `k${at}`, value))
          else if (kind === 'unset') await say(person.unset('facts', `k${at}`))
          else if (kind === 'insert') await say(person.insert('list', at, value))
          else if (kind === 'cut') await say(person.cut('list', at))
          else if (kind === 'drop') live.drop(own)
          else if (kind === 'bring') await bring()
          else if (kind === 'ahead') live.ahead([{ document: own, progress }])
          else if (kind === 'remove') {
            await log.append(own, [statement('removal', by)])
            removed = true
          } else if (kind === 'create') {
            const [created] = await log.append(own, [statement('creation', by)])
            if (removed) {
              epoch = created!.offset
              person = newAuthor[engineOf(++life)]()
              removed = false
            }
          } else {
            const loaded = await log.load(own)
            const content = fold(loaded)
            const updates = content.entries.map(({ update }) => update)
            const before = content.snapshot === null ? [] : [content.snapshot.bytes]
            const state = engines[content.engine ?? 'yjs'].compact([...before, ...updates])
            const snapshot = { ...state, offset: loaded.offset, metadata: metadataOf(content, loaded) }
            if (loaded.tail.length > 0)
              await log.compact(own, snapshot, loaded.snapshot?.offset ?? (0 as never))
          }
        }
        // Else it might bring what was asked for before the last edits.
        live.ahead([])
        await bring()
        const scratch = await new LiveDocuments(log).bring(own, null)
        const expected = new Map<string, string>()
        project(expected, scratch)
        expect([...rows].sort()).toEqual([...expected].sort())
      }),
      { numRuns },
    )
  },
)

test('an Automerge document is read as a Yjs one is, and what is not of its engine counts for nothing', async () => {
  type Deal = { facts: Record<string, number> }
  const live = new LiveDocuments(log)
  let deal = Automerge.from<Deal>({ facts: {} })
  const edit = async (key: string, epoch = 0): Promise<void> => {
    deal = Automerge.change(deal, ({ facts }) => {
      facts[key] = 1
    })
    await log.append(document, [
      { ...by, update: Automerge.getLastLocalChange(deal)!, epoch: epoch as never },
    ])
  }
  await log.append(document, [statement('creation', by)])
  const empty = await live.bring(document, null)
  expect(empty).toMatchObject({ kind: 'whole', progress: { offset: 1 } })
  await log.append(document, [{ ...by, update: Automerge.getLastLocalChange(deal)! }])
  await edit('a')
  const first = await live.bring(document, empty.progress)
  expect(first).toMatchObject({ engine: 'automerge' })
  expect(keysOf(first)).toEqual(['a'])
  const person = new Person()
  await person.edit((map) => map.set('of Yjs', 1))
  await edit('b')
  const second = await live.bring(document, first.progress)
  expect(keysOf(second)).toEqual(['b'])
  expect(second.kind === 'touched' && second.state.map('facts').entries()).toEqual([
    ['a', 1],
    ['b', 1],
  ])
  live.drop(document)
  expect(keysOf(await live.bring(document, first.progress))).toEqual(['b'])
  // Another life has another engine.
  await log.append(document, [statement('removal', by), statement('creation', by)])
  const { offset } = await log.load(document)
  await new Person().edit((map) => map.set('of Yjs', 1), offset)
  const other = await live.bring(document, second.progress)
  expect(other).toMatchObject({ kind: 'whole', engine: 'yjs' })
  live.close()
})

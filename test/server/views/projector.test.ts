/**
 * The projector over the real embedded log and real adapters, with rows in memory that fail as a database does. The SQL
 * behind it has tests of its own.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import type { DocumentId } from '../../../core/document-id.ts'
import { type Adapter, defineAdapter } from '../../../core/domain/adapter.ts'
import { statement } from '../../../server/log/lineage.ts'
import { createEmbeddedLog } from '../../../server/log/lmdb/embedded-log.ts'
import type { Log } from '../../../server/log/log.ts'
import { LiveDocuments } from '../../../server/views/live-documents.ts'
import { partCount } from '../../../server/views/parts.ts'
import { Pending } from '../../../server/views/pending.ts'
import { Projector } from '../../../server/views/projector.ts'
import type { RowStore } from '../../../server/views/row-store.ts'
import { silentLogger } from '../../support/silent-logger.ts'
import { until } from '../../support/wait.ts'
import { RowsInMemory } from './rows-in-memory.ts'

const by = { timeMs: 1, author: '', origin: 'o' }
/** One table from the whole document, one from the keys of a map, one from the elements of a list. */
const deals = defineAdapter<{
  deals: { id: string; facts: number }
  facts: { value: string }
  lines: { value: string }
}>({
  name: 'deals',
  version: 1,
  documents: 'deals/:id',
  sql:
    'create table deals (document text primary key, id text, facts int);' +
    'create table facts (document text, entry text, value text, primary key (document, entry));' +
    'create table lines (document text, entry text, value text, primary key (document, entry));',
  document: (state, { parameters }) => {
    if (state.map('facts').get('poison') !== undefined) throw new Error('poisoned')
    return { deals: [{ id: parameters['id'] ?? '', facts: state.map('facts').keys().length }] }
  },
  entries: {
    facts: { map: 'facts', rows: (_key, value) => [{ value: JSON.stringify(value) }] },
    lines: { list: 'lines', rows: (_key, value) => [{ value: JSON.stringify(value) }] },
  },
})

let folder: string
let log: Log
let running: Projector[]

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-'))
  log = createEmbeddedLog({ directory: folder, logger: silentLogger })
  await log.start()
  running = []
})
afterEach(async () => {
  for (const projector of running) await projector.close()
  await log.close()
  rmSync(folder, { recursive: true })
})

function projectorOn(store: RowsInMemory, adapters: readonly Adapter[] = [deals], pollMs = 5): Projector {
  return new Projector({
    log,
    adapters,
    documents: new LiveDocuments(log, { documentsMax: 3 }),
    visited: new LiveDocuments(log, { documentsMax: 1 }),
    pending: new Pending(),
    store: store.holder(),
    logger: silentLogger,
    // Batches end by rows: how long a busy machine takes for one is not what is tested.
    limits: {
      pollMs,
      claimMs: 20,
      backoffMsMax: 5,
      batchDocumentsMax: 4,
      batchRowsMax: 6,
      batchMsMax: 60_000,
      pageMax: 3,
    },
  })
}
function started(store: RowsInMemory, adapters?: readonly Adapter[]): Projector {
  const projector = projectorOn(store, adapters)
  running.push(projector)
  projector.start()
  return projector
}

async function say(document: string, change: (doc: Y.Doc) => void, doc = new Y.Doc()): Promise<void> {
  const version = Y.encodeStateVector(doc)
  change(doc)
  await log.append(document as DocumentId, [{ ...by, update: Y.encodeStateAsUpdate(doc, version) }])
}

test('rows follow documents; a document that no adapter takes has none; a deleted one has none any more', async () => {
  const store = new RowsInMemory(partCount)
  started(store)
  const doc = new Y.Doc()
  await say('deals/7', (each) => each.getMap('facts').set('a', 1), doc)
  await say('other/7', (each) => each.getMap('facts').set('a', 1))
  await until('projected', () => store.rowsOf('deals/7').length === 2)
  expect(store.table('deals')).toEqual([{ document: 'deals/7', id: '7', facts: 1 }])
  await say('deals/7', (each) => each.getArray('lines').push(['x']), doc)
  await until('projected', () => store.table('lines').length === 1)
  expect(store.rowsOf('other/7')).toEqual([])
  await log.append('deals/7' as DocumentId, [statement('removal', by)])
  await until('gone', () => store.rowsOf('deals/7').length === 0)
})

test('an adapter that throws for a document buries it, holds up nobody, and is tried again when that changes', async () => {
  const store = new RowsInMemory(partCount)
  started(store)
  const doc = new Y.Doc()
  await say('deals/bad', (each) => each.getMap('facts').set('a', 1), doc)
  await until('projected', () => store.table('facts').length === 1)
  const poison = (each: Y.Doc): void => {
    each.getMap('facts').set('poison', 1)
    each.getMap('facts').set('b', 1)
  }
  await say('deals/bad', poison, doc)
  await until('buried', () => store.dead.size === 1)
  expect([...store.dead.values()][0]).toMatchObject({
    document: 'deals/bad',
    reason: expect.stringContaining('poisoned'),
  })
  await say('deals/good', (each) => each.getMap('facts').set('a', 1))
  await until('the other one', () => store.rowsOf('deals/good').length === 2)
  expect(store.rowsOf('deals/bad')).toHaveLength(2)
  await say('deals/bad', (each) => each.getMap('facts').delete('poison'), doc)
  await until('unburied', () => store.dead.size === 0)
  // What came together with the poison is there, too.
  const entries = store.table('facts').filter(({ document }) => document === 'deals/bad')
  expect(entries.map(({ entry }) => entry)).toEqual(['a', 'b'])
})

test.each(['before', 'after'] as const)('a write that fails %s it happened is made up for', async (when) => {
  const store = new RowsInMemory(partCount)
  started(store)
  const doc = new Y.Doc()
  await say('deals/1', (each) => each.getMap('facts').set('a', 1), doc)
  await until('projected', () => store.table('facts').length === 1)
  let failures = 0
  store.fails = (what) => (what === 'rows' && failures++ === 0 ? when : null)
  await say('deals/1', (each) => each.getMap('facts').set('b', 1), doc)
  await until('it failed', () => failures > 0)
  await until('made up for', () => store.table('facts').length === 2)
})

test('rows that the database refuses bury their document only', async () => {
  const store = new RowsInMemory(partCount)
  store.refuses = (row) => row['value'] === '"too long"'
  for (let i = 0; i < 4; i++) await say(`deals/${i}`, (doc) => doc.getMap('facts').set('a', i))
  await say('deals/refused', (doc) => doc.getMap('facts').set('a', 'too long'))
  started(store)
  await until('the others', () => store.table('deals').length === 4)
  await until('buried', () => store.dead.size === 1)
  expect(store.rowsOf('deals/refused')).toEqual([])
})

test('woken while it is at work, it looks again at once', async () => {
  const store = new RowsInMemory(partCount)
  const holder = store.holder()
  const doc = new Y.Doc()
  let edited = false
  store.holder = () => ({
    ...holder,
    // Cursors alone are written when it has looked, and found nothing: right then somebody edits.
    write: async (projected, dead, cursors) => {
      if (projected.length === 0 && store.table('facts').length === 1 && !edited) {
        edited = true
        await say('deals/1', (each) => each.getMap('facts').set('b', 1), doc)
        projector.wake()
      }
      await holder.write(projected, dead, cursors)
    },
  })
  await say('deals/1', (each) => each.getMap('facts').set('a', 1), doc)
  // Nothing but being woken makes it look again.
  const projector = projectorOn(store, [deals], 3_600_000)
  running.push(projector)
  projector.start()
  await until('the second one', () => store.table('facts').length === 2)
  expect(edited).toBe(true)
})

test('a document that tables are being filled with is edited: it is written again after that, not before', async () => {
  await say('deals/0', () => undefined)
  const doc = new Y.Doc()
  await say('deals/1', (each) => each.getMap('facts').set('a', 1), doc)
  const { last } = await lastChange()
  const written: { readonly document: string; readonly offset: number; readonly isBack: boolean }[] = []
  let isFilling = false
  let open = (): void => undefined
  const gate = new Promise<void>((resolve) => {
    open = resolve
  })
  const held = { cursor: last, behind: { from: 0, until: last } }
  const store: RowStore = {
    claim: async () => ({
      parts: new Map(Array.from({ length: partCount }, (_, part) => [part, held])),
      retries: [],
    }),
    progressOf: async () => new Map(),
    write: async (projected, _dead, _cursors, behind) => {
      if (behind !== undefined && projected.length > 0) {
        isFilling = true
        await gate
      }
      for (const { document, progress } of projected)
        written.push({ document, offset: progress.offset, isBack: behind !== undefined })
    },
    release: async () => undefined,
  }
  const rows = new RowsInMemory(partCount)
  rows.holder = () => store
  const projector = started(rows)
  await until('it is being filled', () => isFilling)
  await say('deals/1', (each) => each.getMap('facts').set('b', 1), doc)
  await say('deals/2', (each) => each.getMap('facts').set('a', 1))
  projector.wake()
  await until('another one is written', () => written.some(({ document }) => document === 'deals/2'))
  expect(written.some(({ document }) => document === 'deals/1')).toBe(false)
  open()
  await until('it is written', () =>
    written.some(({ document, offset }) => document === 'deals/1' && offset === 2),
  )
  const offsets = written.filter(({ document }) => document === 'deals/1').map(({ offset }) => offset)
  expect(offsets).toEqual(offsets.toSorted((one, other) => one - other))
})

type Step =
  | readonly ['set' | 'unset' | 'push' | 'cut', number, number]
  | readonly ['remove' | 'create', number]
  | readonly ['kill' | 'another' | 'pause', number]

describe('whatever fails', () => {
  test('rows come to those of a clean rebuild: store away, fenced, projectors killed and joined by others', async () => {
    let count = 0
    const step: fc.Arbitrary<Step> = fc.oneof(
      {
        weight: 10,
        arbitrary: fc.tuple(
          fc.constantFrom('set', 'set', 'unset', 'push', 'cut' as const),
          fc.nat(4),
          fc.nat(5),
        ),
      },
      { weight: 1, arbitrary: fc.tuple(fc.constantFrom('remove' as const, 'create' as const), fc.nat(4)) },
      {
        weight: 3,
        arbitrary: fc.tuple(
          fc.constantFrom('kill' as const, 'another' as const, 'pause' as const),
          fc.nat(3),
        ),
      },
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 15, maxLength: 50, size: 'max' }),
        fc.infiniteStream(fc.nat(9)),
        async (steps, luck) => {
          const run = count++
          const store = new RowsInMemory(partCount)
          // Of all calls three tenths have no effect; of two tenths nobody learns that they had.
          store.fails = () => {
            const { value } = luck.next()
            return value < 3 ? 'before' : value < 5 ? 'after' : null
          }
          const name = (n: number): string => `deals/${run}-${n}`
          const docs = Array.from({ length: 5 }, () => new Y.Doc())
          const epochs = [0, 0, 0, 0, 0]
          const removed = [false, false, false, false, false]
          const alive = [projectorOn(store)]
          alive[0]!.start()
          for (const [kind, n, value = 0] of steps as (readonly [string, number, number?])[]) {
            const doc = docs[n % 5]!
            const id = name(n % 5) as DocumentId
            const write = async (change: () => void): Promise<void> => {
              const version = Y.encodeStateVector(doc)
              change()
              const update = Y.encodeStateAsUpdate(doc, version)
              await log.append(id, [{ ...by, update, epoch: epochs[n % 5]! as never }])
            }
            const lines = doc.getArray('lines')
            if (kind === 'set') await write(() => doc.getMap('facts').set(`k${value}`, value * run))
            else if (kind === 'unset') await write(() => doc.getMap('facts').delete(`k${value}`))
            else if (kind === 'push') await write(() => lines.insert(Math.min(value, lines.length), [value]))
            else if (kind === 'cut') await write(() => lines.length > 0 && lines.delete(0, 1))
            else if (kind === 'remove') {
              await log.append(id, [statement('removal', by)])
              removed[n % 5] = true
            } else if (kind === 'create') {
              const [created] = await log.append(id, [statement('creation', by)])
              if (!removed[n % 5]) continue
              removed[n % 5] = false
              epochs[n % 5] = created!.offset
              docs[n % 5] = new Y.Doc()
            } else if (kind === 'another' && alive.length < 3) {
              const another = projectorOn(store)
              another.start()
              alive.push(another)
            } else if (kind === 'kill') {
              // As kill -9 does: whatever it writes from now on comes to nothing, and its parts run out.
              store.kill(alive.length - 1)
              await alive.pop()!.close()
              if (alive.length === 0) {
                alive.push(projectorOn(store))
                alive[0]!.start()
              }
            } else await new Promise((resolve) => setTimeout(resolve, n * 3))
          }
          store.fails = () => null
          const { last } = await lastChange()
          await until('all is projected', () => store.isAt(last))
          for (const projector of alive) await projector.close()
          const clean = new RowsInMemory(partCount)
          const rebuild = projectorOn(clean)
          rebuild.start()
          await until('all is rebuilt', () => clean.isAt(last))
          await rebuild.close()
          for (let n = 0; n < 5; n++) expect(store.rowsOf(name(n))).toEqual(clean.rowsOf(name(n)))
          expect(store.wentBack).toEqual([])
        },
      ),
      { numRuns: 25 },
    )
  })
})

async function lastChange(): Promise<{ last: number }> {
  let last = 0
  for (;;) {
    const page = await log.changes(last, 1_000)
    if (page.length === 0) return { last }
    last = page.at(-1)!.sequence
  }
}

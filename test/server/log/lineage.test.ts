import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as Automerge from '@automerge/automerge'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import type { DocumentId } from '../../../core/document-id.ts'
import { engines } from '../../../core/engine/engines.ts'
import { noOffset, type Offset, toOffset } from '../../../core/offset.ts'
import { extendHistory, type Run, runGapMs, runsMax } from '../../../server/log/history.ts'
import {
  counts,
  endedOf,
  fold,
  metadataOf,
  nothing,
  type Statement,
  statement,
} from '../../../server/log/lineage.ts'
import { createEmbeddedLog } from '../../../server/log/lmdb/embedded-log.ts'
import type { Entry, Loaded, NewEntry } from '../../../server/log/log.ts'
import { decodeMetadata, encodeMetadata, lastTimeMs, noMetadata } from '../../../server/log/metadata.ts'
import { silentLogger } from '../../support/silent-logger.ts'

beforeAll(() => engines.automerge.load())

const from = { timeMs: 1, author: 'ann', origin: 's' }

/** An update that sets `key`, by a client of its own. */
function sets(client: number, key: string): Uint8Array {
  const doc = new Y.Doc()
  doc.clientID = client
  doc.getMap('m').set(key, client)
  return Y.encodeStateAsUpdate(doc)
}

/** The same in Automerge. */
function setsInAutomerge(client: number, key: string): Uint8Array {
  const actor = client.toString(16).padStart(4, '0')
  const doc = Automerge.change(Automerge.init<Record<string, number>>({ actor }), { time: 0 }, (m) => {
    m[key] = client
  })
  return Automerge.getLastLocalChange(doc)!
}

const update = (client: number, epoch = 0, isAutomerge = false): NewEntry => ({
  ...from,
  update: (isAutomerge ? setsInAutomerge : sets)(client, `k${client}`),
  ...(epoch > 0 && { epoch: toOffset(epoch) }),
})
const automerge = (client: number, epoch = 0): NewEntry => update(client, epoch, true)

function loaded(...entries: readonly NewEntry[]): Loaded {
  const tail = entries.map((entry, i): Entry => ({ ...entry, offset: toOffset(i + 1) }))
  return { snapshot: null, tail, offset: toOffset(tail.length) }
}

const keys = (from: Loaded): string[] => {
  const { engine, snapshot, entries } = fold(from)
  if (engine === null) return []
  const updates = [...(snapshot === null ? [] : [snapshot.bytes]), ...entries.map((entry) => entry.update)]
  const json = engines[engine].toJson(updates)
  return Object.keys(engine === 'yjs' ? ((json['m'] as object) ?? {}) : json).sort()
}

describe('the fold of a log', () => {
  test('of updates alone is the updates', () => {
    const content = fold(loaded(update(1), update(2)))
    expect(content.lineage).toEqual({ epoch: 0, removed: false, ended: [] })
    expect(content.entries).toHaveLength(2)
  })

  test('ends a lineage with its removal, and remembers its version', () => {
    const { lineage, entries } = fold(loaded(update(1), statement('removal', from)))
    expect(lineage.removed).toBe(true)
    expect(entries).toEqual([])
    expect([...Y.decodeStateVector(lineage.ended[0]!)]).toEqual([[1, 1]])
  })

  test('takes no update after a removal, nor one of an ended lineage after a creation', () => {
    const gone = [update(1), statement('removal', from), update(2)]
    expect(keys(loaded(...gone))).toEqual([])
    const again = [...gone, statement('creation', from), update(3), update(4, 4)]
    expect(keys(loaded(...again))).toEqual(['k4'])
    expect(fold(loaded(...again)).lineage).toMatchObject({ epoch: 4, removed: false })
  })

  test('gives a creation of what is there, and a second removal, no meaning', () => {
    expect(keys(loaded(update(1), statement('creation', from), update(2)))).toEqual(['k1', 'k2'])
    const twice = fold(loaded(statement('removal', from), statement('removal', from)))
    expect(twice.lineage.ended).toHaveLength(1)
  })

  test('sets entries aside, lets them in again, forgets them', () => {
    const aside = [update(1), update(2), statement('quarantine', from, [1], 'breaks')]
    expect(keys(loaded(...aside))).toEqual(['k2'])
    const [one] = fold(loaded(...aside)).aside
    expect(one).toMatchObject({ reason: 'breaks', entry: { offset: 1 } })
    expect(keys(loaded(...aside, statement('release', from, [1])))).toEqual(['k1', 'k2'])
    expect(keys(loaded(...aside, statement('discard', from, [1]), statement('release', from, [1])))).toEqual([
      'k2',
    ])
  })

  test('counts no update of another engine than the first', () => {
    const mixed = loaded(automerge(1), update(2), automerge(3))
    expect(fold(mixed)).toMatchObject({ engine: 'automerge', entries: [{ offset: 1 }, { offset: 3 }] })
    expect(keys(mixed)).toEqual(['k1', 'k3'])
    expect(fold(loaded(update(1), automerge(2)))).toMatchObject({ engine: 'yjs', entries: [{ offset: 1 }] })
    expect(fold(loaded()).engine).toBe(null)
  })

  test('has an engine for each lineage, and keeps it when all updates are set aside', () => {
    const again = [update(1), statement('removal', from), statement('creation', from)]
    expect(fold(loaded(...again)).engine).toBe(null)
    const other = loaded(...again, automerge(4, 3), update(5, 3))
    expect(fold(other)).toMatchObject({ engine: 'automerge', entries: [{ offset: 4 }] })
    const aside = [automerge(1), statement('quarantine', from, [1], 'breaks'), update(3)]
    expect(fold(loaded(...aside))).toMatchObject({ engine: 'automerge', entries: [] })
  })

  test('knows replicas of ended lineages of either engine', () => {
    const ended = [automerge(1), statement('removal', from), statement('creation', from), update(4, 3)]
    const { lineage } = fold(loaded(...ended, statement('removal', from), statement('creation', from)))
    const seen = (name: 'yjs' | 'automerge', bytes: Uint8Array) =>
      endedOf(lineage, name)!.seenBy(engines[name].version(bytes))
    expect(seen('automerge', setsInAutomerge(1, 'k1'))).toBe(true)
    expect(seen('automerge', setsInAutomerge(2, 'k2'))).toBe(false)
    expect(seen('yjs', sets(4, 'k4'))).toBe(true)
    expect(seen('yjs', sets(5, 'k5'))).toBe(false)
    expect(fold(loaded(update(1))).lineage.ended).toEqual([])
  })

  test('refuses a damaged statement and damaged metadata', () => {
    const broken = { ...statement('quarantine', from, [1], 'x'), update: Uint8Array.of(9) }
    expect(() => fold(loaded(update(1), broken))).toThrowError(/damaged/)
    const { bytes, index } = engines.yjs.compact([])
    const snapshot = { offset: toOffset(1), bytes, index, metadata: Uint8Array.of(99) }
    expect(() => fold({ snapshot, tail: [], offset: toOffset(1) })).toThrowError(
      expect.objectContaining({ code: 'document_unreadable' }),
    )
  })
})

/** Statements and updates in any order; an update is meant for any lineage that may have been. */
const anyLog = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('update' as const), epoch: fc.nat(12) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constantFrom<Statement>('removal', 'creation'),
        epoch: fc.constant(0),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constantFrom<Statement>('quarantine', 'release', 'discard'),
        epoch: fc.nat(12),
      }),
    },
  ),
  { maxLength: 24 },
)

/** What a snapshot holds can no longer be set aside: statements after `cut` are about entries after it. */
function entriesOf(steps: readonly { kind: Statement | 'update'; epoch: number }[], cut: number): NewEntry[] {
  let epoch = 0
  return steps.map(({ kind, epoch: at }, i) => {
    if (kind === 'creation') epoch = i + 1
    if (kind === 'update') return update(i + 1, at % 3 === 0 ? epoch : at, at % 4 === 3)
    if (kind === 'removal' || kind === 'creation') return statement(kind, from)
    const first = kind === 'quarantine' && i >= cut ? Math.max(at, cut + 1) : at
    return statement(kind, from, [first, first + 1], 'why')
  })
}

test('compacting anywhere changes nothing of what a log says', () => {
  fc.assert(
    fc.property(anyLog, fc.nat(24), (steps, cut) => {
      const head = Math.min(cut, steps.length)
      const whole = loaded(...entriesOf(steps, head))
      const before = { ...whole, tail: whole.tail.slice(0, head), offset: toOffset(head) }
      const content = fold(before)
      const updates = content.entries.map((entry) => entry.update)
      const state = content.engine === null ? nothing : engines[content.engine].compact(updates)
      const snapshot = { ...state, offset: before.offset, metadata: metadataOf(content, before) }
      const after: Loaded = { snapshot, tail: whole.tail.slice(head), offset: whole.offset }
      const direct = fold(whole)
      const compacted = fold(after)
      expect(compacted.engine).toBe(direct.engine)
      expect(compacted.lineage).toEqual(direct.lineage)
      expect(compacted.aside.map(({ entry }) => entry.offset)).toEqual(
        direct.aside.map(({ entry }) => entry.offset),
      )
      expect(keys(after)).toEqual(keys(whole))
      for (const entry of after.tail)
        expect(counts(entry, compacted.lineage, compacted.engine)).toBe(
          counts(entry, direct.lineage, direct.engine),
        )
    }),
    { numRuns: 200 },
  )
})

describe('metadata', () => {
  test('comes back as it was written, and empty bytes mean none', () => {
    const lineage = { epoch: toOffset(7), removed: true, ended: [Uint8Array.of(1, 2), Uint8Array.of()] }
    const history: Run[] = [
      { from: toOffset(1), to: toOffset(3), fromMs: 5, toMs: 9, authors: ['a', 'é'], updates: 3, bytes: 30 },
    ]
    const entry: Entry = { offset: toOffset(2), timeMs: 6, author: 'x', origin: '', update: Uint8Array.of(0) }
    const metadata = { lineage, aside: [{ entry, reason: 'broke' }], history }
    expect(decodeMetadata(encodeMetadata(metadata))).toEqual(metadata)
    expect(decodeMetadata(new Uint8Array())).toEqual(noMetadata)
    expect(lastTimeMs(encodeMetadata(metadata))).toBe(9)
  })

  test('has the bytes of format 1', () => {
    const entry: Entry = {
      offset: toOffset(2),
      timeMs: 300,
      author: 'x',
      origin: '',
      update: Uint8Array.of(7),
    }
    const bytes = encodeMetadata({
      lineage: { epoch: toOffset(5), removed: true, ended: [Uint8Array.of(9)] },
      aside: [{ entry, reason: 'r' }],
      history: [
        { from: toOffset(1), to: toOffset(2), fromMs: 1, toMs: 2, authors: ['y'], updates: 2, bytes: 4 },
      ],
    })
    expect(Buffer.from(bytes).toString('hex')).toBe(
      '010105' + '010109' + '0102ac020178' + '0172' + '0107' + '01010201020204010179',
    )
  })
})

describe('history', () => {
  const entry = (offset: number, timeMs: number, author: string): Entry => ({
    offset: toOffset(offset),
    timeMs,
    author,
    origin: 's',
    update: Uint8Array.of(1, 2),
  })

  test('joins what one author wrote without a long pause', () => {
    const runs = extendHistory(
      [],
      [entry(1, 0, 'a'), entry(2, 10, 'a'), entry(3, 20, 'b'), entry(4, 30 + runGapMs, 'b')],
    )
    expect(runs.map(({ from, to, authors, updates, bytes }) => [from, to, authors, updates, bytes])).toEqual([
      [1, 2, ['a'], 2, 4],
      [3, 3, ['b'], 1, 2],
      [4, 4, ['b'], 1, 2],
    ])
  })

  test('stays bounded, and still covers every entry', () => {
    const entries = Array.from({ length: runsMax * 3 }, (_, i) => entry(i + 1, i, `author ${i}`))
    const runs = extendHistory([], entries)
    expect(runs).toHaveLength(runsMax)
    expect(runs.reduce((sum, run) => sum + run.updates, 0)).toBe(entries.length)
    for (const [i, run] of runs.entries()) expect(run.from).toBe((runs[i - 1]?.to ?? 0) + 1)
  })
})

describe('over the embedded log', () => {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-lineage-'))
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  test('statements and lineages come back as they were appended', async () => {
    const id = 'a' as DocumentId
    const log = createEmbeddedLog({ directory, logger: silentLogger })
    await log.start()
    const entries = [update(1), statement('removal', from), statement('creation', from), update(2, 3)]
    await log.append(id, entries)
    const seen: Entry[] = []
    await log.follow(id, noOffset as Offset, {
      onEntries: (all) => seen.push(...all),
      onEphemeral: () => undefined,
      onCompactedPast: () => undefined,
    })
    expect(keys(await log.load(id))).toEqual(['k2'])
    expect(seen.map(({ kind, epoch }) => [kind, epoch])).toEqual([
      [undefined, undefined],
      ['removal', undefined],
      ['creation', undefined],
      [undefined, 3],
    ])
    await log.close()
  })
})

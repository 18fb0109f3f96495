import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import * as Y from 'yjs'
import { ByteWriter } from '../../../core/bytes.ts'
import { yjsEngine } from '../../../core/engine/yjs/yjs-engine.ts'
import { histories, logChoices, logOf, replicaOf } from './random-documents.ts'
import { contentOf, normalOutline, runs } from './support.ts'

test('compaction keeps every struct and delete of every update, the pending ones too', () => {
  let pending = 0
  fc.assert(
    fc.property(histories, logChoices, fc.nat(), (history, choices, cut) => {
      const log = logOf(history, choices)
      const whole = yjsEngine.compact(log)
      // Twice: Yjs may leave pending what it could take up, until something comes again.
      const document = replicaOf([...log, ...log])
      if (document.store.pendingStructs !== null) pending++
      expect(contentOf(replicaOf([whole.bytes]))).toEqual(contentOf(document))
      const coverage = yjsEngine.coverageOf(whole)
      for (const update of log) expect(yjsEngine.isSubsumed(update, coverage)).toBe(true)

      // In two steps, as snapshots are made, and after the rest has come: the same.
      const split = cut % (log.length + 1)
      const twice = yjsEngine.compact([yjsEngine.compact(log.slice(0, split)).bytes, ...log.slice(split)])
      expect(contentOf(replicaOf([twice.bytes]))).toEqual(contentOf(document))
      expect(contentOf(replicaOf([whole.bytes, ...history.updates]))).toEqual(
        contentOf(replicaOf([...log, ...history.updates])),
      )
    }),
    runs(120),
  )
  expect(pending).toBeGreaterThan(0)
})

test('compaction adds no struct and no delete that Yjs does not imply', () => {
  fc.assert(
    fc.property(histories, logChoices, (history, choices) => {
      const log = logOf(history, choices)
      expect(normalOutline(yjsEngine.compact(log).bytes).structs).toEqual(
        normalOutline(Y.mergeUpdates([Uint8Array.of(0, 0), ...log])).structs,
      )
    }),
    runs(80),
  )
})

test('compaction does not tidy up formatting with deletes that no client has sent', () => {
  const documents = [1, 2].map((clientID) => {
    const document = new Y.Doc()
    document.clientID = clientID
    return document
  })
  const [one, two] = documents as [Y.Doc, Y.Doc]
  one.getMap('map').set('text', new Y.Text('abc'))
  const created = Y.encodeStateAsUpdate(one)
  Y.applyUpdate(two, created)
  for (const document of documents)
    (document.getMap('map').get('text') as Y.Text).format(0, 3, { bold: true })
  // Enough before them that the text exists when the formatting comes: only then Yjs tidies up.
  const updates = Array.from({ length: 1000 }, () => created)
  for (const document of documents) updates.push(Y.encodeStateAsUpdate(document))
  expect(normalOutline(yjsEngine.compact(updates).bytes).deletes).toEqual({})
  const tidied = new Y.Doc()
  for (const update of updates) Y.applyUpdate(tidied, update)
  expect(normalOutline(Y.encodeStateAsUpdate(tidied)).deletes).not.toEqual({})
})

test('deleted content is gone from a compacted state', () => {
  const document = new Y.Doc()
  const updates: Uint8Array[] = []
  document.on('update', (update: Uint8Array) => updates.push(update))
  document.getText('text').insert(0, 'a secret that must go')
  document.getMap('map').set('k', new Y.Map([['inner', 'another secret']]))
  document.getText('text').delete(2, 6)
  document.getMap('map').delete('k')
  const kept = new TextDecoder().decode(yjsEngine.compact(updates).bytes)
  expect(kept).not.toContain('secret')
  expect(kept).toContain('that must go')
  expect(new TextDecoder().decode(yjsEngine.merge(updates))).toContain('another secret')
})

test('stored updates that Yjs cannot read are an unreadable document, not an empty one', () => {
  for (const work of [yjsEngine.compact, yjsEngine.merge, yjsEngine.toJson])
    expect(() => work([Uint8Array.of(1, 1, 1, 0, 4), Uint8Array.of(9)])).toThrow(
      expect.objectContaining({ code: 'document_unreadable' }),
    )
})

test('types nested too deep for Yjs to take apart are kept, and still compacted', () => {
  const source = new Y.Doc()
  // In one transaction: each one tells all the types around the ones it changed.
  source.transact(() => {
    let inner = source.getMap<unknown>('m')
    for (let depth = 0; depth <= 12_000; depth++) {
      const next = new Y.Map<unknown>()
      inner.set('k', next)
      inner = next
    }
  })
  const nested = Y.encodeStateAsUpdate(source)
  // The deletion alone, as a hostile client would send it: our own Yjs could not make it.
  const root = Y.parseUpdateMeta(nested).from.keys().next().value!
  const deletion = Uint8Array.from([0, 1, ...varUint(root), 1, 0, 1])
  const state = yjsEngine.compact([nested, deletion])
  const coverage = yjsEngine.coverageOf(state)
  for (const update of [nested, deletion]) expect(yjsEngine.isSubsumed(update, coverage)).toBe(true)
})

test('edits of many types nested in each other cost no more than they are long', () => {
  const depths = 3000
  const source = new Y.Doc()
  const types = [source.getMap<unknown>('m')]
  source.transact(() => {
    for (let depth = 0; depth < depths; depth++) {
      const next = new Y.Map<unknown>()
      types.at(-1)!.set('k', next)
      types.push(next)
    }
  })
  const nested = Y.encodeStateAsUpdate(source)
  // Written by hand: Yjs itself would tell 4.5 million parents of the changes.
  const writer = new ByteWriter().varUint(1).varUint(depths).varUint(1).varUint(0)
  for (let clock = 0; clock < depths; clock++)
    writer.uint8(0x28).varUint(0).varUint(source.clientID).varUint(clock).varString('x').varUint(1).uint8(120)
  const edits = writer.varUint(0).finish()
  const updates = [...Array<Uint8Array>(1000).fill(nested), edits]
  const observed = vi.spyOn(Y.Map.prototype, '_callObserver')
  try {
    const { bytes } = yjsEngine.compact(updates)
    expect(normalOutline(bytes).structs[1]).toEqual([0, depths])
    expect(observed).not.toHaveBeenCalled()
  } finally {
    observed.mockRestore()
  }
})

function varUint(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes.push(0x80 | (rest % 128))
  return [...bytes, rest]
}

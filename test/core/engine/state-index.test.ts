import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as Y from 'yjs'
import { type Scan, scan } from '../../../core/engine/yjs/scan.ts'
import { indexFormat, layoutOf } from '../../../core/engine/yjs/state-index.ts'
import { yjsEngine } from '../../../core/engine/yjs/yjs-engine.ts'
import { histories, logChoices, logOf } from './random-documents.ts'
import { runs } from './support.ts'

/** Many structs, clients, deletes and a gap; the same bytes on every run. */
function fixture(): Uint8Array {
  const updates: Uint8Array[] = []
  for (let client = 1; client <= 5; client++) {
    const document = new Y.Doc()
    document.clientID = client * 1_000_003
    const text = document.getText('text')
    document.transact(() => {
      for (let i = 0; i < 1200; i++) text.insert(0, `line ${i}: é😀\n`)
    })
    for (let i = 0; i < 40; i++) text.delete(i * 11, 3)
    if (client === 3) {
      const version = Y.encodeStateVector(document)
      text.insert(0, 'not in the log')
      const between = Y.encodeStateVector(document)
      text.insert(5, 'after the gap')
      updates.push(Y.diffUpdate(Y.encodeStateAsUpdate(document), between))
      expect(between).not.toEqual(version)
      continue
    }
    updates.push(Y.encodeStateAsUpdate(document))
  }
  return Y.mergeUpdates(updates)
}

test('the index has not changed its format', () => {
  // History of formats. 1: the first. A new hash needs a new number and a reader for the old one.
  expect(indexFormat).toBe(1)
  const index = yjsEngine.index(fixture())
  expect(createHash('sha256').update(index).digest('hex')).toBe(
    '083e6f13594e5ae7e5197ce3c5e519983f1ee6da8d65a64a03774b2d67f18578',
  )
})

test('an index decodes to the scan that it was made from', () => {
  const check = (bytes: Uint8Array) => {
    const { deletes: _, ...expected }: Scan = scan(bytes, true)
    expect(layoutOf({ bytes, index: yjsEngine.index(bytes) })).toEqual(expected)
  }
  check(fixture())
  expect(scan(fixture(), true).rows.length).toBeGreaterThan(20)
  fc.assert(
    fc.property(histories, logChoices, (history, choices) => {
      for (const update of logOf(history, choices)) check(update)
    }),
    runs(60),
  )
})

test('a damaged index, or that of other bytes, makes the document unreadable', () => {
  const bytes = fixture()
  const index = yjsEngine.index(bytes)
  const unreadable = expect.objectContaining({ code: 'document_unreadable' })
  const use = (damaged: Uint8Array, of = bytes) => {
    const state = { bytes: of, index: damaged }
    expect(() => yjsEngine.join(state, [], Uint8Array.of(1, 5, 5))).toThrow(unreadable)
    expect(() => yjsEngine.coverageOf(state)).toThrow(unreadable)
  }
  for (let at = 0; at < index.length; at++) {
    const damaged = index.slice()
    damaged[at]! ^= 1 << (at % 8)
    use(damaged)
  }
  for (const length of [0, 1, 4, 5, 6, index.length >> 1, index.length - 1]) use(index.slice(0, length))
  use(index.slice(), bytes.subarray(1))
})

test('a state that is no update cannot be indexed', () => {
  expect(() => yjsEngine.index(Uint8Array.of(1))).toThrow(
    expect.objectContaining({ code: 'document_unreadable' }),
  )
})

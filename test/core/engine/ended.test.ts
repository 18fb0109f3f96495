import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as Y from 'yjs'
import { yjsEngine } from '../../../core/engine/yjs/yjs-engine.ts'
import { histories, logChoices, logOf } from './random-documents.ts'
import { runs, versionOf } from './support.ts'

const limits = { updateBytesMax: Number.MAX_SAFE_INTEGER }
const nothing = Uint8Array.of(0)

test('every update of an ended lineage is known as such, and every replica that has part of it', () => {
  fc.assert(
    fc.property(histories, logChoices, (history, choices) => {
      const version = yjsEngine.version(yjsEngine.merge(history.updates))
      const ended = yjsEngine.ended([versionOf([[7, 3]]), version])
      for (const update of [...history.updates, ...logOf(history, choices)]) {
        const outline = yjsEngine.validate(update, limits)
        expect(ended.holds(outline)).toBe(outline.structs.length + outline.deletes.length > 0)
      }
      for (const document of history.documents) {
        const seen = Y.encodeStateVector(document)
        expect(ended.seenBy(seen)).toBe(seen.length > 1)
      }
    }),
    runs(60),
  )
})

test('what one adds to an ended lineage, and what one deletes of it, is known without the rest', () => {
  const document = new Y.Doc()
  document.getText('text').insert(0, 'old')
  const ended = yjsEngine.ended([Y.encodeStateVector(document)])
  const updates: Uint8Array[] = []
  document.on('update', (update: Uint8Array) => updates.push(update))
  document.getText('text').insert(3, 'er')
  document.getText('text').delete(0, 1)
  for (const update of updates) expect(ended.holds(yjsEngine.validate(update, limits))).toBe(true)
})

test('a later lineage shares nothing with the ended ones', () => {
  const [old, fresh] = [new Y.Doc(), new Y.Doc()]
  for (const document of [old, fresh]) document.getText('text').insert(0, 'same words')
  fresh.getText('text').delete(0, 4)
  const ended = yjsEngine.ended([Y.encodeStateVector(old), nothing])
  expect(ended.holds(yjsEngine.validate(Y.encodeStateAsUpdate(fresh), limits))).toBe(false)
  expect(ended.seenBy(Y.encodeStateVector(fresh))).toBe(false)
  expect(ended.seenBy(nothing)).toBe(false)
  // A clock of 0 says that the client is known and nothing of it.
  expect(ended.seenBy(versionOf([[old.clientID, 0]]))).toBe(false)
  expect(yjsEngine.ended([versionOf([[fresh.clientID, 0]])]).seenBy(Y.encodeStateVector(fresh))).toBe(false)
})

test('without ended lineages nothing is stale', () => {
  const document = new Y.Doc()
  document.getText('text').insert(0, 'x')
  const ended = yjsEngine.ended([])
  expect(ended.holds(yjsEngine.validate(Y.encodeStateAsUpdate(document), limits))).toBe(false)
  expect(ended.seenBy(Y.encodeStateVector(document))).toBe(false)
})

test('a stored version that is none is an unreadable document, a received one a malformed frame', () => {
  expect(() => yjsEngine.ended([Uint8Array.of(1)])).toThrow(
    expect.objectContaining({ code: 'document_unreadable' }),
  )
  expect(() => yjsEngine.ended([]).seenBy(Uint8Array.of(1))).toThrow(
    expect.objectContaining({ code: 'malformed_frame' }),
  )
})

import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as Y from 'yjs'
import { yjsEngine } from '../../../core/engine/yjs/yjs-engine.ts'
import { histories, logChoices, logOf, replicaOf } from './random-documents.ts'
import { contentOf, normalOutline, runs, versionOf } from './support.ts'

const emptyUpdate = Uint8Array.of(0, 0)

test('a merge says what Yjs makes of the same updates', () => {
  fc.assert(
    fc.property(histories, logChoices, (history, choices) => {
      const log = logOf(history, choices)
      const merged = yjsEngine.merge(log)
      const expected = Y.mergeUpdates([emptyUpdate, ...log])
      expect(normalOutline(merged)).toEqual(normalOutline(expected))
      const [whole, oneByOne] = [replicaOf([merged]), replicaOf(log)]
      const { version, ...content } = contentOf(whole)
      const expectedContent = contentOf(oneByOne)
      expect(content).toEqual({ outline: expectedContent.outline, json: expectedContent.json })
      // As long as something waits, Yjs may leave aside beside it what it could take: how much depends on the order.
      if (oneByOne.store.pendingStructs === null) expect(version).toEqual(expectedContent.version)
      expect(yjsEngine.version(merged)).toEqual(Y.encodeStateVectorFromUpdate(expected))
    }),
    runs(200),
  )
})

test('merging nothing gives the empty update', () => {
  expect(yjsEngine.merge([])).toEqual(emptyUpdate)
})

test('an update with its clients in ascending order loses none of them, as it does in Yjs', () => {
  const ascending = Uint8Array.of(2, 1, 1, 0, 0, 1, 1, 2, 0, 0, 1, 0)
  const next = Uint8Array.of(1, 1, 1, 1, 0, 1, 0)
  expect(normalOutline(yjsEngine.merge([ascending, next])).structs).toEqual({ 1: [0, 2], 2: [0, 1] })
})

test('a diff is that of Yjs', () => {
  fc.assert(
    fc.property(histories, fc.nat(), ({ documents }, at) => {
      // As Yjs rewrites updates: without the flag of a parentSub where none is written.
      const update = Y.mergeUpdates([Y.encodeStateAsUpdate(documents[0]!), emptyUpdate])
      const version = versionOf(documents.map(({ clientID }, i) => [clientID, at % (5 + i)]))
      expect(yjsEngine.diff(update, version)).toEqual(Y.diffUpdate(update, version))
    }),
    runs(100),
  )
})

import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as Y from 'yjs'
import { rowWidth } from '../../../core/engine/yjs/scan.ts'
import { layoutOf } from '../../../core/engine/yjs/state-index.ts'
import { readVersion } from '../../../core/engine/yjs/version.ts'
import { yjsEngine } from '../../../core/engine/yjs/yjs-engine.ts'
import { applyTo, histories, logChoices, logOf, play, replicaOf } from './random-documents.ts'
import { concat, contentOf, normalOutline, runs, versionOf } from './support.ts'

const emptyUpdate = Uint8Array.of(0, 0)
const noVersion = Uint8Array.of(0)

test('a join brings a real replica to the state of everything in the log', () => {
  fc.assert(
    fc.property(histories, logChoices, fc.nat(), fc.nat(), (history, choices, cut, who) => {
      const log = logOf(history, choices)
      const split = cut % (log.length + 1)
      const snapshot = split === 0 ? null : yjsEngine.compact(log.slice(0, split))
      const tail = log.slice(split)
      const known =
        who % 4 === 3
          ? log.filter((_, i) => i % 2 === 0)
          : [Y.encodeStateAsUpdate(history.documents[who % 3]!)]

      const joined = replicaOf(known)
      const answer = concat(yjsEngine.join(snapshot, tail, Y.encodeStateVector(joined)))
      yjsEngine.validate(answer, { updateBytesMax: Number.MAX_SAFE_INTEGER })
      applyTo(joined, [answer])
      const expected = replicaOf([...known, ...log])
      expect(contentOf(joined)).toEqual(contentOf(expected))

      // Yjs's own way to the same place.
      const merged = replicaOf(known)
      applyTo(merged, [Y.diffUpdate(Y.mergeUpdates([emptyUpdate, ...log]), Y.encodeStateVector(merged))])
      expect(contentOf(joined)).toEqual(contentOf(merged))

      // A further exchange in both directions adds nothing.
      const before = contentOf(joined)
      applyTo(joined, [Y.encodeStateAsUpdate(expected, Y.encodeStateVector(joined))])
      applyTo(joined, [concat(yjsEngine.join(snapshot, tail, noVersion))])
      expect(contentOf(joined)).toEqual(before)
    }),
    runs(200),
  )
})

test('a join says exactly what the diff of the merged log says, for any version', () => {
  fc.assert(
    fc.property(
      histories,
      logChoices,
      fc.nat(),
      fc.array(fc.nat({ max: 60 }), { minLength: 3, maxLength: 3 }),
      fc.boolean(),
      (history, choices, cut, clocks, stranger) => {
        const log = logOf(history, choices)
        const split = cut % (log.length + 1)
        const bytes = split === 0 ? null : Y.mergeUpdates(log.slice(0, split))
        const snapshot = bytes && { bytes, index: yjsEngine.index(bytes) }
        const clients = history.documents.map((document) => document.clientID)
        const pairs = clients.map((client, i): [number, number] => [client, clocks[i]!])
        const version = versionOf(stranger ? [...pairs, [99, 5]] : pairs.slice(1))

        const answer = concat(yjsEngine.join(snapshot, log.slice(split), version))
        const expected = Y.diffUpdate(Y.mergeUpdates([emptyUpdate, ...log]), version)
        expect(normalOutline(answer)).toEqual(normalOutline(expected))
      },
    ),
    runs(200),
  )
})

test('the answer to one update is byte for byte that of Yjs, wherever it is cut', () => {
  fc.assert(
    fc.property(histories, fc.nat(), fc.nat(), ({ updates, documents }, which, at) => {
      const parts = [updates, updates.slice(which % 3), documents.map((d) => Y.encodeStateAsUpdate(d))]
      // Through the diff, because a merge that cuts structs leaves a flag on which Yjs drops when it writes them again.
      const update = Y.diffUpdate(Y.mergeUpdates([emptyUpdate, ...parts[which % 3]!]), noVersion)
      for (const client of documents.map((document) => document.clientID)) {
        const version = versionOf([[client, at % 40]])
        const expected = Y.diffUpdate(update, version)
        expect(concat(yjsEngine.join(null, [update], version))).toEqual(expected)
        const snapshot = { bytes: update, index: yjsEngine.index(update) }
        expect(concat(yjsEngine.join(snapshot, [], version))).toEqual(expected)
      }
    }),
    runs(200),
  )
})

test('an empty version and an empty tail give the bytes of the state themselves', () => {
  const { updates } = play([[0, 0, 0, 0]])
  const state = yjsEngine.compact(updates)
  expect(yjsEngine.join(state, [], noVersion)).toEqual([state.bytes])
  expect(yjsEngine.join(state, [], noVersion)[0]).toBe(state.bytes)
})

test('nothing to say is the empty update', () => {
  expect(concat(yjsEngine.join(null, [], noVersion))).toEqual(Uint8Array.of(0, 0))
  const { updates } = play([[0, 0, 0, 0]])
  const version = yjsEngine.version(yjsEngine.merge(updates))
  expect(concat(yjsEngine.join(yjsEngine.compact(updates), updates, version))).toEqual(Uint8Array.of(0, 0))
})

test('a cut between the halves of a surrogate pair sends U+FFFD, as Yjs does', () => {
  const document = new Y.Doc()
  document.getText('text').insert(0, 'a😀b')
  const update = Y.encodeStateAsUpdate(document)
  const version = versionOf([[document.clientID, 2]])
  const answer = concat(yjsEngine.join(null, [update], version))
  expect(answer).toEqual(Y.encodeStateAsUpdate(document, version))
  expect(new TextDecoder().decode(answer)).toContain('\uFFFDb')
})

test('a cut far into a large state finds its place through the index', () => {
  const document = new Y.Doc()
  document.clientID = 5
  const text = document.getText('text')
  // Prepending keeps every struct apart.
  document.transact(() => {
    for (let i = 0; i < 5000; i++) text.insert(0, `${i % 10}é😀`)
  })
  const bytes = Y.encodeStateAsUpdate(document)
  const state = { bytes, index: yjsEngine.index(bytes) }
  const { rows } = layoutOf(state)
  const rowClocks = rows.filter((_, i) => i % rowWidth === 1)
  expect(rowClocks.length).toBeGreaterThan(10)
  for (const clock of [1, 19_999, 20_000, ...rowClocks.flatMap((at) => [at - 1, at, at + 1])]) {
    const version = versionOf([[5, clock]])
    expect(concat(yjsEngine.join(state, [], version))).toEqual(Y.encodeStateAsUpdate(document, version))
  }
})

test('versions that are no state vectors are refused', () => {
  for (const bytes of [
    [],
    [1],
    [1, 2],
    [0, 0],
    [1, 1, 0xff],
    [1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
  ])
    expect(() => yjsEngine.validateVersion(Uint8Array.from(bytes))).toThrow(
      expect.objectContaining({ code: 'malformed_frame' }),
    )
  expect(readVersion(Uint8Array.of(1, 7, 3))).toEqual(new Map([[7, 3]]))
})

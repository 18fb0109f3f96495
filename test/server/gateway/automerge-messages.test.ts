import * as Automerge from '@automerge/automerge'
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { automergeEngine as engine } from '../../../core/engine/automerge/automerge-engine.ts'
import { unhex } from '../../../core/engine/automerge/chunk.ts'
import { encodeSyncMessage, Filter } from '../../../core/engine/automerge/sync-message.ts'
import { writeVersion } from '../../../core/engine/automerge/version.ts'
import { partsOf } from '../../../server/gateway/automerge-messages.ts'
import { histories } from '../../core/engine/automerge/random-documents.ts'
import { concat, runs } from '../../core/engine/support.ts'

beforeAll(() => engine.load())
const headsOf = (doc: Automerge.Doc<unknown>): Uint8Array[] => Automerge.getHeads(doc).map(unhex)

test('what is sent in parts is taken part by part: nobody asks for what is on its way, or sends it back', () => {
  fc.assert(
    fc.property(
      histories,
      fc.nat({ max: 60 }),
      fc.nat({ max: 2 }),
      fc.integer({ min: 1, max: 2_000 }),
      ({ changes, replicas }, cut, who, bytesMax) => {
        const at = Math.min(cut, changes.length)
        const snapshot = at === 0 ? null : engine.compact(changes.slice(0, at))
        const coverage = engine.coverageOf(snapshot)
        for (const update of changes.slice(at)) coverage.add(engine.validate(update, unlimited))
        // Without what waits there for others: that it has it, it could not say.
        let [doc] = Automerge.applyChanges(Automerge.init(), Automerge.getAllChanges(replicas[who]!))
        const known = headsOf(doc)
        const first = engine.join(snapshot, [], writeVersion(known))
        const { graph } = coverage
        const counts = (hash: Uint8Array): boolean => graph.counts(hash)
        const parts = partsOf([...first, ...changes.slice(at)], known, counts, bytesMax)
        let state = Automerge.initSyncState()
        for (const { updates, heads: told } of parts) {
          const heads = told ?? graph.heads()
          const have = [{ lastSync: heads, filter: Filter.empty }]
          const message = concat(encodeSyncMessage({ heads, need: [], have, changes: updates }, true))
          ;[doc, state] = Automerge.receiveSyncMessage(doc, state, message)
          const [next, data] = Automerge.generateSyncMessage(doc, state)
          state = next
          const answer = data === null ? null : Automerge.decodeSyncMessage(data)
          expect(answer?.need ?? []).toEqual([])
          const sent = (answer?.changes ?? []).flatMap((chunk) => engine.validate(chunk, unlimited).changes)
          expect(sent.filter(({ hash }) => graph.has(hash))).toEqual([])
        }
        expect(
          graph.heads().every((head) => Automerge.hasHeads(doc, [Buffer.from(head).toString('hex')])),
        ).toBe(true)
        for (const { updates } of parts.slice(0, -1))
          if (updates.length > 1) expect(concat(updates).length).toBeLessThanOrEqual(bytesMax)
      },
    ),
    runs(15),
  )
})
const unlimited = { updateBytesMax: Number.MAX_SAFE_INTEGER }

test('what fits is one message', () => {
  const updates = [Uint8Array.of(1), Uint8Array.of(2)]
  expect(partsOf(updates, [], () => true, 2)).toEqual([{ updates, heads: null }])
  expect(partsOf([], [], () => true, 2)).toEqual([{ updates: [], heads: null }])
})

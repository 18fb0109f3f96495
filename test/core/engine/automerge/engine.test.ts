/** What Automerge documents say is what their clients see, wherever a log was cut, compacted, and sent again. */
import * as A from '@automerge/automerge'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { automergeEngine as engine } from '../../../../core/engine/automerge/automerge-engine.ts'
import { hex, unhex } from '../../../../core/engine/automerge/chunk.ts'
import { readVersion, writeVersion } from '../../../../core/engine/automerge/version.ts'
import { concat, runs } from '../support.ts'
import { contentOf, histories, picks, replicaOf } from './random-documents.ts'

const unlimited = { updateBytesMax: Number.MAX_SAFE_INTEGER }
const versionOf = (doc: A.Doc<unknown>) => writeVersion(A.getHeads(doc).map(unhex))

beforeAll(() => engine.load())

describe('a joiner', () => {
  test('equals a document that applied all, from any snapshot, tail and version', () => {
    fc.assert(
      fc.property(
        histories,
        picks,
        fc.nat({ max: 60 }),
        fc.nat({ max: 2 }),
        ({ changes, replicas }, order, cut, who) => {
          const log = order
            .map((pick) => changes[pick % changes.length])
            .filter((update) => update !== undefined)
          const at = Math.min(cut, log.length)
          const state = at === 0 ? null : engine.compact(log.slice(0, at))
          const tail = log.slice(at)
          const joiner = A.clone(replicas[who]!)
          const joined = A.loadIncremental(joiner, concat(engine.join(state, tail, versionOf(joiner))))
          const expected = replicaOf([A.save(replicas[who]!), ...log])
          expect(contentOf(joined)).toEqual(contentOf(expected))
          const coverage = engine.coverageOf(state)
          for (const update of tail) coverage.add(engine.validate(update, unlimited))
          expect(readVersion(coverage.version()).map(hex)).toEqual(A.getHeads(replicaOf(log)).toSorted())
          for (const update of log) expect(engine.isSubsumed(update, coverage)).toBe(true)
        },
      ),
      runs(40),
    )
  })
})

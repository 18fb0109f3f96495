/** What nobody's Automerge would send: it is refused at the door, or the compaction throws; a snapshot can always be read. */

import { createHash } from 'node:crypto'
import { deflateRawSync } from 'node:zlib'
import * as A from '@automerge/automerge'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { ByteWriter } from '../../../../core/bytes.ts'
import { automergeEngine as engine } from '../../../../core/engine/automerge/automerge-engine.ts'
import { chunkType, hex, withHeader } from '../../../../core/engine/automerge/chunk.ts'
import { engineOf } from '../../../../core/engine/engine-of.ts'
import { engines } from '../../../../core/engine/engines.ts'
import { concat, runs } from '../support.ts'
import { contentOf, histories, replicaOf } from './random-documents.ts'

const unlimited = { updateBytesMax: Number.MAX_SAFE_INTEGER }
const malformed = expect.objectContaining({ code: 'malformed_update' })
const unreadable = expect.objectContaining({ code: 'document_unreadable' })
const hashesOf = (update: Uint8Array) =>
  engine.validate(update, unlimited).changes.map(({ hash }) => hex(hash))

beforeAll(() => engine.load())

/** The hashes of an update, or null when it is refused as it should be. */
function judged(update: Uint8Array): string[] | null {
  try {
    return hashesOf(update)
  } catch (error) {
    expect(error).toEqual(malformed)
    return null
  }
}

function chunkOf(type: number, contents: Uint8Array, hashed = withHeader(type, contents)): Uint8Array {
  const checksum = createHash('sha256').update(hashed).digest().subarray(0, 4)
  return concat([Uint8Array.of(0x85, 0x6f, 0x4a, 0x83), checksum, withHeader(type, contents)])
}

const set = { action: 'set', obj: '_root', key: 'a', value: 'x', pred: [] } as const
const change = (said: object, ops: readonly object[] = [set]) =>
  (A.encodeChange as (change: object) => Uint8Array)({
    actor: 'aabb',
    seq: 1,
    startOp: 1,
    time: 0,
    deps: [],
    message: '',
    ...said,
    ops,
  })
const hashOf = (update: Uint8Array): string => hashesOf(update)[0]!

describe('chunks', () => {
  test('are what Automerge makes, whole and with the hash that it gives them', () => {
    fc.assert(
      fc.property(histories, ({ changes, replicas }) => {
        for (const change of changes) {
          expect(hashesOf(change)).toEqual([A.decodeChange(change).hash])
          expect(engineOf(change)).toBe('automerge')
        }
        for (const replica of replicas) {
          const { documents } = engine.validate(A.save(replica), unlimited)
          expect(documents.map(({ heads }) => hex(heads))).toEqual([A.getHeads(replica).toSorted().join('')])
        }
      }),
      runs(15),
    )
  })

  test('that are cut or damaged are refused, or they are the same change', () => {
    fc.assert(
      fc.property(histories, fc.array(fc.nat(), { maxLength: 60 }), ({ changes, replicas }, places) => {
        for (const chunk of [...changes.slice(-2), A.save(replicas[0]!)]) {
          for (const place of places) {
            expect(judged(chunk.subarray(0, place % chunk.length))).toBeNull()
            const damaged = Uint8Array.from(chunk)
            damaged[place % chunk.length]! ^= 1 << (place % 8)
            expect([null, ...changes.map((change) => [A.decodeChange(change).hash].join())]).toContain(
              judged(damaged)?.join() ?? null,
            )
          }
          expect(judged(concat([chunk, Uint8Array.of(0)]))).toBeNull()
        }
      }),
      runs(10),
    )
  })

  test('of arbitrary contents with a checksum that is right are refused with a code, or are well-formed', () => {
    fc.assert(
      fc.property(fc.nat({ max: 4 }), fc.uint8Array({ maxLength: 60 }), (type, contents) => {
        const chunk = chunkOf(type, contents)
        const hashes = judged(chunk)
        if (hashes === null) return
        // What Automerge then does with it is its business, as long as it says so.
        try {
          engine.compact([chunk])
        } catch (error) {
          expect(error).toEqual(unreadable)
        }
      }),
      runs(300),
    )
  })

  test('that inflate to more than a share of their size are refused before they do', () => {
    const bomb = deflateRawSync(new Uint8Array(200 * 1024 * 1024))
    expect(bomb.length).toBeLessThan(256 * 1024)
    const before = process.memoryUsage().arrayBuffers
    for (const contents of [bomb, concat(Array<Uint8Array>(4).fill(bomb))])
      expect(judged(chunkOf(chunkType.deflated, contents))).toBeNull()
    // Many small ones, too.
    const large = deflateRawSync(new Uint8Array(900 * 1024))
    expect(judged(concat(Array<Uint8Array>(100).fill(chunkOf(chunkType.deflated, large))))).toBeNull()
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(128 * 1024 * 1024)
  })

  test('that say billions of operations in a few bytes are refused', () => {
    const runOf = (count: number, action: number): Uint8Array => {
      const writer = new ByteWriter()
      for (let rest = count; ; rest = Math.floor(rest / 128)) {
        if (rest < 64) return writer.uint8(rest).uint8(action).finish()
        writer.uint8(0x80 | (rest % 128))
      }
    }
    const column = (run: Uint8Array) => [1, 0x42, run.length, ...run]
    const head = [0, 2, 0xaa, 0xbb, 1, 1, 0, 0, 0]
    const changeOf = (count: number) =>
      chunkOf(chunkType.change, Uint8Array.of(...head, ...column(runOf(count, 3))))
    expect(engine.validate(changeOf(1000), unlimited).changes[0]!.operationCount).toBe(1000)
    expect(judged(changeOf(2 ** 40))).toBeNull()
    const document = Uint8Array.of(1, 2, 0xaa, 0xbb, 0, 0, ...column(runOf(2 ** 40, 3)))
    const saved = chunkOf(chunkType.document, document)
    expect(judged(saved)).toEqual([])
    expect(() => engine.compact([saved])).toThrow(/too many operations/)
    const zeros = deflateRawSync(new Uint8Array(300 * 1024 * 1024))
    const length = new ByteWriter().varUint(zeros.length).finish()
    const bomb = concat([Uint8Array.of(1, 2, 0xaa, 0xbb, 0, 0, 1, 0x4a), length, zeros])
    expect(() => engine.compact([chunkOf(chunkType.document, bomb)])).toThrow(/when inflated/)
  })

  test('of the other engine are refused, and nothing is no update', () => {
    expect(judged(new Uint8Array())).toBeNull()
    expect(judged(Uint8Array.of(0, 0))).toBeNull()
    expect(() => engines.yjs.validate(change({}), unlimited)).toThrow(malformed)
    expect(() => engine.validate(change({}), { updateBytesMax: 10 })).toThrow(
      expect.objectContaining({ code: 'update_too_large' }),
    )
  })
})

describe('a change that cannot be, beside what is there,', () => {
  const first = change({})
  const second = change({ seq: 2, startOp: 2, deps: [hashOf(first)] }, [{ ...set, key: 'b' }])
  const other = { ...set, key: 'c' }
  const impossible: Record<string, Uint8Array> = {
    'has an actor and number that were used': change({ time: 1 }),
    'leaves a number out': change({ seq: 4, startOp: 3, deps: [hashOf(second)] }, [other]),
    'does not know the one before': change({ seq: 3, startOp: 3, deps: [hashOf(first)] }, [other]),
    'begins with a number that is taken': change({ actor: 'cc', startOp: 2, deps: [hashOf(second)] }, [
      other,
    ]),
    'is the first and says it is not': change({ actor: 'dd', seq: 2 }, [other]),
  }

  test.each(Object.entries(impossible))('%s: the door refuses it, the compaction throws', (_, update) => {
    const coverage = engine.coverageOf(engine.compact([first, second]))
    expect(() => coverage.covers(engine.validate(update, unlimited))).toThrow(malformed)
    expect(() => engine.compact([first, second, update])).toThrow(unreadable)
    coverage.add(engine.validate(update, unlimited))
    const version = coverage.version()
    expect(version).toEqual(engine.version(concat([first, second])))
    expect(contentOf(replicaOf([engine.compact([first, second]).bytes]))).toEqual(
      contentOf(replicaOf([first, second])),
    )
  })

  const broken: Record<string, readonly object[]> = {
    'writes into an object that is not there': [{ ...set, obj: '7@aabb' }],
    'comes behind an element that is not there': [
      { action: 'makeList', obj: '_root', key: 'b', pred: [] },
      { action: 'set', obj: '1@aabb', elemId: '9@aabb', insert: true, value: 1, pred: [] },
    ],
    'replaces what is not there': [{ ...set, pred: ['9@aabb'] }],
  }
  test.each(Object.entries(broken))('%s: a snapshot that has it can be read, or there is none', (_, ops) => {
    const update = change({ actor: 'ee' }, ops)
    let state: ReturnType<typeof engine.compact> | null = null
    try {
      state = engine.compact([first, update])
    } catch (error) {
      expect(error).toEqual(unreadable)
    }
    if (state !== null) expect(contentOf(replicaOf([state.bytes])).heads.length).toBe(2)
    // The thread goes on.
    expect(engine.toJson([first])).toEqual({ a: 'x' })
  })
})

test('values nested too deep are kept, and said to be unreadable as JSON', () => {
  const depth = 20_000
  const ops = Array.from({ length: depth }, (_, i) => ({
    action: 'makeMap',
    obj: i === 0 ? '_root' : `${i}@aabb`,
    key: 'k',
    pred: [],
  }))
  const update = change({}, ops)
  const state = engine.compact([update])
  expect(engine.version(update)).toEqual(engine.coverageOf(state).version())
  try {
    engine.toJson([state.bytes])
  } catch (error) {
    expect(error).toEqual(unreadable)
  }
  expect(engine.toJson([change({})])).toEqual({ a: 'x' })
})

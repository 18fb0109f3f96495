/** Automerge's sync messages, against Automerge's own. */
import * as Automerge from '@automerge/automerge'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decodeSyncMessage,
  encodeSyncMessage,
  Filter,
} from '../../../../core/engine/automerge/sync-message.ts'
import { TidemarkError } from '../../../../core/protocol/errors.ts'

interface Content {
  [key: string]: number
}
const hash = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'))
const hex = (hashes: readonly Uint8Array[]): string[] => hashes.map((one) => Buffer.from(one).toString('hex'))
const document = (changes: number): Automerge.Doc<Content> => {
  let doc = Automerge.from<Content>({ first: 1 })
  for (let i = 0; i < changes; i++)
    doc = Automerge.change(doc, (content) => {
      content[`key${i}`] = i
    })
  return doc
}
const plain = (bytes: Uint8Array) => {
  const { heads, need, have, changes } = Automerge.decodeSyncMessage(bytes)
  return {
    heads,
    need,
    lastSync: have.map(({ lastSync }) => lastSync),
    changes: changes.map((one) => [...one]),
  }
}
const ours = (bytes: Uint8Array) => {
  const { heads, need, have, changes } = decodeSyncMessage(bytes)
  const lastSync = have.map((one) => hex(one.lastSync))
  return { heads: hex(heads), need: hex(need), lastSync, changes: changes.map((one) => [...one]) }
}

test('reads every message of two documents that come together as Automerge does', () => {
  let a = document(40)
  let b = Automerge.change(Automerge.clone(a), (content) => {
    content['b'] = 1
  })
  a = Automerge.change(a, (content) => {
    content['a'] = 1
  })
  let [stateA, stateB] = [Automerge.initSyncState(), Automerge.initSyncState()]
  let seen = 0
  for (let round = 0; round < 10; round++) {
    const [nextA, toB] = Automerge.generateSyncMessage(a, stateA)
    stateA = nextA
    if (toB !== null) [b, stateB] = Automerge.receiveSyncMessage(b, stateB, toB)
    const [nextB, toA] = Automerge.generateSyncMessage(b, stateB)
    stateB = nextB
    if (toA !== null) [a, stateA] = Automerge.receiveSyncMessage(a, stateA, toA)
    for (const message of [toA, toB])
      if (message !== null) {
        seen++
        expect(ours(message)).toEqual(plain(message))
        expect(decodeSyncMessage(message).takesDocuments).toBe(true)
      }
  }
  expect(seen).toBeGreaterThan(3)
  expect(Automerge.getHeads(a)).toEqual(Automerge.getHeads(b))
})

test('writes messages that Automerge reads, and is then sent changes one by one', () => {
  const doc = document(5)
  const heads = Automerge.getHeads(doc).map(hash)
  const empty = { lastSync: [], filter: Filter.empty }
  const message = Buffer.concat(
    encodeSyncMessage({ heads: [], need: heads, have: [empty], changes: [] }, false),
  )
  expect(plain(message)).toEqual({ heads: [], need: hex(heads), lastSync: [[]], changes: [] })
  const [, state] = Automerge.receiveSyncMessage(Automerge.clone(doc), Automerge.initSyncState(), message)
  const [, answer] = Automerge.generateSyncMessage(doc, state)
  expect(decodeSyncMessage(answer!).changes).toHaveLength(6)
})

test('a document, and several changes in one, arrive at who has nothing, a part, or something else', () => {
  const before = document(5)
  const add = (doc: Automerge.Doc<Content>, key: string) =>
    Automerge.change(Automerge.clone(doc), (content) => {
      content[key] = 1
    })
  const twice = add(add(before, 'late'), 'later')
  const heads = Automerge.getHeads(twice).map(hash)
  const changes = [Automerge.save(before), Buffer.concat(Automerge.getChanges(before, twice))]
  const have = [{ lastSync: heads, filter: Filter.empty }]
  const message = Buffer.concat(encodeSyncMessage({ heads, need: [], have, changes }, true))
  for (const held of [Automerge.init<Content>(), before, document(3)]) {
    const [got] = Automerge.receiveSyncMessage(Automerge.clone(held), Automerge.initSyncState(), message)
    expect(Automerge.toJS(got)).toMatchObject({ ...Automerge.toJS(twice), ...Automerge.toJS(held) })
  }
})

describe('filters', () => {
  test('are those of Automerge, byte for byte', () => {
    for (const count of [0, 1, 7, 300]) {
      const doc = document(count)
      const [, message] = Automerge.generateSyncMessage(doc, Automerge.initSyncState())
      const hashes = Automerge.getAllChanges(doc).map((change) => hash(Automerge.decodeChange(change).hash))
      const theirs = Automerge.decodeSyncMessage(message!).have[0]!.bloom
      expect([...Filter.of(hashes, hashes.length).encode()]).toEqual([...theirs])
      expect(hashes.every((one) => Filter.read(theirs).contains(one))).toBe(true)
    }
  })

  test('contain little else', () => {
    const random = (seed: number) =>
      Uint8Array.from({ length: 32 }, (_, i) => (Math.imul(seed + 1, 2654435761 ^ (i * 7919)) >>> 13) & 255)
    const hashes = Array.from({ length: 1000 }, (_, i) => random(i))
    const filter = Filter.of(hashes, hashes.length)
    const wrong = Array.from({ length: 1000 }, (_, i) => random(i + 5000)).filter((one) =>
      filter.contains(one),
    )
    expect(wrong.length).toBeLessThan(50)
  })
})

describe('anything else is refused', () => {
  const refused = (bytes: Uint8Array): string => {
    try {
      const message = decodeSyncMessage(bytes)
      for (const { filter } of message.have) filter.contains(new Uint8Array(32))
      return 'taken'
    } catch (error) {
      expect(error).toBeInstanceOf(TidemarkError)
      return (error as TidemarkError).code
    }
  }
  const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))

  test.each([
    ['nothing', ''],
    ['another type', '4000000000'],
    ['an end too early', '420000'],
    ['more hashes than bytes', '42ffffff7f'],
    ['more filters than anybody sends', `420000${'ff'}01`],
    ['more changes than fit', '42000000ffffff7f'],
    ['a change of no bytes', '420000000100'],
    ['a filter of another length', '42000001000301010100'],
    ['a filter of endless probes', '42000001000601 08 ffffff0700'.replaceAll(' ', '')],
    ['a length beyond integers', `42${'ff'.repeat(12)}01`],
  ])('%s', (_, text) => {
    expect(refused(bytesOf(text))).toBe('malformed_frame')
  })

  test('or read, and nothing else is thrown', () => {
    const [, whole] = Automerge.generateSyncMessage(document(3), Automerge.initSyncState())
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (rest) => {
        refused(Uint8Array.from([0x42, ...rest]))
      }),
      { numRuns: 1000 },
    )
    fc.assert(
      fc.property(fc.nat(whole!.length - 1), fc.nat(255), (at, value) => {
        const damaged = Uint8Array.from(whole!)
        damaged[at] = value
        refused(damaged)
      }),
      { numRuns: 1000 },
    )
  })
})

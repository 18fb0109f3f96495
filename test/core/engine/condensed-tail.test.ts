import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as Y from 'yjs'
import { condensed } from '../../../core/engine/yjs/condensed-tail.ts'
import { join } from '../../../core/engine/yjs/splice.ts'
import { readVersion } from '../../../core/engine/yjs/version.ts'
import { yjsEngine } from '../../../core/engine/yjs/yjs-engine.ts'
import { type Command, play } from './random-documents.ts'
import { concat, normalOutline, runs, versionOf } from './support.ts'

const noVersion = Uint8Array.of(0)

/** About a thousand updates of three clients: a few large ones, some twice, some missing, some much later than those after them. */
function longTail(seed: number): { tail: Uint8Array[]; clients: number[] } {
  let state = seed
  const random = (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return (state >> 8) % below
  }
  const history = Array.from(
    { length: 1200 },
    (): Command => [random(3), random(86), random(1000), random(1000)],
  )
  const { updates, documents } = play(history)
  const tail: Uint8Array[] = []
  for (const update of updates) {
    if (random(20) > 0) tail.splice(Math.max(0, tail.length - random(10)), 0, update)
    if (random(6) === 0) tail.push(updates[random(updates.length)]!)
  }
  const large = new Y.Doc()
  large.clientID = 5
  for (let i = 0; i < 3; i++) {
    const known = Y.encodeStateVector(large)
    large.getText('text').insert(0, `${i}`.repeat(5000))
    tail.splice(random(tail.length), 0, Y.encodeStateAsUpdate(large, known))
  }
  return { tail, clients: [5, ...documents.map((document) => document.clientID)] }
}

test('a join from a long tail, while it grows, says what the diff of all its updates says', () => {
  const property = fc.property(fc.nat(), fc.nat({ max: 300 }), fc.nat({ max: 100 }), (seed, clock, cut) => {
    const { tail, clients } = longTail(seed)
    const state = yjsEngine.compact(tail.slice(0, cut))
    const versions = [noVersion, versionOf(clients.map((client, i) => [client, clock * i]))]
    const growing: Uint8Array[] = []
    for (const [i, update] of tail.slice(cut).entries()) {
      growing.push(update)
      if (![1, 255, 256, 257, 511, 600, 700, tail.length - cut - 1].includes(i)) continue
      for (const version of versions) {
        const answer = concat(yjsEngine.join(state, growing, version))
        expect(normalOutline(answer)).toEqual(
          normalOutline(concat(join(state, growing, readVersion(version)))),
        )
      }
    }
    expect(growing.length).toBeGreaterThan(600)
    expect(condensed(growing).length).toBeLessThan(256 + 1 + 3)
    const all = [state.bytes, ...growing]
    const answer = concat(yjsEngine.join(state, growing, versions[1]!))
    expect(normalOutline(answer)).toEqual(normalOutline(Y.diffUpdate(Y.mergeUpdates(all), versions[1]!)))
  })
  fc.assert(property, runs(8))
})

test('a tail is merged once, however many join from it', () => {
  const { tail } = longTail(1)
  const [merged] = condensed(tail)
  expect(condensed(tail)[0]).toBe(merged)
  tail.push(Uint8Array.of(0, 0))
  expect(condensed(tail)[0]).toBe(merged)
  expect(condensed(tail).at(-1)).toBe(tail.at(-1))
})

test('short tails are left as they are', () => {
  const tail = longTail(1).tail.slice(0, 255)
  expect(condensed(tail)).toBe(tail)
})

/** What may be sent, merged and forgotten, and when. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as Y from 'yjs'
import { mergeCountMin, Outbox } from '../../client/outbox.ts'
import { Pushing } from '../../client/pushing.ts'
import { TidemarkError } from '../../core/protocol/error-codes.ts'
import { runs } from '../core/engine/support.ts'

const many = 1_000_000
/** Updates of one document, each of which inserts a character. */
function edits(count: number): Uint8Array[] {
  const doc = new Y.Doc()
  const updates: Uint8Array[] = []
  doc.on('update', (update: Uint8Array) => updates.push(update))
  for (let i = 0; i < count; i++) doc.getText('text').insert(i, 'x')
  return updates
}
const textOf = (updates: readonly Uint8Array[]): string => {
  const doc = new Y.Doc()
  for (const update of updates) Y.applyUpdate(doc, update)
  return doc.getText('text').toString()
}
const sequencesOf = (entries: readonly { sequence: number }[]): number[] =>
  entries.map(({ sequence }) => sequence)

test('edits are sent in order, once, until the channel is another one', () => {
  const outbox = new Outbox('r')
  for (const update of edits(3)) outbox.add(update)
  expect(sequencesOf(outbox.take(many, many))).toEqual([1, 2, 3])
  expect(outbox.take(many, many)).toEqual([])
  outbox.ack(1)
  outbox.rewind()
  expect(sequencesOf(outbox.take(many, many))).toEqual([2, 3])
  outbox.rewind(3)
  expect(sequencesOf(outbox.take(many, many))).toEqual([3])
})

test('no more is under way than the server allows, and always something', () => {
  const outbox = new Outbox('r')
  for (const update of edits(10)) outbox.add(update)
  expect(sequencesOf(outbox.take(4, many))).toEqual([1, 2, 3, 4])
  expect(outbox.take(4, many)).toEqual([])
  outbox.ack(2)
  expect(sequencesOf(outbox.take(4, many))).toEqual([5, 6])
  outbox.ack(6)
  expect(sequencesOf(outbox.take(many, 1)), 'one that is too large is the caller’s to refuse').toEqual([7])
  expect(outbox.take(many, 1)).toEqual([])
})

test('what was sent is never merged, nor what came from disk', () => {
  const outbox = new Outbox('r')
  for (const update of edits(mergeCountMin + 5)) outbox.add(update)
  outbox.take(5, many)
  outbox.rewind()
  const before = outbox.all.slice(0, 5)
  const merged = outbox.merge(Y.mergeUpdates)
  expect(merged).toMatchObject({ from: 6, to: mergeCountMin + 5 })
  expect(sequencesOf(outbox.all)).toEqual([1, 2, 3, 4, 5, 6])
  expect(outbox.all.slice(0, 5)).toEqual(before)
  expect(outbox.pending).toBe(mergeCountMin + 5)
  expect(outbox.add(edits(1)[0]!).sequence).toBe(7)

  const adopted = new Outbox('r', outbox.all)
  expect(adopted.unsentCount).toBe(0)
  expect(adopted.merge(Y.mergeUpdates)).toBeNull()
})

test('too few to pay are not merged', () => {
  const outbox = new Outbox('r')
  for (const update of edits(mergeCountMin - 1)) outbox.add(update)
  expect(outbox.merge(Y.mergeUpdates)).toBeNull()
})

test('whatever is sent, merged, repeated and acknowledged, the server gets every edit, in whole entries', () => {
  const command = fc.tuple(fc.constantFrom('edit', 'burst', 'take', 'rewind', 'ack', 'merge'), fc.nat(30))
  const property = fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
    const updates = edits(60 * 31)
    const outbox = new Outbox('r')
    const server = new Map<number, Uint8Array>()
    let edited = 0
    for (const [kind, number] of commands) {
      const count = kind === 'edit' ? 1 : kind === 'burst' ? number : 0
      for (let i = 0; i < count; i++) outbox.add(updates[edited++]!)
      if (kind === 'take')
        for (const { sequence, update } of outbox.take(number, many)) {
          const known = server.get(sequence)
          // As the server does: the first bytes under a sequence are what counts.
          if (known === undefined) server.set(sequence, update)
          else expect(update).toEqual(known)
        }
      if (kind === 'rewind') outbox.rewind()
      if (kind === 'merge') outbox.merge(Y.mergeUpdates)
      if (kind === 'ack') outbox.ack(Math.min(number, ...[Math.max(0, ...server.keys())]))
      expect(outbox.pending).toBe(outbox.all.reduce((sum, entry) => sum + entry.edits, 0))
      expect(outbox.bytes).toBe(outbox.all.reduce((sum, { update }) => sum + update.length, 0))
    }
    outbox.rewind()
    for (const { sequence, update } of outbox.take(many, many)) server.set(sequence, update)
    expect(textOf([...server.values()])).toBe('x'.repeat(edited))
    outbox.ack(many)
    expect(outbox.pending).toBe(0)
  })
  fc.assert(property, runs(100))
})

test('saved() waits for what was edited by then, of this replica and of adopted ones', async () => {
  const pushing = new Pushing('own')
  const updates = edits(4)
  pushing.own.add(updates[0]!)
  const done: string[] = []
  const first = pushing.saved().then(() => done.push('first'))
  let released = 0
  const stored = [{ replica: 'other', sequence: 1, edits: 2, update: updates[1]! }]
  pushing.adopt('other', stored, () => released++)
  pushing.adopt('other', stored, () => released++)
  expect(pushing.pending).toBe(3)
  const second = pushing.saved().then(() => done.push('second'))
  pushing.own.add(updates[2]!)
  expect(pushing.active.replica).toBe('other')
  pushing.ack(pushing.own, 1)
  await first
  expect(done).toEqual(['first'])
  pushing.ack(pushing.active, 1)
  await second
  pushing.letGo()
  expect(released).toBe(1)
  expect(pushing.active).toBe(pushing.own)
  expect(pushing.pending).toBe(1)
})

test('saved() rejects at once when edits are refused for good, and when they are later', async () => {
  const pushing = new Pushing('own')
  const error = new TidemarkError('read_only', 'why')
  await pushing.saved()
  pushing.own.add(edits(1)[0]!)
  const waiting = pushing.saved()
  pushing.hold = { error, retryMs: null }
  pushing.fail(error)
  await expect(waiting).rejects.toBe(error)
  await expect(pushing.saved()).rejects.toBe(error)
  pushing.hold = { error, retryMs: 100 }
  const again = pushing.saved()
  pushing.ack(pushing.own, 1)
  await again
})

/** The states of a document that waits, as a table, and the cursor against a model. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DocumentId } from '../../../core/document-id.ts'
import { toOffset } from '../../../core/offset.ts'
import { Waiting } from '../../../server/webhooks/waiting.ts'
import { documentOf } from '../../contract/log-model.ts'

const a = documentOf('a')
const announcement = { id: 'msg_1', offset: toOffset(1), body: '{}' }

/** `a` brought into each state at the time 0. */
const states: Record<string, (waiting: Waiting) => void> = {
  settling: (waiting) => waiting.changed(a, 1, 0),
  ready: (waiting) => {
    waiting.changed(a, 1, 0)
    waiting.settle(100)
  },
  posting: (waiting) => {
    states['ready']!(waiting)
    waiting.take()
    waiting.announce(a, announcement)
  },
  'posting, changed meanwhile': (waiting) => {
    states['posting']!(waiting)
    waiting.changed(a, 2, 0)
  },
  failing: (waiting) => {
    states['posting']!(waiting)
    waiting.failed(a, true)
    waiting.retry(a, 1_000)
  },
}

const events: Record<string, (waiting: Waiting) => void> = {
  changed: (waiting) => waiting.changed(a, 3, 50),
  'quiet for 99 ms': (waiting) => waiting.settle(99),
  'quiet for 100 ms': (waiting) => waiting.settle(100),
  'quiet for 1,000 ms': (waiting) => waiting.settle(1_000),
  done: (waiting) => waiting.done(a),
  failed: (waiting) => {
    waiting.failed(a, true)
    waiting.retry(a, 1_000)
  },
}

/** What is seen afterwards: at which of these times it can be taken first, its announcement, its cursor. */
function seen(waiting: Waiting): string {
  const cursor = waiting.cursor(9)
  if (waiting.size === 0) return `gone, cursor ${cursor}`
  const made = waiting.announcementOf(a) === null ? 'to be made' : 'made'
  const refusals = waiting.failed(a, false).refusals
  for (const atMs of [-Infinity, 99, 100, 149, 150, 999, 1_000]) {
    waiting.settle(atMs)
    if (waiting.take() !== null) return `taken at ${atMs}, ${made}, refusals ${refusals}, cursor ${cursor}`
  }
  return `not taken, ${made}, refusals ${refusals}, cursor ${cursor}`
}

const table: readonly (readonly [state: string, event: string, seen: string])[] = [
  ['settling', 'changed', 'taken at 150, to be made, refusals 0, cursor 2'],
  ['settling', 'quiet for 99 ms', 'taken at 100, to be made, refusals 0, cursor 0'],
  ['settling', 'quiet for 100 ms', 'taken at -Infinity, to be made, refusals 0, cursor 0'],
  ['ready', 'changed', 'taken at -Infinity, to be made, refusals 0, cursor 2'],
  ['ready', 'quiet for 1,000 ms', 'taken at -Infinity, to be made, refusals 0, cursor 0'],
  ['posting', 'changed', 'not taken, made, refusals 0, cursor 2'],
  ['posting', 'quiet for 1,000 ms', 'not taken, made, refusals 0, cursor 0'],
  ['posting', 'done', 'gone, cursor 9'],
  ['posting', 'failed', 'taken at 1000, made, refusals 1, cursor 0'],
  ['posting, changed meanwhile', 'changed', 'not taken, made, refusals 0, cursor 2'],
  ['posting, changed meanwhile', 'quiet for 1,000 ms', 'not taken, made, refusals 0, cursor 1'],
  ['posting, changed meanwhile', 'done', 'taken at 100, to be made, refusals 0, cursor 1'],
  ['posting, changed meanwhile', 'failed', 'taken at 1000, to be made, refusals 0, cursor 1'],
  ['failing', 'changed', 'taken at 1000, to be made, refusals 0, cursor 2'],
  ['failing', 'quiet for 100 ms', 'taken at 1000, made, refusals 1, cursor 0'],
  ['failing', 'quiet for 1,000 ms', 'taken at -Infinity, made, refusals 1, cursor 0'],
]

describe('a document that waits', () => {
  it.each(table)('%s, %s: %s', (state, event, expected) => {
    const waiting = new Waiting(100)
    states[state]!(waiting)
    events[event]!(waiting)
    expect(seen(waiting)).toBe(expected)
  })

  it('is taken after five times the debounce, however often it changes', () => {
    const waiting = new Waiting(100)
    for (let nowMs = 0; nowMs < 500; nowMs += 50) {
      waiting.changed(a, nowMs + 1, nowMs)
      waiting.settle(nowMs)
      expect(waiting.take()).toBeNull()
    }
    waiting.settle(500)
    expect(waiting.take()).toBe(a)
  })

  it('is as old as its oldest change that is not delivered', () => {
    const waiting = new Waiting(100)
    expect(waiting.oldestMs()).toBeNull()
    waiting.changed(a, 1, 10)
    waiting.changed(a, 2, 60)
    waiting.changed(documentOf('b'), 3, 70)
    expect(waiting.oldestMs()).toBe(10)
    waiting.settle(160)
    waiting.take()
    waiting.changed(a, 4, 165)
    expect(waiting.oldestMs()).toBe(10)
    waiting.done(a)
    expect(waiting.oldestMs()).toBe(70)
  })
})

describe('the cursor', () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('change' as const), which: fc.nat(4) }),
    fc.record({ do: fc.constantFrom('settle', 'take', 'done', 'fail', 'late' as const), which: fc.nat(4) }),
  )

  it('never passes a change that was not delivered, never goes back, and reaches the end', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const waiting = new Waiting(10)
        const documents = Array.from({ length: 5 }, (_, i) => documentOf(`d${i}`))
        const places = new Map<DocumentId, number>()
        const posting: { document: DocumentId; upTo: number }[] = []
        let readTo = 0
        let nowMs = 0
        let last = 0
        const check = () => {
          const cursor = waiting.cursor(readTo)
          for (const place of places.values()) expect(cursor).toBeLessThan(place)
          expect(cursor).toBeGreaterThanOrEqual(last)
          last = cursor
        }
        const finish = (which: number, well: boolean) => {
          const [found] = posting.splice(which % Math.max(1, posting.length), 1)
          if (found === undefined) return
          const { document, upTo } = found
          if (!well) {
            waiting.failed(document, false)
            return waiting.retry(document, nowMs + 7)
          }
          if (places.get(document) === upTo) places.delete(document)
          waiting.done(document)
        }
        const take = () => {
          const document = waiting.take()
          if (document !== null) posting.push({ document, upTo: places.get(document)! })
        }
        for (const { do: what, which } of steps) {
          nowMs += 3
          if (what === 'change') {
            places.set(documents[which]!, ++readTo)
            waiting.changed(documents[which]!, readTo, nowMs)
          } else if (what === 'settle') waiting.settle(nowMs)
          else if (what === 'take') take()
          else finish(which, what === 'done')
          check()
        }
        for (let round = 0; waiting.size > 0 && round < 50; round++) {
          nowMs += 100
          waiting.settle(nowMs)
          take()
          finish(0, true)
          check()
        }
        expect(waiting.cursor(readTo)).toBe(readTo)
        expect(places.size).toBe(0)
      }),
      { numRuns: 300 },
    )
  })
})

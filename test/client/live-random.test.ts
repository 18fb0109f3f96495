/**
 * A live query whose stream is cut anywhere, by a server that sometimes forgets what it sent and sometimes says what cannot be:
 * whatever happens on the way, the client ends with the rows that there are, and is live.
 */
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createClientIn } from '../../client/create-client.ts'
import { browserOrNode } from '../../client/environment.ts'
import type { LiveEvent, LiveRow, PlacedRow } from '../../core/protocol/query.ts'
import { difference, type KeyedRow } from '../../server/views/live/difference.ts'
import { until } from '../support/wait.ts'
import { stream, ViewsServer } from './views-server.ts'

type Result = readonly (readonly [key: number, value: number])[]
interface Step {
  readonly result: Result
  readonly next: 'go on' | 'cut' | 'forget and cut' | 'say what does not fit' | 'wait'
}

const result = fc.uniqueArray(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 2 })), {
  selector: ([key]) => key,
  maxLength: 10,
})
const step: fc.Arbitrary<Step> = fc.record({
  result,
  next: fc.constantFrom('go on', 'cut', 'forget and cut', 'say what does not fit', 'wait'),
})

const server = new ViewsServer()
beforeAll(() => server.start())
afterAll(() => server.stop())

const keyed = (rows: Result): KeyedRow[] =>
  rows.map(([key, value]) => ({ key: `k${key}`, text: JSON.stringify({ key, value }) }))
const told = ({ key, text }: KeyedRow): LiveRow => ({ key, row: JSON.parse(text) })

/** What a server would say to whoever has `old` (null: nothing), when there is `now`. */
function eventOf(old: Result | null, now: Result): LiveEvent {
  if (old === null) return { event: 'rows', data: { columns: [], rows: keyed(now).map(told) } }
  const { added, changed, removed } = difference(keyed(old), keyed(now))
  const placed = (rows: typeof added): PlacedRow[] => rows.map(({ row, at }) => ({ ...told(row), at }))
  return { event: 'change', data: { added: placed(added), changed: placed(changed), removed } }
}

test('the rows are right in the end, whatever was cut, forgotten or wrong on the way', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
      let now: Result = []
      let name = 0
      let results = new Map<string, Result>()
      const door: { open: ReturnType<typeof stream> | null } = { open: null }
      let has: string | null = null
      const say = (): void => {
        if (door.open === null || (has !== null && results.get(has) === now)) return
        const id = `${++name}`
        results.set(id, now)
        door.open.say({ ...eventOf(has === null ? null : (results.get(has) ?? null), now), id })
        has = id
      }
      server.answers = [
        (asked, response) => {
          const events = stream()
          const given = asked.headers['last-event-id']
          has = typeof given === 'string' && results.has(given) ? given : null
          events.answer(asked, response)
          door.open = events
          say()
        },
      ]
      const own = browserOrNode(undefined)
      const client = createClientIn(
        { ...own, random: () => 0.1, after: (delayMs, then) => own.after(delayMs / 50, then) },
        { url: server.url, storage: 'memory' },
      )
      const live = await client.live<{ key: number; value: number }>('select')
      for (const { result, next } of steps) {
        now = result
        say()
        if (next === 'wait') await until('it is heard', () => live.state === 'live')
        if (next === 'forget and cut') results = new Map()
        if (next === 'say what does not fit')
          door.open?.say({
            event: 'change',
            data: { added: [], changed: [], removed: ['none'] },
            id: 'wrong',
          })
        if (next.endsWith('cut')) {
          door.open?.end()
          door.open = null
          has = null
        }
        await turn()
      }
      const rows = (): string => live.rows.map(({ key, value }) => `${key}:${value}`).join()
      const expected = now.map(([key, value]) => `${key}:${value}`).join()
      await until(`rows ${expected}`, () => live.state === 'live' && rows() === expected).catch(
        (error: Error) => expect.fail(`${error.message}; there are ${rows()}, ${live.state}`),
      )
      await client.close()
    }),
    // Shrinking would wait for each smaller failure.
    { numRuns: 60, endOnFailure: true },
  )
})

/**
 * Who shares runs, when they happen, and what each listener is sent, over a database that is a list of rows: the hub's own
 * promises, in many more orders than a real one would show.
 */
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { TidemarkError } from '../../../core/protocol/errors.ts'
import type { QueryRow } from '../../../core/protocol/query.ts'
import { until } from '../../support/wait.ts'
import { Reader, World } from './live-world.ts'

afterEach(() => {
  for (const { hub } of World.all.splice(0)) hub.close()
})
/** Until nothing more would happen by itself. */
const settled = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await new Promise((done) => setTimeout(done, 3))
}

test('500 listeners of one query cost one run, and one more for a change of a table that it reads', async () => {
  const world = new World()
  world.write(['a', 'b'])
  const readers = Array.from({ length: 500 }, (_, i) => world.open(i))
  await until('all have it', () => readers.every(({ rows }) => rows?.length === 2))
  expect(world.runs).toBe(1)
  world.ready(...readers.keys())
  world.write(['a', 'c'], 'another')
  await settled()
  expect(world.runs).toBe(1)
  world.touch()
  await until('all have the change', () => readers.every(({ values }) => values?.[1] === 'c'))
  expect(world.runs).toBe(2)
  expect(world.hub.runs).toBe(2)
  expect(readers[7]?.events).toEqual(['rows', 'change'])
})

test('other rights, parameters or keys are other queries', async () => {
  const world = new World()
  world.write(['a'])
  world.open(1, { rights: 'ann' })
  world.open(2, { rights: 'bob' })
  world.open(3, { rights: 'ann', key: ['value'] })
  await until('all', () => [...world.readers.values()].every(({ rows }) => rows !== null))
  expect(world.runs).toBe(3)
  expect(world.hub.size).toBe(3)
  world.hub.leave(1)
  world.hub.leave(2)
  expect(world.hub.size).toBe(1)
})

test('what is touched while a query runs makes it run once more, however often', async () => {
  const world = new World()
  world.write(['a'])
  let open: () => void = () => undefined
  world.gate = new Promise((done) => {
    open = done
  })
  const reader = world.open(1)
  await until('it runs', () => world.runs === 1)
  for (let i = 0; i < 100; i++) world.write([`b${i}`])
  open()
  await until('the first', () => reader.rows !== null)
  world.ready(1)
  await until('the last', () => reader.values?.[0] === 'b99')
  await settled()
  expect(world.runs).toBe(2)
})

test('what it reads is asked again when tables are replaced, also while that is being asked', async () => {
  const world = new World()
  world.write(['a'])
  const answers: ((tables: ReadonlySet<string>) => void)[] = []
  world.dependenciesOf = () => new Promise((answer) => answers.push(answer))
  const reader = world.open(1)
  await until('it is asked', () => answers.length === 1)
  world.hub.touched([{ schema: 's', table: null }])
  answers[0]?.(new Set(['s.old']))
  await until('it is asked again', () => answers.length === 2)
  answers[1]?.(new Set(['s.new']))
  await until('the rows', () => reader.rows !== null)
  world.ready(1)
  await settled()
  world.write(['b'], 'old')
  await settled()
  expect(reader.values).toEqual(['a'])
  world.touch('new')
  await until('the change', () => reader.values?.[0] === 'b')
})

test('no more than so many run at once, and all get their turn', async () => {
  const world = new World({ runsMax: 3 })
  world.write(['a'])
  world.gate = new Promise((done) => setTimeout(done, 5))
  const readers = Array.from({ length: 30 }, (_, i) => world.open(i, { rights: String(i) }))
  await until('all', () => readers.every(({ rows }) => rows !== null))
  expect(world.atOnceMax).toBe(3)
})

test('who is slow is sent one event, and later what lies between what it has and what there is', async () => {
  const world = new World()
  world.write(['a', 'b', 'c'])
  const slow = world.open(1)
  await until('the rows', () => slow.rows !== null)
  for (const value of ['x', 'y', 'z']) {
    world.write(['a', value, 'c'])
    await settled()
  }
  expect(slow.events).toEqual(['rows'])
  world.ready(1)
  expect(slow.events).toEqual(['rows', 'change'])
  expect(slow.values).toEqual(['a', 'z', 'c'])
})

describe('who comes back', () => {
  const twoResults = async (world: World): Promise<{ old: Reader; now: Reader }> => {
    world.write(['a', 'b'])
    const old = world.open(1)
    await until('the rows', () => old.rows !== null)
    world.write(['a', 'c'])
    const now = world.open(2)
    await until('the change', () => now.values?.[1] === 'c')
    return { old, now }
  }
  test.each(['while others listen', 'after everybody left'])('%s', async (when) => {
    const world = new World()
    const { old, now } = await twoResults(world)
    if (when === 'after everybody left') for (const number of [1, 2]) world.hub.leave(number)
    const same = world.open(3, {}, now.id)
    await until('it is told', () => same.current)
    const behind = new Reader()
    behind.rows = old.rows
    world.readers.set(4, behind)
    world.open(4, {}, old.id)
    await until('the change', () => behind.events.length > 0)
    expect(behind.events).toEqual(['change'])
    expect(behind.values).toEqual(['a', 'c'])
    const lost = world.open(5, {}, 'something')
    await until('the rows', () => lost.rows !== null)
    expect(lost.events).toEqual(['rows'])
    expect(same.events).toEqual([])
  })

  test('too late, or after too much, gets all rows', async () => {
    for (const limits of [{ keepMs: 0 }, { keptBytesMax: 10 }]) {
      const world = new World(limits)
      const { old } = await twoResults(world)
      const reader = world.open(3, {}, old.id)
      await until('the rows', () => reader.rows !== null)
      expect(reader.events).toEqual(['rows'])
    }
  })

  test('with the name of what others may see gets nothing of it', async () => {
    const world = new World()
    const { old } = await twoResults(world)
    const reader = world.open(3, { rights: 'nobody' }, old.id)
    await until('the rows', () => reader.rows !== null)
    expect(reader.events).toEqual(['rows'])
    // The same user with another token is told what lies between.
    const same = world.readers.get(1)!
    world.hub.leave(1)
    same.ready = true
    world.open(1, { rights: 'all, and more' }, old.id)
    await until('the change', () => same.values?.[1] === 'c')
    expect(same.events).toEqual(['rows', 'change'])
  })
})

test('other rights: the listener goes on with what they show', async () => {
  const world = new World()
  world.write(['a', 'b'])
  const reader = world.open(1, { rights: 'ann' })
  await until('the rows', () => reader.rows !== null)
  world.ready(1)
  world.open(1, { rights: 'ann' })
  await settled()
  expect(world.runs).toBe(1)
  world.rows = world.rows.slice(0, 1)
  world.open(1, { rights: 'ann, who sees less now' })
  await until('less', () => reader.rows?.length === 1)
  expect(reader.events).toEqual(['rows', 'change'])
  expect(world.hub.size).toBe(1)
})

describe('a run that fails', () => {
  const retryable = new TidemarkError('views_unavailable', 'It is away')
  const final = new TidemarkError('forbidden', 'No')

  test('ends it when a retry would not help', async () => {
    const world = new World()
    world.write(['a'])
    const reader = world.open(1)
    await until('the rows', () => reader.rows !== null)
    world.failure = final
    world.touch()
    await until('it ends', () => reader.ended !== null)
    expect(reader.ended).toEqual({ code: 'forbidden', message: 'No' })
    expect(world.hub.size).toBe(0)
  })

  test('is tried again while the database is away; who came meanwhile is told', async () => {
    const world = new World({ failuresMax: 2 })
    world.write(['a'])
    const reader = world.open(1)
    await until('the rows', () => reader.rows !== null)
    world.ready(1)
    world.failure = retryable
    world.write(['b'])
    await until('it tries', () => world.runs > 5)
    const late = world.open(2)
    await until('it is told', () => late.ended?.code === 'views_unavailable')
    world.failure = null
    world.hub.touched(null)
    await until('the change', () => reader.values?.[0] === 'b')
    expect(reader.ended).toBe(null)
  })

  test('is tried again while others are in the way, and nobody is told', async () => {
    const world = new World({ failuresMax: 2 })
    world.write(['a'])
    world.failure = new TidemarkError('rate_limited', 'Too many')
    const reader = world.open(1)
    await until('it tries', () => world.runs > 5)
    world.failure = null
    await until('the rows', () => reader.rows !== null)
    expect(reader.ended).toBe(null)
  })

  test('that takes too long ends it at once, unless it was fast enough before', async () => {
    const world = new World({ failuresMax: 1_000 })
    const [first, second] = [world.open(1), new Reader()]
    await until('the rows', () => first.rows !== null)
    world.ready(1)
    world.failure = new TidemarkError('query_timeout', 'Too slow')
    world.readers.set(2, second)
    world.open(2, { rights: 'other' })
    await until('it ends', () => second.ended?.code === 'query_timeout')
    world.write(['b'])
    await until('it tries again', () => world.runs >= 4)
    world.failure = null
    await until('the rows', () => first.values?.[0] === 'b')
  })

  test('ends it after some times when something else is wrong', async () => {
    const world = new World({ failuresMax: 2 })
    const reader = world.open(1)
    await until('the rows', () => reader.rows !== null)
    world.failure = new TidemarkError('internal', 'Broken')
    world.touch()
    await until('it ends', () => reader.ended?.code === 'internal')
    expect(world.runs).toBe(4)
  })
})

test('results that would fill the memory end their query', async () => {
  const world = new World({ resultBytesMax: 10_000 })
  world.write(['small'])
  const small = world.open(1, { rights: 'small' })
  await until('the rows', () => small.rows !== null)
  world.rows = [{ value: 'x'.repeat(10_000) }]
  const large = world.open(2, { rights: 'large' })
  await until('it ends', () => large.ended !== null)
  expect(large.ended?.code).toBe('overloaded')
  expect(small.ended).toBe(null)
  world.rows = []
  const again = world.open(3, { rights: 'large' })
  await until('there is room again', () => again.rows !== null)
})

test('rows have the keys that were asked for, or document and entry, or their own; equal ones are numbered', async () => {
  const world = new World()
  const keys = async (number: number, rows: QueryRow[], key?: readonly string[]): Promise<unknown> => {
    world.rows = rows
    const reader = world.open(number, { rights: String(number), ...(key && { key }) })
    await until('the rows', () => reader.rows !== null || reader.ended !== null)
    return reader.ended ?? reader.rows?.map((row) => row.key)
  }
  const [a, b] = [
    { document: 'a', n: 1 },
    { document: 'b', n: 1 },
  ] as const
  expect(await keys(1, [a, b])).toEqual(['["a"]', '["b"]'])
  expect(await keys(2, [a, b], ['n'])).toEqual(['[1]', '[1]#1'])
  const own = (await keys(3, [a, a, { document: 'a', n: 2 }])) as string[]
  expect(new Set(own).size).toBe(3)
  expect(own[1]).toBe(`${own[0]}#1`)
  expect(await keys(4, [{ n: 1 }, { n: 2 }])).toHaveLength(2)
  expect(await keys(5, [a], ['nothing'])).toMatchObject({ code: 'invalid_request' })
})

test('whatever happens in whatever order, whoever is ready ends with the rows that there are', async () => {
  const step = fc.oneof(
    fc.record({
      do: fc.constant('write' as const),
      values: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 6 }),
    }),
    fc.record({
      do: fc.constantFrom('open' as const, 'leave' as const, 'ready' as const),
      number: fc.integer({ min: 0, max: 4 }),
    }),
    fc.record({ do: fc.constant('return' as const), number: fc.integer({ min: 0, max: 4 }) }),
    fc.record({ do: fc.constant('fail' as const), fails: fc.boolean() }),
    fc.record({ do: fc.constant('wait' as const) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const world = new World({ keptBytesMax: 2_000 })
      const { readers } = world
      for (const one of steps) {
        if (one.do === 'write') world.write(one.values)
        else if (one.do === 'fail')
          world.failure = one.fails ? new TidemarkError('views_unavailable', 'away') : null
        else if (one.do === 'wait') await new Promise((done) => setTimeout(done, 2))
        else {
          const reader = readers.get(one.number)
          const isOpen = reader !== undefined && reader.ended === null
          if (one.do === 'open' && !isOpen) {
            readers.delete(one.number)
            world.open(one.number)
          } else if (one.do === 'ready' && isOpen && !reader.ready) world.ready(one.number)
          else if (one.do === 'leave' && isOpen) {
            world.hub.leave(one.number)
            readers.delete(one.number)
          } else if (one.do === 'return' && isOpen && reader.id !== null) {
            // Its connection breaks; it comes back with the name of what it has.
            world.hub.leave(one.number)
            reader.ready = true
            world.open(one.number, {}, reader.id)
          }
        }
      }
      world.failure = null
      world.hub.touched(null)
      await until('all have what there is', () => {
        for (const [number, reader] of readers)
          if (!reader.ready && reader.ended === null) world.ready(number)
        return [...readers.values()].every(
          (reader) =>
            reader.ended !== null ||
            JSON.stringify(reader.rows?.map(({ row }) => row)) === JSON.stringify(world.rows),
        )
      })
    }),
    { numRuns: 60 },
  )
})

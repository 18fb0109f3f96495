/** Deadlines that come, whatever is collected meanwhile. */
import { getEventListeners } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { withDeadline } from '../../server/deadline.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const untilAborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

test('time is up, also when memory is collected while somebody waits', async () => {
  const other = new AbortController()
  const waiting = Array.from({ length: 50 }, () => withDeadline(200, other.signal, untilAborted))
  const ended = Promise.allSettled(waiting)
  for (let i = 0; i < 10; i++) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  for (const one of await ended) expect(one).toMatchObject({ reason: { name: 'TimeoutError' } })
})

test('the other signal ends it, before and after it began', async () => {
  const other = new AbortController()
  const waiting = withDeadline(60_000, other.signal, untilAborted)
  other.abort(new Error('closed'))
  await expect(waiting).rejects.toThrow('closed')
  await withDeadline(60_000, other.signal, async (signal) => expect(signal.aborted).toBe(true))
})

test('what has ended leaves nothing behind', async () => {
  const other = new AbortController()
  const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
  const before = timers()
  for (let i = 0; i < 100; i++) {
    expect(await withDeadline(60_000, other.signal, async () => 7)).toBe(7)
    await expect(withDeadline(60_000, other.signal, () => Promise.reject(new Error('no')))).rejects.toThrow(
      'no',
    )
  }
  expect(getEventListeners(other.signal, 'abort')).toEqual([])
  // The runner has a few of its own, which come and go.
  expect(timers()).toBeLessThan(before + 50)
})

/** Tabs and actors; locks as browsers have them are in Node's own `navigator.locks` only from 24, so they are made here. */
import { expect, test } from 'vitest'
import { type ActorPlace, acquireActor } from '../../../client/domain/actor.ts'
import { isActor } from '../../../core/domain/facts/fact.ts'

/** As the Web Locks API says it, of the part that is used. */
function browser(): ActorPlace & { readonly stored: Map<string, string> } {
  const held = new Set<string>()
  const stored = new Map<string, string>()
  const request = async (
    name: string,
    _options: unknown,
    callback: (lock: unknown) => unknown,
  ): Promise<void> => {
    if (held.has(name)) return void (await callback(null))
    held.add(name)
    try {
      await callback({ name, mode: 'exclusive' })
    } finally {
      held.delete(name)
    }
  }
  return {
    stored,
    locks: { request } as unknown as NonNullable<ActorPlace['locks']>,
    storage: {
      getItem: (name) => stored.get(name) ?? null,
      setItem: (name, value) => void stored.set(name, value),
    },
  }
}

test('tabs are different actors, and a device that comes back is the one it was', async () => {
  const place = browser()
  const first = await acquireActor('ann', place)
  const second = await acquireActor('ann', place)
  expect(isActor(first.actor) && isActor(second.actor)).toBe(true)
  expect(second.actor).not.toBe(first.actor)
  first.release()
  // The lock is let go of a moment later.
  await new Promise((resolve) => setImmediate(resolve))
  expect((await acquireActor('ann', place)).actor).toBe(first.actor)
  expect((await acquireActor('ann', place)).actor).not.toBe(second.actor)
})

test('users do not share actors', async () => {
  const place = browser()
  const ann = await acquireActor('ann', place)
  ann.release()
  await new Promise((resolve) => setImmediate(resolve))
  expect((await acquireActor('ben', place)).actor).not.toBe(ann.actor)
})

test.each([
  ['without locks', () => ({ storage: browser().storage! })],
  ['without storage', () => ({ locks: browser().locks! })],
  [
    'with locks that are forbidden',
    () => ({ ...browser(), locks: { request: () => Promise.reject(new Error('forbidden')) } as never }),
  ],
  [
    'with storage that is full',
    () => ({
      ...browser(),
      storage: {
        getItem: () => 'no json',
        setItem: () => {
          throw new Error('full')
        },
      },
    }),
  ],
])('%s there is an actor all the same', async (_what, place) => {
  const actors = await Promise.all([acquireActor('ann', place()), acquireActor('ann', place())])
  expect(actors.every(({ actor }) => isActor(actor))).toBe(true)
})

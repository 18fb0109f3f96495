import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Offset, toOffset } from '../../../../core/offset.ts'
import type { Entry } from '../../../../server/log/log.ts'
import { Feed, feedLimits } from '../../../../server/log/redis/feed.ts'
import { entryOf, RecordingFollower } from '../../../contract/log-model.ts'

const stored: Entry[] = Array.from({ length: 60 }, (_, i) => ({
  ...entryOf(`u${i + 1}`),
  offset: toOffset(i + 1),
}))
const range = (first: number, last: number) => stored.slice(first - 1, last)
const limits = { ...feedLimits, gapGraceMs: 0, earlyEntriesMax: 8 }

/** A feed whose repair reads `stored` up to `head()`, as a stream would be read. */
function feedOver(head: () => number): Feed {
  const feed = new Feed(limits, () => {
    feed.repairing = true
    setImmediate(() => {
      feed.repairing = false
      if (feed.head !== null) feed.offer(range(feed.head + 1, head()))
    })
  })
  return feed
}

async function join(feed: Feed, after: number, head: () => number): Promise<RecordingFollower> {
  const follower = new RecordingFollower(after)
  const following = feed.add(follower, toOffset(after))
  while (following.state === 'joining') {
    const until = head()
    await new Promise(setImmediate)
    following.deliver(range(following.position + 1, until))
    feed.meet(following)
  }
  return follower
}

describe('a feed', () => {
  it('delivers every entry once and in order, whatever arrives twice, early, late, overlapping or not at all', async () => {
    const arrival = fc.record({
      // How many entries the log grows by, and which of its last ones the channel delivers.
      grows: fc.nat(3),
      back: fc.nat(6),
      count: fc.integer({ min: 1, max: 5 }),
      lost: fc.boolean(),
      joins: fc.integer({ min: 0, max: 9 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(arrival, { minLength: 1, maxLength: 18 }), async (arrivals) => {
        let head = 0
        const feed = feedOver(() => head)
        const followers = [await join(feed, 0, () => head)]
        const joining: Promise<RecordingFollower>[] = []
        for (const { grows, back, count, lost, joins } of arrivals) {
          head = Math.min(stored.length, head + grows)
          const first = Math.max(1, head - back)
          if (!lost) feed.offer(range(first, Math.min(head, first + count - 1)))
          if (joins === 0) joining.push(join(feed, Math.max(0, head - back), () => head))
          if (joins === 1) await new Promise(setImmediate)
        }
        feed.noticeHead(head as Offset)
        followers.push(...(await Promise.all(joining)))
        for (const follower of followers) await follower.reaches(head)
        for (const follower of followers)
          expect(follower.entries.map(({ offset }) => offset)).toEqual(
            range(follower.after + 1, head).map(({ offset }) => offset),
          )
        feed.end()
      }),
      { numRuns: 150 },
    )
  })

  it('keeps no more early entries than its bound, and reads the rest', async () => {
    let head = 0
    const feed = feedOver(() => head)
    const follower = await join(feed, 0, () => head)
    head = 60
    for (let offset = 60; offset > 1; offset--) feed.offer(range(offset, offset))
    expect(follower.position).toBe(0)
    await follower.reaches(60)
    feed.end()
  })

  it('hands all followers the very same entries', async () => {
    const feed = feedOver(() => 3)
    const [one, two] = [await join(feed, 0, () => 0), await join(feed, 0, () => 0)]
    feed.offer(range(1, 3))
    expect(one.entries[0]).toBe(two.entries[0])
    expect(one.entries[0]).toBe(stored[0])
    feed.end()
  })
})

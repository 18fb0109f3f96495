/**
 * Whatever peers do, in whatever order: when they are all connected and nobody writes, all have the same, a newcomer too, and the
 * conversation ends.
 */
import { randomBytes } from 'node:crypto'
import * as Automerge from '@automerge/automerge'
import { generateAutomergeUrl, parseAutomergeUrl } from '@automerge/automerge-repo/slim'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { until } from '../../support/wait.ts'
import { type ServerUnderTest, startServer } from './server-under-test.ts'
import { SyncPeer } from './sync-peer.ts'

let server: ServerUnderTest

beforeAll(async () => {
  server = await startServer({
    ROOM_LINGER_MS: '0',
    SESSION_BUFFER_BYTES_MAX: '65536',
  })
})
afterAll(() => server.close())

type Step =
  | { readonly kind: 'write'; readonly peer: number; readonly times: number; readonly bytes: number }
  | { readonly kind: 'leave' | 'pause'; readonly peer: number }
  | { readonly kind: 'connect'; readonly peer: number; readonly remembers: boolean }
  | { readonly kind: 'restore'; readonly peer: number; readonly from: number }

const peerCount = 3
const peer = fc.nat(peerCount - 1)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      peer,
      times: fc.integer({ min: 1, max: 5 }),
      bytes: fc.constantFrom(3, 3, 3, 20_000),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('connect' as const), peer, remembers: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restore' as const), peer, from: peer }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('leave' as const, 'pause' as const), peer }) },
)

test('peers that write, leave, come back and forget all end with the same', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
      const { documentId } = parseAutomergeUrl(generateAutomergeUrl())
      const peers = Array.from(
        { length: peerCount },
        (_, i) => new SyncPeer(server.url, `peer-${i}`, documentId),
      )
      let written = 0
      const newcomer = new SyncPeer(server.url, 'newcomer', documentId)
      try {
        for (const one of steps) {
          const acting = peers[one.peer]!
          if (one.kind === 'write')
            for (let i = 0; i < one.times; i++) acting.write(`key${written++ % 7}`, randomBytes(one.bytes))
          else if (one.kind === 'leave') acting.leave()
          else if (one.kind === 'connect') acting.connect(one.remembers)
          else if (one.kind === 'restore') acting.restore(peers[one.from]!)
          else await new Promise((resolve) => setTimeout(resolve, 3))
        }
        if (written === 0) return
        for (const one of peers) one.connect(true)
        await agree(peers)
        if (Automerge.getHeads(peers[0]!.doc).length === 0) return
        newcomer.connect(false)
        await agree([...peers, newcomer])
        await quiet([...peers, newcomer])
        expect([...peers, newcomer].flatMap(({ errors }) => errors)).toEqual([])
      } finally {
        for (const one of [...peers, newcomer]) one.leave()
      }
    }),
    { numRuns: 15, endOnFailure: true },
  )
})

const agree = (peers: readonly SyncPeer[]): Promise<void> =>
  until('all have the same', () => {
    const heads = new Set(peers.map(({ doc }) => Automerge.getHeads(doc).join()))
    return heads.size === 1 && peers.every(({ connected }) => connected)
  }).catch((error: unknown) => {
    throw new Error(JSON.stringify(peers.map((one) => one.report())), { cause: error })
  })

/** Nobody says anything any more. */
async function quiet(peers: readonly SyncPeer[]): Promise<void> {
  let before = -1
  await until(
    'quiet',
    async () => {
      await new Promise((resolve) => setTimeout(resolve, 20))
      const now = peers.reduce((sum, { received }) => sum + received, 0)
      const same = now === before
      before = now
      return same
    },
    5_000,
  )
}

/**
 * The convergence benchmark in short: a few histories of each kind against real relays, and every history that has gone wrong
 * before. `npm run bench:convergence` plays more of them, with more that can break; docs/convergence.md explains it.
 *
 * SEED and RUNS play others.
 */
import { describe, expect, test } from 'vitest'
import { campaign, replay } from '../../bench/convergence/campaign.ts'
import { saved } from '../../bench/convergence/regressions.ts'

const seed = Number(process.env['SEED'] ?? 17)
const runsMax = Number(process.env['RUNS'] ?? 2)

describe(`histories from seed ${seed}`, () => {
  test.each(['embedded', 'redis'] as const)(
    '%s: replicas converge, and nothing promised is lost',
    {
      timeout: 300_000,
    },
    async (world) => {
      const { done, failed } = await campaign({
        seed,
        runsMax,
        msMax: 120_000,
        worlds: [world],
        profiles: ['mobile', 'hostile'],
        engines: world === 'embedded' ? ['yjs', 'automerge'] : ['automerge', 'yjs'],
        shrinkMsMax: 60_000,
      })
      if (failed !== null) throw new Error(`seed ${failed.seed}: ${failed.why}\n${failed.timeline}`)
      const promised = done.reduce((sum, { outcome }) => sum + outcome.promised, 0)
      expect(promised, 'edits that were promised').toBeGreaterThan(runsMax * 10)
    },
  )
})

test('what has gone wrong before goes well', { timeout: 300_000 }, async () => {
  for (const { name, world, profile, history } of saved())
    await replay(world, profile, history).catch((error: unknown) => {
      throw new Error(`${name}: ${String(error)}\n${String((error as { timeline?: unknown }).timeline)}`)
    })
})

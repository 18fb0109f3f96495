/**
 * The convergence benchmark in short: a few histories of each kind against real relays, and every history that has gone wrong
 * before. `npm run bench:convergence` plays more of them, with more that can break; docs/convergence.md explains it.
 *
 * SEED and RUNS play others.
 */
import { describe, expect, test } from 'vitest'
import { campaign } from '../../bench/convergence/campaign.ts'
import { profiles } from '../../bench/convergence/profiles.ts'
import { type Regression, saved } from '../../bench/convergence/regressions.ts'
import { run } from '../../bench/convergence/run.ts'
import { startWorld, type World } from '../../bench/convergence/world.ts'

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
  const all = saved()
  for (const name of new Set(all.map(({ world }) => world))) {
    const world = await startWorld(name)
    try {
      for (const regression of all.filter((each) => each.world === name)) await play(world, regression)
    } finally {
      await world.close()
    }
  }
})

async function play(world: World, { name, profile, history }: Regression): Promise<void> {
  await run(world, profiles[profile], history).catch((error: unknown) => {
    throw new Error(`${name}: ${String(error)}\n${String((error as { timeline?: unknown }).timeline)}`)
  })
}

/**
 * Many histories, one after the other: each from a seed of its own, over all worlds and profiles in turn. The first that goes wrong
 * is shrunk, as far as `shrinkMsMax` allows: what goes wrong depends on when, so a shorter history counts when it goes wrong too.
 */
import fc from 'fast-check'
import type { EngineName } from './clients/engine.ts'
import type { Outcome } from './ending.ts'
import { type History, histories } from './history.ts'
import { type ProfileName, profiles } from './profiles.ts'
import { run } from './run.ts'
import type { Timeline } from './timeline.ts'
import { startWorld, type World, type WorldName } from './world.ts'

export interface Plan {
  readonly seed: number
  /** Either ends it. */
  readonly runsMax: number
  readonly msMax: number
  readonly worlds: readonly WorldName[]
  readonly profiles: readonly ProfileName[]
  readonly engines: readonly EngineName[]
  readonly shrinkMsMax: number
  /** Told of each history that goes wrong, as it was, after which the next one is played; absent: the first one ends it. */
  onFailed?(failed: Failed): void
  /** Told after each history. */
  onRun?(done: Done): void
}

export interface Done {
  readonly world: WorldName
  readonly profile: ProfileName
  readonly engine: EngineName
  readonly seed: number
  readonly tookMs: number
  readonly outcome: Outcome
}

export interface Failed {
  readonly world: WorldName
  readonly profile: ProfileName
  readonly engine: EngineName
  readonly seed: number
  /** How many histories there were, this one included. */
  readonly runs: number
  readonly tookMs: number
  readonly why: string
  readonly timeline: string
  readonly history: History
  readonly shrunkFrom: number
}

/** Histories of a world before a new one is started. */
const perWorld = 25

export async function campaign(plan: Plan): Promise<{ done: Done[]; failed: Failed | null }> {
  const startedMs = performance.now()
  const done: Done[] = []
  let open: World | null = null
  let uses = 0
  const worldOf = async (name: WorldName): Promise<World> => {
    if (open !== null && open.name === name && uses < perWorld) {
      uses++
      return open
    }
    await open?.close()
    open = null
    open = await startWorld(name)
    uses = 1
    return open
  }
  const stop = async (): Promise<void> => {
    await open?.close()
    open = null
  }
  try {
    for (let i = 0; i < plan.runsMax && performance.now() - startedMs < plan.msMax; i++) {
      const seed = plan.seed + i
      const world = plan.worlds[Math.floor(i / plan.profiles.length / blocks) % plan.worlds.length]!
      const profile = plan.profiles[i % plan.profiles.length]!
      const engine = plan.engines[(i + Math.floor(i / plan.profiles.length)) % plan.engines.length]!
      const beganMs = performance.now()
      const arbitrary = histories(profiles[profile], engine)
      const history = historyOf(arbitrary, seed)
      try {
        const outcome = await run(await worldOf(world), profiles[profile], history)
        done.push({ world, profile, engine, seed, tookMs: performance.now() - beganMs, outcome })
        plan.onRun?.(done.at(-1)!)
      } catch (error) {
        await stop()
        const tookMs = performance.now() - startedMs
        const first = {
          world,
          profile,
          engine,
          seed,
          runs: i + 1,
          tookMs,
          why: String(error),
          timeline: said(error),
          history,
          shrunkFrom: history.steps.length,
        }
        if (plan.onFailed === undefined) return { done, failed: await shrunk(first, plan.shrinkMsMax) }
        plan.onFailed(first)
      }
    }
    return { done, failed: null }
  } finally {
    await stop()
  }
}

/** Histories of one world in a row and profile: a world takes seconds to start. */
const blocks = 3

export function historyOf(arbitrary: fc.Arbitrary<History>, seed: number): History {
  return fc.sample(arbitrary, { seed, numRuns: 1, unbiased: true })[0]!
}

/** Plays one history in a world of its own; throws as `run` does. */
export async function replay(name: WorldName, profile: ProfileName, history: History): Promise<Outcome> {
  const world = await startWorld(name)
  try {
    return await run(world, profiles[profile], history)
  } finally {
    await world.close()
  }
}

/** Of a history that may go wrong now and then only. */
const attemptsMax = 3

async function shrunk(first: Failed, shrinkMsMax: number): Promise<Failed> {
  if (shrinkMsMax === 0) return first
  let least = first
  const deadline = performance.now() + shrinkMsMax
  const property = fc.asyncProperty(histories(profiles[first.profile], first.engine), async (history) => {
    if (performance.now() > deadline) return
    for (let attempt = 0; attempt < attemptsMax; attempt++)
      try {
        await replay(first.world, first.profile, history)
      } catch (error) {
        if (history.steps.length <= least.history.steps.length)
          least = { ...first, why: String(error), timeline: said(error), history }
        throw error
      }
  })
  await fc.check(property, {
    seed: first.seed,
    numRuns: 1,
    unbiased: true,
    interruptAfterTimeLimit: shrinkMsMax,
  })
  return least
}

function said(error: unknown): string {
  return String((error as { timeline?: Timeline }).timeline ?? '')
}

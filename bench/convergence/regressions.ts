/** Histories that went wrong once, by name. `npm test` plays them. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { Failed } from './campaign.ts'
import type { History } from './history.ts'
import type { ProfileName } from './profiles.ts'
import { root } from './program.ts'
import type { WorldName } from './world.ts'

export interface Regression {
  readonly name: string
  /** What was wrong. */
  readonly why: string
  readonly world: WorldName
  readonly profile: ProfileName
  readonly seed: number
  readonly history: History
}

export const regressionsFolder = join(root, 'bench/convergence/regressions')

/** Gives its path. Rename it to what it is about once that is known. */
export function save({ world, profile, seed, why, history }: Failed): string {
  const name = `${world}-${profile}-${seed}`
  const regression: Regression = { name, why: why.slice(0, 500), world, profile, seed, history }
  mkdirSync(regressionsFolder, { recursive: true })
  const path = join(regressionsFolder, `${name}.json`)
  writeFileSync(path, `${JSON.stringify(regression, null, 2)}\n`)
  return relative(process.cwd(), path)
}

export function saved(): Regression[] {
  if (!existsSync(regressionsFolder)) return []
  return readdirSync(regressionsFolder)
    .filter((name) => name.endsWith('.json'))
    .map((name) => JSON.parse(readFileSync(join(regressionsFolder, name), 'utf8')) as Regression)
}

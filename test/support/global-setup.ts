import { spawnSync } from 'node:child_process'
import { seed, seedVariable } from './seed.ts'

/**
 * Runs once before all tests. One seed for all of them: see seed.ts. Worker threads and spawned servers run dist/, so it must match
 * the sources under test. Type errors do not stop the tests: `npm test` reports them in its own stage.
 */
export function setup(): void {
  process.env[seedVariable] = String(seed)
  console.log(`${seedVariable}=${seed}`)
  const { status, error } = spawnSync(process.execPath, ['scripts/build.mjs'], { encoding: 'utf8' })
  if (error !== undefined) throw error
  if (status !== 0) console.warn('dist/ was built from sources that have type errors')
}

/**
 * `npm run bench:convergence -- [--minutes 5] [--runs n] [--seed n] [--profile office,mobile] [--world embedded,redis]
 *   [--engine yjs,automerge]`
 *
 * Plays histories until the time is over or one goes wrong. Then it prints the seed and a timeline, saves the shortest history
 * that still goes wrong as regressions/<name>.json, and ends with 1. docs/convergence.md says what is checked, and how to read it.
 *
 *   --replay file   plays a saved history again, `--runs` times
 *   --mutants       breaks the product in known ways, in copies, and demands that each is noticed
 *   --verbose       prints timelines while they grow
 *   --keep-going    goes on with the next history when one goes wrong
 *   --no-shrink     leaves the first history that goes wrong as it is
 *   --report        writes results and charts to docs/convergence/ as well, and what they come to into docs/convergence.md
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { writePart } from '../harness/page.ts'
import { campaign, type Done, type Failed, replay } from './campaign.ts'
import { engineNames } from './clients/index.ts'
import { catchMutants } from './mutants.ts'
import { partOf, writeCharts } from './page.ts'
import { profileNames } from './profiles.ts'
import { root } from './program.ts'
import { type Regression, save } from './regressions.ts'
import { reportOf } from './report.ts'
import { Timeline } from './timeline.ts'
import { worldNames } from './world.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string' },
    runs: { type: 'string' },
    seed: { type: 'string' },
    profile: { type: 'string' },
    world: { type: 'string' },
    engine: { type: 'string' },
    replay: { type: 'string' },
    mutants: { type: 'boolean', default: false },
    mutant: { type: 'string' },
    report: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
    'keep-going': { type: 'boolean', default: false },
    'no-shrink': { type: 'boolean', default: false },
  },
})

function fail(why: string): never {
  process.stderr.write(`${why}\n`)
  process.exit(2)
}

function number(name: 'minutes' | 'runs' | 'seed', fallback: number): number {
  const value = Number(values[name] ?? fallback)
  return value >= 0 ? value : fail(`--${name} is a number, not ${values[name]}`)
}

function some<Name extends string>(
  option: string,
  asked: string | undefined,
  known: readonly Name[],
): readonly Name[] {
  if (asked === undefined) return known
  return asked
    .split(',')
    .map(
      (name) =>
        known.find((each) => each === name) ??
        fail(`--${option} is some of ${known.join(', ')}, not ${name}`),
    )
}

const shrinkMsMax = 180_000
const failures: Failed[] = []
const results = join(root, 'docs/convergence')

async function play(): Promise<number> {
  const runsMax =
    values.runs === undefined && values.minutes === undefined ? 20 : number('runs', Number.POSITIVE_INFINITY)
  const startedMs = performance.now()
  const seed = number('seed', Date.now() % 1_000_000_000)
  const onRun = ({ world, profile, engine, seed: of, tookMs, outcome }: Done): void =>
    void process.stdout.write(
      `${world.padEnd(9)} ${profile.padEnd(10)} ${engine.padEnd(10)} seed ${of}: ${outcome.steps} steps, ${outcome.promised} of ${outcome.edits} edits promised, equal after ${outcome.convergeMs.toFixed(0)} ms, ${(tookMs / 1000).toFixed(1)} s\n`,
    )
  const { done, failed } = await campaign({
    seed,
    runsMax,
    msMax: values.minutes === undefined ? Number.POSITIVE_INFINITY : number('minutes', 5) * 60_000,
    worlds: some('world', values.world, worldNames),
    profiles: some('profile', values.profile, profileNames),
    engines: some('engine', values.engine, engineNames),
    shrinkMsMax: values['no-shrink'] ? 0 : shrinkMsMax,
    ...(values['keep-going'] && { onFailed: tell }),
    onRun,
  })
  if (failed !== null) tell(failed)
  const report = await reportOf(done, failures, performance.now() - startedMs, seed)
  process.stdout.write(`\n${partOf(report, null)}\n`)
  if (values.report) {
    mkdirSync(results, { recursive: true })
    writeFileSync(join(results, 'results.json'), `${JSON.stringify(report, null, 2)}\n`)
    writeCharts(report, results)
    writePart('convergence.md', 'bench:convergence -- --report', partOf(report, 'convergence'))
  }
  return failures.length === 0 ? 0 : 1
}

function tell(failed: Failed): void {
  failures.push(failed)
  const path = save(failed)
  process.stdout.write(`
${failed.timeline}

${failed.why}
after ${failed.runs} histories; ${failed.history.steps.length} steps, of ${failed.shrunkFrom} before shrinking
again:  npm run bench:convergence -- --world ${failed.world} --profile ${failed.profile} --engine ${failed.engine} --seed ${failed.seed} --runs 1
or:     npm run bench:convergence -- --replay ${path}
`)
}

async function playAgain(path: string): Promise<number> {
  const { world, profile, history } = JSON.parse(readFileSync(path, 'utf8')) as Regression
  for (let i = 0; i < number('runs', 1); i++) {
    try {
      const { convergeMs } = await replay(world, profile, history)
      process.stdout.write(`all is well, equal after ${convergeMs.toFixed(0)} ms\n`)
    } catch (error) {
      process.stdout.write(`${String((error as { timeline?: unknown }).timeline ?? '')}\n${String(error)}\n`)
      return 1
    }
  }
  return 0
}

if (values.verbose)
  Timeline.onLine = ({ atMs, step, who, what }) =>
    void process.stdout.write(`${(atMs / 1000).toFixed(3)} s  #${step}  ${who}  ${what}\n`)
if (values.replay !== undefined) process.exit(await playAgain(values.replay))
else if (values.mutants || values.mutant !== undefined)
  process.exit(await catchMutants(values.mutant ?? null))
else process.exit(await play())

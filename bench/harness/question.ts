/**
 * How a question is asked: every run starts each server anew and puts the same load on it, raw servers
 * and relay in turn within a run, the order turned by one place each run, so that what the machine does
 * meanwhile hits all of them alike. A ratio is taken within a run and the median of ratios is told.
 */

import { runLoad } from '../load/run-load.ts'
import type { Figures, LoadResult, LoadSpec } from '../load/spec.ts'
import { type RunningServer, type ServerName, type StartOptions, startServer } from './servers.ts'
import { type Spread, spread } from './statistics.ts'
import type { TimeLeft } from './time-left.ts'

export interface Settings {
  readonly runs: number
  readonly quick: boolean
  /** The servers under test: the relay with its logs, and peers if asked for. */
  readonly contestants: readonly ServerName[]
  readonly profileDir: string | null
  readonly temporaryDir: string
  /** Of the whole command, where that is known. */
  readonly timeLeft?: TimeLeft
}

export interface Sample {
  readonly run: number
  readonly server: string
  /** What was asked of it, such as a window; '' when there is only one. */
  readonly name: string
  readonly figures: Figures
  readonly errors: readonly string[]
}

export interface Target {
  readonly figure: string
  /** Compared with `raw`'s same figure in the same run; without it, the figure itself. */
  readonly raw?: string
  readonly bound: 'atLeast' | 'atMost'
  readonly value: number
  /** Servers it applies to; all contestants when left out. */
  readonly servers?: readonly string[]
  /** Samples it applies to; all when left out. */
  readonly names?: readonly string[]
}

export interface Row {
  readonly server: string
  readonly name: string
  readonly figures: Readonly<Record<string, Spread>>
}

export interface Verdict {
  readonly server: string
  readonly figure: string
  readonly name: string
  readonly measured: Spread
  readonly ratioTo: string | null
  readonly bound: 'atLeast' | 'atMost'
  readonly value: number
  readonly met: boolean
}

export interface Answer {
  readonly question: string
  readonly rows: readonly Row[]
  readonly verdicts: readonly Verdict[]
  readonly samples: readonly Sample[]
  readonly notes: readonly string[]
}

export type Question = (settings: Settings) => Promise<readonly Answer[]>

export type SpecFor = (server: RunningServer) => LoadSpec

/** `start` says with what a server starts, when not with an empty log and its defaults. */
export function interleave(
  servers: readonly ServerName[],
  settings: Settings,
  specFor: SpecFor,
  start: (name: ServerName) => Omit<StartOptions, 'profileDir'> = () => ({}),
): Promise<Sample[]> {
  return interleaveEach(servers, settings, (name) =>
    askServer(name, { ...start(name), profileDir: settings.profileDir }, specFor),
  )
}

/** The same for whatever `ask` starts, loads and stops. When that throws, the sample says so, and the others go on. */
export async function interleaveEach<Name extends string>(
  servers: readonly Name[],
  settings: Settings,
  ask: (name: Name) => Promise<LoadResult>,
): Promise<Sample[]> {
  const samples: Sample[] = []
  for (let run = 0; run < settings.runs; run++) {
    for (let turn = 0; turn < servers.length; turn++) {
      const server = servers[(turn + run) % servers.length]!
      tellProgress(settings, `run ${run + 1}/${settings.runs} ${server}`)
      samples.push(...samplesOf(run, server, await orFailed(ask(server))))
    }
  }
  if (process.stderr.isTTY) process.stderr.write(`${' '.repeat(70)}\r`)
  return samples
}

export function tellProgress({ timeLeft }: Pick<Settings, 'timeLeft'>, what: string): void {
  const seconds = process.uptime()
  const at = `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`
  const left = timeLeft === undefined ? '' : `, about ${Math.ceil(timeLeft.seconds / 60)} min left`
  const line = `  ${at} ${what}${left}`
  process.stderr.write(process.stderr.isTTY ? line.padEnd(70).concat('\r') : `${line}\n`)
}

export const orFailed = (result: Promise<LoadResult>): Promise<LoadResult> =>
  result.catch((error: unknown): LoadResult => ({ cases: [], errors: [`failed: ${String(error)}`] }))

export function samplesOf(run: number, server: string, { cases, errors }: LoadResult): Sample[] {
  if (cases.length === 0) return [{ run, server, name: '', figures: {}, errors }]
  return cases.map((each) => ({ run, server, ...each, errors }))
}

/** A few at once, for what is mostly waiting and is not timed. */
export async function inTurns<Name>(
  names: readonly Name[],
  atOnce: number,
  ask: (name: Name) => Promise<void>,
): Promise<void> {
  const waiting = [...names]
  const turn = async (): Promise<void> => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) await ask(name)
  }
  await Promise.all(Array.from({ length: atOnce }, turn))
}

/** What a prepared server has stored, to start others from copies of it (`StartOptions.copyOf`). */
export interface Prepared {
  readonly dir: string
  readonly result: LoadResult
  /** Removes it. */
  remove(): Promise<void>
}

/** Puts a load on a server, halts it and keeps its folder. An error of the load is thrown: nothing can be measured then. */
export async function prepare(
  name: ServerName,
  options: Omit<StartOptions, 'profileDir'>,
  specFor: SpecFor,
): Promise<Prepared> {
  const running = await startServer(name, { ...options, profileDir: null })
  try {
    const result = await runLoad(specFor(running))
    if (result.errors.length > 0)
      throw new Error(`${name} could not be prepared: ${result.errors.join('; ')}`)
    await running.halt()
    return { dir: running.dataDir, result, remove: running.stop }
  } catch (error) {
    await running.stop()
    throw error
  }
}

/** Starts it, puts the load on it, stops it. */
export async function askServer(
  name: ServerName,
  options: StartOptions,
  specFor: SpecFor,
): Promise<LoadResult> {
  const running = await startServer(name, options)
  try {
    const result = await runLoad(specFor(running))
    return { ...result, errors: [...result.errors, ...loggedErrors(running.output())] }
  } finally {
    await running.stop()
  }
}

/** What a server logged as an error: somebody must look. Numbers that differ each time are left out. */
export function loggedErrors(output: string): string[] {
  const found = new Set<string>()
  for (const line of output.split('\n')) {
    const match = /"level":(?:50|60|"error"|"fatal").*/.exec(line)
    if (match === null || !line.endsWith('}')) continue
    const record = JSON.parse(line.slice(line.indexOf('{'))) as { msg?: string; err?: { message?: string } }
    found.add(`logged: ${record.msg ?? ''} ${record.err?.message ?? ''}`.trim())
  }
  return [...found]
}

export function rowsOf(samples: readonly Sample[]): Row[] {
  const groups = new Map<string, Sample[]>()
  for (const sample of samples) {
    const key = `${sample.server} ${sample.name}`
    groups.set(key, [...(groups.get(key) ?? []), sample])
  }
  return [...groups.values()].map((group) => ({
    server: group[0]!.server,
    name: group[0]!.name,
    figures: Object.fromEntries(
      [...new Set(group.flatMap(({ figures }) => Object.keys(figures)))].map((figure) => [
        figure,
        spread(group.flatMap((sample) => sample.figures[figure] ?? [])),
      ]),
    ),
  }))
}

export function judge(
  samples: readonly Sample[],
  contestants: readonly string[],
  targets: readonly Target[],
): Verdict[] {
  const verdicts: Verdict[] = []
  for (const target of targets)
    for (const server of target.servers ?? contestants) {
      if (!contestants.includes(server)) continue
      const names = new Set(samples.filter((sample) => sample.server === server).map((sample) => sample.name))
      for (const name of names) {
        if (target.names !== undefined && !target.names.includes(name)) continue
        const values = samples
          .filter((sample) => sample.server === server && sample.name === name)
          .map((sample) => measuredOf(sample, samples, target))
        const measured = spread(values)
        const met =
          target.bound === 'atLeast' ? measured.median >= target.value : measured.median <= target.value
        const { figure, bound, value } = target
        verdicts.push({ server, figure, name, measured, ratioTo: target.raw ?? null, bound, value, met })
      }
    }
  return verdicts
}

function measuredOf(sample: Sample, samples: readonly Sample[], target: Target): number {
  const own = sample.figures[target.figure] ?? Number.NaN
  if (target.raw === undefined) return own
  const raw = samples.find(
    (other) => other.server === target.raw && other.run === sample.run && other.name === sample.name,
  )
  return own / (raw?.figures[target.figure] ?? Number.NaN)
}

/**
 * Where a load was put on at several windows: for each server the window with the highest median of
 * `figure` among those whose median p99 keeps the limit (all, if none does); its samples, without the name.
 */
export function bestWindow(samples: readonly Sample[], figure: string, p99MsMax: number): Sample[] {
  const rows = rowsOf(samples)
  const best: Sample[] = []
  for (const server of new Set(samples.map((sample) => sample.server))) {
    const own = rows.filter((row) => row.server === server && row.figures[figure] !== undefined)
    // Where nothing came there is no latency either.
    const keeping = own.filter(
      (row) => row.figures[figure]!.median > 0 && row.figures['p99Ms']!.median < p99MsMax,
    )
    const ranked = (keeping.length > 0 ? keeping : own).sort(
      (a, b) => b.figures[figure]!.median - a.figures[figure]!.median,
    )
    const chosen = ranked[0]
    if (chosen === undefined) continue
    for (const sample of samples)
      if (sample.server === server && sample.name === chosen.name)
        best.push({
          ...sample,
          name: '',
          figures: { ...sample.figures, window: Number(chosen.name.split(' ')[1]) },
        })
  }
  return best
}

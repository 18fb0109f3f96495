/** What histories came to: by profile, engine and kind of client, as an object. page.ts tells it. */
import { loadavg } from 'node:os'
import { type Occasion, occasion } from '../harness/report.ts'
import { versionOf } from '../harness/servers.ts'
import type { Done, Failed } from './campaign.ts'
import { storeVersions } from './stores.ts'
import { Tally } from './timeline.ts'

export interface ProfileReport {
  /** That went well; what follows is of these. */
  readonly histories: number
  readonly steps: number
  readonly edits: number
  readonly promised: number
  /** Promised edits that somebody lacked, of histories that went wrong. */
  readonly lost: number
  readonly convergeP50Ms: number
  readonly convergeP99Ms: number
  readonly convergeMaxMs: number
  /** On the line of one client, both directions, by kind. */
  readonly bytes: Readonly<Record<string, number>>
}

export interface Report extends Occasion {
  readonly versions: Readonly<Record<string, string>>
  /** Processes that wanted a core at the end: how busy the machine was otherwise. */
  readonly load: string
  readonly seeds: { readonly first: number; readonly last: number }
  readonly minutes: number
  readonly histories: number
  readonly historiesPerSecond: number
  readonly stepsPerSecond: number
  readonly steps: number
  readonly edits: number
  readonly promised: number
  readonly lost: number
  readonly entries: number
  /** Until the last intent was decided, of histories in whose world the server decides. */
  readonly decided: { readonly p50Ms: number; readonly maxMs: number }
  readonly faults: Readonly<Record<string, number>>
  readonly worlds: Readonly<Record<string, number>>
  readonly profiles: Readonly<Record<string, Readonly<Record<string, ProfileReport>>>>
  /** Histories that went wrong. */
  readonly wrong: readonly {
    readonly world: string
    readonly profile: string
    readonly engine: string
    readonly seed: number
    readonly why: string
  }[]
}

const packages = [
  'yjs',
  'y-websocket',
  '@hocuspocus/provider',
  '@automerge/automerge',
  '@automerge/automerge-repo',
]

export async function reportOf(
  done: readonly Done[],
  failures: readonly Failed[],
  tookMs: number,
  seed: number,
): Promise<Report> {
  const faults = new Tally()
  const worlds = new Tally()
  const steps = sum(done.map(({ outcome }) => outcome.steps))
  for (const { outcome, world } of done) {
    faults.merge(outcome.faults)
    worlds.add(world)
  }
  const all = [...done, ...failures]
  const decided = done.flatMap(({ outcome }) => outcome.decidedMs ?? []).sort((a, b) => a - b)
  const names = [...new Set(all.map(({ profile }) => profile))]
  return {
    ...occasion(),
    versions: {
      ...Object.fromEntries(packages.map((name) => [name, versionOf(name)])),
      ...(await storeVersions()),
    },
    load: loadavg()
      .map((load) => load.toFixed(1))
      .join(', '),
    seeds: { first: seed, last: seed + Math.max(0, all.length - 1) },
    minutes: round(tookMs / 60_000),
    histories: done.length,
    historiesPerSecond: round(done.length / (tookMs / 1000)),
    stepsPerSecond: round(steps / (tookMs / 1000)),
    steps,
    edits: sum(done.map(({ outcome }) => outcome.edits)),
    promised: sum(done.map(({ outcome }) => outcome.promised)),
    lost: lostIn(failures),
    entries: sum(done.map(({ outcome }) => outcome.offsets)),
    decided: { p50Ms: Math.round(quantile(decided, 0.5)), maxMs: Math.round(decided.at(-1) ?? 0) },
    faults: faults.toJSON(),
    worlds: worlds.toJSON(),
    wrong: failures.map(({ world, profile, engine, seed: of, why }) => ({
      world,
      profile,
      engine,
      seed: of,
      why,
    })),
    profiles: Object.fromEntries(
      names.map((name) => {
        const isOfIt = ({ profile }: { readonly profile: string }): boolean => profile === name
        return [name, byEngine(done.filter(isOfIt), failures.filter(isOfIt))]
      }),
    ),
  }
}

function byEngine(
  done: readonly Done[],
  failures: readonly Failed[],
): Readonly<Record<string, ProfileReport>> {
  const names = [...new Set([...done, ...failures].map(({ engine }) => engine))].sort().reverse()
  return Object.fromEntries(
    names.map((name) => {
      const isOfIt = ({ engine }: { readonly engine: string }): boolean => engine === name
      return [name, ofProfile(done.filter(isOfIt), failures.filter(isOfIt))]
    }),
  )
}

function ofProfile(done: readonly Done[], failures: readonly Failed[]): ProfileReport {
  const bytes = new Tally()
  for (const { outcome } of done) bytes.merge(outcome.bytes)
  const times = done.map(({ outcome }) => outcome.convergeMs).sort((a, b) => a - b)
  return {
    histories: done.length,
    steps: sum(done.map(({ outcome }) => outcome.steps)),
    edits: sum(done.map(({ outcome }) => outcome.edits)),
    promised: sum(done.map(({ outcome }) => outcome.promised)),
    lost: lostIn(failures),
    convergeP50Ms: Math.round(quantile(times, 0.5)),
    convergeP99Ms: Math.round(quantile(times, 0.99)),
    convergeMaxMs: Math.round(times.at(-1) ?? 0),
    bytes: bytes.toJSON(),
  }
}

/** As the oracle says it. */
const lostIn = (failures: readonly Failed[]): number =>
  sum(failures.map(({ why }) => Number(/lacks (\d+) promised edits/.exec(why)?.[1] ?? 0)))

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
const round = (value: number): number => Math.round(value * 100) / 100

function quantile(sorted: readonly number[], fraction: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * fraction) - 1)] ?? 0
}

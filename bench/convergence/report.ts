/** What histories came to: by profile, engine and kind of client, as an object, a table, and charts. */
import { writeFileSync } from 'node:fs'
import { cpus, loadavg, totalmem } from 'node:os'
import { join } from 'node:path'
import { type Chart, chartOf } from '../harness/charts.ts'
import type { Done, Failed } from './campaign.ts'
import { Tally } from './timeline.ts'

export interface ProfileReport {
  readonly histories: number
  readonly steps: number
  readonly edits: number
  readonly promised: number
  readonly convergeP50Ms: number
  readonly convergeP99Ms: number
  readonly convergeMaxMs: number
  /** On the line of one client, both directions, by kind. */
  readonly bytes: Readonly<Record<string, number>>
}

export interface Report {
  readonly machine: string
  /** Processes that wanted a core at the end: how busy the machine was otherwise. */
  readonly load: string
  readonly at: string
  readonly seed: number
  readonly minutes: number
  readonly histories: number
  readonly historiesPerSecond: number
  readonly stepsPerSecond: number
  readonly edits: number
  readonly promised: number
  readonly entries: number
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

export function reportOf(
  done: readonly Done[],
  failures: readonly Failed[],
  tookMs: number,
  seed: number,
): Report {
  const faults = new Tally()
  const worlds = new Tally()
  const steps = sum(done.map(({ outcome }) => outcome.steps))
  for (const { outcome, world } of done) {
    faults.merge(outcome.faults)
    worlds.add(world)
  }
  const names = [...new Set(done.map(({ profile }) => profile))]
  const [core] = cpus()
  return {
    machine: `${cpus().length} × ${core?.model ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GB, Node ${process.version}`,
    load: loadavg()
      .map((load) => load.toFixed(1))
      .join(', '),
    at: new Date().toISOString(),
    seed,
    minutes: round(tookMs / 60_000),
    histories: done.length,
    historiesPerSecond: round(done.length / (tookMs / 1000)),
    stepsPerSecond: round(steps / (tookMs / 1000)),
    edits: sum(done.map(({ outcome }) => outcome.edits)),
    promised: sum(done.map(({ outcome }) => outcome.promised)),
    entries: sum(done.map(({ outcome }) => outcome.offsets)),
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
      names.map((name) => [name, byEngine(done.filter(({ profile }) => profile === name))]),
    ),
  }
}

function byEngine(done: readonly Done[]): Readonly<Record<string, ProfileReport>> {
  const names = [...new Set(done.map(({ engine }) => engine))].sort().reverse()
  return Object.fromEntries(
    names.map((name) => [name, ofProfile(done.filter(({ engine }) => engine === name))]),
  )
}

function ofProfile(done: readonly Done[]): ProfileReport {
  const bytes = new Tally()
  for (const { outcome } of done) bytes.merge(outcome.bytes)
  const times = done.map(({ outcome }) => outcome.convergeMs).sort((a, b) => a - b)
  return {
    histories: done.length,
    steps: sum(done.map(({ outcome }) => outcome.steps)),
    edits: sum(done.map(({ outcome }) => outcome.edits)),
    promised: sum(done.map(({ outcome }) => outcome.promised)),
    convergeP50Ms: Math.round(quantile(times, 0.5)),
    convergeP99Ms: Math.round(quantile(times, 0.99)),
    convergeMaxMs: Math.round(times.at(-1) ?? 0),
    bytes: bytes.toJSON(),
  }
}

interface Row {
  readonly profile: string
  readonly engine: string
  readonly of: ProfileReport
}

const rowsOf = ({ profiles }: Pick<Report, 'profiles'>): Row[] =>
  Object.entries(profiles).flatMap(([profile, engines]) =>
    Object.entries(engines).map(([engine, of]) => ({ profile, engine, of })),
  )

const kindsOf = (rows: readonly Row[]): string[] => [
  ...new Set(rows.flatMap(({ of }) => Object.keys(of.bytes))),
]

export function tableOf(report: Report): string {
  const all = rowsOf(report)
  const kinds = kindsOf(all)
  const rows = all.map(({ profile, engine, of }) => [
    profile,
    engine,
    String(of.histories),
    String(of.steps),
    String(of.edits),
    String(of.convergeP50Ms),
    String(of.convergeP99Ms),
    ...kinds.map((kind) => (kind in of.bytes ? bytesPerEdit(of, kind).toFixed(0) : '')),
  ])
  const head = [
    'profile',
    'engine',
    'histories',
    'steps',
    'edits',
    'equal p50 ms',
    'p99 ms',
    ...kinds.map((kind) => `${kind} B/edit`),
  ]
  const faults = Object.entries(report.faults).map(([kind, count]) => [kind, String(count)])
  return `${tabulate(head, rows)}
${tabulate(['fault', 'times'], faults)}
${report.histories} histories in ${report.minutes} minutes: ${report.historiesPerSecond} histories/s, ${report.stepsPerSecond} steps/s; ${report.promised} of ${report.edits} edits promised, ${report.entries} entries in logs; ${report.wrong.length} histories went wrong
`
}

function tabulate(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((cell, i) => Math.max(cell.length, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |\n`
  return line(head) + line(widths.map((width) => '-'.repeat(width))) + rows.map(line).join('')
}

export function writeCharts({ profiles, faults }: Report, folder: string): void {
  const groups = Object.keys(profiles)
  const all = rowsOf({ profiles })
  const engines = [...new Set(all.map(({ engine }) => engine))]
  const write = (name: string, chart: Chart): void =>
    writeFileSync(join(folder, `${name}.svg`), chartOf(chart))
  const series = (name: string, engine: string, figure: (of: ProfileReport) => number) => ({
    name,
    values: groups.map((profile) => {
      const of = profiles[profile]?.[engine]
      return of === undefined ? 0 : figure(of)
    }),
  })
  write('time-to-converge', {
    title: 'From the end of all faults until every replica is equal',
    unit: 'milliseconds',
    groups,
    series: engines.flatMap((engine) => [
      series(`${engine}, median`, engine, ({ convergeP50Ms }) => convergeP50Ms),
      series(`${engine}, 99 %`, engine, ({ convergeP99Ms }) => convergeP99Ms),
    ]),
  })
  write('bytes', {
    title: 'On the line of one client, by kind',
    unit: 'bytes for each edit of the history',
    groups,
    series: engines.flatMap((engine) =>
      kindsOf(all.filter((row) => row.engine === engine)).map((kind) =>
        series(`${kind}, ${engine}`, engine, (of) => bytesPerEdit(of, kind)),
      ),
    ),
  })
  const kindsOfFaults = Object.entries(faults).sort(([, a], [, b]) => b - a)
  write('faults', {
    title: 'What went wrong',
    unit: 'times',
    groups: kindsOfFaults.map(([name]) => name),
    series: [{ name: 'times', values: kindsOfFaults.map(([, count]) => count) }],
  })
}

const bytesPerEdit = ({ bytes, edits }: ProfileReport, kind: string): number =>
  (bytes[kind] ?? 0) / Math.max(1, edits)

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
const round = (value: number): number => Math.round(value * 100) / 100

function quantile(sorted: readonly number[], fraction: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * fraction) - 1)] ?? 0
}

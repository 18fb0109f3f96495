/**
 * What histories came to, as docs/convergence.md tells it: its tables between the two marks there, and its charts. What it says
 * is also printed, so that a run that writes nothing says the same.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Chart, chartOf } from '../harness/charts.ts'
import { describeMachine, markdownTable } from '../harness/page.ts'
import type { EngineName } from './clients/engine.ts'
import { engineNames } from './clients/index.ts'
import type { ProfileReport, Report } from './report.ts'

const labels: Readonly<Record<EngineName, string>> = { yjs: 'Yjs', automerge: 'Automerge' }
const whyCharactersMax = 200

interface Row {
  readonly profile: string
  readonly engine: EngineName
  readonly of: ProfileReport
}

/** `charts`: their folder, as the page sees it; null where none were drawn. */
export function partOf(report: Report, charts: string | null): string {
  const rows = rowsOf(report)
  const { seeds, histories, minutes, edits, promised, lost, entries, wrong } = report
  const versions = Object.entries(report.versions).map(([name, version]) => `${name} ${version}`)
  const worlds = Object.entries(report.worlds).map(([world, count]) => `${count} in \`${world}\``)
  const faults = Object.entries(report.faults).sort(([, a], [, b]) => b - a)
  return [
    `${describeMachine(report)}${report.clean ? '' : ' With changes that are not committed.'} Versions: ${versions.join(', ')}.`,
    `Seeds ${seeds.first} to ${seeds.last}, in ${minutes} minutes: ${histories} whole histories (${worlds.join(', ')}), ${report.historiesPerSecond} a second and ${report.stepsPerSecond} steps a second. Of ${edits} edits ${promised} were promised, and ${lost} of these lost; there are ${entries} entries in logs. ${wrong.length === 0 ? 'No history' : wrong.length === 1 ? 'One history' : `${wrong.length} histories`} went wrong. The machine's load at the end was ${report.load}, over 1, 5 and 15 minutes, the benchmark's own in it.`,
    tableOf(rows),
    `Equal after: from the end of all faults until every replica and observer has the same.${decidedIn(report)} Bytes an edit: on the line of one client, both directions, for each edit that anybody made; handshakes, presence and what was sent again are in it. Edits that were not promised are those of pages that were gone before they could send them.`,
    ...(wrong.length === 0
      ? []
      : [
          markdownTable(
            ['what went wrong', 'world', 'profile', 'engine', 'seed'],
            wrong.map(({ why, world, profile, engine, seed }) => [
              plain(why),
              world,
              profile,
              engine,
              String(seed),
            ]),
          ),
        ]),
    ...(charts === null
      ? []
      : [
          Object.entries(chartsOf(report))
            .map(([name, { title }]) => `![${title}](${charts}/${name}.svg)`)
            .join('\n'),
        ]),
    markdownTable(
      ['fault', 'times'],
      faults.map(([kind, count]) => [kind, String(count)]),
    ),
  ].join('\n\n')
}

const decidedIn = ({ decided, worlds }: Report): string =>
  worlds['views'] === undefined
    ? ''
    : ` In \`views\` the server decides intents too, for which it waits while views are built anew: all were decided after ${decided.p50Ms} ms (median), ${decided.maxMs} ms at most.`

function tableOf(rows: readonly Row[]): string {
  const kinds = kindsOf(rows)
  const head = [
    'profile, engine',
    'histories',
    'steps',
    'edits',
    'promised',
    'lost',
    'equal after, p50 ms',
    'p99 ms',
    ...kinds.map((kind, i) => (i === 0 ? `bytes an edit: ${kind}` : kind)),
  ]
  return markdownTable(
    head,
    rows.map(({ profile, engine, of }) => [
      nameOf(profile, engine),
      ...[of.histories, of.steps, of.edits, of.promised, of.lost, of.convergeP50Ms, of.convergeP99Ms].map(
        String,
      ),
      ...kinds.map((kind) => (kind in of.bytes ? bytesPerEdit(of, kind).toFixed(0) : '')),
    ]),
  )
}

export function writeCharts(report: Report, folder: string): void {
  for (const [name, chart] of Object.entries(chartsOf(report)))
    writeFileSync(join(folder, `${name}.svg`), chartOf(chart))
}

/** By the name of their file. */
function chartsOf(report: Report): Readonly<Record<string, Chart>> {
  const rows = rowsOf(report)
  const kinds = Object.entries(report.faults).sort(([, a], [, b]) => b - a)
  return {
    'time-to-converge': {
      title: 'From the end of all faults until every replica is equal',
      unit: 'ms; less is better; logarithmic',
      isLogarithmic: true,
      groups: rows.map(({ profile, engine }) => nameOf(profile, engine)),
      series: [
        { name: 'median', values: rows.map(({ of }) => of.convergeP50Ms) },
        { name: '99 %', values: rows.map(({ of }) => of.convergeP99Ms) },
      ],
    },
    ...Object.fromEntries(
      engineNames
        .map((engine) => [engine, rows.filter((row) => row.engine === engine)] as const)
        .filter(([, own]) => own.length > 0)
        .map(([engine, own]) => [`bytes-${engine}`, bytesChart(engine, own)]),
    ),
    faults: {
      title: 'What went wrong with networks, pages and servers',
      unit: 'times; logarithmic',
      isLogarithmic: true,
      groups: kinds.map(([name]) => name),
      series: [{ name: 'times', values: kinds.map(([, count]) => count) }],
    },
  }
}

const bytesChart = (engine: EngineName, rows: readonly Row[]): Chart => ({
  title: `What a client sends and receives: documents of ${labels[engine]}`,
  unit: 'bytes for each edit that anybody made; less is better',
  groups: rows.map(({ profile }) => profile),
  series: kindsOf(rows).map((kind) => ({
    name: kind,
    values: rows.map(({ of }) => (kind in of.bytes ? Math.round(bytesPerEdit(of, kind)) : null)),
  })),
})

const rowsOf = ({ profiles }: Report): Row[] =>
  Object.entries(profiles).flatMap(([profile, engines]) =>
    Object.entries(engines).map(([engine, of]) => ({ profile, engine: engine as EngineName, of })),
  )

const nameOf = (profile: string, engine: EngineName): string => `${profile}, ${labels[engine]}`

/** This project's first. */
const kindsOf = (rows: readonly Row[]): string[] =>
  [...new Set(rows.flatMap(({ of }) => Object.keys(of.bytes)))].sort(
    (a, b) => Number(b === 'tidemark') - Number(a === 'tidemark'),
  )

const bytesPerEdit = ({ bytes, edits }: ProfileReport, kind: string): number =>
  (bytes[kind] ?? 0) / Math.max(1, edits)

/** In one cell of a table. */
const plain = (why: string): string =>
  why.replaceAll(/\s+/g, ' ').replaceAll('|', '\\|').slice(0, whyCharactersMax)

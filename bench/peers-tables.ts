/**
 * The page's part that is made of results: a table and a chart for each comparison, the machine, the versions, and where others are ahead.
 * It stands in docs/benchmarks.md between two marks, and is replaced as a whole. A full run's result is told rather than a quick one's.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import type { Row, Sample } from './harness/question.ts'
import { resultsDir, show } from './harness/report.ts'
import { root } from './harness/root.ts'
import { drawComparison } from './peers-charts.ts'
import { besides, type Column, type Comparison, comparisons, labels } from './peers-figures.ts'

const page = `${root}docs/benchmarks.md`
const begin = '<!-- peers: from here on `npm run bench:peers` writes -->'
const end = '<!-- peers: up to here -->'
/** A median that is better by less is not told. */
const aheadMin = 1.05
const errorsMax = 3

export interface Told {
  readonly date: string
  readonly commit: string
  readonly clean: boolean
  readonly machine: Readonly<Record<string, string | number>>
  readonly versions?: Readonly<Record<string, string>>
  readonly settings: { readonly runs: number; readonly quick: boolean }
  readonly notes: readonly string[]
  readonly rows: readonly Row[]
  readonly samples: readonly Sample[]
}

/** Charts and the page's part, of whatever results there are. */
export function tellComparisons(): void {
  const told = Object.entries(comparisons).flatMap(([question, comparison]) => {
    const record = readRecord(question)
    if (record === null) return []
    return [{ question, comparison, record, drawn: drawComparison(question, comparison, record.rows) }]
  })
  if (told.length === 0) return
  const parts = [
    setting(told.map(({ record }) => record)),
    ...told.map(({ question, comparison, record, drawn }) =>
      [
        `### ${comparison.title}`,
        `${comparison.asked}${ran(record)}`,
        tableOf(comparison, record),
        remarks(record).join('\n'),
        drawn ? `![${comparison.drawn.title}](images/peers-${question}.svg)` : '',
      ]
        .filter((part) => part !== '')
        .join('\n\n'),
    ),
    '### Where others are ahead',
    ahead(told),
  ]
  const text = readFileSync(page, 'utf8')
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`${page} has no place for the comparison: ${begin} … ${end}`)
  writeFileSync(page, `${text.slice(0, from)}${begin}\n\n${parts.join('\n\n')}\n\n${text.slice(to)}`)
}

function readRecord(question: string): Told | null {
  for (const suffix of ['', '-quick']) {
    const path = `${resultsDir}peers-${question}${suffix}.json`
    if (existsSync(path)) return JSON.parse(readFileSync(path, 'utf8')) as Told
  }
  return null
}

function setting(records: readonly Told[]): string {
  const newest = records.toSorted((a, b) => b.date.localeCompare(a.date))[0]!
  const { cpu, cores, memoryGb, kernel, node } = newest.machine
  const versions = Object.entries(newest.versions ?? {}).map(([name, version]) => `${name} ${version}`)
  const isFull = records.every(({ settings }) => !settings.quick)
  return [
    `Measured on ${newest.date.slice(0, 10)}, commit ${newest.commit}, on ${cores} cores (${cpu}), ${memoryGb} GB, Linux ${kernel}, Node ${String(node).slice(1)}.`,
    ...(versions.length > 0 ? [`Versions: ${versions.join(', ')}.`] : []),
    isFull
      ? 'Medians; the least and the most in brackets.'
      : 'Figures of quick runs are orders of magnitude.',
  ].join(' ')
}

const ran = ({ settings }: Told): string =>
  settings.quick
    ? ` (${settings.runs === 1 ? 'One quick run' : `${settings.runs} quick runs`}.)`
    : ` (${settings.runs} runs.)`

function tableOf({ columns, cannot = {} }: Comparison, { rows, samples }: Told): string {
  const order = Object.keys(labels)
  const servers = [...new Set([...rows.map(({ server }) => server), ...Object.keys(cannot)])]
    .filter((server) => order.includes(server))
    .sort((a, b) => order.indexOf(a) - order.indexOf(b))
  const lines = servers.map((server): string[] => {
    const cells: string[] = columns.map((column) => cell(rows, server, column))
    const failed = samples.some((sample) => sample.server === server && sample.errors.length > 0)
    const why = cannot[server] ?? (failed ? 'failed, see below' : '')
    if (!cells.some((each) => each !== '-')) cells[0] = why
    return [`${labels[server]}${failed ? ' (!)' : ''}`, ...cells]
  })
  const head = ['', ...columns.map(({ header }) => header)]
  const rule = head.map((_, i) => (i === 0 ? '---' : '--:'))
  return [head, rule, ...lines].map((each) => `| ${each.join(' | ')} |`).join('\n')
}

function figureOf(
  rows: readonly Row[],
  server: string,
  { figure, name = '', scale = 1 }: Column,
): Row['figures'][string] | null {
  const found = rows.find((row) => row.server === server && row.name === name)?.figures[figure]
  // What is no number is null in a file.
  if (found === undefined || found.median === null) return null
  return { median: found.median * scale, min: found.min * scale, max: found.max * scale }
}

const cell = (rows: readonly Row[], server: string, column: Column): string =>
  show(figureOf(rows, server, column) ?? undefined)

function remarks({ notes, samples }: Told): string[] {
  const failures = new Map<string, Set<string>>()
  for (const { server, errors } of samples)
    for (const error of errors) failures.set(server, (failures.get(server) ?? new Set()).add(error))
  return [
    ...notes,
    ...[...failures].map(
      ([server, errors]) =>
        `(!) ${labels[server] ?? server}: ${[...errors].slice(0, errorsMax).map(plain).join('; ')}.`,
    ),
  ]
}

/** Without what belongs to this machine. */
const plain = (error: string): string =>
  error
    .split('\n')[0]!
    .replaceAll(/\/[\w./-]+\//g, '…/')
    .slice(0, 160)

function ahead(told: readonly { readonly comparison: Comparison; readonly record: Told }[]): string {
  const lines = told.flatMap(({ comparison, record: { rows } }) =>
    comparison.columns.flatMap((column) =>
      besides.flatMap(({ ours, theirs }) => {
        const best = (servers: readonly string[]) => bestOf(rows, servers, column)
        const [own, other] = [best(ours), best(theirs)]
        if (own === null || other === null || column.better === undefined) return []
        const times = column.better === 'more' ? other.median / own.median : own.median / other.median
        if (!(times >= aheadMin)) return []
        return [
          `- ${comparison.title}, ${column.header}: ${labels[other.server]} ${show(other)}, ${labels[own.server]} ${show(own)}`,
        ]
      }),
    ),
  )
  return lines.length > 0 ? lines.join('\n') : 'Nowhere in what was asked here.'
}

function bestOf(rows: readonly Row[], servers: readonly string[], column: Column) {
  const found = servers.flatMap((server) => {
    const value = figureOf(rows, server, column)
    return value === null ? [] : [{ server, ...value }]
  })
  const [best] = found.sort((a, b) => (column.better === 'more' ? b.median - a.median : a.median - b.median))
  return best ?? null
}

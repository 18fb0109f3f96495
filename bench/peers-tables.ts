/**
 * The page's part that is made of results: a table and a chart for each comparison, the machine, the versions, and where others are ahead.
 * It stands in docs/benchmarks.md between two marks, and is replaced as a whole. A full run's result is told rather than a quick one's.
 */
import { describeMachine, markdownTable, writePart } from './harness/page.ts'
import type { Row } from './harness/question.ts'
import { type AnswerRecord, readRecord, show } from './harness/report.ts'
import { drawComparison } from './peers-charts.ts'
import { besides, type Column, type Comparison, comparisons, labels } from './peers-figures.ts'

/** A median that is better by less is not told. */
const aheadMin = 1.05
const errorsMax = 3

/** Charts and the page's part, of whatever results there are. */
export function tellComparisons(): void {
  const told = Object.entries(comparisons).flatMap(([question, comparison]) => {
    const record = readRecord(`peers-${question}`)
    if (record === null) return []
    return [{ question, comparison, record, drawn: drawComparison(question, comparison, record.rows) }]
  })
  const newest = told.map(({ record }) => record).toSorted((a, b) => b.date.localeCompare(a.date))[0]
  if (newest === undefined) return
  const parts = [
    setting(
      newest,
      told.every(({ record }) => !record.settings.quick),
    ),
    ...told.map(({ question, comparison, record, drawn }) =>
      [
        `### ${comparison.title}`,
        `${comparison.asked}${ran(record, newest)}`,
        tableOf(comparison, record),
        remarks(record)
          .map((each) => `- ${each}`)
          .join('\n'),
        drawn ? `![${comparison.drawn.title}](images/peers-${question}.svg)` : '',
      ]
        .filter((part) => part !== '')
        .join('\n\n'),
    ),
    '### Where others are ahead',
    ahead(told),
  ]
  writePart('benchmarks.md', 'bench:peers', parts.join('\n\n'))
}

function setting(newest: AnswerRecord, isFull: boolean): string {
  const versions = Object.entries(newest.versions ?? {}).map(([name, version]) => `${name} ${version}`)
  return [
    describeMachine(newest),
    ...(versions.length > 0 ? [`Versions: ${versions.join(', ')}.`] : []),
    isFull
      ? 'Medians; the least and the most in brackets.'
      : 'Figures of quick runs are orders of magnitude.',
  ].join(' ')
}

function ran({ settings, samples, commit }: AnswerRecord, newest: AnswerRecord): string {
  const runs = 1 + Math.max(...samples.map(({ run }) => run))
  const kind = settings.quick ? 'quick run' : 'run'
  const earlier = commit === newest.commit ? '' : `, of commit ${commit}`
  return ` (${runs === 1 ? `One ${kind}` : `${runs} ${kind}s`}${earlier}.)`
}

function tableOf({ columns, cannot = {} }: Comparison, { rows, samples }: AnswerRecord): string {
  const order = Object.keys(labels)
  // Who failed altogether has samples and no row.
  const servers = [...new Set([...[...rows, ...samples].map(({ server }) => server), ...Object.keys(cannot)])]
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
  return markdownTable(head, lines)
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

function remarks({ notes, samples }: AnswerRecord): string[] {
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

function ahead(told: readonly { readonly comparison: Comparison; readonly record: AnswerRecord }[]): string {
  const lines = told.flatMap(({ comparison, record: { rows, samples } }) => {
    const failed = new Set(samples.filter(({ errors }) => errors.length > 0).map(({ server }) => server))
    return comparison.columns.flatMap((column) =>
      besides.flatMap(({ ours, theirs }) => {
        const best = (servers: readonly string[]) =>
          bestOf(
            rows,
            servers.filter((server) => !failed.has(server)),
            column,
          )
        const [own, other] = [best(ours), best(theirs)]
        if (other === null || column.better === undefined) return []
        const what = `- ${comparison.title}, ${column.header}: ${labels[other.server]} ${show(other)}`
        if (own === null) return [`${what}, ${labels[ours[0]!]} failed`]
        const times = column.better === 'more' ? other.median / own.median : own.median / other.median
        return times >= aheadMin ? [`${what}, ${labels[own.server]} ${show(own)}`] : []
      }),
    )
  })
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

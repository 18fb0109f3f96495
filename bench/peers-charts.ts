/** The figure of each comparison that says most, as a chart for the docs. */
import { writeFileSync } from 'node:fs'
import { chartOf } from './harness/charts.ts'
import type { Row } from './harness/question.ts'
import { root } from './harness/root.ts'
import { type Comparison, labels } from './peers-figures.ts'

/** False: there is nothing to draw. */
export function drawComparison(
  question: string,
  { columns, drawn }: Comparison,
  rows: readonly Row[],
): boolean {
  const { title, unit, headers, names = [], isLogarithmic = false } = drawn
  const shown = headers.map((header) => columns.find((column) => column.header === header)!)
  const medianOf = (server: string, i: number): number | null => {
    const { figure, name = '', scale = 1 } = shown[i]!
    const median = rows.find((row) => row.server === server && row.name === name)?.figures[figure]?.median
    return median === undefined || median === null ? null : median * scale
  }
  const servers = Object.keys(labels).filter((server) => shown.some((_, i) => medianOf(server, i) !== null))
  if (servers.length === 0) return false
  const series = shown.map((_, i) => ({
    name: names[i] ?? '',
    values: servers.map((server) => medianOf(server, i)),
  }))
  const groups = servers.map((server) => labels[server]!.replaceAll('`', ''))
  const marks = servers.map((server) =>
    server.startsWith('raw-') ? 'limit' : labels[server]!.startsWith('Tidemark') ? 'ours' : 'theirs',
  )
  const svg = chartOf({ title, unit, groups, series, isLogarithmic, marks })
  writeFileSync(`${root}docs/images/peers-${question}.svg`, svg)
  return true
}

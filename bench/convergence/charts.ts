/** Bars as SVG, drawn here: three charts do not earn a library. Colours follow the reader's light or dark mode. */

export interface Series {
  readonly name: string
  readonly values: readonly number[]
}

export interface Chart {
  readonly title: string
  readonly unit: string
  /** One group of bars each. */
  readonly groups: readonly string[]
  readonly series: readonly Series[]
}

const width = 720
const labelWidth = 170
const valueWidth = 70
const barHeight = 16
const groupGap = 12
const top = 64
const colours = ['#2f6fab', '#d9822b', '#5a9a5a']

export function chartOf({ title, unit, groups, series }: Chart): string {
  const most = Math.max(1, ...series.flatMap(({ values }) => values))
  const scale = (width - labelWidth - valueWidth) / most
  const groupHeight = series.length * barHeight + groupGap
  const height = top + groups.length * groupHeight
  const legend = series.length < 2 ? '' : series.map(legendOf).join('')
  const bars = groups.map((group, i) => {
    const y = top + i * groupHeight
    const middle = y + (series.length * barHeight) / 2 + 4
    const rows = series.map(({ values }, j) => {
      const value = values[i] ?? 0
      const at = y + j * barHeight
      const length = Math.max(1, value * scale)
      return `<rect x="${labelWidth}" y="${at}" width="${length.toFixed(1)}" height="${barHeight - 3}" fill="${colours[j % colours.length]}"/>
  <text x="${(labelWidth + length + 6).toFixed(1)}" y="${at + 11}">${grouped(value)}</text>`
    })
    return `<text x="${labelWidth - 8}" y="${middle}" text-anchor="end">${escaped(group)}</text>
  ${rows.join('\n  ')}`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(title)}">
  <style>text { font: 12px system-ui, sans-serif; fill: #24292f } .title { font-size: 15px; font-weight: 600 }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } }</style>
  <text x="0" y="18" class="title">${escaped(title)}</text>
  <text x="0" y="38">${escaped(unit)}</text>
  ${legend}
  ${bars.join('\n  ')}
</svg>
`
}

function legendOf({ name }: Series, i: number): string {
  const x = labelWidth + i * 140
  return `<rect x="${x}" y="29" width="10" height="10" fill="${colours[i % colours.length]}"/><text x="${x + 16}" y="38">${escaped(name)}</text>`
}

const grouped = (value: number): string => String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ' ')
const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')

/**
 * Bars, as SVG files that documents show, drawn by ECharts without a browser. A chart has a ground of its own, light or dark as its reader
 * prefers: ECharts writes colours as attributes, which a style sheet in the file outranks. Its own sheet is for who points at a bar, which nobody
 * can in a document.
 */
import { init } from 'echarts'

export interface Series {
  readonly name: string
  /** Null: nothing was measured. */
  readonly values: readonly (number | null)[]
}

export interface Chart {
  readonly title: string
  readonly unit: string
  /** One group of bars each. */
  readonly groups: readonly string[]
  readonly series: readonly Series[]
  /** For values of very different sizes. */
  readonly isLogarithmic?: boolean
  /** Whose bars each group are, for their colour; series then differ in its tone. */
  readonly marks?: readonly ('limit' | 'ours' | 'theirs')[]
}

const width = 760
const headHeight = 84
const labelWidth = 230
const barHeight = 20
const groupGap = 12
/** What a bar of 100 % is wider than the longest one, so that its value has room. */
const valueWidth = 78

const light = { ground: '#fefefe', text: '#1f2328', faint: '#59636e', line: '#dfe4ea' }
const dark: typeof light = { ground: '#0d1117', text: '#e6edf3', faint: '#9aa4af', line: '#30363d' }
/** Told apart on both grounds, and by those who see red and green alike. */
const colors = ['#2f7fd0', '#d9822b', '#5a9a5a', '#8e6bb0', '#7a7f87']
/** Of the series in turn. */
const markColors = {
  limit: ['#8c959f', '#c3c8ce'],
  ours: ['#2f7fd0', '#8db8e6'],
  theirs: ['#d9822b', '#ecc095'],
}

export function chartOf({ title, unit, groups, series, isLogarithmic = false, marks }: Chart): string {
  const height = headHeight + groups.length * (series.length * barHeight + groupGap) + 8
  const chart = init(null, null, { renderer: 'svg', ssr: true, width, height })
  const font = { fontFamily: 'system-ui, -apple-system, Segoe UI, sans-serif', color: light.text }
  const axisStart = isLogarithmic ? startOf(series.flatMap((each) => each.values)) : {}
  chart.setOption({
    animation: false,
    backgroundColor: light.ground,
    color: colors,
    textStyle: font,
    title: {
      text: title,
      subtext: unit,
      left: 12,
      top: 8,
      itemGap: 6,
      textStyle: { ...font, fontSize: 15 },
      subtextStyle: { ...font, color: light.faint, fontSize: 12 },
    },
    legend: {
      show: series.length > 1,
      right: 28,
      top: 32,
      itemGap: 18,
      textStyle: font,
      icon: 'rect',
      itemWidth: 12,
    },
    grid: { left: labelWidth, right: valueWidth, top: headHeight - 16, bottom: 12 },
    xAxis: {
      type: isLogarithmic ? 'log' : 'value',
      ...axisStart,
      // Each bar says its value.
      axisLabel: { show: false },
      splitLine: { lineStyle: { color: light.line } },
    },
    yAxis: {
      type: 'category',
      data: [...groups],
      inverse: true,
      axisTick: { show: false },
      axisLine: { lineStyle: { color: light.line } },
      axisLabel: { ...font, fontSize: 12, width: labelWidth - 16, overflow: 'truncate' },
    },
    series: series.map(({ name, values }, number) => {
      const toneOf = (mark: keyof typeof markColors) => markColors[mark][number % markColors[mark].length]!
      return {
        type: 'bar',
        name,
        barMaxWidth: barHeight - 4,
        ...(marks === undefined ? {} : { itemStyle: { color: toneOf('limit') } }),
        data: values.map((value, i) => ({
          // A logarithmic axis has no place for zero: its label stands where bars begin.
          value: value !== null && isLogarithmic && value <= 0 ? axisStart.min : value,
          ...(marks === undefined ? {} : { itemStyle: { color: toneOf(marks[i] ?? 'theirs') } }),
        })),
        label: {
          show: true,
          position: 'right',
          ...font,
          formatter: ({ dataIndex }: { dataIndex: number }) => readable(values[dataIndex] ?? Number.NaN),
        },
      }
    }),
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return svg
    .replace(/<style[\s\S]*?<\/style>\n?/g, '')
    .replace(/^<svg[^>]*>/, (opening) => `${opening}\n<title>${title}</title>\n${darkStyle}`)
}

const darkStyle = `<style>@media (prefers-color-scheme: dark) {
${(Object.keys(light) as (keyof typeof light)[])
  .flatMap((part) =>
    ['fill', 'stroke'].map(
      (paint) =>
        `[${paint}="${light[part]}"], [style*="${paint}:${light[part]}"] { ${paint}: ${dark[part]} }`,
    ),
  )
  .join('\n')}
}</style>`

/** Bars begin below the least value, so that each has some length, and not at 1. */
function startOf(values: readonly (number | null)[]): { min?: number; startValue?: number } {
  const positive = values.flatMap((value) => (value !== null && value > 0 ? [value] : []))
  if (positive.length === 0) return {}
  const min = 10 ** (Math.ceil(Math.log10(Math.min(...positive))) - 1)
  return { min, startValue: min }
}

function readable(value: number): string {
  const size = Math.abs(value)
  if (Number.isInteger(value) && size < 1e4) return String(value)
  if (size >= 1e6) return `${(value / 1e6).toFixed(1)} M`
  if (size >= 1e4) return `${(value / 1e3).toFixed(0)} k`
  if (size >= 100) return value.toFixed(0)
  return value.toFixed(size >= 10 ? 1 : 2)
}

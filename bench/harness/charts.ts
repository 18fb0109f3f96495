/** Bars, as SVG files that documents show, drawn by ECharts without a browser. */
import { init } from 'echarts'

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
  /** For values of very different sizes. */
  readonly isLogarithmic?: boolean
}

const width = 720
const headHeight = 92
const labelWidth = 190
const barHeight = 18
const groupGap = 14

export function chartOf({ title, unit, groups, series, isLogarithmic = false }: Chart): string {
  const height = headHeight + groups.length * (series.length * barHeight + groupGap)
  const chart = init(null, null, { renderer: 'svg', ssr: true, width, height })
  const font = { fontFamily: 'system-ui, sans-serif' }
  chart.setOption({
    animation: false,
    // Readers may have a dark page: the chart brings its own.
    backgroundColor: '#ffffff',
    color: ['#2f6fab', '#d9822b', '#5a9a5a', '#8e6bb0', '#7a7f87'],
    textStyle: font,
    title: { text: title, subtext: unit, left: 12, top: 8, textStyle: { ...font, fontSize: 15 } },
    legend: { show: series.length > 1, right: 12, top: 10, textStyle: font },
    grid: { left: labelWidth, right: 80, top: headHeight - 24, bottom: 8 },
    xAxis: {
      type: isLogarithmic ? 'log' : 'value',
      // Each bar says its value.
      axisLabel: { show: false },
      splitLine: { lineStyle: { color: '#eceef1' } },
    },
    yAxis: { type: 'category', data: [...groups], inverse: true, axisTick: { show: false }, axisLabel: font },
    series: series.map(({ name, values }) => ({
      type: 'bar',
      name,
      // A logarithmic axis has no place for zero.
      data: values.map((value) => (isLogarithmic && value <= 0 ? null : value)),
      label: {
        show: true,
        position: 'right',
        ...font,
        formatter: ({ value }: { value: unknown }) => readable(Number(value)),
      },
    })),
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return svg
}

function readable(value: number): string {
  const size = Math.abs(value)
  if (size >= 1e6) return `${(value / 1e6).toFixed(1)} M`
  if (size >= 1e4) return `${(value / 1e3).toFixed(0)} k`
  if (size >= 100) return value.toFixed(0)
  return value.toFixed(size >= 10 ? 1 : 2)
}

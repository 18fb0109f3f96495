/** The figure of each comparison that says most, as a chart for the docs. */
import { writeFileSync } from 'node:fs'
import { chartOf } from './harness/charts.ts'
import type { Answer, Row } from './harness/question.ts'
import { root } from './harness/root.ts'

interface Drawn {
  readonly title: string
  readonly unit: string
  readonly figure: string
  /** Of the cases that were asked; all when left out. */
  readonly names?: readonly string[]
  readonly scale?: number
  readonly isLogarithmic?: boolean
}

const charts: Readonly<Record<string, Drawn>> = {
  'peers-fan-out': {
    title: 'One writer, 100 readers: deliveries a second',
    unit: 'more is better; as many as go with p99 below 20 ms; logarithmic',
    figure: 'deliveriesPerSecond',
    isLogarithmic: true,
  },
  'peers-fan-out-paced-1500': {
    title: '1,500 readers at 20 updates a second: server CPU for a delivery',
    unit: 'µs; less is better',
    figure: 'serverCpuMicrosecondsPerDelivery',
  },
  'peers-documents': {
    title: '500 documents with a writer and a reader each: updates a second',
    unit: 'more is better; logarithmic',
    figure: 'updatesPerSecond',
    isLogarithmic: true,
  },
  'peers-idle': {
    title: 'Memory of an idle session',
    unit: 'kB; less is better',
    figure: 'residentBytesPerSession',
    scale: 1e-3,
  },
  'peers-presence': {
    title: '500 users in one room at 1 Hz: cores of the server',
    unit: 'less is better',
    figure: 'serverCores',
  },
  'peers-join-large': {
    title: 'Joining a 20 MB document: server CPU for a join',
    unit: 'ms; less is better; logarithmic',
    figure: 'serverCpuMsPerJoin',
    names: ['newcomer', 'newcomer, 100 pending'],
    isLogarithmic: true,
  },
  'peers-offline-return': {
    title: '1,000 clients come back with 20 edits each: until all have everything',
    unit: 'ms; less is better',
    figure: 'convergedMs',
  },
  'peers-durability': {
    title: 'kill -9 under load: edits that others had seen, and that are gone',
    unit: '% of those seen; less is better',
    figure: 'seenAndLostPercent',
  },
  'peers-stored': {
    title: 'A text after 259,778 edits: bytes on disk, of the bytes that Yjs needs',
    unit: 'times; less is better; logarithmic',
    figure: 'storedOverEngineBytes',
    isLogarithmic: true,
  },
}

const labels: Readonly<Record<string, string>> = {
  'raw-joined': 'bare ws, joined writes',
  'raw-each': 'bare ws',
  'raw-bytes': 'bare ws',
  embedded: 'Tidemark',
  'embedded-hocuspocus': 'Tidemark, Hocuspocus door',
  'redis-everysec': 'Tidemark, Redis',
  'y-websocket-leveldb': 'y-websocket',
  'hocuspocus-sqlite': 'Hocuspocus',
  'hocuspocus-redis': 'Hocuspocus, Redis',
}

/** Nothing for questions without a chart. */
export function drawPeers({ question, rows }: Answer): void {
  const drawn = charts[question]
  if (drawn === undefined) return
  const { title, unit, figure, names, scale = 1, isLogarithmic = false } = drawn
  const shown = rows.filter(
    (row) => row.figures[figure] !== undefined && (names === undefined || names.includes(row.name)),
  )
  const servers = [...new Set(shown.map(({ server }) => server))]
  const cases = names ?? ['']
  const medianOf = (row: Row | undefined): number => (row?.figures[figure]?.median ?? 0) * scale
  const series = cases.map((name) => ({
    name,
    values: servers.map((server) =>
      medianOf(shown.find((row) => row.server === server && (names === undefined || row.name === name))),
    ),
  }))
  const groups = servers.map((server) => labels[server] ?? server)
  writeFileSync(`${root}docs/images/${question}.svg`, chartOf({ title, unit, groups, series, isLogarithmic }))
}

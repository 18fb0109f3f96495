/** What `npm run bench:scale` found, as docs/scaling.md tells it. */
import { describeMachine, markdownTable, writePart } from './harness/page.ts'
import { type AnswerRecord, readRecord, show } from './harness/report.ts'
import type { Spread } from './harness/statistics.ts'

const relays = ['1 relay', '2 relays', '4 relays']
const logs = { embedded: 'embedded', 'redis-everysec': 'Redis' }

/** Of the results of a full run, or of a quick one where there is none. */
export function tellScale(): void {
  const growing = readRecord('nodes-growing')
  const spread = readRecord('nodes-spread')
  const sessions = readRecord('costs-sessions')
  const stored = readRecord('costs-stored')
  if (growing === null || spread === null || sessions === null || stored === null) return
  const nodes = (['raw-each', ...relays] as const).map((server) => [
    server === 'raw-each' ? 'one bare `ws` server' : server,
    cell(growing, server, 'serverCpuMicrosecondsPerDelivery'),
    cell(growing, server, 'logCpuMicrosecondsPerDelivery'),
    cell(growing, server, 'p99Ms'),
    cell(spread, server, 'serverCpuMicrosecondsPerDelivery'),
    cell(spread, server, 'logCpuMicrosecondsPerDelivery'),
  ])
  const memory = Object.entries(logs).map(([server, label]) => [
    label,
    cell(sessions, server, 'residentBytesPerSession', 'documents shared', 1e-3),
    cell(sessions, server, 'residentBytesPerSession', 'a document each', 1e-3),
    cell(sessions, server, 'serverCpuMicrosecondsPerConnect', 'a document each'),
    cell(sessions, server, 'idleServerCores', 'a document each'),
    cell(stored, server, 'writtenBytesPerDocument', '', 1e-3),
    cell(stored, server, 'storedBytesPerDocument', '', 1e-3),
  ])
  writePart(
    'scaling.md',
    'bench:scale',
    [
      `${describeMachine(growing)} ${ran(growing)}`,
      markdownTable(
        [
          '10 documents, 200 edits/s together',
          'each relay with 50 readers a document: CPU µs a delivery',
          "Redis's",
          'p99 ms',
          'the same 50 spread over all: CPU µs a delivery',
          "Redis's",
        ],
        nodes,
      ),
      markdownTable(
        [
          'log',
          'kB a session, 50 documents',
          'kB a session, a document each',
          'CPU µs a connect',
          'cores, 5,000 idle',
          'kB of a document as written',
          'compacted',
        ],
        memory,
      ),
      'Memory is what the process holds more than with its first 1,000 sessions; a collection of garbage in between makes it less.',
    ].join('\n\n'),
  )
}

const ran = ({ settings: { quick, runs } }: AnswerRecord): string =>
  quick ? 'A quick run: orders of magnitude.' : `Medians of ${runs} runs; the least and the most in brackets.`

function cell({ rows }: AnswerRecord, server: string, figure: string, name = '', scale = 1): string {
  const found = rows.find((row) => row.server === server && row.name === name)?.figures[figure]
  return found === undefined ? '-' : show(scaled(found, scale))
}

const scaled = ({ median, min, max }: Spread, scale: number): Spread => ({
  median: median * scale,
  min: min * scale,
  max: max * scale,
})

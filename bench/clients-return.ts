/**
 * 1,000 clients, ten on each of 100 documents, were away and come back at once with 20 edits each: how long until all have
 * everything? Our client, y-websocket's provider, and peers that only count bytes, against the same relay.
 */
import { askServer, interleaveEach, judge, type Question, rowsOf } from './harness/question.ts'
import { type LogName, logNames } from './harness/servers.ts'
import type { LoadSpec } from './load/spec.ts'

const clients = ['thin peers', 'y-websocket', 'tidemark'] as const
const deadlineMs = 120_000

export const clientsReturn: Question = async (settings) => {
  const load = {
    documents: settings.quick ? 20 : 100,
    clientsPerDocument: 10,
    editsPerClient: 20,
    deadlineMs,
  }
  const logs = settings.contestants.filter((name): name is LogName =>
    (logNames as readonly string[]).includes(name),
  )
  const labels = logs.flatMap((log) => clients.map((client) => ({ log, client, label: `${client}, ${log}` })))
  const samples = await interleaveEach(
    labels.map(({ label }) => label),
    settings,
    (label) => {
      const { log, client } = labels.find((each) => each.label === label)!
      return askServer(log, { profileDir: settings.profileDir }, (server): LoadSpec => {
        if (client === 'thin peers') return { ...server, ...load, kind: 'offline-return' }
        return { ...server, ...load, kind: 'clients-return', client, metricsUrl: server.metricsUrl! }
      })
    },
  )
  const verdicts = logs.flatMap((log) =>
    judge(
      samples,
      [`tidemark, ${log}`],
      [{ figure: 'convergedMs', raw: `y-websocket, ${log}`, bound: 'atMost', value: 1 }],
    ),
  )
  const notes = [
    'All clients are in one process, which is busy throughout: the time is mostly theirs. Thin peers merge nothing.',
  ]
  return [{ question: 'clients-return', rows: rowsOf(samples), verdicts, samples, notes }]
}

/**
 * What does it cost to come back to a document of 0.1, 1 or 10 MB when 100 edits were missed? All bytes of the
 * connection, handshake included, and the server's CPU: by the offset the client has, and, as a client without one
 * would ask, by its version. Beside it somebody who missed nothing: that is the price of the connection.
 */
import { interleave, judge, type Question, rowsOf } from './harness/question.ts'
import { type LogName, logNames } from './harness/servers.ts'

const megabytes = [0.1, 1, 10]
const editsMissed = 100
const byOffset = (size: number): string => `${size} MB, missed ${editsMissed} edits`

export const reconnect: Question = async (settings) => {
  const contestants = settings.contestants.filter((name): name is LogName =>
    (logNames as readonly string[]).includes(name),
  )
  const samples = await interleave(contestants, settings, (server) => ({
    ...server,
    kind: 'reconnect',
    documentBytes: megabytes.map((size) => size * 1e6),
    editsMissed,
    times: settings.quick ? 100 : 400,
  }))
  const verdicts = judge(samples, contestants, [
    { figure: 'percentOfDocument', bound: 'atMost', value: 1, names: [byOffset(1)] },
    // Independent of the document's size, as far as a machine that others use can tell.
    { figure: 'serverCpuToSmallest', bound: 'atMost', value: 1.3, names: [byOffset(1), byOffset(10)] },
  ])
  const notes = [
    'Each comes back alone, to a room that is open. Bytes are those of the connection, both ways.',
  ]
  return [{ question: 'reconnect', rows: rowsOf(samples), verdicts, samples, notes }]
}

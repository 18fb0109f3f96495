/**
 * How soon are 1,000 clients of 100 documents of one mind again, when all come back at once, each with 20
 * edits made offline? Beside it: how soon as many connections of plain `ws` are open and have echoed.
 */
import { interleave, judge, type Question, rowsOf } from './harness/question.ts'
import { logNames } from './harness/servers.ts'

/** "As fast as raw connects allow" needs a number: the join's two round trips and the edits may cost as much again. */
const ratioMax = 2

export const offlineReturn: Question = async (settings) => {
  const samples = await interleave(['raw-each', ...settings.contestants], settings, (server) => ({
    ...server,
    kind: 'offline-return',
    documents: 100,
    clientsPerDocument: 10,
    editsPerClient: 20,
    deadlineMs: 60_000,
  }))
  const verdicts = judge(samples, settings.contestants, [
    { figure: 'convergedMs', raw: 'raw-each', bound: 'atMost', value: ratioMax, servers: logNames },
  ])
  return [{ question: 'offline-return', rows: rowsOf(samples), verdicts, samples, notes: [] }]
}

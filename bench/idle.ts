/** What does a session cost that does nothing? 5,000 of them, each on a document of its own, beside plain `ws`. */
import { interleave, judge, type Question, rowsOf } from './harness/question.ts'
import { logNames } from './harness/servers.ts'

export const idle: Question = async (settings) => {
  const samples = await interleave(['raw-each', ...settings.contestants], settings, (server) => ({
    ...server,
    kind: 'idle',
    // automerge-repo looks at all documents whenever a peer comes, so that 5,000 would take it minutes.
    ...(server.automergePath === undefined
      ? { warmUpSessions: 1000, sessions: 5000 }
      : { warmUpSessions: 200, sessions: 1000 }),
    documents: Number.MAX_SAFE_INTEGER,
    atOnce: 100,
  }))
  const verdicts = judge(samples, settings.contestants, [
    { figure: 'residentBytesPerSession', bound: 'atMost', value: 12_000, servers: logNames },
    { figure: 'connectsPerSecond', raw: 'raw-each', bound: 'atLeast', value: 0.58, servers: logNames },
  ])
  return [{ question: 'idle', rows: rowsOf(samples), verdicts, samples, notes: [] }]
}

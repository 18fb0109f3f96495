/**
 * Does a person who types notice that 50 others paste 400 KB each into the same document, one after the other
 * and all in one moment? Beside it a server that passes everything on and keeps whatever a socket does not take.
 */
import { type Answer, interleave, judge, type Question, rowsOf } from './harness/question.ts'
import { logNames } from './harness/servers.ts'

export const paste: Question = async (settings) => {
  const answers: Answer[] = []
  const cases = [
    { question: 'paste', spreadMs: 5000 },
    { question: 'paste-at-once', spreadMs: 0 },
  ]
  for (const { question, spreadMs } of cases) {
    const samples = await interleave(['raw-each', ...settings.contestants], settings, (server) => ({
      ...server,
      kind: 'paste',
      writers: 50,
      pasteBytes: 400_000,
      spreadMs: settings.quick ? spreadMs * 0.6 : spreadMs,
      keysPerSecond: 50,
    }))
    const verdicts = judge(samples, settings.contestants, [
      { figure: 'p99Ms', raw: 'raw-each', bound: 'atMost', value: 2, servers: logNames },
      { figure: 'residentAboveIdleBytes', bound: 'atMost', value: 200e6, servers: logNames },
    ])
    answers.push({ question, rows: rowsOf(samples), verdicts, samples, notes: [] })
  }
  return answers
}
